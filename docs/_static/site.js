// What scrolls can be reached and scrolled by keyboard; what does not stays out of the way.
const scrollers = "pre, .cell_output, .output.text_html, .table-wrapper, .highlight, .math-wrapper";
const scrolls = (box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
const check = (box) => (scrolls(box) ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex"));
const watch = new ResizeObserver((entries) => entries.forEach((entry) => check(entry.target)));
document.querySelectorAll(scrollers).forEach((box) => watch.observe(box));

// A deeper section unfolds when the address leads to it or into it, and on paper. By hand it does so without a script.
const folds = document.querySelectorAll("details.deeper");
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target?.closest("details.deeper") ?? target?.querySelector(":scope > details.deeper");
  if (fold && !fold.open) {
    fold.open = true;
    target.scrollIntoView();
  }
};
let closed = [];
addEventListener("hashchange", unfold);
addEventListener("click", (event) => event.target.closest?.("a")?.hash === location.hash && unfold());
addEventListener("beforeprint", () => {
  closed = [...folds].filter((fold) => !fold.open);
  closed.forEach((fold) => (fold.open = true));
});
addEventListener("afterprint", () => closed.forEach((fold) => (fold.open = false)));
unfold();
