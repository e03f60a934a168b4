"use strict";
// The page of an evaluation whose target is no class: charts, and the samples that are farthest from the truth.

const found = JSON.parse(document.getElementById("run").textContent);
const size = sizeOf(found.shape);
const inputs = (text) => {
  const values = decodeValues(text, found.type);
  return Array.from({ length: values.length / size }, (_, n) => values.subarray(n * size, (n + 1) * size));
};

function drawWorst(parent, { pixels, rebuilt, names, lines }) {
  const given = rebuilt && inputs(rebuilt);
  inputs(pixels).forEach((values, n) => {
    const figure = add(parent, "figure", { class: "mistake" });
    addInput(figure, values, found.shape, 84, { role: "img", "aria-label": `image ${names[n]}` });
    if (given) addInput(figure, given[n], found.shape, 84, { role: "img", "aria-label": "what the network gives back" });
    for (const line of lines[n]) add(figure, "span", {}, line);
    add(figure, "span", { class: "hint" }, names[n]);
  });
}

drawGroups(document.getElementById("groups"), found.groups);
drawWorst(document.getElementById("mistakes"), found.mistakes);
