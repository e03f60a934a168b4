LAYERS.conv = {
  // y_m(i, j) = Σ_c Σ_u Σ_v x_c(i·s + u − top, j·s + v − left) · w_{m,c}(u, v) + b_m
  forward(layer, x) {
    const { C, M, image, map, taps } = planes(layer), { kernel, bias } = layer.parameters;
    const y = new Float64Array(M * map);
    for (let m = 0; m < M; m++) {
      if (bias) y.fill(bias[m], m * map, (m + 1) * map);
      for (let c = 0; c < C; c++)
        slide(layer, (from, to, tap) => { y[m * map + to] += x[c * image + from] * kernel[(m * C + c) * taps + tap]; });
    }
    return y;
  },
  // Every product x·w of the forward pass passes its output's gradient on: times w to x, times x to w.
  backward(layer, x, y, dy) {
    const { C, M, image, map, taps } = planes(layer), { kernel, bias } = layer.parameters;
    const dx = new Float64Array(x.length), dw = new Float64Array(kernel.length);
    for (let m = 0; m < M; m++)
      for (let c = 0; c < C; c++)
        slide(layer, (from, to, tap) => {
          dx[c * image + from] += dy[m * map + to] * kernel[(m * C + c) * taps + tap];
          dw[(m * C + c) * taps + tap] += dy[m * map + to] * x[c * image + from];
        });
    const gradients = { kernel: dw };
    if (bias) gradients.bias = bias.map((_, m) => dy.subarray(m * map, (m + 1) * map).reduce((a, b) => a + b, 0));
    return { dx, gradients };
  },
};
