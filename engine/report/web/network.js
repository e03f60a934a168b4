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
  return { C, M, image: H * W, map: OH * OW, taps: sizeOf(layer.window ?? []) };
}

// The window of a sliding layer, over a span of channels, as a box: see cellOf in windows.js.
function windowAt(layer, [, i, j], channels) {
  const [KH, KW] = layer.window, [SH, SW] = layer.stride, [top, left] = layer.margins;
  const row = i * SH - top, column = j * SW - left;
  return [channels, [row, row + KH], [column, column + KW]];
}

// The tables, to which every layer, activation and loss adds its own. A layer has `forward(layer, x)`, which returns y,
// and `backward(layer, x, y, dy)`, which returns dx and the gradients of its parameters. Where an output is not made of
// the value at its own place, `reads(layer, place)` returns the window that it is made of, `combines` says how, "sum" or
// "max", and `weights(layer, place)` what the window's values are multiplied by.
const LAYERS = {};
const IDENTITY = { forward: (layer, x) => x, backward: (layer, x, y, dy) => ({ dx: dy, gradients: {} }) };

// Each function, and its derivative, which is given y = f(x) and x.
const FUNCTIONS = {};
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// Each takes the last layer's values z and the targets t, and returns the outputs, the loss and ∂L/∂z.
const LOSSES = {};

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
    const pass = { x, outputs };
    for (const layer of this.layers) outputs.push(LAYERS[layer.kind].forward(layer, this.inputOf(layer, pass)));
    return pass;
  }

  // What a layer reads: a tensor, or a list of them. Number 0 is the image, number k + 1 the output of layer k.
  inputOf(layer, { x, outputs }) {
    const found = layer.inputs.map((number) => (number ? outputs[number - 1] : x));
    return found.length > 1 ? found : found[0];
  }

  // The network's outputs (probabilities), and the loss and its gradient if `truth` is right: a class's number, or what
  // each output is compared with. Of a class, targets are 1 for it and 0 for the rest, before smoothing pulls each towards
  // `spread`; a single output is a yes or no, so that its target is the class itself. `counts` are the classes' weights,
  // if they have any.
  judge(z, truth) {
    const one = typeof truth === "number";
    const target = (k) => (one ? (z.length === 1 ? truth : Number(k === truth)) : truth[k]);
    const t = z.map((_, k) => (1 - this.smoothing) * target(k) + this.smoothing * this.spread);
    const found = LOSSES[this.loss](z, t), counts = one ? this.counts?.[truth] ?? 1 : 1;
    return { ...found, loss: counts * found.loss, dz: found.dz.map((slope) => counts * slope) };
  }

  // For every layer: the gradients of its parameters, and `deltas`, ∂L/∂y of its output y.
  backward(pass, dz) {
    const gradients = [], totals = [], { outputs } = pass;
    totals[outputs.length] = dz;
    for (let k = this.layers.length - 1; k >= 0; k--) {
      const layer = this.layers[k], dy = totals[k + 1];
      const result = LAYERS[layer.kind].backward(layer, this.inputOf(layer, pass), outputs[k], dy);
      gradients.unshift(result.gradients);
      layer.inputs.forEach((number, n) => {
        const dx = layer.inputs.length > 1 ? result.dx[n] : result.dx;
        totals[number] = totals[number] ? totals[number].map((value, j) => value + dx[j]) : dx;
      });
    }
    return { gradients, deltas: totals.slice(1), image: totals[0] };
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
  return outputs.length === 1 ? Number(outputs[0] >= 0.5) : Math.max(0, outputs.indexOf(Math.max(...outputs)));
}

// base64 → the values of inputs: bytes of images, float32 of signals
function decodeValues(text, type) {
  const bytes = decode(text);
  return type === "float32" ? new Float32Array(bytes.buffer) : bytes;
}

// base64 → bytes
function decode(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
