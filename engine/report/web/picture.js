"use strict";
// From a picture file to the network's input, step by step as engine/data/images.py does it. A plane is { width, height,
// values }, row by row; pixels are what a canvas gives: red, green, blue and opacity of each.

// Pillow's filters: how far they reach, in pixels of the smaller picture, and their weights.
const BOX = { reach: 0.5, weight: (x) => Number(x > -0.5 && x <= 0.5) };
const TRIANGLE = { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };
const LEAST_CONTRAST = 24, WORKING_SIZE = 1024;

const byte = (value) => Math.min(255, Math.floor(value + 0.5));
// As Python rounds: halves to the even neighbour.
const rounded = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

// What each of `count` new pixels is made of, of `length` old ones: the first, and the shares from there on.
function mixture(length, count, { reach, weight }) {
  const step = length / count, stretch = Math.max(step, 1);
  return Array.from({ length: count }, (_, k) => {
    const centre = (k + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - reach * stretch + 0.5));
    const last = Math.min(length, Math.floor(centre + reach * stretch + 0.5));
    const shares = Array.from({ length: last - first }, (_, n) => weight((first + n - centre + 0.5) / stretch));
    const sum = shares.reduce((total, share) => total + share, 0);
    return { first, shares: shares.map((share) => share / sum) };
  });
}

function resizeAcross({ width, height, values }, columns, filter, keep) {
  const mixed = mixture(width, columns, filter), narrow = new Float64Array(height * columns);
  for (let i = 0; i < height; i++)
    mixed.forEach(({ first, shares }, j) => {
      let sum = 0;
      for (let n = 0; n < shares.length; n++) sum += shares[n] * values[i * width + first + n];
      narrow[i * columns + j] = keep(sum);
    });
  return { width: columns, height, values: narrow };
}

function resizeDown({ width, height, values }, rows, filter, keep) {
  const low = new Float64Array(rows * width);
  mixture(height, rows, filter).forEach(({ first, shares }, i) => {
    for (let j = 0; j < width; j++) {
      let sum = 0;
      for (let n = 0; n < shares.length; n++) sum += shares[n] * values[(first + n) * width + j];
      low[i * width + j] = keep(sum);
    }
  });
  return { width, height: rows, values: low };
}

// Resizes a plane, one direction after the other, so that there is less in between; `keep` makes a value of each sum:
// bytes are rounded after either step.
function resize(plane, rows, columns, filter, keep = (value) => value) {
  if (columns * plane.height <= rows * plane.width)
    return resizeDown(resizeAcross(plane, columns, filter, keep), rows, filter, keep);
  return resizeAcross(resizeDown(plane, rows, filter, keep), columns, filter, keep);
}

// Shrinks bytes by a whole number: the means of squares, smaller ones at the right and lower edges.
function reduce({ width, height, values }, by) {
  if (by === 1) return { width, height, values };
  const columns = Math.ceil(width / by), rows = Math.ceil(height / by), small = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const bottom = Math.min(height, (i + 1) * by), right = Math.min(width, (j + 1) * by);
      let sum = 0;
      for (let r = i * by; r < bottom; r++) for (let q = j * by; q < right; q++) sum += values[r * width + q];
      small[i * columns + j] = Math.floor(sum / ((bottom - i * by) * (right - j * by)) + 0.5);
    }
  return { width: columns, height: rows, values: small };
}

// One colour of a picture, or its luminance, in bytes (ITU-R 601, as Pillow computes it).
function planeOf({ width, height, data }, colour) {
  const values = new Uint8Array(width * height), at = colour ?? 0, grey = colour === undefined;
  for (let k = 0, n = 0; k < values.length; k++, n += 4)
    values[k] = grey ? (19595 * data[n] + 38470 * data[n + 1] + 7471 * data[n + 2] + 32768) >> 16 : data[n + at];
  return { width, height, values };
}

function median(values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// How much ink each pixel of a grey plane has, dark on light or light on dark; null where nothing stands out.
function inkOf({ width, height, values }) {
  const border = [];
  values.forEach((value, k) => {
    const i = Math.floor(k / width), j = k % width;
    if (i === 0 || j === 0 || i === height - 1 || j === width - 1) border.push(value);
  });
  const paper = median(border), noise = 4 * 1.4826 * median(border.map((value) => Math.abs(value - paper)));
  let contrast = Float64Array.from(values, (value) => value - paper), dark = 0, light = 0;
  for (const value of contrast) value < 0 ? (dark += value * value) : (light += value * value);
  if (dark > light) contrast = contrast.map((value) => -value);
  const strongest = range(contrast)[1];
  if (strongest < Math.max(LEAST_CONTRAST, 1.5 * noise)) return null;
  return { width, height, values: contrast.map((value) => (value > noise ? value : 0)) };
}

// The network's input of a picture, bytes [channels, height, width]; null where no digit is to be seen.
function preparePicture(picture, kind, shape) {
  const [channels, height, width] = shape;
  if (kind === "digit") {
    const grey = planeOf(picture), by = Math.max(1, Math.floor(Math.max(grey.width, grey.height) / WORKING_SIZE));
    const ink = inkOf(reduce(grey, by));
    return ink && Uint8Array.from(Array(channels).fill([...prepareDigit(ink, shape)]).flat());
  }
  const colours = channels === 1 ? [undefined] : [0, 1, 2];
  const planes = colours.map((colour) => resize(planeOf(picture, colour), height, width, TRIANGLE, byte).values);
  return Uint8Array.from(planes.flatMap((values) => [...values]));
}

// The pixels of a picture file, upright, on white; throws where the browser cannot read it.
async function readPicture(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  const { width, height } = bitmap, canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}
