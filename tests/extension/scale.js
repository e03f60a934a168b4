LAYERS.scale = {
  forward(layer, x) {
    const area = x.length / layer.shape[0];
    return x.map((value, k) => value * layer.parameters.kernel[Math.floor(k / area)]);
  },
  backward(layer, x, y, dy) {
    const area = x.length / layer.shape[0], kernel = new Float64Array(layer.shape[0]);
    dy.forEach((d, k) => { kernel[Math.floor(k / area)] += d * x[k]; });
    return { dx: this.forward(layer, dy), gradients: { kernel } };
  },
};
