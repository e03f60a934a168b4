"use strict";
// The trained network in plain loops: forward pass, loss, backward pass, update; one image at a time.
//
// A tensor is a flat Float64Array, map by map and row by row. A layer is what report.py writes down about it: its kind,
// its shape (of the input: [maps, height, width]), its output's shape, and what its kind needs. Its numbers are in
// layer.parameters: `kernel` [maps, input maps, height, width] or [units, inputs], and `bias` if it has one.

const sizeOf = (shape) => shape.reduce((product, extent) => product * extent, 1);

// Calls visit(from, to, tap) for every tap of a sliding window: the pixel it reads, the output it belongs to, and its
// own place in the window. Taps that fall outside the image are left out, which is what padding with zeros means.
function slide(layer, visit) {
  const [, H, W] = layer.shape, [, OH, OW] = layer.output;
  const [KH, KW] = layer.window, [SH, SW] = layer.stride, [top, left] = layer.margins;
  for (let i = 0; i < OH; i++)
    for (let j = 0; j < OW; j++)
      for (let u = 0; u < KH; u++)
        for (let v = 0; v < KW; v++) {
          const r = i * SH + u - top, q = j * SW + v - left;
          if (r >= 0 && r < H && q >= 0 && q < W) visit(r * W + q, i * OW + j, u * KW + v);
        }
}

// What slide needs to find map m's pixels, outputs and taps in flat tensors.
function planes(layer) {
  const [C, H, W] = layer.shape, [M, OH, OW] = layer.output;
  return { C, M, image: H * W, map: OH * OW, taps: sizeOf(layer.window) };
}

const conv = {
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

const averagePool = {
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

const maxPool = {
  forward: (layer, x) => Float64Array.from(winners(layer, x), (pixel) => x[pixel]),
  backward(layer, x, y, dy) {
    const dx = new Float64Array(x.length);
    winners(layer, x).forEach((pixel, place) => { dx[pixel] += dy[place]; });
    return { dx, gradients: {} };
  },
};

const dense = {
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

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// Each function, and its derivative in terms of y = f(x).
const FUNCTIONS = {
  relu: [(x) => (x > 0 ? x : 0), (y) => (y > 0 ? 1 : 0)],
  leaky_relu: [(x) => (x > 0 ? x : 0.01 * x), (y) => (y > 0 ? 1 : 0.01)],
  tanh: [Math.tanh, (y) => 1 - y * y],
  sigmoid: [sigmoid, (y) => y * (1 - y)],
};

const activation = {
  forward: (layer, x) => x.map(FUNCTIONS[layer.function][0]),
  backward: (layer, x, y, dy) => ({ dx: dy.map((d, k) => d * FUNCTIONS[layer.function][1](y[k])), gradients: {} }),
};

// Flatten only renames the places, and dropout does nothing once training is over.
const identity = { forward: (layer, x) => x, backward: (layer, x, y, dy) => ({ dx: dy, gradients: {} }) };

const LAYERS = {
  conv, dense, activation, average_pool: averagePool, max_pool: maxPool, flatten: identity, dropout: identity,
};

// Each takes the last layer's values z and the targets t, and returns the outputs, the loss and ∂L/∂z. `spread` is what
// label smoothing pulls each target towards.
const LOSSES = {
  softmax_cross_entropy: {
    spread: (classes) => 1 / classes,
    judge(z, t) {
      const high = Math.max(...z), total = z.reduce((sum, value) => sum + Math.exp(value - high), 0);
      const logarithms = z.map((value) => value - high - Math.log(total)), outputs = logarithms.map(Math.exp);
      const loss = -logarithms.reduce((sum, value, k) => sum + t[k] * value, 0);
      return { outputs, loss, dz: outputs.map((p, k) => p - t[k]) };
    },
  },
  sigmoid_cross_entropy: {
    spread: () => 1 / 2,
    judge(z, t) {
      const outputs = z.map(sigmoid), K = z.length;
      const term = (value, k) => Math.max(value, 0) - value * t[k] + Math.log1p(Math.exp(-Math.abs(value)));
      const loss = z.reduce((sum, value, k) => sum + term(value, k) / K, 0);
      return { outputs, loss, dz: outputs.map((a, k) => (a - t[k]) / K) };
    },
  },
  squared_error: {
    spread: () => 0,
    judge(z, t) {
      const loss = z.reduce((sum, value, k) => sum + (value - t[k]) ** 2 / z.length, 0);
      return { outputs: z, loss, dz: z.map((value, k) => (2 * (value - t[k])) / z.length) };
    },
  },
};

class Network {
  // description: see report.py; weights: all parameters one after the other, float32.
  constructor(description, weights) {
    Object.assign(this, description);
    let start = 0;
    for (const layer of this.layers) {
      layer.parameters = {};
      for (const [name, shape] of Object.entries(layer.tensors)) {
        layer.parameters[name] = Float64Array.from(weights.subarray(start, (start += sizeOf(shape))));
      }
    }
  }

  // The output of the input's normalisation and of every layer, for pixels 0…255 [maps, height, width].
  forward(pixels) {
    const area = this.input[1] * this.input[2], outputs = [];
    const x = Float64Array.from(pixels, (pixel, k) => {
      const map = Math.floor(k / area);
      return pixel * this.scale[map] + this.shift[map];
    });
    for (const layer of this.layers) outputs.push(LAYERS[layer.kind].forward(layer, outputs.at(-1) ?? x));
    return { x, outputs };
  }

  // The network's outputs (probabilities), and the loss and its gradient if `label` is right. Targets are 1 for the
  // label and 0 for the rest; a single output is a yes or no, so that its target is the label itself.
  judge(z, label) {
    const { judge, spread } = LOSSES[this.loss], K = z.length;
    const target = (k) => (K === 1 ? label : Number(k === label));
    const t = z.map((_, k) => (1 - this.smoothing) * target(k) + this.smoothing * spread(K));
    return judge(z, t);
  }

  // For every layer: the gradients of its parameters, and `deltas`, ∂L/∂y of its output y.
  backward({ x, outputs }, dz) {
    const gradients = [], deltas = [];
    let dy = dz;
    for (let k = this.layers.length - 1; k >= 0; k--) {
      const layer = this.layers[k], result = LAYERS[layer.kind].backward(layer, outputs[k - 1] ?? x, outputs[k], dy);
      deltas.unshift(dy);
      gradients.unshift(result.gradients);
      dy = result.dx;
    }
    return { gradients, deltas };
  }

  // θ ← θ − rate · ∂L/∂θ for everything that training may change.
  update(gradients, rate) {
    this.layers.forEach((layer, k) => {
      if (!layer.trainable) return;
      for (const [name, gradient] of Object.entries(gradients[k]))
        gradient.forEach((value, n) => { layer.parameters[name][n] -= rate * value; });
    });
  }
}

// The class that outputs stand for; a single output of a half or more means class 1.
function classOf(outputs) {
  return outputs.length === 1 ? Number(outputs[0] >= 0.5) : outputs.indexOf(Math.max(...outputs));
}

// base64 → bytes
function decode(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
