"use strict";
// The page: what happens when somebody draws, chooses an image, or steps through backpropagation.

const run = JSON.parse(document.getElementById("run").textContent);
const weights = new Float32Array(decode(run.weights).buffer);
const at = (id) => document.getElementById(id);
const names = run.class_names;
const answering = ANSWERS[run.target](names);

let network = new Network(structuredClone(run.network), weights);
let now = null; // the image in the network: { pixels, trace, outputs }
let lesson = null; // the gradient step that is being walked through: { label, loss, gradients, deltas, image, shown }
let origin = null; // the test image's name, if it is one
let moved = false; // whether steps have changed the weights

// Images or signals in a pack: values of all of them one after the other, and their labels.
const images = ({ pixels }) => {
  const bytes = decodeValues(pixels, run.type), size = sizeOf(run.network.input);
  return Array.from({ length: bytes.length / size }, (_, n) => bytes.subarray(n * size, (n + 1) * size));
};

// ------------------------------------------------------------------------------------------------ forward

function look(pixels) {
  const trace = network.forward(pixels);
  now = { pixels, trace, outputs: Array.from(network.judge(trace.outputs.at(-1), 0).outputs) };
  lesson = null;
  slopes = null;
  showInput("input", pixels, "what the network sees");
  if (run.target === "input") showInput("rebuilt", asInput(now.outputs), "what it gives back");
  showAnswer();
  showLayers();
  showLesson();
  showCell();
}

function showInput(id, pixels, what) {
  const shape = run.network.input, scale = Math.max(2, Math.floor(112 / shape[2]));
  if (run.prepare === "signal") drawSignal(at(id), pixels, shape, what);
  else if (run.type === "float32") drawMaps(at(id), pixels, shape, { across: 1, scale });
  else drawImage(at(id), pixels, shape, scale);
}

function showAnswer() {
  const values = answering.values(now.outputs);
  at("answer").textContent = answering.said(values);
  [...at("bars").children].forEach((row, k) => {
    const [share, text] = answering.bar(values[k], k);
    row.classList.toggle("best", answering.best(values, k));
    row.querySelector("i").style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
    row.querySelector("output").textContent = text;
  });
}

function makeBars() {
  for (const name of answering.rows) {
    const row = add(at("bars"), "li");
    add(row, "span", {}, name);
    add(add(row, "b"), "i");
    add(row, "output");
  }
}

// -------------------------------------------------------------------------------------------- backpropagation

const biggest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0).toPrecision(3);

// One step: first the loss, then a layer's gradients after the other from the last one down, then the update.
function step() {
  const truth = answering.truth();
  if (!lesson || lesson.done) {
    const { loss, dz } = network.judge(now.trace.outputs.at(-1), truth);
    lesson = { loss, ...network.backward(now.trace, dz), shown: network.layers.length };
  } else if (lesson.shown > 0) {
    lesson.shown -= 1;
    showLesson();
    cards[lesson.shown].card.scrollIntoView({ block: "center" });
    return;
  } else {
    const before = { loss: lesson.loss, values: answering.values(now.outputs) };
    network.update(lesson.gradients, Number(at("rate").value));
    moved = true;
    look(now.pixels);
    const { loss } = network.judge(now.trace.outputs.at(-1), truth);
    lesson = { done: true, before, loss, shown: network.layers.length };
    showKernels();
  }
  showLesson();
}

function allSteps() {
  do step(); while (!lesson.done);
}

function reset() {
  network = new Network(structuredClone(run.network), weights);
  moved = false;
  showKernels();
  look(now.pixels);
}

function showLesson() {
  const layers = network.layers;
  imageCard.back.hidden = !lesson?.gradients || lesson.shown > 0;
  if (!imageCard.back.hidden) drawTensor(imageCard.delta, lesson.image, 0);
  layers.forEach((layer, k) => {
    cards[k].back.hidden = !lesson?.gradients || k < lesson.shown;
    if (cards[k].back.hidden) return;
    drawTensor(cards[k].delta, lesson.deltas[k], k + 1);
    const gradient = lesson.gradients[k];
    if (gradient.kernel) drawKernel(cards[k].gradient, gradient.kernel, layer);
    const sizes = Object.entries(gradient).map(([name, values]) => `largest |∂L/∂${name}| = ${biggest(values)}`);
    cards[k].note.textContent = sizes.join(", ");
  });
  at("step").textContent = "Step: the loss";
  if (!lesson) {
    at("story").textContent = answering.task;
  } else if (lesson.done) {
    const { before, loss } = lesson;
    at("story").textContent =
      `Updated: the loss went from ${before.loss.toFixed(4)} to ${loss.toFixed(4)}` +
      `${answering.changed(before.values, answering.values(now.outputs))}.`;
  } else {
    at("step").textContent = `Step: ${lesson.shown > 0 ? `back to ${layers[lesson.shown - 1].name}` : "update"}`;
    const reached = lesson.shown < layers.length ? `. The gradients have come back to ${layers[lesson.shown].name}.` : ".";
    at("story").textContent = `${answering.supposed()}, the loss is ${lesson.loss.toFixed(4)}${reached}`;
  }
}

