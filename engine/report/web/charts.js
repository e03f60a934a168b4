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

// Draws a chart of charts.py.
function drawChart(parent, { title, x, y, form, series, ideal, unit }) {
  const every = [...series.flatMap(({ points }) => points), ...(ideal ?? [])];
  const span = (k, low, high) => { const [a, b] = range(every.map((point) => point[k]), low, high); return a === b ? [a - 0.5, b + 0.5] : [a, b]; };
  const axes = unit ? { x: [0, 1], y: [0, 1], label: x } : { x: span(0), y: form === "bars" ? span(1, 0, 1) : span(1), label: x };
  const caption = series.some(({ name }) => name) ? title : `${title}: ${y}`;
  const drawn = lineChart(parent, caption, axes, series, `${title}: ${y} over ${x}`, form);
  if (ideal) {
    const [[x1, y1], [x2, y2]] = ideal;
    addSvg(drawn.svg, "line", { x1: drawn.x(x1), y1: drawn.y(y1), x2: drawn.x(x2), y2: drawn.y(y2), class: "ideal" });
  }
}

// How the points of a series become a picture, by a chart's form.
const FORMS = {
  lines: (svg, places, k) => {
    addSvg(svg, "polyline", { points: places.map((place) => place.join(",")).join(" "), class: `line line${k}` });
    if (places.length === 1) addSvg(svg, "circle", { cx: places[0][0], cy: places[0][1], r: 4, class: `dot${k}` });
  },
  points: (svg, places, k) => places.forEach(([cx, cy]) => addSvg(svg, "circle", { cx, cy, r: 2.5, class: `dot${k} soft` })),
  bars: (svg, places, k, floor) => {
    const steps = places.slice(0, -1).flatMap(([x, y], n) => [[x, y], [places[n + 1][0], y]]);
    const path = [[places[0][0], floor], ...steps, [places.at(-1)[0], floor]];
    addSvg(svg, "polygon", { points: path.map((place) => place.join(",")).join(" "), class: `line line${k} bar${k}` });
  },
};

// Draws lines, or another of FORMS: series are { name, points: [[x, y], …] }, axes { x: [low, high], y: [low, high], label of x, whole:
// whether x has whole numbers alone }. Their dashes differ, too. Returns the picture and where (x, y) lies in it.
function lineChart(parent, title, axes, series, description = "", form = "lines") {
  const [left, right] = axes.x, [low, high] = axes.y;
  const x = (value) => 52 + (296 * (value - left)) / (right - left);
  const y = (value) => 210 - (195 * (value - low)) / (high - low);
  const figure = add(parent, "figure");
  const svg = addSvg(figure, "svg", { viewBox: "0 0 360 246", role: "img", "aria-label": description || title });
  for (const mark of ticks(low, high)) {
    addSvg(svg, "line", { x1: 52, x2: 348, y1: y(mark), y2: y(mark), class: "grid" });
    addSvg(svg, "text", { x: 46, y: y(mark) + 4, "text-anchor": "end" }, String(mark));
  }
  for (const mark of ticks(left, right).filter((mark) => !axes.whole || Number.isInteger(mark)))
    addSvg(svg, "text", { x: x(mark), y: 228, "text-anchor": "middle" }, String(mark));
  addSvg(svg, "text", { x: 200, y: 243, "text-anchor": "middle" }, axes.label);
  series.forEach(({ points }, k) => {
    FORMS[form](svg, points.map((point) => [x(point[0]), y(point[1])]), k, y(low));
  });
  const caption = add(figure, "figcaption", {}, series.some(({ name }) => name) ? `${title}: ` : title);
  series.filter(({ name }) => name).forEach(({ name }, k) => {
    const key = addSvg(caption, "svg", { viewBox: "0 0 30 10", class: "key", "aria-hidden": "true" });
    addSvg(key, "line", { x1: 0, x2: 30, y1: 5, y2: 5, class: `line line${k}` });
    add(caption, "span", {}, `${name} `);
  });
  return { svg, x, y };
}

// Draws values over the epochs: series are { name, values }, null where nothing was measured.
function epochChart(parent, title, epochs, series) {
  const shown = series.filter(({ values }) => values.some(Number.isFinite));
  const all = shown.flatMap(({ values }) => values.filter(Number.isFinite));
  if (!all.length) return;
  let [low, high] = range(all);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const axes = { x: [epochs[0], Math.max(epochs.at(-1), epochs[0] + 1)], y: [low, high], label: "epoch", whole: true };
  const short = (value) => value?.toPrecision(3);
  const ends = shown.map(({ name, values }) => `${name} ${short(values[0])} to ${short(values.at(-1))}`);
  const lines = shown.map(({ name, values }) => (
    { name, points: values.flatMap((value, n) => (Number.isFinite(value) ? [[epochs[n], value]] : [])) }
  ));
  lineChart(parent, title, axes, lines, `${title}: ${ends.join(", ")}`);
}

// Adds one input, `wide` pixels wide: an image on a canvas, a signal [channels, 1, length] as curves.
function addInput(parent, values, shape, wide, attributes = {}) {
  if (!(values instanceof Float32Array)) return drawImage(add(parent, "canvas", attributes), values, shape, wide / shape[2]);
  if (shape[1] > 1) return drawMaps(add(parent, "canvas", attributes), values, shape, { across: 1, scale: wide / shape[2] });
  const [channels, , length] = shape, tall = Math.round(0.6 * wide), [low, high] = range(values);
  const svg = addSvg(parent, "svg", { viewBox: `0 0 ${wide} ${tall}`, width: wide, height: tall, class: "signal", ...attributes });
  const x = (k) => 1 + ((wide - 2) * k) / Math.max(1, length - 1);
  const y = (value) => tall - 2 - ((tall - 4) * (value - low)) / (high - low || 1);
  for (let c = 0; c < channels; c++) {
    const points = Array.from(values.subarray(c * length, (c + 1) * length), (value, k) => `${x(k).toFixed(1)},${y(value).toFixed(1)}`);
    addSvg(svg, "polyline", { points: points.join(" "), class: "line line0" });
  }
  return svg;
}

