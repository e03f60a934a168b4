"use strict";
// What somebody decided about labels, as the text of a decisions file (read by engine/data/decisions.py).

// An image's key and the label that it has in the data set's files.
const ofImage = (row) => `${row.image} ${row.label}`;

// Returns the row of a decision about an item { image, label, was, split, index, file }; `was` is the label in the data
// set's files, which earlier decisions may have changed to `label`. The choice is { action, to }.
function decisionRow(item, choice) {
  const wanted = { keep: item.label, relabel: choice.to, drop: "" }[choice.action];
  const row = { image: item.image, label: item.was, action: "drop", split: item.split, index: item.index };
  if (item.file) row.file = item.file;
  if (choice.action !== "drop") row.action = wanted === item.was ? "keep" : "relabel";
  if (row.action === "relabel") row.to = wanted;
  return row;
}

// Returns the file: earlier rows, and those of the choices (by the item's number), which go before them.
function decisionsText(format, earlier, items, choices) {
  const rows = new Map(earlier.map((row) => [ofImage(row), row]));
  for (const [number, choice] of Object.entries(choices)) {
    const row = decisionRow(items[number], choice);
    rows.set(ofImage(row), row);
  }
  return `${JSON.stringify({ format, decisions: [...rows.values()] }, null, 1)}\n`;
}
