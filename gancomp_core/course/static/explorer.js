// Moves figures on web pages without a kernel. Each `<figure class="gancomp-moving">` holds one picture with all its
// states side by side (see gancomp_core/course/states.py); the controls made here choose which of them shows.
// A plain script, because pages opened from a file may not load modules.
"use strict";

(() => {
  let made = 0; // for ids

  function element(name, attributes, parent) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key in node) node[key] = value;
      else node.setAttribute(key, value);
    }
    parent.append(node);
    return node;
  }

  // A row for one control; `moved(position)` is called at each change.
  const BUILD = {
    slider({ words, start }, id, row, moved) {
      const input = element("input", { type: "range", id, min: 0, max: words.length - 1, step: 1, value: start }, row);
      const value = element("span", { className: "gancomp-value", ariaHidden: "true" }, row); // the handle says it
      const say = () => {
        value.textContent = words[input.value];
        input.setAttribute("aria-valuetext", words[input.value]);
      };
      input.addEventListener("input", () => { say(); moved(Number(input.value)); });
      say();
    },
    choice({ words, start }, id, row, moved) {
      const select = element("select", { id }, row);
      words.forEach((word, place) => element("option", { value: place, textContent: word }, select));
      select.selectedIndex = start;
      select.addEventListener("change", () => moved(select.selectedIndex));
    },
    switch({ start }, id, row, moved) {
      const box = element("input", { type: "checkbox", id, checked: start === 1 }, row);
      row.prepend(box);
      row.classList.add("gancomp-switch");
      box.addEventListener("change", () => moved(Number(box.checked)));
    },
  };

  function addControls(figure, controls, changed) {
    const box = element("div", { className: "gancomp-controls" }, figure);
    figure.querySelector(".gancomp-window").before(box);
    const places = controls.map((control) => control.start);
    controls.forEach((control, index) => {
      if (control.words.length < 2) return; // it stands still here
      const row = element("div", { className: "gancomp-control" }, box);
      const id = `gancomp-control-${made++}`;
      element("label", { htmlFor: id, textContent: control.label }, row);
      BUILD[control.kind](control, id, row, (place) => { places[index] = place; changed(); });
    });
    return places;
  }

  // The canvas that shows one picture of the sheet. The sheet is decoded when the figure comes near the window, and
  // given back when it is far away: decoded, it may take 100 MB.
  function screen(figure, state) {
    const frame = figure.querySelector(".gancomp-window");
    const still = frame.querySelector("img");
    const canvas = document.createElement("canvas");
    let sheet = null, decoding = false, near = false, now = 0;

    function draw() {
      if (!sheet) return;
      const wide = sheet.width / state.columns, high = sheet.height / state.rows;
      if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
      const left = Math.floor(state.frames[now] / state.rows) * wide, top = (state.frames[now] % state.rows) * high;
      // in software: a graphics card would have to take in the whole sheet
      canvas.getContext("2d", { willReadFrequently: true }).drawImage(sheet, left, top, wide, high, 0, 0, wide, high);
      if (still.isConnected) still.replaceWith(canvas);
      frame.dataset.shown = now; // what a test waits for
      frame.removeAttribute("aria-busy");
    }

    async function decode() {
      if (decoding || sheet) return;
      decoding = true;
      const bytes = Uint8Array.from(atob(still.src.split(",")[1]), (letter) => letter.charCodeAt(0));
      sheet = await createImageBitmap(new Blob([bytes], { type: "image/webp" }));
      decoding = false;
      if (near) draw();
      else forget();
    }

    function forget() {
      sheet?.close();
      sheet = null;
    }

    new IntersectionObserver(([entry]) => {
      near = entry.isIntersecting;
      if (near) decode();
      else forget();
    }, { rootMargin: "600px" }).observe(frame);

    canvas.setAttribute("role", "img");
    return (place) => {
      now = place;
      still.alt = state.alts[place];
      canvas.setAttribute("aria-label", state.alts[place]);
      if (sheet) draw();
      else if (decoding) frame.setAttribute("aria-busy", "true");
    };
  }

  function hydrate(figure) {
    const state = JSON.parse(figure.querySelector("script").textContent);
    const show = screen(figure, state);
    const said = element("p", { className: "gancomp-said", role: "status" }, figure); // in words
    let waiting = 0;

    const place = () => state.controls.reduce((sum, { words }, index) => sum * words.length + places[index], 0);

    function changed() {
      show(place());
      clearTimeout(waiting); // a screen reader hears where a drag ends, not every step of it
      waiting = setTimeout(() => { said.textContent = state.alts[place()]; }, 250);
    }

    const places = addControls(figure, state.controls, changed);
    show(place());
    said.textContent = state.alts[place()];
  }

  const start = () => document.querySelectorAll(".gancomp-moving").forEach(hydrate);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
