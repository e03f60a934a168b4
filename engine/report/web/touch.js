"use strict";
// Numbers that one can touch: pictures tell the value under the pointer or the cursor; a chosen one opens its cell: the
// window that it came from, the products, their sum, and where its gradient goes.

let chosen = null; // the open cell: { number, place }
let slopes = null; // what Network.backward found for the image and the class
const panel = document.createElement("section");
const SHOWN = 100, MOST_CHANNELS_SHOWN = 64; // products of a flat layer, and channels, that a cell lists
const MARKS = 600;
const NUDGES = [["←", "ArrowLeft", "at the left"], ["↑", "ArrowUp", "above"], ["↓", "ArrowDown", "below"], ["→", "ArrowRight", "at the right"]];

function short(value) {
  if (value === null || value === undefined) return "";
  if (!Number.isFinite(value)) return "·";
  const size = Math.abs(value);
  const text = Number.isInteger(value) && size < 1e6 ? String(value || 0)
    : size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
  return text.replaceAll("-", "−");
}

// Writes values of a matrix alike, with the decimals that give the largest three digits, as 'lenumba explain' does.
function writerFor(values) {
  const [low, high] = range(values.filter(Number.isFinite), 0, 0), largest = Math.max(-low, high);
  const whole = values.every((value) => !Number.isFinite(value) || Number.isInteger(value)), digits = Math.floor(Math.log10(largest));
  if (!largest || whole || digits < -4 || digits > 5) return short;
  const decimals = Math.max(0, 2 - digits);
  return (value) => (value && Number.isFinite(value) ? value.toFixed(decimals).replace("-", "−") : short(value));
}

const long = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(7))).replaceAll("-", "−") : "padding");
const signed = (value) => (value < 0 ? `(${short(value)})` : short(value));

function backwards() {
  return (slopes ??= network.backward(now.trace, network.judge(now.trace.outputs.at(-1), answering.truth()).dz));
}

// ------------------------------------------------------------------------------------------ pointer and keys

// Makes a drawn picture tell its values: `value(k)` is one of them, `written(k)` what it is called, `choose(k)` opens it.
function touchable(canvas, { value, written, choose }) {
  const label = canvas.getAttribute("aria-label");
  Object.entries({ tabindex: 0, role: "application", "aria-label": `${label}, values`, "aria-describedby": "touch-help" })
    .forEach(([name, text]) => canvas.setAttribute(name, text));
  const told = add(canvas.closest("figure"), "output", { class: "told" });
  let cursor = 0, mark = null;
  const hide = () => { mark?.remove(); mark = null; told.textContent = ""; };
  const show = (k) => {
    hide();
    told.textContent = `${written(k)} = ${short(value(k))}`;
    mark = over(canvas, k, k, { class: "mark cursor" });
  };
  const under = (event) => {
    const box = canvas.getBoundingClientRect(), { width, height } = canvas;
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    return valueAt(canvas.grid, x, Math.floor(((event.clientY - box.top) / box.height) * height));
  };
  const take = (k) => { cursor = k; show(k); choose?.(k); };
  canvas.addEventListener("pointermove", (event) => { const k = under(event); k < 0 ? hide() : show(k); });
  canvas.addEventListener("pointerleave", () => (document.activeElement === canvas && canvas.matches(":focus-visible") ? show(cursor) : hide()));
  canvas.addEventListener("click", (event) => { const k = under(event); if (k >= 0) take(k); });
  canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible")) show(cursor); });
  canvas.addEventListener("blur", hide);
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = stepped(canvas.grid, cursor, event.key);
    if (next !== null) show((cursor = next));
    else if (event.key === "Enter" || event.key === " ") take(cursor);
    else if (event.key === "Escape" && chosen) closeCell();
    else return;
    event.preventDefault();
  });
  canvas.goTo = (k) => { cursor = k; };
}

