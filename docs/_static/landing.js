// The landing page: swipe between two paintings, choose what was painted, copy commands.
const swipe = document.querySelector("[data-swipe]");
const range = swipe.querySelector("input[type=range]");

function move(percent) {
  swipe.style.setProperty("--at", `${percent}%`);
  range.setAttribute("aria-valuetext", `${Math.round(percent)} % teacher, ${Math.round(100 - percent)} % compressed`);
}

function choose(radio) {
  swipe.classList.toggle("small", "small" in radio.dataset);
  swipe.querySelector(".caption").textContent = radio.dataset.caption;
  for (const side of ["teacher", "student"]) {
    const image = swipe.querySelector(`.${side} img`);
    image.src = image.src.replace(/[^/]+$/, `${radio.value}_${side}.webp`);
    image.alt = `${radio.dataset.subject}, painted by the ${side === "teacher" ? "teacher" : "compressed network"}`;
  }
}

// Once, and only until the reader takes over: the line sweeps, to show that it moves.
function sweep(began) {
  const seconds = (performance.now() - began) / 1000;
  if (seconds > 4 || range.dataset.touched) return;
  range.value = 50 + 38 * Math.sin((seconds / 4) * 2 * Math.PI);
  move(Number(range.value));
  requestAnimationFrame(() => sweep(began));
}

range.step = "any";
range.addEventListener("input", () => move(Number(range.value)));
for (const event of ["pointerdown", "keydown", "focus"]) range.addEventListener(event, () => (range.dataset.touched = "yes"));
range.addEventListener("keydown", (event) => {
  // with any step allowed, browsers differ in how far an arrow key goes
  const by = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -20, PageUp: 20 }[event.key];
  if (!by) return;
  event.preventDefault();
  range.value = Number(range.value) + by;
  move(Number(range.value));
});
for (const radio of swipe.querySelectorAll("input[type=radio]")) {
  radio.addEventListener("change", () => choose(radio));
  if (radio.checked) choose(radio); // a browser may remember another choice
}
move(50);
if (!matchMedia("(prefers-reduced-motion: reduce)").matches) sweep(performance.now());

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text); // from a file, some browsers give no clipboard
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
