LAYERS.batch_norm = {
  // y_c = γ_c · (x_c − μ_c) / √(v_c + ε) + β_c, with the running statistics
  forward(layer, x) {
    const { image } = planes(layer), { weight, bias, running_mean: mean, running_var: variance } = layer.parameters;
    return x.map((value, k) => {
      const c = Math.floor(k / image);
      return (weight[c] * (value - mean[c])) / Math.sqrt(variance[c] + layer.epsilon) + bias[c];
    });
  },
  backward(layer, x, y, dy) {
    const { C, image } = planes(layer), { weight, running_mean: mean, running_var: variance } = layer.parameters;
    const gradients = { weight: new Float64Array(C), bias: new Float64Array(C) };
    const dx = dy.map((d, k) => {
      const c = Math.floor(k / image), root = Math.sqrt(variance[c] + layer.epsilon);
      gradients.weight[c] += (d * (x[k] - mean[c])) / root;
      gradients.bias[c] += d;
      return (d * weight[c]) / root;
    });
    return { dx, gradients };
  },
};