// The value that a key leads to from value k, across the gaps between maps; null for other keys.
function stepped({ count, height, width, across }, k, key) {
  let map = Math.floor(k / (height * width)), row = Math.floor(k / width) % height, column = k % width;
  const jump = (by, inRow) => {
    const there = map + by, fits = there >= 0 && there < count && (!inRow || Math.floor(there / across) === Math.floor(map / across));
    if (fits) map = there;
    return fits;
  };
  if (key === "ArrowRight") column + 1 < width ? column++ : jump(1, true) && (column = 0);
  else if (key === "ArrowLeft") column > 0 ? column-- : jump(-1, true) && (column = width - 1);
  else if (key === "ArrowDown") row + 1 < height ? row++ : jump(across, false) && (row = 0);
  else if (key === "ArrowUp") row > 0 ? row-- : jump(-across, false) && (row = height - 1);
  else if (key === "PageDown") jump(1, false);
  else if (key === "PageUp") jump(-1, false);
  else if (key === "Home") [row, column] = [0, 0];
  else if (key === "End") [row, column] = [height - 1, width - 1];
  else return null;
  return (map * height + row) * width + column;
}

// -------------------------------------------------------------------------------------------------- one cell

function writtenAs(tensor, k) {
  const shape = shapeOf(tensor), place = placeOf(shape, k), named = classNameOf(tensor, k);
  const index = shape[1] * shape[2] === 1 ? place[0] : place.join(",");
  return `${tensor ? network.layers[tensor - 1].name : "image"}/${index}${named && named !== String(k) ? ` (${named})` : ""}`;
}

function openCell(tensor, k) {
  chosen = { number: tensor - 1, place: placeOf(shapeOf(tensor), k) };
  showCell();
}

// Follows a value to the layer that it came from.
function followCell(tensor, k) {
  openCell(tensor, k);
  const canvas = pictureOf(tensor);
  canvas.goTo(k);
  canvas.focus();
  canvas.scrollIntoView({ block: "center" });
}

// Goes on to a neighbour, where fingers are too wide for small pictures; the button keeps the focus.
function nudge(cell, k, key) {
  openCell(cell.number + 1, k);
  panel.querySelector(`[data-key=${key}]`).focus();
}

function closeCell() {
  const canvas = pictureOf(chosen.number + 1);
  chosen = null;
  showCell();
  canvas.focus();
}

function showCell() {
  for (const mark of document.querySelectorAll(".mark:not(.cursor)")) mark.remove();
  panel.hidden = !chosen;
  if (!chosen) return;
  const cell = cellOf(network, now.trace, backwards(), chosen.number, chosen.place);
  const tensor = cell.number + 1, k = flatIndex(cell.shape, cell.place), layer = network.layers[cell.number];
  mark(pictureOf(tensor), cell.place.map((one) => [one, one + 1]), cell.shape, "chosen");
  for (const window of cell.windows) mark(pictureOf(window.tensor), window.box, shapeOf(window.tensor), "window");
  mark(imageCard.output, cell.field, network.input, "field");
  if (at("input").grid) mark(at("input"), [[0, 1], ...cell.field.slice(1)], [1, ...network.input.slice(1)], "field");
  const card = (layer ? cards[cell.number] : imageCard).card;
  if (panel.parentElement !== card) card.append(panel);
  writeCell(cell, writtenAs(tensor, k), layer);
}

// Frames the part of a box that lies in a drawn tensor, in each of its channels.
function mark(canvas, box, shape, kind) {
  const [[c0, c1], [r0, r1], [q0, q1]] = clipped(box, shape);
  for (let c = c0; c < Math.min(c1, c0 + MARKS); c++)
    over(canvas, flatIndex(shape, [c, r0, q0]), flatIndex(shape, [c, r1 - 1, q1 - 1]), { class: `mark ${kind}` });
}

const spanText = (what, [start, stop]) => (stop - start === 1 ? `${what} ${short(start)}` : `${what}s ${short(start)} to ${short(stop - 1)}`);
const boxText = (box) => ["channel", "row", "column"].map((what, k) => spanText(what, box[k])).join(", ");

