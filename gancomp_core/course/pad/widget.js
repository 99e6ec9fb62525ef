// The pad in JupyterLab: the drawing goes to the kernel, where teacher and student paint it.
import { Pad, make, showPicture, unpacked } from "./pad.js";

const SIDES = ["teacher", "student"];
const PATIENCE_MS = 4000;

function painter(side) {
  const canvas = make("canvas", { className: "painting", role: "img", "aria-label": `What the ${side} paints` });
  const text = make("p", { className: "pad-facts" });
  return { canvas, text, card: make("div", {}, make("p", { className: "pad-title" }, side), canvas, text) };
}

/** Sends drawings one at a time, always the newest, when the one before has been answered. */
class Mailbox {
  constructor(model, silent) {
    Object.assign(this, { model, silent, next: null, timer: 0 });
  }

  send(pixels) {
    this.next = pixels.slice();
    if (!this.timer) this.post();
  }

  post() {
    const { buffer } = this.next;
    this.next = null;
    this.model.set("drawing", new DataView(buffer));
    this.model.save_changes();
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.silent();
    }, PATIENCE_MS);
  }

  answered() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (this.next) this.post();
  }
}

function render({ model, el }) {
  const size = model.get("size");
  const painters = Object.fromEntries(SIDES.map((side) => [side, painter(side)]));
  const status = make("p", { className: "pad-facts", role: "status" });
  const host = make("div", {});
  const pictures = make("div", { className: "pad-paintings" }, ...SIDES.map((side) => painters[side].card));
  const show = () => {
    const facts = model.get("facts");
    for (const side of SIDES) {
      const { buffer, byteOffset, byteLength } = model.get(`${side}_picture`);
      showPicture(painters[side].canvas, new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)), size);
      painters[side].text.textContent = facts[side];
    }
    status.textContent = "";
  };
  const mailbox = new Mailbox(model, () => (status.textContent = "The kernel does not answer; run this cell again."));
  const answered = () => {
    show();
    mailbox.answered();
  };
  let started = false;
  const pad = new Pad(host, ({ drawing }) => started && mailbox.send(drawing.pixels));
  const count = size[0] * size[1];
  const starts = model.get("starts").map(({ title, pixels }) => ({ title, pixels: unpacked(pixels, count) }));
  pad.load(size, starts, model.get("pen"));
  started = true; // the kernel has painted the first drawing already
  show();
  model.on("change:facts", answered);
  // JupyterLab's own keys would delete cells while one draws with the keyboard
  const whole = { className: "pad pad-widget", "data-lm-suppress-shortcuts": "true" };
  el.append(make("div", whole, host, pictures, status));
  return () => model.off("change:facts", answered);
}

export default { render };
