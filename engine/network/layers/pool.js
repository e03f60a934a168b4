// By how many pixels each window's sum is divided.
function divisors(layer) {
  const { map, taps } = planes(layer);
  if (layer.countPadding) return new Float64Array(map).fill(taps);
  const inside = new Float64Array(map);
  slide(layer, (from, to) => { inside[to] += 1; });
  return inside;
}

LAYERS.average_pool = {
  forward(layer, x) {
    const { C, image, map } = planes(layer), y = new Float64Array(C * map), n = divisors(layer);
    for (let c = 0; c < C; c++) slide(layer, (from, to) => { y[c * map + to] += x[c * image + from] / n[to]; });
    return y;
  },
  backward(layer, x, y, dy) {
    const { C, image, map } = planes(layer), dx = new Float64Array(x.length), n = divisors(layer);
    for (let c = 0; c < C; c++) slide(layer, (from, to) => { dx[c * image + from] += dy[c * map + to] / n[to]; });
    return { dx, gradients: {} };
  },
};

// Where each window's largest value lies; of equal ones the first in reading order.
function winners(layer, x) {
  const { C, image, map } = planes(layer), best = new Int32Array(C * map).fill(-1);
  for (let c = 0; c < C; c++)
    slide(layer, (from, to) => {
      const place = c * map + to, pixel = c * image + from;
      if (best[place] < 0 || x[pixel] > x[best[place]]) best[place] = pixel;
    });
  return best;
}

LAYERS.max_pool = {
  forward: (layer, x) => Float64Array.from(winners(layer, x), (pixel) => x[pixel]),
  backward(layer, x, y, dy) {
    const dx = new Float64Array(x.length);
    winners(layer, x).forEach((pixel, place) => { dx[pixel] += dy[place]; });
    return { dx, gradients: {} };
  },
};

// Of whole maps: one window.
const whole = (layer) => ({ ...layer, window: layer.shape.slice(1), stride: [1, 1] });
for (const kind of ["average_pool", "max_pool"])
  LAYERS[`global_${kind}`] = {
    forward: (layer, x) => LAYERS[kind].forward(whole(layer), x),
    backward: (layer, x, y, dy) => LAYERS[kind].backward(whole(layer), x, y, dy),
  };
