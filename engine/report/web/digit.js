"use strict";
// From ink on the pad to the network's input. Ink is { width, height, values }, row by row, 0 (paper) … 255.

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
  const rows = new Float64Array(height), columns = new Float64Array(width);
  values.forEach((value, k) => {
    if (value < 64) return;
    rows[Math.floor(k / width)] += value;
    columns[k % width] += value;
  });
  const [top, bottom] = extent(rows), [left, right] = extent(columns);
  return top < 0 ? null : { top, left, bottom, right };
}

// Shrinks a rectangle of the ink to rows × columns: each new pixel is the mean of those that it covers.
function shrink(ink, box, rows, columns) {
  const tall = (box.bottom - box.top + 1) / rows, wide = (box.right - box.left + 1) / columns;
  const small = new Float64Array(rows * columns);
  const edges = (k, step) => {
    const first = Math.floor(k * step + 0.5);
    return [first, Math.max(first + 1, Math.floor((k + 1) * step + 0.5))];
  };
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const [r0, r1] = edges(i, tall), [q0, q1] = edges(j, wide);
      let sum = 0;
      for (let r = r0; r < r1; r++)
        for (let q = q0; q < q1; q++) sum += ink.values[(box.top + r) * ink.width + box.left + q];
      small[i * columns + j] = sum / ((r1 - r0) * (q1 - q0));
    }
  return small;
}

// As MNIST was made (LeCun et al. 1998, section III-A): the digit is fitted into 20×20 of 28×28 pixels with its
// proportions kept, and put so that its centre of mass lies in the middle. The brightest pixel becomes 255.
function prepareDigit(ink, [, height, width]) {
  const field = new Uint8Array(height * width), box = inkBox(ink);
  if (!box) return field;
  const tall = box.bottom - box.top + 1, wide = box.right - box.left + 1;
  const scale = Math.min(Math.round((height * 20) / 28) / tall, Math.round((width * 20) / 28) / wide);
  const rows = Math.max(1, Math.round(tall * scale)), columns = Math.max(1, Math.round(wide * scale));
  const digit = shrink(ink, box, rows, columns), brightest = Math.max(...digit);
  let mass = 0, down = 0, right = 0;
  digit.forEach((value, k) => {
    mass += value;
    down += value * Math.floor(k / columns);
    right += value * (k % columns);
  });
  const place = (moment, length, side) => Math.min(Math.max(Math.round(length / 2 - moment / mass), 0), length - side);
  const top = place(down, height, rows), left = place(right, width, columns);
  digit.forEach((value, k) => {
    field[(top + Math.floor(k / columns)) * width + left + (k % columns)] = Math.round((value * 255) / brightest);
  });
  return field;
}

// For other grey images: the pad is the image, only finer.
function preparePlain(ink, [, height, width]) {
  return Uint8Array.from(shrink(ink, { top: 0, left: 0, bottom: ink.height - 1, right: ink.width - 1 }, height, width));
}
