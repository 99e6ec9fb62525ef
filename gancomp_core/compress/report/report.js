document.documentElement.classList.add("js");
for (const swipe of document.querySelectorAll(".swipe")) {
  const range = swipe.querySelector("input");
  const move = () => {
    swipe.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % teacher, ${100 - range.value} % student`);
  };
  range.addEventListener("input", move);
  move();
}
