"use strict";
// The pad: a canvas to draw on by finger, mouse, pen or keyboard.

const INK = 280; // pixels of the pad's side
const STEP = INK / 28; // of the keyboard's cursor

class Pad {
  // `thickness` of the line in the pad's pixels; `changed` is called after every change.
  constructor(canvas, thickness, changed) {
    Object.assign(this, { canvas, thickness, changed, cursor: { x: INK / 2, y: INK / 4 }, down: false });
    canvas.width = canvas.height = INK;
    const paper = Object.assign(document.createElement("canvas"), { width: INK, height: INK });
    this.paper = paper.getContext("2d", { willReadFrequently: true });
    Object.assign(this.paper, { lineWidth: thickness, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.last = null; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["focus", "blur"]) canvas.addEventListener(name, () => this.show());
    this.blank();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * INK) / box.width, y: ((event.clientY - box.top) * INK) / box.height };
  }

  press(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.place(event);
    this.line(this.last, this.last);
  }

  drag(event) {
    if (!this.last) return;
    const here = this.place(event);
    this.line(this.last, here);
    this.last = here;
  }

  // Arrows move the cursor, space puts the pen down or lifts it, Delete clears.
  key(event) {
    const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    if (event.key in steps) {
      const [dx, dy] = steps[event.key], from = this.cursor;
      const inside = (value) => Math.min(Math.max(value, STEP / 2), INK - STEP / 2);
      this.cursor = { x: inside(from.x + dx), y: inside(from.y + dy) };
      if (this.down) this.line(from, this.cursor);
    } else if (event.key === " ") {
      this.down = !this.down;
      if (this.down) this.line(this.cursor, this.cursor);
    } else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
    this.show();
  }

  line(from, to) {
    this.paper.beginPath();
    this.paper.moveTo(from.x, from.y);
    this.paper.lineTo(to.x + 0.01, to.y);
    this.paper.stroke();
    this.show();
    this.changed();
  }

  blank() {
    this.down = false;
    this.paper.fillStyle = "#000";
    this.paper.fillRect(0, 0, INK, INK);
    this.show();
  }

  clear() {
    this.blank();
    this.changed();
  }

  // Copies the paper to the screen, and draws the keyboard's cursor: a ring, filled while the pen is down.
  show() {
    const screen = this.canvas.getContext("2d");
    screen.drawImage(this.paper.canvas, 0, 0);
    if (!this.canvas.matches(":focus-visible")) return;
    screen.beginPath();
    screen.arc(this.cursor.x, this.cursor.y, this.thickness / 2, 0, 2 * Math.PI);
    Object.assign(screen, { lineWidth: 3, strokeStyle: "#f0e442", fillStyle: "#f0e442" });
    screen.stroke();
    if (this.down) screen.fill();
  }

  get ink() {
    const { data } = this.paper.getImageData(0, 0, INK, INK);
    return { width: INK, height: INK, values: Uint8Array.from({ length: INK * INK }, (_, k) => data[4 * k]) };
  }
}
