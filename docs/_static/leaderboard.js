// Filters and sorts the leaderboard; without this script the whole table stands there.
const form = document.querySelector(".leaderboard-filters");
const body = document.querySelector(".leaderboard tbody");
const lines = [...body.rows].map((row) => ({ row, about: JSON.parse(row.dataset.about) }));

function filter() {
  const by = Object.fromEntries([...form.querySelectorAll("[data-by]")].map((each) => [each.dataset.by, each.value]));
  const words = by.words.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const { row, about } of lines) {
    const text = Object.values(about).join(" ").toLowerCase();
    const fits = ["task", "form"].every((name) => by[name] === "all" || by[name] === about[name]);
    row.hidden = !(fits && words.every((word) => text.includes(word)));
    shown += !row.hidden;
  }
  form.querySelector("[role=status]").textContent = `${shown} of ${lines.length} rows`;
}

const valueOf = (cell) => (cell.classList.contains("number") ? Number(cell.dataset.value ?? "nan") : cell.textContent);

/** Rows without a number stay at the end in both directions. */
function compare(one, other, sign) {
  if (typeof one === "string") return sign * one.localeCompare(other);
  return Number.isNaN(one) - Number.isNaN(other) || sign * (one - other);
}

function sort(head) {
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const each of head.parentElement.cells) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const place = head.cellIndex;
  lines.sort((a, b) => compare(valueOf(a.row.cells[place]), valueOf(b.row.cells[place]), ascending ? 1 : -1));
  body.append(...lines.map(({ row }) => row));
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
for (const head of document.querySelectorAll(".leaderboard thead th"))
  head.querySelector("button").addEventListener("click", () => sort(head));
filter();
