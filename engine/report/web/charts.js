"use strict";
// What the run folder tells: curves, confusion matrix, histograms over time.

const SVG = "http://www.w3.org/2000/svg";

function addSvg(parent, name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

// Three to six round numbers from low to high.
function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const marks = [];
  const last = Math.floor(high / step + 1e-9);
  for (let k = Math.ceil(low / step - 1e-9); k <= last; k++) marks.push(Number((k * step).toPrecision(10)));
  return marks;
}

// Draws lines over the epochs: series are { name, values }, null where nothing was measured. Their dashes differ, too.
function lineChart(parent, title, epochs, series) {
  const shown = series.filter(({ values }) => values.some(Number.isFinite));
  const all = shown.flatMap(({ values }) => values.filter(Number.isFinite));
  if (!all.length) return;
  let [low, high] = range(all);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const first = epochs[0], last = Math.max(epochs.at(-1), first + 1);
  const x = (epoch) => 52 + (296 * (epoch - first)) / (last - first);
  const y = (value) => 210 - (195 * (value - low)) / (high - low);
  const figure = add(parent, "figure");
  const short = (value) => value?.toPrecision(3);
  const ends = shown.map(({ name, values }) => `${name} ${short(values[0])} to ${short(values.at(-1))}`);
  const label = `${title}: ${ends.join(", ")}`;
  const svg = addSvg(figure, "svg", { viewBox: "0 0 360 246", role: "img", "aria-label": label });
  for (const mark of ticks(low, high)) {
    addSvg(svg, "line", { x1: 52, x2: 348, y1: y(mark), y2: y(mark), class: "grid" });
    addSvg(svg, "text", { x: 46, y: y(mark) + 4, "text-anchor": "end" }, String(mark));
  }
  for (const mark of ticks(first, last).filter(Number.isInteger))
    addSvg(svg, "text", { x: x(mark), y: 228, "text-anchor": "middle" }, String(mark));
  addSvg(svg, "text", { x: 200, y: 243, "text-anchor": "middle" }, "epoch");
  shown.forEach(({ values }, k) => {
    const points = values.flatMap((value, n) => (Number.isFinite(value) ? [`${x(epochs[n])},${y(value)}`] : []));
    addSvg(svg, "polyline", { points: points.join(" "), class: `line line${k}` });
    if (points.length > 1) return;
    const [cx, cy] = points[0].split(",");
    addSvg(svg, "circle", { cx, cy, r: 4, class: `dot${k}` });
  });
  const caption = add(figure, "figcaption", {}, `${title}: `);
  shown.forEach(({ name }, k) => {
    const key = addSvg(caption, "svg", { viewBox: "0 0 30 10", class: "key", "aria-hidden": "true" });
    addSvg(key, "line", { x1: 0, x2: 30, y1: 5, y2: 5, class: `line line${k}` });
    add(caption, "span", {}, `${name} `);
  });
}

function drawCurves(parent, history) {
  const epochs = history.map((line) => line.epoch);
  const column = (name, factor = 1) => history.map((line) => (line[name] == null ? null : factor * line[name]));
  const both = (name, factor) => [
    { name: "training", values: column(`train_${name}`, factor) },
    { name: "validation", values: column(`val_${name}`, factor) },
  ];
  lineChart(parent, "Loss", epochs, both("loss"));
  lineChart(parent, "Accuracy in %", epochs, both("accuracy", 100));
  lineChart(parent, "Learning rate", epochs, [{ name: "of the epoch's last step", values: column("learning_rate") }]);
}

// A table: rows are what the images show, columns what the network took them for.
function drawConfusion(parent, confusion, names) {
  const table = add(parent, "table", { class: "confusion" });
  const head = add(table, "tr");
  add(head, "td", {}, "");
  names.forEach((name) => add(head, "th", { scope: "col" }, name));
  const [, wrong] = range(confusion.flatMap((row, i) => row.filter((_, j) => i !== j)), 0, 1);
  confusion.forEach((row, i) => {
    const line = add(table, "tr");
    add(line, "th", { scope: "row" }, names[i]);
    row.forEach((count, j) => {
      const cell = add(line, "td", { class: i === j ? "right" : "wrong" }, count || "");
      if (i !== j) cell.style.setProperty("--share", `${Math.round((70 * count) / wrong)}%`);
      cell.title = `${names[i]} taken for ${names[j]}: ${count}`;
    });
  });
}

// Each tensor's values over time: one row an epoch, darker where more of them lie.
function drawHistograms(parent, histograms) {
  for (const { name, low, high, counts } of histograms) {
    const [, largest] = range(counts.flat(), 0, 1);
    const canvas = addPicture(parent, `${low.toPrecision(2)} … ${name} … ${high.toPrecision(2)}`, "histogram");
    const paint = (count) => grey(1 - Math.sqrt(count / largest));
    drawMaps(canvas, counts.flat(), [1, counts.length, counts[0].length], { paint });
  }
}
