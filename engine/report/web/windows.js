"use strict";
// A single value: the window that it came from, its products and their sum, and where its gradient goes.
//
// A place is [channel, row, column]; a box has a span [first, one behind the last] of each, which may reach into the
// padding. `back` is what Network.backward returned. Layer -1 is the image.

const flatIndex = ([, H, W], [c, r, q]) => (c * H + r) * W + q;
const placeOf = ([, H, W], k) => [Math.floor(k / (H * W)), Math.floor(k / W) % H, k % W];
const extents = (box) => box.map(([start, stop]) => stop - start);
const whole3 = (shape) => shape.map((extent) => [0, extent]);

// What an output is made of; null where nothing is known of it.
function readsOf(layer, place) {
  const kind = LAYERS[layer.kind];
  if (kind.reads) return kind.reads(layer, place);
  return String(layer.shape) === String(layer.output) ? place.map((at) => [at, at + 1]) : null;
}

// Each place of a box in reading order, with the flat index of the value there; -1 in the padding.
function placesIn(box, shape) {
  const found = [], [[c0, c1], [r0, r1], [q0, q1]] = box, [C, H, W] = shape;
  for (let c = c0; c < c1; c++)
    for (let r = r0; r < r1; r++)
      for (let q = q0; q < q1; q++)
        found.push(c >= 0 && c < C && r >= 0 && r < H && q >= 0 && q < W ? flatIndex(shape, [c, r, q]) : -1);
  return found;
}

function windowsOf(network, pass, back, number, place) {
  const layer = network.layers[number], kind = LAYERS[layer.kind], box = readsOf(layer, place);
  if (!box) return [];
  const read = network.inputOf(layer, pass), y = pass.outputs[number], at = flatIndex(layer.output, place);
  const delta = back ? back.deltas[number][at] : null, outside = kind.combines === "max" ? -Infinity : 0;
  let lone = null;
  return layer.inputs.map((tensor, n) => {
    const x = layer.inputs.length > 1 ? read[n] : read, places = placesIn(box, layer.shape);
    const values = places.map((k) => (k < 0 ? outside : x[k])), inside = places.map((k) => k >= 0);
    const window = { tensor, source: tensor ? network.layers[tensor - 1].name : "the image", box, places, values, inside };
    if (kind.combines === "sum") {
      window.weights = Array.from(kind.weights(layer, place));
      window.products = values.map((value, k) => value * window.weights[k]);
      if (back) window.passed = window.weights.map((weight) => delta * weight);
    } else if (kind.combines === "max") {
      const best = values.indexOf(range(values)[1]);
      window.taken = values.map((_, k) => k === best);
      if (back) window.passed = window.taken.map((taken) => (taken ? delta : 0));
    } else if (back) {
      lone ??= kind.backward(layer, read, y, y.map((_, k) => (k === at ? delta : 0))).dx;
      const dx = layer.inputs.length > 1 ? lone[n] : lone;
      window.passed = places.map((k) => (k < 0 ? 0 : dx[k]));
    }
    return window;
  });
}

function cellOf(network, pass, back, number, place) {
  const shape = number < 0 ? network.input : network.layers[number].output, at = flatIndex(shape, place);
  const layer = network.layers[number], name = layer?.name ?? "image";
  const written = `${name}/${shape[1] * shape[2] === 1 ? place[0] : place.join(",")}`;
  const delta = back ? (number < 0 ? back.image : back.deltas[number])[at] : null;
  if (number < 0) return { number, place, shape, written, value: pass.x[at], delta, bias: null, windows: [], field: place.map((one) => [one, one + 1]) };
  const { bias } = layer.parameters, summed = LAYERS[layer.kind].combines === "sum" && bias;
  return {
    number, place, shape, written, delta, value: pass.outputs[number][at], bias: summed ? bias[place[0]] : null,
    windows: windowsOf(network, pass, back, number, place), field: fieldOf(network, number, place),
  };
}

const hull = (one, other) => one.map(([start, stop], k) => [Math.min(start, other[k][0]), Math.max(stop, other[k][1])]);

// The part of a box that lies in a tensor of this shape.
const clipped = (box, shape) => box.map(([start, stop], k) => {
  const first = clamp(start, 0, shape[k] - 1);
  return [first, clamp(stop, first + 1, shape[k])];
});

// The receptive field in the image: the smallest box that holds all that a value depends on.
function fieldOf(network, number, place) {
  const wanted = new Map([[number + 1, place.map((at) => [at, at + 1])]]);
  for (let k = number; k >= 0; k--) {
    const box = wanted.get(k + 1), layer = network.layers[k];
    if (!box) continue;
    const ends = [box.map(([start]) => start), box.map(([, stop]) => stop - 1)].map((corner) => readsOf(layer, corner));
    const several = layer.kind === "flatten" && box[0][1] - box[0][0] > 1;
    const read = several || ends.includes(null) ? whole3(layer.shape) : clipped(hull(...ends), layer.shape);
    for (const tensor of layer.inputs) wanted.set(tensor, wanted.has(tensor) ? hull(wanted.get(tensor), read) : read);
  }
  return wanted.get(0);
}
