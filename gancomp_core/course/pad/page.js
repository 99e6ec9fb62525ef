// The page that paints: networks run by ONNX Runtime Web in one thread of this browser, without a server or a request.
import { Pad, bytesOf, make, showPicture, unpacked } from "./pad.js";

const DEMO = JSON.parse(document.getElementById("demo").textContent);
const LAST = 15; // paints that a shown time is the median of
const WARM_RUNS = 100; // a browser compiles WebAssembly better after some runs: a cold int8 network looks seven times slower
const WARM_MS = 2000;
const SHORT_MS = 4; // below it, one reading is the mean of several runs: some browsers' clocks tick once a millisecond
const REPEATS = 5;

const by = (id) => document.getElementById(id);
const pause = () => new Promise((done) => setTimeout(done));
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

// ---- files: each is a script that puts base64 of gzip into gancompFiles, because file:// has no fetch ----

const files = {};

async function bytesOfFile(name) {
  files[name] ??= new Promise((done, failed) => {
    const script = make("script", { src: `files/${name}.js`, onerror: () => failed(new Error(`files/${name}.js is missing`)) });
    script.onload = () => done(globalThis.gancompFiles[name]);
    document.head.append(script);
  });
  const packed = new Blob([bytesOf(await files[name])]);
  return new Uint8Array(await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

let runtime; // a promise of ONNX Runtime Web
function ready() {
  runtime ??= (async () => {
    const [code, wasm] = await Promise.all(DEMO.runtime.files.map(bytesOfFile));
    const ort = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm.buffer });
    return ort;
  })();
  return runtime;
}

// ---- networks ----

class Network {
  constructor(facts, size) {
    Object.assign(this, { facts, size, times: [], runs: 0, spent: 0 });
  }

  async open() {
    this.opened ??= (async () => {
      const [ort, bytes] = [await ready(), await bytesOfFile(this.facts.file)];
      this.ort = ort;
      this.session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    })();
    await this.opened;
  }

  get warm() {
    return this.runs >= WARM_RUNS || (this.runs >= LAST && this.spent >= WARM_MS);
  }

  get ms() {
    return median(this.times);
  }

  /** What the network makes of numbers in [-1, 1]; keeps the time that it takes. */
  async paint(numbers) {
    await this.open();
    const { session, size } = this;
    const feeds = { [session.inputNames[0]]: new this.ort.Tensor("float32", numbers, [1, 1, ...size]) };
    const repeats = this.times.length && this.ms < SHORT_MS ? REPEATS : 1;
    const began = performance.now();
    let made;
    for (let i = 0; i < repeats; i++) made = await session.run(feeds);
    const ms = (performance.now() - began) / repeats;
    this.times = [...this.times.slice(1 - LAST), ms];
    this.runs += repeats;
    this.spent += ms * repeats;
    return made[session.outputNames[0]].data;
  }
}

const tasks = DEMO.tasks.map((task) => {
  const networks = task.networks.map((facts) => new Network(facts, task.size));
  const students = networks.filter((each) => each.facts.kind === "student");
  const names = [...new Set(students.map((each) => each.facts.name))];
  const macs = (name) => students.find((each) => each.facts.name === name).facts.macs;
  return {
    ...task,
    networks,
    teacher: networks.find((each) => each.facts.kind === "teacher"),
    budgets: names.sort((a, b) => macs(a) - macs(b)).map((name) => students.filter((each) => each.facts.name === name)),
    examples: task.examples.map((each) => ({ ...each, pixels: unpacked(each.pixels, task.size[0] * task.size[1]) })),
  };
});

// ---- what is shown ----

const state = { task: tasks[0], precision: "int8", budget: 0, dirty: false, student: null, wake: () => {} };
const pad = new Pad(by("pad"), () => {
  askForPictures();
});

function askForPictures() {
  state.dirty = true;
  showBusy(true);
  state.wake();
}

/** Whether the pictures still follow the drawing; screen readers and tests wait for the end of it. */
function showBusy(busy) {
  for (const side of ["teacher", "student"]) by(`${side}-picture`).setAttribute("aria-busy", busy);
}

function large(number, unit = "") {
  const [divisor, letter] = number >= 1e9 ? [1e9, "G"] : number >= 1e6 ? [1e6, "M"] : [1e3, "k"];
  return `${Number((number / divisor).toPrecision(3))}\u00a0${letter}${unit}`;
}

const times = (ratio) => Number(ratio.toPrecision(2));

function showFacts(side, network) {
  const { facts } = network;
  by(`${side}-title`).textContent = side === "teacher" ? facts.title : `${facts.title}, ${facts.precision}`;
  by(`${side}-macs`).textContent = large(facts.macs);
  by(`${side}-bytes`).textContent = large(facts.bytes, "B");
  by(`${side}-note`).textContent = facts.note ?? "";
}

