// The drawing pad: a canvas at the networks' own resolution, tools and starting drawings. The stand-alone page and the
// widget of JupyterLab both use it. Lines are one pixel wide and not anti-aliased, as those that the networks learned.

const TOOLS = [
  ["pencil", "Pencil", "P", "M3 17l1-4L14 3l3 3L7 16z"],
  ["eraser", "Eraser", "E", "M3 13l8-9 6 5-7 8H6zM9 7l6 5"],
  ["fill", "Fill", "F", "M8 3l8 8-6 6-7-7 6-6M17 13q3 4 0 4t0-4"],
];
const ACTIONS = [
  ["undo", "Undo", "Z", "M8 4L4 8l4 4M4 8h8q5 0 5 4t-5 4H8"],
  ["clear", "Clear", "C", "M4 6h12M8 6V4h4v2M6 6l1 11h6l1-11"],
];
const MOST_UNDO = 200;

/** An element: properties that the element lacks, such as aria-label, become attributes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Bytes of a base64 text. */
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Pixels, 1 where a line is, from bits packed eight to a byte in base64. */
export function unpacked(base64, count) {
  const packed = bytesOf(base64);
  return Uint8Array.from({ length: count }, (_, i) => (packed[i >> 3] >> (7 - (i & 7))) & 1);
}

