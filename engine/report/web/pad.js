"use strict";
// The pad: a canvas to draw on by finger, mouse, pen or keyboard.

const INK = 280; // pixels of the pad's side
const PENS = {
  digit: () => ({ thickness: 22, step: 10, cap: "round", snap: (value) => value }),
  // Where the pad is the image itself, the pen fills the image's pixels.
  plain: (pixels) => {
    const step = INK / pixels;
    return { thickness: step, step, cap: "square", snap: (value) => (Math.floor(value / step) + 0.5) * step };
  },
};

class Pad {
  // `pen`: one of PENS; `changed` is called after every change.
  constructor(canvas, pen, changed) {
    Object.assign(this, { canvas, pen, changed, cursor: { x: pen.snap(INK / 2), y: pen.snap(INK / 4) }, down: false });
    canvas.width = canvas.height = INK;
    const paper = Object.assign(document.createElement("canvas"), { width: INK, height: INK });
    this.paper = paper.getContext("2d", { willReadFrequently: true });
    Object.assign(this.paper, { lineWidth: pen.thickness, lineCap: pen.cap, lineJoin: "round", strokeStyle: "#fff" });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.last = null; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["focus", "blur"]) canvas.addEventListener(name, () => this.show());
    this.blank();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const inside = (distance, side) => this.pen.snap(Math.min(Math.max((distance * INK) / side, 0), INK - 1));
    return { x: inside(event.clientX - box.left, box.width), y: inside(event.clientY - box.top, box.height) };
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
    const { step } = this.pen;
    const steps = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in steps) {
      const [dx, dy] = steps[event.key], from = this.cursor;
      const inside = (value) => Math.min(Math.max(value, step / 2), INK - step / 2);
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
    screen.arc(this.cursor.x, this.cursor.y, this.pen.thickness / 2, 0, 2 * Math.PI);
    Object.assign(screen, { lineWidth: 3, strokeStyle: "#f0e442", fillStyle: "#f0e442" });
    screen.stroke();
    if (this.down) screen.fill();
  }

  get ink() {
    const { data } = this.paper.getImageData(0, 0, INK, INK);
    return { width: INK, height: INK, values: Uint8Array.from({ length: INK * INK }, (_, k) => data[4 * k]) };
  }
}
