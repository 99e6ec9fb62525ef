// Names and units for the handles of ipywidgets' sliders (noUiSlider gives them none), a role for radio buttons, and
// the sign that a picture is being drawn. Runs in JupyterLab for `Names` of gancomp_core/course/widgets.py.

function words(number, { unit, log }) {
  const value = log ? Number(number.toPrecision(3)) : number; // as the number box beside it
  return `${value.toLocaleString("en-US", { maximumSignificantDigits: 6 })} ${unit}`.trim();
}

function set(element, name, value) {
  if (element && element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function nameAll(root, named) {
  for (const { key, about, model } of named) {
    for (const widget of root.querySelectorAll(`.${key}`)) {
      const handle = widget.querySelector(".noUi-handle");
      set(handle, "aria-label", about.name);
      set(handle, "aria-valuetext", handle && words(model.get("value"), about));
      const radios = widget.querySelector(".widget-radio-box");
      set(radios, "role", "radiogroup");
      set(radios, "aria-label", about.name);
    }
  }
  set(root.querySelector(".gancomp-status"), "role", "status");
}

// The outermost box of widgets around an element: the siblings to name are somewhere in it.
function boxAround(el) {
  let box = el;
  for (let up = el; up; up = up.parentElement?.closest(".jupyter-widgets")) box = up;
  return box;
}

function whenShown(el, act) {
  if (el.isConnected) act();
  else requestAnimationFrame(() => whenShown(el, act));
}

export default {
  async render({ model, el }) {
    const said = Object.entries(model.get("said"));
    const found = await Promise.all(said.map(([id]) => model.widget_manager.get_model(id)));
    const named = said.map(([id, about], index) => ({ key: `gancomp-named-${id}`, about, model: found[index] }));
    const observer = new MutationObserver(() => nameAll(boxAround(el), named));
    const busy = () => {
      const box = boxAround(el);
      box.classList.toggle("gancomp-busy", model.get("busy"));
      set(box.querySelector(".gancomp-picture"), "aria-busy", String(model.get("busy")));
    };
    whenShown(el, () => {
      const box = boxAround(el);
      nameAll(box, named);
      // classes come after the elements; noUiSlider writes its own value text at each move
      const attributes = ["class", "aria-valuetext"];
      observer.observe(box, { subtree: true, childList: true, attributeFilter: attributes });
    });
    model.on("change:busy", busy);
    return () => {
      observer.disconnect();
      model.off("change:busy", busy);
    };
  },
};
