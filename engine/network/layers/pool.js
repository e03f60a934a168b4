// By how many pixels each window's sum is divided.
function divisors(layer) {
  const { map, taps } = planes(layer);
  if (layer.countPadding) return new Float64Array(map).fill(taps);
  const inside = new Float64Array(map);
  slide(layer, (from, to) => { inside[to] += 1; });
  return inside;
}

// Pooling reads a window of the same map.
const readsMap = (layer, place) => windowAt(layer, place, [place[0], place[0] + 1]);

LAYERS.average_pool = {
  combines: "sum",
  reads: readsMap,
  weights(layer, place) {
    const [, H, W] = layer.shape, [KH, KW] = layer.window, [, [top], [left]] = readsMap(layer, place);
    const share = 1 / divisors(layer)[place[1] * layer.output[2] + place[2]];
    return new Float64Array(KH * KW).map((_, k) => {
      const r = top + Math.floor(k / KW), q = left + (k % KW);
      return layer.countPadding || (r >= 0 && r < H && q >= 0 && q < W) ? share : 0;
    });
  },
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
  combines: "max",
  reads: readsMap,
  forward: (layer, x) => Float64Array.from(winners(layer, x), (pixel) => x[pixel]),
  backward(layer, x, y, dy) {
    const dx = new Float64Array(x.length);
    winners(layer, x).forEach((pixel, place) => { dx[pixel] += dy[place]; });
    return { dx, gradients: {} };
  },
};

// Of whole maps: one window.
const whole = (layer) => ({ ...layer, window: layer.shape.slice(1), stride: [1, 1], countPadding: true });
for (const kind of ["average_pool", "max_pool"])
  LAYERS[`global_${kind}`] = {
    forward: (layer, x) => LAYERS[kind].forward(whole(layer), x),
    backward: (layer, x, y, dy) => LAYERS[kind].backward(whole(layer), x, y, dy),
    combines: LAYERS[kind].combines,
    reads: (layer, place) => readsMap(whole(layer), place),
    weights: (layer, place) => LAYERS[kind].weights(whole(layer), place),
  };
