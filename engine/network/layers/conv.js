LAYERS.conv = {
  // y_m(i, j) = Σ_c Σ_u Σ_v x_c(i·s + u − top, j·s + v − left) · w_{m,c}(u, v) + b_m, over the channels c of m's group
  forward(layer, x) {
    const { M, image, map, taps } = planes(layer), { kernel, bias } = layer.parameters;
    const y = new Float64Array(M * map);
    for (let m = 0; m < M; m++) {
      if (bias) y.fill(bias[m], m * map, (m + 1) * map);
      for (const [c, w] of channelsOf(layer, m))
        slide(layer, (from, to, tap) => { y[m * map + to] += x[c * image + from] * kernel[w * taps + tap]; });
    }
    return y;
  },
  // Every product x·w of the forward pass passes its output's gradient on: times w to x, times x to w.
  backward(layer, x, y, dy) {
    const { M, image, map, taps } = planes(layer), { kernel, bias } = layer.parameters;
    const dx = new Float64Array(x.length), dw = new Float64Array(kernel.length);
    for (let m = 0; m < M; m++)
      for (const [c, w] of channelsOf(layer, m))
        slide(layer, (from, to, tap) => {
          dx[c * image + from] += dy[m * map + to] * kernel[w * taps + tap];
          dw[w * taps + tap] += dy[m * map + to] * x[c * image + from];
        });
    const gradients = { kernel: dw };
    if (bias) gradients.bias = bias.map((_, m) => dy.subarray(m * map, (m + 1) * map).reduce((a, b) => a + b, 0));
    return { dx, gradients };
  },
  combines: "sum",
  reads(layer, place) {
    const channels = channelsOf(layer, place[0]);
    return windowAt(layer, place, [channels[0][0], channels.at(-1)[0] + 1]);
  },
  weights(layer, [m]) {
    const { taps } = planes(layer), channels = channelsOf(layer, m);
    return layer.parameters.kernel.slice(channels[0][1] * taps, (channels.at(-1)[1] + 1) * taps);
  },
};

// The input channels that map m sees, each with the number of its matrix in the kernel.
function channelsOf(layer, m) {
  const { C, M } = planes(layer), each = C / layer.groups, first = Math.floor((m * layer.groups) / M) * each;
  return Array.from({ length: each }, (_, k) => [first + k, m * each + k]);
}
