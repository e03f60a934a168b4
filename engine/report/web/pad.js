"use strict";
// The pad: a canvas to draw on by finger, mouse, pen or keyboard.

const INK = 280; // pixels of the pad's side
// For images [channels, height, width]: `across` and `down` are how many units of the pen the pad's sides have.
const PENS = {
  digit: () => ({ across: INK, down: INK, thickness: 22, step: 10, cap: "round", snap: (value) => value }),
  // Where the pad is the image itself, the pen fills the image's pixels, whatever their shape.
  plain: ([, height, width]) => (
    { across: width, down: height, thickness: 1, step: 1, cap: "square", snap: (value) => Math.floor(value) + 0.5 }
  ),
};

class Pad {
  // `pen`: one of PENS; `changed` is called after every change.
  constructor(canvas, pen, changed) {
    Object.assign(this, { canvas, pen, changed, down: false });
    this.cursor = { x: pen.snap(pen.across / 2), y: pen.snap(pen.down / 4) };
    // Whole pixels of the paper for each unit of the pen, or shrinking would blur its edges.
    const [width, height] = [pen.across, pen.down].map((units) => units * Math.max(1, Math.floor(INK / units)));
    Object.assign(canvas, { width, height });
    const paper = Object.assign(document.createElement("canvas"), { width, height });
    this.paper = paper.getContext("2d", { willReadFrequently: true });
    this.paper.scale(width / pen.across, height / pen.down);
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
    const inside = (share, units) => this.pen.snap(Math.min(Math.max(share, 0), 1 - 1 / INK) * units);
    const right = (event.clientX - box.left) / box.width, down = (event.clientY - box.top) / box.height;
    return { x: inside(right, this.pen.across), y: inside(down, this.pen.down) };
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
    const { step, across, down } = this.pen;
    const steps = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in steps) {
      const [dx, dy] = steps[event.key], from = this.cursor;
      const inside = (value, units) => Math.min(Math.max(value, step / 2), units - step / 2);
      this.cursor = { x: inside(from.x + dx, across), y: inside(from.y + dy, down) };
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
    this.paper.lineTo(to.x + (0.01 * this.pen.across) / this.canvas.width, to.y);
    this.paper.stroke();
    this.show();
    this.changed();
  }

  blank() {
    this.down = false;
    this.paper.fillStyle = "#000";
    this.paper.fillRect(0, 0, this.pen.across, this.pen.down);
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
    const { across, down, thickness } = this.pen, wide = this.canvas.width / across, tall = this.canvas.height / down;
    const [x, y] = [this.cursor.x * wide, this.cursor.y * tall];
    screen.ellipse(x, y, (thickness / 2) * wide, (thickness / 2) * tall, 0, 0, 2 * Math.PI);
    Object.assign(screen, { lineWidth: 3, strokeStyle: "#f0e442", fillStyle: "#f0e442" });
    screen.stroke();
    if (this.down) screen.fill();
  }

  get ink() {
    const { width, height } = this.canvas, { data } = this.paper.getImageData(0, 0, width, height);
    return { width, height, values: Uint8Array.from({ length: width * height }, (_, k) => data[4 * k]) };
  }
}
