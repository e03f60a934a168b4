"use strict";
// The cards of the layers: their outputs, kernels and gradients as pictures with labels.

const cards = []; // of each layer: where its pictures go
const imageCard = {};

const shapeText = ([maps, height, width]) => (height * width === 1 ? String(maps) : `${height}×${width}×${maps}`);
const pictureOf = (tensor) => (tensor ? cards[tensor - 1] : imageCard).output;
const shapeOf = (tensor) => (tensor ? network.layers[tensor - 1].output : network.input);

function describe(layer) {
  const what = {
    average_pool: "average pooling", max_pool: "max pooling", activation: layer.function, batch_norm: "batch norm",
    add: "sum",
  };
  const above = network.layers.indexOf(layer); // the number of what comes out of the layer above
  const sources = layer.inputs.map((number) => (number ? network.layers[number - 1].name : "the image"));
  const from = layer.inputs.length > 1 || layer.inputs[0] !== above ? ` of ${sources.join(" and ")}` : "";
  const window = layer.window ? ` ${layer.window.join("×")}` : "";
  const count = Object.values(layer.tensors).reduce((sum, tensor) => sum + sizeOf(tensor), 0);
  const parameters = count ? `, ${count.toLocaleString("en")} parameters${layer.trainable ? "" : ", frozen"}` : "";
  return `${what[layer.kind] ?? layer.kind}${window}${from}, ${shapeText(layer.shape)} → ${shapeText(layer.output)}${parameters}`;
}

// The name of the class, label or number that a value of the last layer stands for; "" elsewhere.
function classNameOf(tensor, k) {
  const last = tensor === network.layers.length, count = shapeOf(tensor)[0];
  if (!last || shapeOf(tensor)[1] * shapeOf(tensor)[2] > 1) return "";
  return count === answering.names.length ? answering.names[k] : "";
}

// Class names that are more than their numbers.
const isNamed = (tensor) => classNameOf(tensor, 0) !== "" && shapeOf(tensor)[0] <= MOST_NAMED;
const MOST_NAMED = 40, MOST_LABELS = 256;

function makeCard(name, about) {
  const card = add(at("layers"), "article"), head = add(card, "h3", {}, name);
  add(head, "small", {}, about);
  const pictures = add(card, "div", { class: "pictures" });
  const back = add(card, "div", { class: "pictures back", hidden: "" });
  return { card, pictures, back };
}

function makeCards() {
  const first = makeCard("image", `${shapeText(network.input)}, as the first layer reads it`);
  Object.assign(imageCard, first, {
    output: addPicture(first.pictures, "values", "image"), delta: addPicture(first.back, "∂L/∂image", "image"),
  });
  network.layers.forEach((layer) => {
    const card = makeCard(layer.name, describe(layer)), numbers = layer.kind === "conv" ? "kernels" : "weights";
    const slots = {
      ...card, output: addPicture(card.pictures, "output", layer.name), delta: addPicture(card.back, "∂L/∂output", layer.name),
    };
    if (layer.tensors.kernel) {
      slots.kernel = addPicture(card.pictures, numbers, layer.name);
      slots.gradient = addPicture(card.back, `∂L/∂${numbers}`, layer.name);
    }
    slots.note = add(card.back, "p");
    cards.push(slots);
  });
}

// Draws a tensor's values, or their gradients, with the numbers of its channels, rows and columns.
function drawTensor(canvas, values, tensor) {
  const shape = asRows(shapeOf(tensor)), how = arrangement(shape), [count, height, width] = shape;
  if (isNamed(tensor)) how.across = 1;
  const flat = height * width === 1;
  const head = flat || count === 1 ? 0 : Math.ceil(13 / how.scale);
  const side = Math.ceil((flat ? 26 : 18) / how.scale), foot = flat ? 0 : Math.ceil(13 / how.scale);
  drawMaps(canvas, values, shape, { ...how, head, side: isNamed(tensor) ? 0 : side, foot });
  labelled(canvas, () => {
    if (isNamed(tensor)) {
      for (let k = 0; k < count; k++) over(canvas, k, k, { class: "label after" }, classNameOf(tensor, k));
    } else if (flat) {
      for (let k = 0; k < count; k += canvas.grid.across) before(canvas, k, String(k));
    } else {
      const colours = count === 3 && tensor === 0 && run.prepare === "plain" ? ["red", "green", "blue"] : null;
      if (head && count <= MOST_LABELS)
        for (let k = 0; k < count; k++) above(canvas, k * height * width, colours?.[k] ?? String(k));
      axes(canvas, count);
    }
  });
}

function drawKernel(canvas, values, layer) {
  const tensor = layer.tensors.kernel, { shape, ...how } = { shape: tensor, ...kernelArrangement(tensor) };
  const matrices = tensor.length === 4 && tensor[2] > 1;
  const labels = matrices && shape[0] <= MOST_LABELS && shape[2] * how.scale >= 22;
  const head = labels ? Math.ceil(13 / how.scale) : 0, side = matrices ? 0 : Math.ceil(26 / how.scale);
  drawMaps(canvas, values, shape, { ...how, head, side, foot: matrices ? 0 : Math.ceil(13 / how.scale) });
  labelled(canvas, () => {
    if (!matrices) axes(canvas, 1);
    else if (labels)
      for (let k = 0; k < shape[0]; k++)
        above(canvas, k * shape[1] * shape[2], `${Math.floor(k / tensor[1])},${k % tensor[1]}`);
  });
}

// Writes labels anew where the picture's form has changed.
function labelled(canvas, write) {
  const form = JSON.stringify(canvas.grid);
  if (canvas.form === form) return;
  canvas.form = form;
  for (const label of canvas.parentElement.querySelectorAll(".label")) label.remove();
  write();
}

const above = (canvas, k, text) => over(canvas, k, k + canvas.grid.width - 1, { class: "label above" }, text);
const before = (canvas, k, text) => over(canvas, k, k, { class: "label before" }, text);

// The first and last numbers of rows, at the left of the maps, and of columns, below the lowest one at the left.
function axes(canvas, count) {
  const { height, width, across } = canvas.grid, lowest = Math.floor((count - 1) / across) * across;
  for (let map = 0; map < count; map += across)
    for (const row of new Set([0, height - 1])) before(canvas, (map * height + row) * width, String(row));
  for (const column of new Set([0, width - 1]))
    over(canvas, ((lowest + 1) * height - 1) * width + column, ((lowest + 1) * height - 1) * width + column, { class: "label below" }, String(column));
}

function showLayers() {
  drawTensor(imageCard.output, now.trace.x, 0);
  network.layers.forEach((_, k) => drawTensor(cards[k].output, now.trace.outputs[k], k + 1));
}

function showKernels() {
  network.layers.forEach((layer, k) => {
    if (cards[k].kernel) drawKernel(cards[k].kernel, layer.parameters.kernel, layer);
  });
}
