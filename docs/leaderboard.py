"""The leaderboard of the site: every row of the benchmark in one table, which a script filters and sorts."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pandas as pd

from gancomp_core.files import atomic_write
from gancomp_core.lab.benchmark import TASKS, table

#: Columns of numbers: heading, where the value stands in the table, factor, digits, column of the spread.
NUMBERS = (
    ("FD", "fd", 1, 1, "fd_spread"),
    ("KID × 1000", "kid", 1000, 1, "kid_spread"),
    ("PSNR, dB", "psnr", 1, 2, "psnr_spread"),
    ("MACs, M", "macs", 1e-6, 1, ""),
    ("fewer MACs, times", "times_fewer_macs", 1, 1, ""),
    ("file, kB", "bytes", 1e-3, 0, ""),
    ("ms, 1 thread", "ms_1", 1, 2, ""),
    ("faster, times", "times_faster_1_median", 1, 1, ""),
    ("seeds", "seeds", 1, 0, ""),
)
WORDS = ("method", "task", "form")
PAGE = """# Leaderboard

Every method of the benchmark beside its teacher: the same pictures, the same teacher, one clock ({machine}).
Scores are means over seeds, with their standard deviation. *FD* is the Fréchet distance of feature clouds and *KID* the
kernel distance: lower is better. PSNR compares with the true picture: higher is better. *Faster* is the median over the
rounds of timing, against the teacher in float32. Distances of different tasks are not comparable.

Choose a column's heading to sort by it. You can also [add a method of your own](benchmark.md).

```{{raw}} html
{filters}
{table}
<script src="_static/leaderboard.js" defer></script>
```
"""


def write(path: Path) -> None:
    """Write the page's source.

    Args:
        path: The Markdown file.
    """
    found = pd.concat([table(task).reset_index().assign(task=task) for task in TASKS], ignore_index=True)
    with atomic_write(path) as temporary:
        content = PAGE.format(machine=found.machine.dropna().iloc[0], filters=filters(found), table=rows(found))
        temporary.write_text(content, encoding="utf-8")


def filters(found: pd.DataFrame) -> str:
    """Menus for task and form, and a box for words."""
    parts = []
    for name in ("task", "form"):
        options = "".join(f"<option>{html.escape(each)}</option>" for each in found[name].unique())
        parts.append(
            f'<label>{name.capitalize()} <select data-by="{name}"><option>all</option>{options}</select></label>'
        )
    parts.append('<label>Words <input type="search" data-by="words" placeholder="such as: wavelet"></label>')
    return f'<form class="leaderboard-filters">{"".join(parts)}<p role="status"></p></form>'


def rows(found: pd.DataFrame) -> str:
    """The table: each cell of a number has its plain value for sorting."""
    heads = [f'<th scope="col"><button type="button">{word.capitalize()}</button></th>' for word in WORDS]
    heads += [f'<th scope="col" class="number"><button type="button">{word}</button></th>' for word, *_ in NUMBERS]
    lines = []
    for _, row in found.iterrows():
        method, task, form = (html.escape(str(row[name])) for name in WORDS)
        cells = f'<th scope="row">{method}</th><td>{task}</td><td>{form}</td>' + "".join(
            _cell(row, *n) for n in NUMBERS
        )
        about = html.escape(json.dumps({name: str(row[name]) for name in WORDS}), quote=True)
        lines.append(f'<tr data-about="{about}">{cells}</tr>')
    body = "\n".join(lines)
    return (
        '<div class="table-wrapper" role="region" aria-label="All methods"><table class="leaderboard">'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(row: pd.Series, word: str, name: str, factor: float, digits: int, spread: str) -> str:
    value = row.get(name)
    if value is None or pd.isna(value):
        return '<td class="number"></td>'
    text = f"{factor * value:,.{digits}f}"
    if spread and pd.notna(row.get(spread)):
        text += f" ± {factor * row[spread]:.{digits}f}"
    return f'<td class="number" data-value="{factor * value:.6g}">{text}</td>'
