LAYERS.average_pool = {
  forward(layer, x) {
    const { C, image, map, taps } = planes(layer), y = new Float64Array(C * map);
    for (let c = 0; c < C; c++) slide(layer, (from, to) => { y[c * map + to] += x[c * image + from] / taps; });
    return y;
  },
  backward(layer, x, y, dy) {
    const { C, image, map, taps } = planes(layer), dx = new Float64Array(x.length);
    for (let c = 0; c < C; c++) slide(layer, (from, to) => { dx[c * image + from] += dy[c * map + to] / taps; });
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
