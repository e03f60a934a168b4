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

// The smallest and the largest of any number of values, which Math.min and Math.max do not take.
function range(values, low = values[0], high = values[0]) {
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

// How to paint values: by their size, 0 being black, or in the middle where there are negative ones.
function paletteFor(values) {
  const [low, high] = range(values, 0, 0);
  const largest = Math.max(-low, high) || 1;
  return low < 0 ? (value) => cividis(0.5 + (0.5 * value) / largest) : (value) => grey(value / largest);
}

// Draws maps [count, height, width], `across` of them side by side with a gap, each value `scale` pixels wide; `head`,
// `side` and `foot` leave room for labels above each map, at the left and below all, in values. Returns the canvas.
function drawMaps(canvas, values, [count, height, width], how = {}) {
  const { across = count, scale = 4, gap = 1, head = 0, side = 0, foot = 0, paint = paletteFor(values) } = how;
  const grid = (canvas.grid = { count, height, width, across, scale, gap, head, side, foot });
  canvas.width = side + across * (width + gap) - gap;
  canvas.height = Math.ceil(count / across) * (head + height + gap) - gap + foot;
  canvas.style.width = `${canvas.width * scale}px`;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let k = 0; k < values.length; k++) {
    const [x, y] = spotOf(grid, k);
    image.data.set([...paint(values[k]), 255], 4 * (y * canvas.width + x));
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Where value k lies in a drawn picture: [x, y], counted in values.
function spotOf({ height, width, across, gap, head, side }, k) {
  const map = Math.floor(k / (height * width)), row = Math.floor(k / width) % height, column = k % width;
  return [side + (map % across) * (width + gap) + column, head + Math.floor(map / across) * (head + height + gap) + row];
}

// The number of the value at [x, y] of a drawn picture; -1 between them.
function valueAt({ count, height, width, across, gap, head, side }, x, y) {
  const column = (x - side) % (width + gap), row = (y % (head + height + gap)) - head;
  const map = Math.floor(y / (head + height + gap)) * across + Math.floor((x - side) / (width + gap));
  const inside = x >= side && x < side + across * (width + gap) && column < width && row >= 0 && row < height;
  return inside && map < count ? (map * height + row) * width + column : -1;
}

// Draws one image of bytes [channels, height, width]: grey, or red, green and blue.
function drawImage(canvas, pixels, [channels, height, width], scale = 2) {
  const area = height * width, places = Float64Array.from({ length: area }, (_, k) => k);
  const paint = (k) => (channels === 3 ? [0, 1, 2] : [0, 0, 0]).map((channel) => pixels[channel * area + k]);
  return drawMaps(canvas, places, [1, height, width], { scale, paint });
}

const clamp = (value, low, high) => Math.floor(Math.min(Math.max(value, low), high));
const room = () => Math.min(720, innerWidth - 64);

// How many maps fit side by side at a readable size; the values of a flat layer stand like letters in a text.
function arrangement([count, height, width]) {
  const flat = height === 1 && width === 1, size = innerWidth < 640 ? 112 : 140;
  const lone = Math.min((room() - 18) / width, 2 * size / height); // one map, or a signal's rows
  const gap = flat ? 0 : 1, scale = flat ? clamp((room() - 26) / count, 12, 24) : clamp(count === 1 ? lone : size / width, 2, 16);
  return { across: clamp((room() - 26) / (scale * (width + gap)), 1, count), scale, gap };
}

// Maps of one row stand below one another, as rows of one map.
const asRows = ([count, height, width]) => (height === 1 && width > 1 ? [1, count, width] : [count, height, width]);

// A layer's kernels: of a convolution a row of them for each map that it puts out; of a dense layer one matrix.
function kernelArrangement([maps, inputs, height, width]) {
  if (height === undefined) return { shape: [1, maps, inputs], scale: Math.min(24, 480 / inputs) };
  if (height === 1) return { shape: [1, maps, inputs * width], scale: clamp(Math.min(480 / (inputs * width), 320 / maps), 2, 16) };
  if (inputs === 1) return { shape: [maps, height, width], across: Math.min(maps, 8), scale: clamp(48 / width, 4, 16) };
  const fitting = clamp(room() / (inputs * (width + 1)), 5, 16);
  return { shape: [maps * inputs, height, width], across: inputs, scale: clamp(24 / width, 5, fitting) };
}

// Adds an element to a parent: text for its content, and attributes.
function add(parent, name, attributes = {}, text = "") {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

// Adds a picture with a caption; what it is of is for screen readers. Returns its canvas, which lies in a frame that may
// hold labels and marks.
function addPicture(parent, caption, subject) {
  const figure = add(parent, "figure"), frame = add(figure, "div", { class: "frame" });
  const canvas = add(frame, "canvas", { role: "img", "aria-label": `${subject}: ${caption}` });
  add(figure, "figcaption", {}, caption);
  return canvas;
}

// Puts an element over values k to l of a drawn picture, two corners of one map.
function over(canvas, k, l, attributes, text = "") {
  const [x, y] = spotOf(canvas.grid, k), [right, bottom] = spotOf(canvas.grid, l);
  return put(canvas, [x, y, right + 1 - x, bottom + 1 - y], attributes, text);
}

// Puts an element over a rectangle of a drawn picture, [x, y, width, height] counted in values.
function put(canvas, rectangle, attributes, text = "") {
  const share = (value, all) => `${(100 * value) / all}%`, [x, y, wide, high] = rectangle;
  const element = add(canvas.parentElement, "i", { "aria-hidden": "true", ...attributes }, text);
  Object.assign(element.style, {
    left: share(x, canvas.width), top: share(y, canvas.height),
    width: share(wide, canvas.width), height: share(high, canvas.height),
  });
  return element;
}
