"use strict";
// The page of an audit: pictures with suspicious labels, to keep, relabel or drop; decisions are kept by the browser
// until they are saved as a file.

const run = JSON.parse(document.getElementById("run").textContent);
const at = (id) => document.getElementById(id);
const bytes = decode(run.pixels), area = sizeOf(run.shape);
const STEP = 60; // cards that are added at once
const memory = `lenumba audit ${run.id}`;
let choices = recall(); // { action, to } by the item's number
let shown = 0;

function recall() {
  try {
    return JSON.parse(localStorage.getItem(memory)) ?? {};
  } catch {
    return {}; // nothing kept, or a browser that keeps nothing
  }
}

function remember() {
  try {
    localStorage.setItem(memory, JSON.stringify(choices));
  } catch {
    // then they last as long as the page
  }
}

const figure = ([value, error]) =>
  `${(100 * value).toFixed(1)}${error === null ? "" : ` ± ${(100 * error).toFixed(1)}`}\u00a0%`;

// ------------------------------------------------------------------------------------------------ cards

function makeCard(parent, number) {
  const item = run.items[number];
  const where = item.file ?? `${item.split} ${item.index}`;
  const card = add(parent, "article", { class: "card", tabindex: 0, "data-item": number, "aria-label": where });
  const picture = add(card, "canvas", { role: "img", "aria-label": `${where}, labelled ${item.label}` });
  drawImage(picture, bytes.subarray(number * area, (number + 1) * area), run.shape, 84 / run.shape[2]);
  const text = add(card, "div");
  add(add(text, "p", {}, `given ${item.label}: `), "b", {}, figure(item.given));
  add(add(text, "p", {}, `seems ${item.guess}: `), "b", {}, figure(item.guessed));
  if (item.seeds > 1) add(text, "p", {}, `${item.votes} of ${item.seeds} disagree`);
  add(card, "p", { class: "where" }, item.file ? `${item.split} ${item.index}: ${item.file}` : where);
  const row = add(card, "div", { class: "choices" });
  for (const [action, label] of [["keep", "Keep"], ["drop", "Drop"], ["relabel", "Relabel"]]) {
    add(row, "button", { type: "button", "data-action": action }, label)
      .addEventListener("click", () => choose(number, action));
  }
  const select = add(row, "select", { "aria-label": "class to relabel to" });
  for (const name of run.names) if (name !== item.label) add(select, "option", {}, name);
  select.value = item.label === item.guess ? select.options[0].value : item.guess;
  select.addEventListener("change", () => set(number, { action: "relabel", to: select.value }));
  card.addEventListener("keydown", (event) => pressed(event, card, number));
  show(number);
}

const cardsOf = (number) => document.querySelectorAll(`[data-item="${number}"]`);

function show(number) {
  const choice = choices[number];
  for (const card of cardsOf(number)) {
    card.classList.toggle("decided", Boolean(choice));
    for (const button of card.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", button.dataset.action === choice?.action);
    }
    if (choice?.to) card.querySelector("select").value = choice.to;
  }
}

// Chooses an action, or takes it back where it was chosen already.
function choose(number, action) {
  if (choices[number]?.action === action) return set(number, null);
  const to = action === "relabel" ? cardsOf(number)[0].querySelector("select").value : undefined;
  set(number, { action, to });
}

// Equal pictures with equal labels are decided about together: a decisions file cannot tell them apart.
function set(number, choice) {
  const item = run.items[number];
  run.items.forEach((other, k) => {
    if (other.image !== item.image || other.was !== item.was) return;
    if (choice) choices[k] = choice;
    else delete choices[k];
    show(k);
  });
  remember();
  tell();
}

function pressed(event, card, number) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const action = { k: "keep", r: "relabel", d: "drop" }[event.key.toLowerCase()];
  const next = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
  if (action) choose(number, action);
  else if (next) card[next]?.focus();
  else return;
  event.preventDefault();
}

// ------------------------------------------------------------------------------------------------- page

function tell() {
  const count = { keep: 0, relabel: 0, drop: 0 };
  for (const { action } of Object.values(choices)) count[action] += 1;
  const total = count.keep + count.relabel + count.drop;
  at("count").textContent = total
    ? `${count.keep} kept, ${count.relabel} relabelled, ${count.drop} dropped`
    : "Nothing decided yet";
  at("save").disabled = at("forget").disabled = !total;
}

const chosen = () => {
  const which = at("which").value;
  return run.ranking.filter((number) => {
    const item = run.items[number];
    if (which === "suspicious") return item.suspicious;
    if (which === "undecided") return item.suspicious && !choices[number];
    return which === "all" || item.label === which.slice(6);
  });
};

function showMore() {
  const numbers = chosen();
  for (const number of numbers.slice(shown, shown + STEP)) makeCard(at("labels"), number);
  shown = Math.min(shown + STEP, numbers.length);
  at("more").hidden = shown >= numbers.length;
  if (!numbers.length) at("labels").textContent = "None.";
}

function showChosen() {
  at("labels").replaceChildren();
  shown = 0;
  showMore();
}

function save() {
  const text = decisionsText(run.format, run.earlier, run.items, choices);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
  URL.revokeObjectURL(link.href);
}

function forget() {
  if (!confirm("Forget every decision on this page?")) return;
  choices = {};
  remember();
  run.items.forEach((_, number) => show(number));
  tell();
}

const suspicious = run.items.filter((item) => item.suspicious).length;
add(at("which"), "option", { value: "suspicious" }, `suspicious labels (${suspicious})`);
add(at("which"), "option", { value: "undecided" }, "those that are not decided");
add(at("which"), "option", { value: "all" }, `the whole ranking here (${run.ranking.length})`);
for (const name of run.names) add(at("which"), "option", { value: `class ${name}` }, `labelled ${name}`);
at("which").value = suspicious ? "suspicious" : "all";
at("which").addEventListener("change", showChosen);
at("more").addEventListener("click", showMore);
at("save").addEventListener("click", save);
at("forget").addEventListener("click", forget);
showChosen();
for (const numbers of run.groups) {
  const group = add(add(at("copies"), "div", { class: "group" }), "div", { class: "cards" });
  for (const number of numbers) makeCard(group, number);
}
if (!run.groups.length) at("copies").textContent = "None.";
tell();
