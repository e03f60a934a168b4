"use strict";
// The page of an evaluation: the confusion matrix, the worst mistakes, a class's curves, the reliability diagram.

const found = JSON.parse(document.getElementById("run").textContent);
const at = (id) => document.getElementById(id);
const names = found.class_names;
const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

function drawMistakes({ pixels, items }) {
  const bytes = decodeValues(pixels, found.type), [channels, height, width] = found.shape, size = channels * height * width;
  items.forEach((item, n) => {
    const figure = add(at("mistakes"), "figure", { class: "mistake" });
    const label = { role: "img", "aria-label": `image ${item.image}` };
    addInput(figure, bytes.subarray(n * size, (n + 1) * size), found.shape, 84, label);
    add(figure, "span", {}, `is ${item.label}: ${percent(item.label_probability)}`);
    add(figure, "span", {}, `seems ${item.predicted}: ${percent(item.probability)}`);
    add(figure, "span", { class: "hint" }, item.image);
  });
  if (!items.length) at("mistakes").textContent = "None: every image was recognised.";
}

function showClass() {
  const k = Number(at("class").value), { roc, precision_recall } = found.curves[k], area = (value) => value?.toFixed(4) ?? "–";
  at("curves").replaceChildren();
  at("areas").textContent = `AP ${area(found.average_precision[k])}, AUC ${area(found.roc_auc[k])}`;
  if (found.average_precision[k] === null) return at("curves").append("There are no images of this class.");
  const unit = (label) => ({ x: [0, 1], y: [0, 1], label });
  const first = `Precision of “${names[k]}” over recall`, second = `Recall of “${names[k]}” over fall-out`;
  lineChart(at("curves"), first, unit("recall"), [{ points: precision_recall }]);
  if (found.roc_auc[k] === null) return;
  const { svg, x, y } = lineChart(at("curves"), second, unit("fall-out"), [{ points: roc }]);
  addSvg(svg, "line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "ideal" });
}

drawConfusion(at("confusion"), found.confusion, names, found.cells);
drawMistakes(found.mistakes);
names.forEach((name, k) => add(at("class"), "option", { value: k }, name));
at("class").value = found.hardest;
at("class").addEventListener("change", showClass);
showClass();
if (found.calibration) drawReliability(at("calibration"), found.calibration);