function showTime(side, network) {
  const ms = network.ms < 9.95 ? network.ms?.toPrecision(2) : Math.round(network.ms);
  by(`${side}-ms`).textContent = network.warm ? ms : "…";
  const { teacher } = state.task;
  const share = network.warm && teacher.warm ? Math.min(100 * (network.ms / teacher.ms), 100) : 0;
  by(`${side}-bar`).style.inlineSize = `${share}%`;
}

function sentence() {
  const { teacher } = state.task;
  const { student } = state;
  const fewer = `${times(teacher.facts.macs / student.facts.macs)} times fewer multiplications`;
  if (!(teacher.warm && student.warm)) return `${fewer}; both networks are warming up before their times count.`;
  const ratio = teacher.ms / student.ms;
  return ratio < 1.05
    ? `${fewer}; no faster in this browser.`
    : `${fewer}; ${times(ratio)} times faster in this browser.`;
}

function showStudent() {
  const budget = state.task.budgets[state.budget];
  const has = (precision) => budget.find((each) => each.facts.precision === precision);
  const student = has(state.precision) ?? budget[0];
  for (const input of document.querySelectorAll("[name=precision]")) {
    input.disabled = !has(input.value);
    input.checked = input.value === student.facts.precision;
  }
  state.student = student;
  const ratio = times(state.task.teacher.facts.macs / student.facts.macs);
  by("budget-text").textContent = `${large(student.facts.macs)} multiplications, 1/${ratio} of the teacher's`;
  by("budget").setAttribute("aria-valuetext", by("budget-text").textContent);
  showFacts("student", student);
  showTime("student", student);
  askForPictures();
}

function showTask(task) {
  const { budgets } = task;
  Object.assign(state, { task, budget: budgets.length - 1 });
  Object.assign(by("budget"), { max: budgets.length - 1, value: state.budget });
  by("budget-ticks").replaceChildren(...budgets.map((_, i) => make("option", { value: i })));
  showFacts("teacher", task.teacher);
  for (const side of ["teacher", "student"]) {
    Object.assign(by(`${side}-picture`), { width: task.size[1], height: task.size[0] }); // and so empty
    showTime(side, task.teacher);
  }
  pad.load(task.size, task.examples, task.input.pen);
  showStudent();
}

// ---- painting: one loop, the newest drawing first; with nothing to paint it warms up what is shown ----

async function paint(side, network, numbers) {
  const { task } = state;
  const picture = await network.paint(numbers);
  if (task !== state.task || network !== (side === "student" ? state.student : task.teacher)) return;
  showPicture(by(`${side}-picture`), picture, task.size);
  showTime(side, network);
  await pause(); // lets the browser show it, and hear the pen
}

async function paintForever() {
  let said = "";
  for (;;) {
    const { task, student, dirty } = state;
    state.dirty = false;
    const numbers = pad.drawing.numbers();
    if (dirty || !student.warm) await paint("student", student, numbers);
    if (dirty || (!state.dirty && !task.teacher.warm)) await paint("teacher", task.teacher, numbers);
    const text = sentence();
    by("speed").textContent = text;
    const done = student.warm && task.teacher.warm && !state.dirty;
    if (done && said !== student) by("said").textContent = text; // read aloud once a network, not at each stroke
    said = done ? student : said;
    if (!done) continue;
    showBusy(false);
    await new Promise((wake) => (state.wake = wake));
  }
}

function start() {
  const radios = tasks.map((task, i) => {
    const input = make("input", { type: "radio", name: "task", value: task.name, checked: i === 0 });
    input.addEventListener("change", () => showTask(task));
    return make("label", {}, input, make("span", {}, task.title));
  });
  by("tasks").append(...radios);
  by("budget").addEventListener("input", (event) => {
    state.budget = Number(event.target.value);
    showStudent();
  });
  for (const input of document.querySelectorAll("[name=precision]"))
    input.addEventListener("change", () => {
      state.precision = input.value;
      showStudent();
    });
  showTask(tasks[0]);
  paintForever().catch((error) => {
    by("speed").textContent = `The networks do not run here: ${error.message}. A current Chrome, Firefox, Edge or Safari runs them.`;
  });
}

/** For tests and for the curious: what a file of the demo makes of pixels (1 a line, 0 paper), as plain numbers. */
globalThis.paintWith = async (file, pixels) => {
  const network = tasks.flatMap((task) => task.networks).find((each) => each.facts.file === file);
  return Array.from(await network.paint(Float32Array.from(pixels, (ink) => (ink ? -1 : 1))));
};

start();