function writeCell(cell, name, layer) {
  panel.replaceChildren();
  const head = add(panel, "h4", {}, `${name} = ${short(cell.value)}`);
  head.title = long(cell.value);
  add(panel, "button", { type: "button", class: "close", "aria-label": "close the cell" }, "×").addEventListener("click", closeCell);
  const row = add(panel, "div", { class: "nudges" }), grid = pictureOf(cell.number + 1).grid;
  for (const [sign, key, where] of NUDGES) {
    const button = add(row, "button", { type: "button", "aria-label": `the value ${where}`, "data-key": key }, sign);
    button.addEventListener("click", () => nudge(cell, stepped(grid, flatIndex(cell.shape, cell.place), key), key));
  }
  if (layer) add(panel, "p", { class: "equation" }, layer.equation);
  for (const window of cell.windows) {
    const padded = window.inside.every(Boolean) ? "" : "; dots and zeros outside of it are padding";
    add(panel, "p", {}, `It reads ${window.source}: ${boxText(window.box)}${padded}.`);
    writeWindow(add(panel, "div", { class: "window scroll", tabindex: 0, role: "region", "aria-label": `window of ${window.source}` }), window, cell, layer);
  }
  const sums = cell.windows.find((window) => window.products);
  if (sums) add(panel, "p", { class: "sum" }, sumText(sums, cell));
  else if (cell.windows.some((window) => window.taken)) add(panel, "p", { class: "sum" }, `The maximum is ${short(cell.value)}.`);
  if (layer && !sums && Object.keys(layer.tensors).length) add(panel, "p", { class: "sum" }, ownText(layer, cell.place[0]));
  if (layer) add(panel, "p", {}, `It depends on the image's ${boxText(cell.field)}.`);
  const where = cell.windows.length ? ` Times ${sums ? "each weight" : "∂y/∂x"}, it goes to ∂L/∂${cell.windows.map((window) => window.source).join(" and ∂L/∂")}.` : "";
  add(panel, "p", {}, `${answering.supposed()}, the gradient ∂L/∂(this value) is δ = ${short(cell.delta)}.${where}`);
  if (!moved) add(panel, "p", { class: "hint" }, "In a terminal: ").append(commandOf(cell));
}

// What a layer that works value by value has for a channel.
function ownText({ parameters }, channel) {
  const letters = { weight: "γ", bias: "β", running_mean: "μ", running_var: "v" };
  const own = Object.entries(parameters).filter(([, values]) => channel < values.length);
  return own.map(([name, values]) => `${letters[name] ?? name} = ${short(values[channel])}`).join(", ");
}

function commandOf(cell) {
  const code = document.createElement("code");
  const label = run.samples.names.indexOf(origin) >= 0 ? "" : answering.option();
  code.textContent = `lenumba explain ${run.folder} ${origin ?? "IMAGE"}${label} --cell ${cell.written}`;
  return code;
}

function sumText({ products, box }, cell) {
  const bias = cell.bias === null ? "" : ` + bias ${signed(cell.bias)}`, [channels, rows, columns] = extents(box);
  const total = (values) => values.reduce((sum, value) => sum + value, 0);
  if (channels === 1 || rows * columns === 1) return `Sum of ${products.length} products: ${short(total(products))}${bias} = ${short(cell.value)}`;
  const each = Array.from({ length: channels }, (_, c) => total(products.slice(c * rows * columns, (c + 1) * rows * columns)));
  return `Sums of the channels: ${each.map(signed).join(" + ")}${bias} = ${short(cell.value)}`;
}

// A window's values, weights, products and what goes back: matrices side by side for each channel, or a list.
function writeWindow(parent, window, cell, layer) {
  const [channels, rows, columns] = extents(window.box), follow = (k) => followCell(window.tensor, k);
  const letter = layer.kind === "conv" ? "K" : layer.kind === "dense" ? "W" : "share";
  const parts = [["x", window.values], [letter, window.weights], [`x·${letter}`, window.products]];
  if (window.passed?.some((value) => value)) parts.push([window.weights ? `δ·${letter}` : "δ·∂y/∂x", window.passed]);
  const found = parts.filter(([, values]) => values);
  if (rows * columns === 1) return writeList(parent, window, found, follow);
  const size = rows * columns, first = window.box[0][0];
  for (let c = 0; c < Math.min(channels, MOST_CHANNELS_SHOWN); c++) {
    const group = add(parent, "div", { class: "matrices" });
    found.forEach(([name, values], n) => {
      const own = values.slice(c * size, (c + 1) * size), look = lookOf(values);
      const caption = channels > 1 || cell.shape[0] > 1 ? `${name}, channel ${first + c}` : name;
      const table = add(group, "table", { class: "matrix" });
      add(table, "caption", {}, caption);
      for (let r = 0; r < rows; r++) {
        const line = add(table, "tr");
        for (let q = 0; q < columns; q++) {
          const k = r * columns + q, place = window.places[c * size + k];
          writeValue(line, own[k], look, n === 0 && place >= 0 ? () => follow(place) : null, window, c * size + k);
        }
      }
      if (n === 0) walkable(table);
    });
  }
  if (channels > MOST_CHANNELS_SHOWN) add(parent, "p", { class: "hint" }, `… and ${channels - MOST_CHANNELS_SHOWN} channels more.`);
  return null;
}

