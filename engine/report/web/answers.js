"use strict";
// What a network answers, by the kind of its target: what is right, how it is said, and what it can be told to be.
//
// `names` are those of the outputs, `makeTruth(parent)` adds controls for what is right, `setTruth(truth)` sets them to a
// sample's, `truth()` returns what Network.judge takes, `outputs(trace)` the answer in its own units, `said(values)` and
// `bars(values)` tell it, `supposed()` says what is taken for right, `changed(before, after)` what a step did.

const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
const digits = (value) => String(Number(value.toPrecision(4))).replace("-", "−");

// The share of each class; a single output is that of class 1.
const shares = (outputs) => (outputs.length === 1 ? [1 - outputs[0], outputs[0]] : outputs);

const ANSWERS = {
  class: (names) => ({
    names: run.network.layers.at(-1).output[0] === 1 ? [names[1]] : names,
    rows: names,
    makeTruth(parent) {
      const select = add(add(parent, "label", {}, "It is "), "select", { id: "label" });
      names.forEach((name, k) => add(select, "option", { value: k }, name));
    },
    setTruth: (label) => { at("label").value = label; },
    truth: () => Number(at("label").value),
    values: (outputs) => shares(outputs),
    said: (values) => { const k = classOf(now.outputs); return `${names[k]} – ${percent(values[k])}`; },
    best: (values, k) => k === classOf(now.outputs),
    bar: (value) => [value, percent(value)],
    task: "Say which class the image is, then step.",
    supposed: () => `If “${names[Number(at("label").value)]}” is right`,
    changed: (before, after) => {
      const k = Number(at("label").value);
      return `, “${names[k]}” from ${percent(before[k])} to ${percent(after[k])}`;
    },
    told: (label, values) => [`is ${names[label]}: ${percent(values[label])}`],
    called: (label) => names[label],
    option: () => ` --label ${at("label").value}`,
  }),

  labels: (names) => ({
    names,
    rows: names,
    makeTruth(parent) {
      const group = add(parent, "fieldset", { class: "truth" });
      add(group, "legend", {}, "It is");
      names.forEach((name) => {
        const label = add(group, "label");
        add(label, "input", { type: "checkbox" });
        label.append(` ${name}`);
      });
    },
    setTruth: (truth) => boxes().forEach((box, k) => { box.checked = truth[k] > 0.5; }),
    truth: () => boxes().map((box) => Number(box.checked)),
    values: (outputs) => outputs,
    said: (values) => names.filter((_, k) => values[k] >= 0.5).join(", ") || "none of the labels",
    best: (values, k) => values[k] >= 0.5,
    bar: (value) => [value, percent(value)],
    task: "Say which labels the image has, then step.",
    supposed: () => `If it is ${names.filter((_, k) => boxes()[k].checked).map((name) => `“${name}”`).join(" and ") || "none of the labels"}`,
    changed: (before, after) => names.map((name, k) => `, “${name}” from ${percent(before[k])} to ${percent(after[k])}`).slice(0, 3).join(""),
    called: (truth) => names.filter((_, k) => truth[k] > 0.5).join(", ") || "none",
    option: () => "",
  }),

  numbers: (names) => ({
    names,
    rows: names,
    makeTruth(parent) {
      const group = add(parent, "fieldset", { class: "truth" });
      add(group, "legend", {}, "It is");
      names.forEach((name) => add(add(group, "label", {}, `${name} `), "input", { type: "number", step: "any", inputmode: "decimal" }));
    },
    setTruth: (truth) => boxes().forEach((box, k) => { box.value = Number(truth[k].toPrecision(6)); }),
    truth: () => boxes().map((box, k) => (Number(box.value) - run.units.mean[k]) / run.units.deviation[k]),
    values: (outputs) => outputs.map((value, k) => value * run.units.deviation[k] + run.units.mean[k]),
    said: (values) => values.slice(0, 3).map((value, k) => `${names[k]} ${digits(value)}`).join(", ") + (values.length > 3 ? ", …" : ""),
    best: () => false,
    bar: (value, k) => [(value - run.spans[k][0]) / (run.spans[k][1] - run.spans[k][0] || 1), digits(value)],
    task: "Say which numbers are right, then step.",
    supposed: () => `If ${names.slice(0, 3).map((name, k) => `${name} is ${digits(Number(boxes()[k].value))}`).join(" and ")}${names.length > 3 ? " …" : ""}`,
    changed: (before, after) => names.map((name, k) => `, ${name} from ${digits(before[k])} to ${digits(after[k])}`).slice(0, 3).join(""),
    called: (truth) => names.slice(0, 3).map((name, k) => `${name} ${digits(truth[k])}`).join(", "),
    option: () => "",
  }),

  input: (names) => ({
    names: [],
    rows: [],
    makeTruth: () => {},
    setTruth: () => {},
    truth: () => now.trace.x,
    values: (outputs) => outputs,
    said: (values) => `anomaly score ${digits(values.reduce((sum, value, k) => sum + (value - now.trace.x[k]) ** 2, 0) / values.length)}`,
    best: () => false,
    task: "What is right is the image itself: step.",
    supposed: () => "As the image itself is what is right",
    changed: () => "",
    called: (label) => names[label],
    option: () => "",
  }),
};

const boxes = () => [...at("truth").querySelectorAll("input")];

// What a reconstruction looks like in the input's own values.
function asInput(values) {
  const { scale, shift, input } = run.network, area = input[1] * input[2];
  const own = (value, k) => { const map = Math.floor(k / area); return (value - shift[map]) / (scale[map] || 1); };
  if (run.type === "float32") return Float32Array.from(values, own);
  return Uint8Array.from(values, (value, k) => Math.min(255, Math.max(0, Math.round(own(value, k)))));
}
