LAYERS.flatten = {
  ...IDENTITY, // it only renames the places
  reads: ({ shape: [, H, W] }, [k]) => [Math.floor(k / (H * W)), Math.floor(k / W) % H, k % W].map((at) => [at, at + 1]),
};

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
  combines: "sum",
  reads: (layer) => [[0, layer.shape[0]], [0, 1], [0, 1]],
  weights: ({ shape: [K], parameters }, [m]) => parameters.kernel.slice(m * K, (m + 1) * K),
};
