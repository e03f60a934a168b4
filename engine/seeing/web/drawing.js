"use strict";
// Tensors as pictures. Values without a sign are grey, from 0 (black) to the largest (white); values with a sign get
// the colours of cividis, whose lightness grows from the most negative to the most positive: so they can be told
// apart by the colour-blind and in a grey print.

const CIVIDIS = [
  [0, 34, 78], [50, 64, 107], [87, 93, 109], [125, 124, 120], [165, 156, 116], [209, 192, 93], [254, 232, 56],
];

function cividis(share) {
  const place = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(place), CIVIDIS.length - 2);
  return CIVIDIS[low].map((part, k) => part + (place - low) * (CIVIDIS[low + 1][k] - part));
}

const grey = (share) => Array(3).fill(255 * share);

// How to paint values: by their size, 0 being black, or in the middle where there are negative ones.
function paletteFor(values) {
  let low = 0, high = 0;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const largest = Math.max(-low, high) || 1;
  return low < 0 ? (value) => cividis(0.5 + (0.5 * value) / largest) : (value) => grey(value / largest);
}

// Draws maps [count, height, width], `across` of them side by side, each value `scale` pixels wide, with a gap of one
// value; returns the canvas.
function drawMaps(canvas, values, [count, height, width], how = {}) {
  const { across = count, scale = 4, paint = paletteFor(values) } = how;
  const down = Math.ceil(count / across);
  canvas.width = across * (width + 1) - 1;
  canvas.height = down * (height + 1) - 1;
  canvas.style.width = `${canvas.width * scale}px`;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let k = 0; k < values.length; k++) {
    const map = Math.floor(k / (height * width)), row = Math.floor(k / width) % height, column = k % width;
    const x = (map % across) * (width + 1) + column, y = Math.floor(map / across) * (height + 1) + row;
    image.data.set([...paint(values[k]), 255], 4 * (y * canvas.width + x));
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Draws one image of bytes [channels, height, width]: grey, or red, green and blue.
function drawImage(canvas, pixels, [channels, height, width], scale = 2) {
  const area = height * width, places = Float64Array.from({ length: area }, (_, k) => k);
  const paint = (k) => (channels === 3 ? [0, 1, 2] : [0, 0, 0]).map((channel) => pixels[channel * area + k]);
  return drawMaps(canvas, places, [1, height, width], { scale, paint });
}

// How many maps, or values of a flat layer, fit side by side at a readable size.
function arrangement([count, height, width]) {
  if (height === 1 && width === 1) return { across: Math.min(count, 50), scale: count > 600 ? 5 : 11 };
  const scale = Math.max(2, Math.min(16, Math.floor(96 / width)));
  return { across: Math.min(count, Math.max(1, Math.floor(720 / (scale * (width + 1))))), scale };
}

// A layer's kernels: of a convolution every kernel, a row of them for each map that it puts out; of a dense layer one matrix.
function kernelArrangement([maps, inputs, height, width]) {
  if (height === undefined) return { shape: [1, maps, inputs], scale: Math.max(1, Math.min(8, 480 / inputs)) };
  if (inputs === 1) return { shape: [maps, height, width], across: Math.min(maps, 8), scale: 8 };
  return { shape: [maps * inputs, height, width], across: inputs, scale: 5 };
}

// Adds an element to a parent: text for its content, and attributes.
function add(parent, name, attributes = {}, text = "") {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

// Adds a picture with a caption; what it is of is for screen readers. Returns its canvas.
function addPicture(parent, caption, subject) {
  const figure = add(parent, "figure");
  const canvas = add(figure, "canvas", { role: "img", "aria-label": `${subject}: ${caption}` });
  add(figure, "figcaption", {}, caption);
  return canvas;
}
