"use strict";
// From ink, on the pad or in a picture, to the network's input. Ink is a plane of values from 0 (paper) up.

// Where the ink of a row or column profile begins and ends, leaving out specks: 0.03 % of it on either side.
function extent(profile) {
  const total = profile.reduce((sum, value) => sum + value, 0), last = profile.length - 1;
  let mass = 0;
  const below = profile.map((value) => (mass += value));
  const reach = (share) => below.findIndex((value) => value > share * total);
  const end = reach(1 - 0.0003);
  return [reach(0.0003), end < 0 ? last : end];
}

// The rectangle with the ink, or null where there is none. The faint rim of a stroke does not widen it.
function inkBox({ width, height, values }) {
  const rows = new Float64Array(height), columns = new Float64Array(width), [, strongest] = range(values, 0, 0);
  values.forEach((value, k) => {
    if (value <= strongest / 4) return;
    rows[Math.floor(k / width)] += value;
    columns[k % width] += value;
  });
  const [top, bottom] = extent(rows), [left, right] = extent(columns);
  return top < 0 ? null : { top, left, bottom, right };
}

// The part of a plane inside a rectangle.
function crop({ width, values }, { top, left, bottom, right }) {
  const wide = right - left + 1, tall = bottom - top + 1;
  const place = (k) => (top + Math.floor(k / wide)) * width + left + (k % wide);
  return { width: wide, height: tall, values: Float64Array.from({ length: wide * tall }, (_, k) => values[place(k)]) };
}

// As MNIST was made (LeCun et al. 1998, section III-A): the digit is fitted into 20×20 of 28×28 pixels with its
// proportions kept, and put so that its centre of mass lies in the middle. The brightest pixel becomes 255.
function prepareDigit(ink, [, height, width]) {
  const field = new Uint8Array(height * width), box = inkBox(ink);
  if (!box) return field;
  const inside = crop(ink, box), tall = inside.height, wide = inside.width;
  const scale = Math.min(rounded((height * 20) / 28) / tall, rounded((width * 20) / 28) / wide);
  const rows = Math.max(1, rounded(tall * scale)), columns = Math.max(1, rounded(wide * scale));
  // A box filter counts the ink per pixel, which is what shrinking means; enlarging, it would make blocks.
  const digit = resize(inside, rows, columns, scale <= 1 ? BOX : TRIANGLE).values, brightest = Math.max(...digit);
  let mass = 0, down = 0, right = 0;
  digit.forEach((value, k) => {
    mass += value;
    down += value * Math.floor(k / columns);
    right += value * (k % columns);
  });
  const place = (moment, length, side) => Math.min(Math.max(rounded(length / 2 - moment / mass), 0), length - side);
  const top = place(down, height, rows), left = place(right, width, columns);
  digit.forEach((value, k) => {
    field[(top + Math.floor(k / columns)) * width + left + (k % columns)] = rounded((value * 255) / brightest);
  });
  return field;
}

// For other grey images: the pad is the image, only finer.
function preparePlain(ink, [, height, width]) {
  return Uint8Array.from(resize(ink, height, width, BOX, byte).values);
}
