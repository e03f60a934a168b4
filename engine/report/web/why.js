"use strict";
// The page of an answer's reasons: its pictures.

const found = JSON.parse(document.getElementById("run").textContent);
const bytes = decode(found.pixels), size = sizeOf(found.shape);
for (const canvas of document.querySelectorAll("canvas[data-image]")) {
  const n = Number(canvas.dataset.image);
  drawImage(canvas, bytes.subarray(n * size, (n + 1) * size), found.shape, Number(canvas.dataset.width) / found.shape[2]);
}
