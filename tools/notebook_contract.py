"""The contract of a notebook, checked mechanically: ``violations(path)`` returns one sentence for each breach."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from gancomp_core.course.notebook_files import COSTS_BEGIN, COSTS_END, read_notebook, tagged, tags
from gancomp_core.course.output import LARGEST_PICTURE, WIDGET_VIEW
from tools import notebook_sections


@dataclass(frozen=True)
class Contract:
    """The limits; ranges include both ends."""

    longest_code_cell: int = 40
    core_cells: tuple[int, int] = (25, 40)
    longest_core_cell: int = 20  # lines of code in sight
    core_minutes: int = 45
    goals: tuple[int, int] = (3, 5)
    exercises: int = 3
    picture_bytes: int = LARGEST_PICTURE
    file_bytes: int = 3_000_000


# folders that betray whose computer wrote an output
_ABSOLUTE = re.compile(
    r"(?<![\w.:/<])(?:/(?:home|Users|root|tmp|work|mnt|private|var/folders)/|[A-Za-z]:\\Users\\)[^\s\"'<]*"
)


def violations(path: Path, contract: Contract | None = None) -> list[str]:
    """Every breach of the contract by the notebook at ``path``, one readable sentence each; empty when it is kept."""
    contract, notebook = contract or Contract(), read_notebook(path)
    found = [
        *_header(notebook, contract),
        *_parameters(notebook),
        *_shape(notebook, contract),
        *notebook_sections.breaches(notebook, contract.core_cells, contract.longest_core_cell, contract.core_minutes),
        *_teaching(notebook, contract),
        *_widgets(notebook, budget=path.stem[:2] in {f"{n:02}" for n in range(1, 10)}),
        *_outputs(notebook, contract),
        *_file(path, notebook, contract),
    ]
    return [f"{path.name}: {sentence}" for sentence in found]


def code_lines(cell: NotebookNode) -> int:
    """Lines of a code cell that are not blank."""
    return sum(1 for line in cell.source.splitlines() if line.strip())


def _code(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """Code cells with their number, counted from 1 over all cells."""
    return [(number, cell) for number, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code"]


def _markdown(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _header(notebook: NotebookNode, contract: Contract) -> Iterator[str]:
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        yield "the first cell must be markdown and begin with the title, '# ...'."
        return
    before_code = next((i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"), len(notebook.cells))
    header = "\n".join(cell.source for cell in notebook.cells[:before_code])
    goals = _longest_list(header)
    if not _within(goals, contract.goals):
        low, high = contract.goals
        yield f"the header lists {goals} goals; {low} to {high} bullets say what the reader will be able to do."
    if COSTS_BEGIN not in header or COSTS_END not in header:
        yield f"the header lacks {COSTS_BEGIN}{COSTS_END}, where the runner writes what the notebook costs."
    elif re.search(re.escape(COSTS_BEGIN) + r"\s*(not measured yet)?\s*" + re.escape(COSTS_END), header):
        yield "its cost has not been measured yet: run gancomp_core.course.run --write, fast and standard."


def _longest_list(text: str) -> int:
    longest = current = 0
    for line in text.splitlines():
        current = current + 1 if re.match(r"([-*]|\d+\.) ", line) else current if line.startswith("  ") else 0
        longest = max(longest, current)
    return longest


def _parameters(notebook: NotebookNode) -> Iterator[str]:
    cells = tagged(notebook, "parameters")
    if len(cells) != 1:
        yield f"{len(cells)} cells are tagged 'parameters'; exactly one must be."
        return
    for name, example in (("PROFILE", '"standard"'), ("SEED", "0")):
        if not re.search(rf"^{name}\s*(:[^=]+)?=\s*{example}", cells[0].source, flags=re.MULTILINE):
            yield f"the parameters cell must set {name} = {example}."


def _shape(notebook: NotebookNode, contract: Contract) -> Iterator[str]:
    for number, cell in _code(notebook):
        if (length := code_lines(cell)) > contract.longest_code_cell:
            yield f"cell {number} has {length} lines of code; at most {contract.longest_code_cell} are wanted."


def _teaching(notebook: NotebookNode, contract: Contract) -> Iterator[str]:
    code = "\n".join(cell.source for _, cell in _code(notebook))
    names = [
        tag.removeprefix("exercise:") for cell in notebook.cells for tag in tags(cell) if tag.startswith("exercise:")
    ]
    if len(names) < contract.exercises:
        yield f"it has {len(names)} cells tagged 'exercise:<name>'; at least {contract.exercises} are wanted."
    for name in names:
        if f"check.{name}(" not in code:
            yield f"the exercise {name} is never checked: a cell must call check.{name}({name})."
        if not _hinted(notebook, name):
            yield f"the exercise {name} has no folded hint: put <details> into a markdown cell beside its stub."
    if not re.search(r"\bpredict\(", code):
        yield "it never asks for a prediction: call predict(...) before a main result."
    for asked in re.findall(r"\bpredict\(\s*[\"']([^\"']+)", code):
        if not re.search(rf"\breveal\(\s*[\"']{re.escape(asked)}[\"']", code):
            yield f"the prediction {asked!r} is never revealed: call reveal({asked!r}, ...)."
    if not re.search(r"^#+ .*\brecap\b", _markdown(notebook), flags=re.MULTILINE | re.IGNORECASE):
        yield "it has no recap: a heading with the word 'Recap' and a table must close it."


def _hinted(notebook: NotebookNode, name: str) -> bool:
    at = next(i for i, cell in enumerate(notebook.cells) if f"exercise:{name}" in tags(cell))
    beside = notebook.cells[max(at - 1, 0) : at + 3]
    return any(cell.cell_type == "markdown" and "<details>" in cell.source for cell in beside)


def _widgets(notebook: NotebookNode, budget: bool) -> Iterator[str]:
    """Every explorer has its static twin, and chapters 01-09 have a budget slider."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and re.search(r"\bexplore\(", cell.source):
            later = "\n".join(c.source for c in notebook.cells[index : index + 3] if c.cell_type == "code")
            if "small_multiples(" not in later and "show(" not in later:
                yield f"the explorer of cell {index + 1} has no static twin: call small_multiples(...) right after it."
            if _unseen(cell.source):
                yield f"the explorer of cell {index + 1} is not shown: end the cell with it or display(explore(...))."
    code = "\n".join(cell.source for _, cell in _code(notebook))
    if budget and not re.search(r"\bbudget=Slider\(", code):
        yield "it has no budget slider: explore(..., budget=Slider(...)) for what its method trades."


def _unseen(source: str) -> bool:
    """Whether an explorer is an expression above the last one of its cell, which alone is shown."""
    above = [each.value for each in ast.parse(source).body[:-1] if isinstance(each, ast.Expr)]
    return any(isinstance(each, ast.Call) and ast.unparse(each.func) == "explore" for each in above)


def _outputs(notebook: NotebookNode, contract: Contract) -> Iterator[str]:
    code = _code(notebook)
    if not any(cell.outputs for _, cell in code):
        yield "its outputs are not committed: run gancomp_core.course.run with --profile standard --write."
        return
    for number, cell in code:
        if cell.source.strip() and cell.execution_count is None:
            yield f"cell {number} has not been executed."
        for output in cell.outputs:
            for breach in _output(output, contract):
                yield f"cell {number} {breach}"


def _output(output: NotebookNode, contract: Contract) -> Iterator[str]:
    if output.output_type == "error":
        yield f"ends with an error, {output.ename}."
    if output.output_type == "stream" and output.name == "stderr":
        yield f"writes to stderr, which readers take for a warning: {output.text.strip()[:80]!r}."
    data = output.get("data", {})
    if WIDGET_VIEW in data:
        yield "holds a live widget, which GitHub cannot show: let the runner clean it with --write."
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            size = len(base64.b64decode(data[kind]))
            if size > contract.picture_bytes:
                yield f"shows a picture of {size / 1000:.0f} kB, above {contract.picture_bytes / 1000:.0f} kB."
            if not output.get("metadata", {}).get(kind, {}).get("alt", "").strip():
                yield "shows a picture without alt text: use show(figure, alt=...)."
    for tag in re.findall(r"<img\b[^>]*>", "".join(data.get("text/html", ""))):
        if not re.search(r'\balt="[^"]+"', tag):
            yield "shows an <img> without alt text."
    shown = [str(output.get("text", "")), *(str(text) for kind, text in data.items() if kind.startswith("text/"))]
    for path in sorted({match for text in shown for match in _ABSOLUTE.findall(text)}):
        yield f"prints a path of one computer, {path}."


def _file(path: Path, notebook: NotebookNode, contract: Contract) -> Iterator[str]:
    if path.stat().st_size > contract.file_bytes:
        size = path.stat().st_size / 1e6
        yield f"the file has {size:.1f} MB; at most {contract.file_bytes / 1e6:.1f} are wanted."
    for key in ("widgets", "papermill"):
        if key in notebook.metadata:
            yield f"its metadata holds {key!r}: let the runner clean it with --write."
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "its kernel must be 'python3', which every installation has."
    if any("id" not in cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]):
        yield "some cells have no id: save it once in a current Jupyter."
    for number, cell in enumerate(notebook.cells, 1):
        if match := _ABSOLUTE.search(cell.source):
            yield f"cell {number} names a path of one computer, {match.group()}."