/** Show a picture of float numbers in [-1, 1], channel after channel, on a canvas of its size. */
export function showPicture(canvas, numbers, [height, width]) {
  const pixels = height * width;
  const color = numbers.length === 3 * pixels ? pixels : 0;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round((numbers[i + c * color] + 1) * 127.5);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Black and white pixels with a history; 1 is a line, 0 is paper. */
export class Drawing {
  constructor([height, width]) {
    Object.assign(this, { height, width, pixels: new Uint8Array(height * width), past: [] });
  }

  /** Keep what is there, to come back to it. */
  remember() {
    this.past.push(this.pixels.slice());
    if (this.past.length > MOST_UNDO) this.past.shift();
  }

  undo() {
    this.pixels = this.past.pop() ?? this.pixels;
  }

  replace(pixels) {
    this.remember();
    this.pixels = Uint8Array.from(pixels);
  }

  clear() {
    this.replace(new Uint8Array(this.pixels.length));
  }

  dot(x, y, brush, ink) {
    const left = x - ((brush - 1) >> 1);
    const top = y - ((brush - 1) >> 1);
    for (let row = Math.max(top, 0); row < Math.min(top + brush, this.height); row++)
      for (let column = Math.max(left, 0); column < Math.min(left + brush, this.width); column++)
        this.pixels[row * this.width + column] = ink;
  }

  /** A line of pixels by Bresenham's algorithm. */
  line(x, y, toX, toY, brush, ink) {
    const across = Math.abs(toX - x);
    const down = -Math.abs(toY - y);
    let error = across + down;
    for (;;) {
      this.dot(x, y, brush, ink);
      if (x === toX && y === toY) return;
      const twice = 2 * error;
      if (twice >= down) {
        error += down;
        x += Math.sign(toX - x);
      }
      if (twice <= across) {
        error += across;
        y += Math.sign(toY - y);
      }
    }
  }

  /** Turn an area of paper into ink; a line that hangs together, into paper. */
  fill(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    const old = this.pixels[y * this.width + x];
    // Ink hangs together across corners as well; paper does not, else it would leak through thin slanted lines.
    const steps = old ? [-1, 0, 1].flatMap((i) => [-1, 0, 1].map((j) => [i, j])) : [[1, 0], [-1, 0], [0, 1], [0, -1]];
    const todo = [[x, y]];
    while (todo.length) {
      const [column, row] = todo.pop();
      const inside = column >= 0 && row >= 0 && column < this.width && row < this.height;
      if (!inside || this.pixels[row * this.width + column] !== old) continue;
      this.pixels[row * this.width + column] = 1 - old;
      for (const [i, j] of steps) todo.push([column + i, row + j]);
    }
  }

  /** What a network takes: -1 for a line, 1 for paper. */
  numbers() {
    return Float32Array.from(this.pixels, (ink) => (ink ? -1 : 1));
  }
}

/** A pad in `root`; `changed()` is called after each change, and `load` puts drawings of another size into it. */
export class Pad {
  constructor(root, changed) {
    Object.assign(this, { root, changed, tool: "pencil", brushes: {}, cursor: null, penDown: false });
    this.canvas = make("canvas", { className: "pad-canvas", tabIndex: 0, role: "application" });
    this.strip = make("div", { className: "pad-strip", role: "group", "aria-label": "Starting drawings" });
    this.said = make("p", { className: "pad-said", role: "status" });
    root.classList.add("pad");
    root.replaceChildren(this.toolbar(), this.canvas, this.said, this.strip, this.help());
    this.canvas.setAttribute("aria-describedby", this.helpText.id);
    this.listen();
    this.choose("pencil");
  }

  /** Show drawings of a size, and start from the first one; `examples` are {title, pixels}, `pen` is a line's width. */
  load(size, examples, pen = 1) {
    this.brushes = { pencil: pen, eraser: pen + 2, fill: 1 };
    this.setBrush(this.brushes[this.tool]);
    this.drawing = new Drawing(size);
    this.cell = Math.max(1, Math.round(512 / Math.max(...size)));
    Object.assign(this.canvas, { width: size[1] * this.cell, height: size[0] * this.cell });
    this.canvas.setAttribute("aria-label", `Drawing area, ${size[1]} by ${size[0]} pixels`);
    this.cursor = null;
    this.strip.replaceChildren(...examples.map((example) => this.starter(example, size)));
    if (examples.length) this.drawing.pixels = Uint8Array.from(examples[0].pixels);
    this.refresh();
  }

  toolbar() {
    const button = ([name, title, key, path], act) => {
      const icon = `<svg viewBox="0 0 20 20" aria-hidden="true"><path d="${path}"/></svg>`;
      const made = make("button", { type: "button", title: `${title} (${key} on the drawing)`, innerHTML: icon });
      made.append(make("span", {}, title));
      made.addEventListener("click", () => act.call(this, name));
      return made;
    };
    const tools = TOOLS.map((tool) => button(tool, this.choose));
    this.buttons = Object.fromEntries(TOOLS.map(([name], i) => [name, tools[i]]));
    const actions = ACTIONS.map((action) => button(action, this.act));
    this.undoButton = actions[0];
    this.size = make("input", { type: "range", min: 1, max: 5, step: 1, "aria-label": "Brush size in pixels" });
    this.sizeText = make("output", {});
    this.size.addEventListener("input", () => this.setBrush(Number(this.size.value)));
    const brush = make("label", { className: "pad-brush" }, make("span", {}, "Size"), this.size, this.sizeText);
    return make("div", { className: "pad-tools", role: "group", "aria-label": "Drawing tools" }, ...tools, ...actions, brush);
  }

  help() {
    Pad.count = (Pad.count ?? 0) + 1;
    const text =
      "Draw with mouse, finger or pen; the right button erases. Fill blackens an area, or removes a whole line. With " +
      "the drawing in focus: arrow keys move a cursor (with Shift, four pixels), Space puts the pen down and lifts it, " +
      "P, E and F choose a tool, [ and ] its size, Z takes a step back, C clears.";
    this.helpText = make("p", { id: `pad-help-${Pad.count}` }, text);
    return make("details", { className: "pad-help" }, make("summary", {}, "Keys and tips"), this.helpText);
  }

  starter({ title, pixels }, [height, width]) {
    const picture = make("canvas", { width, height, "aria-hidden": "true" });
    showPicture(picture, Float32Array.from(pixels, (ink) => (ink ? -1 : 1)), [height, width]);
    const button = make("button", { type: "button", title, "aria-label": `Start from ${title}` }, picture);
    button.addEventListener("click", () => {
      this.drawing.replace(pixels);
      this.refresh();
    });
    return button;
  }

  choose(tool) {
    this.tool = tool;
    for (const [name, button] of Object.entries(this.buttons)) button.setAttribute("aria-pressed", name === tool);
    this.size.disabled = tool === "fill";
    this.setBrush(this.brushes[tool] ?? 1);
  }

  setBrush(size) {
    this.brushes[this.tool] = Math.min(Math.max(size, 1), 5);
    this.size.value = this.brushes[this.tool];
    this.sizeText.textContent = `${this.brushes[this.tool]} px`;
  }

  act(action) {
    this.drawing[action]();
    this.say(action === "undo" ? "One step back." : "The paper is empty.");
    this.refresh();
  }

  say(text) {
    this.said.textContent = text;
  }

  /** After a change: redraw, and tell who listens. */
  refresh() {
    this.redraw();
    this.undoButton.disabled = !this.drawing.past.length;
    this.changed(this);
  }

  redraw() {
    const { cell, drawing, cursor } = this;
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.fillStyle = "#111";
    drawing.pixels.forEach((ink, i) => {
      if (ink) context.fillRect((i % drawing.width) * cell, Math.floor(i / drawing.width) * cell, cell, cell);
    });
    if (!cursor || this.root.getRootNode().activeElement !== this.canvas) return;
    context.lineWidth = 3;
    context.strokeStyle = this.penDown ? "#c2410c" : "#0369a1";
    context.strokeRect(cursor.x * cell - 1.5, cursor.y * cell - 1.5, cell + 3, cell + 3);
  }

  // ---- by mouse, finger and pen ----

  listen() {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (this.last = null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.lift());
    canvas.addEventListener("focus", () => this.redraw());
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const place = (value, length, count) => Math.min(Math.max(Math.floor((value / length) * count), -1), count);
    return {
      x: place(event.clientX - box.left, box.width, this.drawing.width),
      y: place(event.clientY - box.top, box.height, this.drawing.height),
    };
  }

  press(event) {
    if (event.pointerType === "mouse" && event.button === 1) return;
    event.preventDefault(); // no selection and no scrolling from here
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.lift();
    this.cursor = null;
    this.drawing.remember();
    const erases = event.buttons & (2 | 32); // the right button, and the far end of a pen
    this.using = erases ? "eraser" : this.tool;
    this.last = this.at(event);
    this.stroke(this.last);
    this.refresh();
  }

  move(event) {
    if (!this.last || this.using === "fill") return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.stroke(this.at(each));
    this.refresh();
  }

  stroke(to) {
    const from = this.last ?? to;
    if (this.using === "fill") this.drawing.fill(to.x, to.y);
    else this.drawing.line(from.x, from.y, to.x, to.y, this.brushes[this.using], this.using === "pencil" ? 1 : 0);
    this.last = to;
  }

  // ---- by keyboard ----

  key(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const plain = !(event.ctrlKey || event.metaKey || event.altKey);
    const tool = TOOLS.find(([, , letter]) => letter.toLowerCase() === key);
    if (plain && arrows[key]) this.moveCursor(...arrows[key].map((step) => step * (event.shiftKey ? 4 : 1)));
    else if (plain && (key === " " || key === "Enter")) this.togglePen();
    else if (plain && key === "Escape" && this.penDown) this.lift();
    else if (plain && tool) this.choose(tool[0]);
    else if (plain && (key === "[" || key === "]")) this.setBrush(this.brushes[this.tool] + (key === "]" ? 1 : -1));
    else if (key === "z" && !event.altKey && !event.shiftKey) this.act("undo");
    else if (plain && key === "c") this.act("clear");
    else return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab's own keys would hear them too
  }

  moveCursor(right, down) {
    const { width, height } = this.drawing;
    const from = this.cursor ?? { x: width >> 1, y: height >> 1 };
    const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
    const to = (this.cursor = { x: within(from.x + right, width), y: within(from.y + down, height) });
    if (!this.penDown) return this.redraw();
    this.last = from;
    this.stroke(to);
    this.last = null;
    this.refresh();
  }

  togglePen() {
    this.cursor ??= { x: this.drawing.width >> 1, y: this.drawing.height >> 1 };
    if (this.penDown) return this.lift();
    this.drawing.remember();
    this.using = this.tool;
    this.penDown = this.tool !== "fill";
    this.stroke(this.cursor);
    this.last = null;
    this.say(this.penDown ? "Pen down: arrow keys draw. Space lifts it." : "Filled.");
    this.refresh();
  }

  lift() {
    if (this.penDown) this.say("Pen up.");
    this.penDown = false;
    if (this.drawing) this.redraw();
  }
}