const MOST_CHANNELS = 6;

// Draws a signal large, a chart for each of the first channels.
function drawSignal(parent, values, [channels, , length], what = "what the network sees") {
  parent.replaceChildren();
  for (let c = 0; c < Math.min(channels, MOST_CHANNELS); c++) {
    const own = Array.from(values.subarray(c * length, (c + 1) * length));
    let [low, high] = range(own);
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const title = channels > 1 ? `${what}, channel ${c} of ${channels}` : what;
    const axes = { x: [0, Math.max(1, length - 1)], y: [low, high], label: "position", whole: true };
    lineChart(parent, title, axes, [{ points: own.map((value, k) => [k, value]) }]);
  }
}

// Draws panels { label, figure, scale } over the epochs, and the learning rate.
function drawCurves(parent, history, panels) {
  const epochs = history.map((line) => line.epoch);
  const column = (name, factor = 1) => history.map((line) => (line[name] == null ? null : factor * line[name]));
  for (const { label, figure, scale } of panels) {
    const lines = { training: `train_${figure}`, validation: `val_${figure}` };
    const series = Object.entries(lines).map(([name, key]) => ({ name, values: column(key, scale) }));
    epochChart(parent, label[0].toUpperCase() + label.slice(1), epochs, series);
  }
  epochChart(parent, "Learning rate", epochs, [{ name: "of the epoch's last step", values: column("learning_rate") }]);
}

// A table: rows are what the images show, columns what the network took them for. `cells` has, for those that have
// images to name, [row, column, names]; choosing one lists them.
function drawConfusion(parent, confusion, names, cells) {
  const table = add(parent, "table", { class: "confusion" }), head = add(table, "tr");
  const named = new Map(cells.map(([i, j, images]) => [i * names.length + j, images]));
  const list = add(parent, "p", { class: "hint", role: "status", "aria-live": "polite" });
  add(head, "td", {}, "");
  names.forEach((name) => add(head, "th", { scope: "col" }, name));
  const [, wrong] = range(confusion.flatMap((row, i) => row.filter((_, j) => i !== j)), 0, 1);
  confusion.forEach((row, i) => {
    const line = add(table, "tr");
    add(line, "th", { scope: "row" }, names[i]);
    row.forEach((count, j) => {
      const images = named.get(i * names.length + j), cell = add(line, "td", { class: i === j ? "right" : "wrong" });
      if (i !== j) cell.style.setProperty("--share", `${Math.round((70 * count) / wrong)}%`);
      cell.title = `${count}× ${names[i]} taken for ${names[j]}`;
      if (!images) return cell.append(count || "");
      const more = count > images.length ? `, and ${count - images.length} more` : "";
      add(cell, "button", { type: "button", "aria-label": cell.title }, count).addEventListener("click", () => {
        list.textContent = `${cell.title}: ${images.join(", ")}${more}`;
      });
    });
  });
}

// The answers' probabilities against how often they are right; the dots' areas are the numbers of images.
function drawReliability(parent, calibration) {
  const { before, after, images } = calibration;
  const line = (name, { confidence, accuracy }) => ({ name, points: confidence.map((value, k) => [value, accuracy[k]]) });
  const series = [line("as it answers", before)];
  if (after) series.push(line(`at temperature ${calibration.temperature.toPrecision(3)}`, after));
  const error = (found) => `${(100 * found.expected_calibration_error).toFixed(2)} %`;
  const what = `Reliability: expected calibration error ${error(before)}${after ? `, at the temperature ${error(after)}` : ""}`;
  const axes = { x: [0, 1], y: [0, 1], label: "probability of the answer" };
  const { svg, x, y } = lineChart(parent, "Share of right answers", axes, series, what);
  addSvg(svg, "line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "ideal" });
  [before, after].filter(Boolean).forEach(({ confidence, accuracy, counts }, k) => {
    counts.forEach((count, n) => {
      const r = 2 + 9 * Math.sqrt(count / images);
      addSvg(svg, "circle", { cx: x(confidence[n]), cy: y(accuracy[n]), r, class: `dot${k} soft` });
    });
  });
  const rows = [["", "as it answers", ...(after ? [`at temperature ${calibration.temperature.toPrecision(3)}`] : [])]];
  const found = [before, after].filter(Boolean);
  rows.push(["expected calibration error", ...found.map(error)]);
  rows.push(["negative log-likelihood (NLL)", ...found.map(({ nll }) => nll.toFixed(4))]);
  if (after) {
    const { validation_nll_before: first, validation_nll_after: second } = calibration;
    rows.push(["NLL of the validation images", first.toFixed(4), second.toFixed(4)]);
  }
  const table = add(add(parent, "div", { class: "scroll" }), "table", { class: "plain" });
  rows.forEach((row, k) => {
    const tr = add(add(table, k ? "tbody" : "thead"), "tr");
    row.forEach((text, n) => add(tr, n && k ? "td" : "th", { scope: n ? "col" : "row" }, text));
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

// Draws groups of charts: { what, note, charts }.
function drawGroups(parent, groups) {
  for (const { what, note, charts } of groups) {
    add(parent, "h3", {}, what[0].toUpperCase() + what.slice(1));
    if (note) add(parent, "p", { class: "hint" }, note);
    const row = add(parent, "div", { class: "charts" });
    charts.forEach((chart) => drawChart(row, chart));
  }
}
