LAYERS.activation = {
  forward: (layer, x) => x.map(FUNCTIONS[layer.function][0]),
  backward: (layer, x, y, dy) => ({ dx: dy.map((d, k) => d * FUNCTIONS[layer.function][1](y[k], x[k])), gradients: {} }),
};
