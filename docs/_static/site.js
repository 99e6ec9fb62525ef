// What scrolls can be reached and scrolled by keyboard; what does not stays out of the way.
const scrollers = "pre, .cell_output, .output.text_html, .table-wrapper, .highlight, .math-wrapper";
const scrolls = (box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
const check = (box) => (scrolls(box) ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex"));
const watch = new ResizeObserver((entries) => entries.forEach((entry) => check(entry.target)));
document.querySelectorAll(scrollers).forEach((box) => watch.observe(box));
