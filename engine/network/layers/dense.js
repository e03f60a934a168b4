LAYERS.flatten = IDENTITY; // it only renames the places

LAYERS.dense = {
  // y_m = Σ_k w_{m,k} · x_k + b_m
  forward(layer, x) {
    const { kernel, bias } = layer.parameters;
    return new Float64Array(layer.output[0]).map((_, m) => {
      let sum = bias ? bias[m] : 0;
      for (let k = 0; k < x.length; k++) sum += kernel[m * x.length + k] * x[k];
      return sum;
    });
  },
  backward(layer, x, y, dy) {
    const { kernel, bias } = layer.parameters;
    const dx = new Float64Array(x.length), dw = new Float64Array(kernel.length);
    for (let m = 0; m < dy.length; m++)
      for (let k = 0; k < x.length; k++) {
        dx[k] += dy[m] * kernel[m * x.length + k];
        dw[m * x.length + k] = dy[m] * x[k];
      }
    return { dx, gradients: bias ? { kernel: dw, bias: dy.slice() } : { kernel: dw } };
  },
};