// ------------------------------------------------------------------------------------------------- input

let pad = null;

function makePad() {
  if (!run.pad) return ["drawing", "pad-help"].forEach((id) => at(id).remove());
  const prepare = { digit: prepareDigit, plain: preparePlain }[run.pad];
  let waiting = false;
  pad = new Pad(at("pad"), PENS[run.pad](run.network.input), () => {
    if (waiting) return;
    waiting = true; // at most once a frame, however many events come
    requestAnimationFrame(() => {
      waiting = false;
      at("chosen").textContent = "";
      origin = null;
      look(prepare(pad.ink, run.network.input));
    });
  });
  at("clear").addEventListener("click", () => pad.clear());
}

// What becomes of a file: an input, or null with a reason.
async function readPictureInput(file) {
  const pixels = preparePicture(await readPicture(file), run.prepare, run.network.input);
  return pixels ? { pixels } : { fault: "no digit that stands out from its background" };
}

// Of a file of signals, the row that is asked for, the first at first.
async function readSignalInput(file) {
  let rows;
  try {
    rows = readRows(await file.text(), run.network.input);
  } catch (error) {
    return { fault: error.message };
  }
  const number = at("row"), shown = () => rows.findLast(({ line }) => line <= Number(number.value)) ?? rows[0];
  Object.assign(number, { min: rows[0].line, max: rows.at(-1).line, value: rows[0].line });
  number.closest("label").hidden = rows.length === 1;
  number.oninput = () => look(shown().values);
  return { pixels: rows[0].values };
}

// A file of one's own, chosen or dropped anywhere on the page.
function makeChooser() {
  if (!run.prepare) return at("own").remove();
  const take = async (file) => {
    if (!file) return;
    let fault = "no picture that this browser can read";
    try {
      const { pixels, fault: reason = "" } = await (run.prepare === "signal" ? readSignalInput : readPictureInput)(file);
      fault = reason;
      if (pixels) {
        pad?.blank();
        origin = null;
        look(pixels);
      }
    } catch (error) {
      console.warn(error);
    }
    at("chosen").textContent = fault ? `${file.name}: ${fault}` : file.name;
  };
  at("file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
}

function makeSamples() {
  images(run.samples).forEach((pixels, n) => {
    const label = run.samples.labels[n];
    const button = add(at("samples"), "button", { type: "button", "aria-label": `test image: ${answering.called(label)}` });
    addInput(button, pixels, run.network.input, run.prepare === "signal" ? 84 : 36);
    button.addEventListener("click", () => choose(pixels, label, run.samples.names[n]));
  });
}

function choose(pixels, label, name) {
  origin = name;
  at("chosen")?.replaceChildren();
  pad?.blank();
  answering.setTruth(label);
  look(pixels);
}

function makeMistakes() {
  const { labels, lines } = run.mistakes, rebuilt = run.mistakes.rebuilt && images({ pixels: run.mistakes.rebuilt });
  images(run.mistakes).forEach((pixels, n) => {
    const button = add(at("mistakes"), "button", { type: "button" });
    addInput(button, pixels, run.network.input, 84);
    if (rebuilt) addInput(button, rebuilt[n], run.network.input, 84, { role: "img", "aria-label": "what the network gives back" });
    for (const line of lines[n]) add(button, "span", {}, line);
    add(button, "span", { class: "hint" }, run.mistakes.names[n]);
    button.addEventListener("click", () => {
      choose(pixels, labels[n], run.mistakes.names[n]);
      at("try").scrollIntoView();
    });
  });
  if (!labels.length) at("mistakes").textContent = run.absent || "None: every test image was recognised.";
}

// -------------------------------------------------------------------------------------------------- start

makeBars();
makeCards();
makeTouchable();
makePad();
makeChooser();
makeSamples();
makeMistakes();
answering.makeTruth(at("truth"));
at("rate").value = run.rate;
at("step").addEventListener("click", step);
at("all").addEventListener("click", allSteps);
at("reset").addEventListener("click", reset);
at("truth").addEventListener("change", () => { lesson = slopes = null; showLesson(); showCell(); });
drawCurves(at("curves"), run.history, run.panels);
if (run.absent) at("samples").textContent = run.absent;
if (run.groups) drawGroups(at("groups"), run.groups);
else if (run.absent) at("confusion").textContent = run.absent;
else drawConfusion(at("confusion"), run.confusion, names, run.cells);
if (run.calibration) drawReliability(at("calibration"), run.calibration);
drawHistograms(at("histograms"), run.histograms);
showKernels();
if (run.absent) look(new (run.type === "float32" ? Float32Array : Uint8Array)(sizeOf(run.network.input)));
else choose(images(run.samples)[0], run.samples.labels[0], run.samples.names[0]);