// The values of a flat window as rows of a table, the largest products first where there are many.
function writeList(parent, window, found, follow) {
  const order = window.values.map((_, k) => k), size = (k) => Math.abs((window.products ?? window.values)[k]);
  if (order.length > SHOWN) order.sort((a, b) => size(b) - size(a));
  const table = add(parent, "table", { class: "matrix list" }), head = add(table, "tr"), shape = shapeOf(window.tensor);
  add(head, "th", { scope: "col" }, "from");
  for (const [name] of found) add(head, "th", { scope: "col" }, name);
  const looks = found.map(([, values]) => lookOf(values));
  for (const k of order.slice(0, SHOWN)) {
    const line = add(table, "tr"), place = placeOf(shape, window.places[k]);
    add(line, "th", { scope: "row" }, shape[1] * shape[2] === 1 ? place[0] : place.join(","));
    found.forEach(([, values], n) => writeValue(line, values[k], looks[n], n === 0 ? () => follow(window.places[k]) : null, window, k));
  }
  walkable(table);
  if (order.length > SHOWN) add(parent, "p", { class: "hint" }, `The ${SHOWN} largest of ${order.length}.`);
}

const lookOf = (values) => ({ paint: paletteFor(values.filter(Number.isFinite)), write: writerFor(values) });

function writeValue(line, value, { paint, write }, choose, window, k) {
  const cell = add(line, "td", { title: long(value), class: window.taken?.[k] ? "taken" : window.inside[k] ? "" : "outside" });
  if (Number.isFinite(value)) {
    const colour = paint(value), bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2];
    Object.assign(cell.style, { backgroundColor: `rgb(${colour.map(Math.round)})`, color: bright > 130 ? "#000" : "#fff" });
  }
  if (!choose) return cell.append(write(value));
  const button = add(cell, "button", { type: "button", tabindex: -1 }, write(value));
  button.addEventListener("click", choose);
  return undefined;
}

// One Tab stop for a table's buttons; arrows move among them.
function walkable(table) {
  const rows = [...table.rows].map((row) => [...row.querySelectorAll("button")]).filter((row) => row.length);
  rows[0]?.[0]?.setAttribute("tabindex", 0);
  table.addEventListener("keydown", (event) => {
    const r = rows.findIndex((row) => row.includes(event.target)), q = rows[r]?.indexOf(event.target);
    const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [];
    if (event.key === "Escape") closeCell();
    else if (down === undefined) return;
    else rows[r + down]?.[Math.min(q + right, rows[r + down].length - 1)]?.focus();
    event.preventDefault();
  });
}

function makeTouchable() {
  Object.entries({ class: "cell", hidden: "", "aria-label": "how a value came about" }).forEach(([name, text]) => panel.setAttribute(name, text));
  [imageCard, ...cards].forEach((card, tensor) => {
    const layer = network.layers[tensor - 1], choose = (k) => openCell(tensor, k), written = (k) => writtenAs(tensor, k);
    touchable(card.output, { value: (k) => (tensor ? now.trace.outputs[tensor - 1] : now.trace.x)[k], written, choose });
    touchable(card.delta, {
      value: (k) => (tensor ? backwards().deltas[tensor - 1] : backwards().image)[k], written: (k) => `∂L/∂ ${written(k)}`, choose,
    });
    if (!card.kernel) return;
    const shape = layer.tensors.kernel;
    const index = (k) => shape.reduceRight(([list, rest], extent) => [[rest % extent, ...list], Math.floor(rest / extent)], [[], k])[0];
    const numbers = (k) => `${layer.name}.kernel ${index(k).join(",")}`, current = () => network.layers[tensor - 1];
    touchable(card.kernel, { value: (k) => current().parameters.kernel[k], written: numbers });
    touchable(card.gradient, { value: (k) => backwards().gradients[tensor - 1].kernel[k], written: (k) => `∂L/∂ ${numbers(k)}` });
  });
}
