"""Notebooks as files: which there are, what a committed one may contain, what it costs to run."""

from __future__ import annotations

import copy
import datetime
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from gancomp_core.course.output import WIDGET_VIEW, html_image
from gancomp_core.course.states import STATES, figure
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, Json, atomic_write, data_root
from gancomp_core.measure import machine_class

NOTEBOOKS = REPOSITORY / "notebooks"
COSTS_BEGIN, COSTS_END = "<!-- costs -->", "<!-- /costs -->"

# cells and metadata that executing adds and nobody wants in the repository
_ADDED_TAGS = {"injected-parameters", "papermill-error-cell-tag", "drive-widgets"}
_ADDED_CELL_METADATA = ("papermill", "execution", "ExecuteTime", "scrolled")
_PROGRESS_BAR = re.compile(r"\d+%\|.*\||\d+it \[|\d+/\d+ \[")


def read_notebook(path: Path) -> NotebookNode:
    """The notebook at ``path``.

    Raises:
        GancompError: For a file that is not a notebook.
    """
    try:
        found: NotebookNode = nbformat.read(path, as_version=4)
        return found
    except FileNotFoundError as error:
        raise GancompError(
            f"There is no notebook {path}; list the folder {path.parent} for those there are."
        ) from error
    except (ValueError, KeyError, AttributeError) as error:
        raise GancompError(
            f"{path} is not a readable notebook; take it again from the repository: git checkout {path.name}."
        ) from error


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole, or not at all."""
    with atomic_write(path) as temporary:
        nbformat.write(notebook, temporary)


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def added_by_running(cell: NotebookNode) -> bool:
    """Whether the runner or papermill put this cell in."""
    return bool(_ADDED_TAGS & set(tags(cell)))


def tagged(notebook: NotebookNode, tag: str) -> list[NotebookNode]:
    """The cells that carry ``tag``."""
    return [cell for cell in notebook.cells if tag in tags(cell)]


def choose(wanted: Sequence[str], folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of the course by number ("0", "00"), range ("1-3") or name; all of them for an empty list.

    The word "solutions" stands for all the notebooks with solutions.

    Args:
        wanted: Numbers, ranges and names.
        folder: The folder of notebooks.

    Returns:
        Their paths.

    Raises:
        GancompError: For a number that no notebook has, and for a folder without notebooks.
    """
    there = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not there:
        raise GancompError(f"There are no notebooks in {folder}; run this in a complete gancomp checkout.")
    if not wanted:
        return list(there.values())
    solved = sorted((folder / "solutions").glob("*.ipynb")) if "solutions" in wanted else []
    chosen: dict[str, Path] = {}
    for word in (word for word in wanted if word != "solutions"):
        found = {stem: path for stem, path in there.items() if _matches(stem, word.removesuffix(".ipynb"))}
        if not found:
            numbers = ", ".join(stem[:2] for stem in there)
            raise GancompError(
                f"There is no notebook {word!r}; there are {numbers}, ranges such as 01-03 and solutions work too."
            )
        chosen |= found
    return [there[stem] for stem in sorted(chosen)] + solved


def _matches(stem: str, word: str) -> bool:
    if span := re.fullmatch(r"(\d{1,2})-(\d{1,2})", word):
        return int(span[1]) <= int(stem[:2]) <= int(span[2])
    return int(word) == int(stem[:2]) if word.isdigit() else word == stem


# --- what a committed notebook contains -----------------------------------------------------------------------------


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """A copy fit to be committed: outputs stay, what belongs to one machine or one session goes.

    Dropped: cells added by papermill, widget state and views (their HTML stand-ins stay), timings, progress
    bars and paths of this computer. Warnings stay: they are for mending, and the contract reports them.
    """
    clean = copy.deepcopy(notebook)
    clean.cells = [cell for cell in clean.cells if not added_by_running(cell)]
    for key in ("papermill", "widgets"):
        clean.metadata.pop(key, None)
    clean.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    clean.metadata.language_info = {"name": "python"}
    count = 0
    for cell in clean.cells:
        for key in _ADDED_CELL_METADATA:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count if cell.get("execution_count") is not None else None
            cell.outputs = [kept for output in cell.outputs if (kept := _clean_output(output, cell.execution_count))]
    return clean


def with_alt_text(notebook: NotebookNode) -> NotebookNode:
    """A copy for web pages: explorers move, and PNG outputs become HTML images (exporters drop their alt text)."""
    result = copy.deepcopy(notebook)
    for output in (output for cell in result.cells for output in cell.get("outputs", [])):
        if stored := output.get("data", {}).pop(STATES, None):
            output.data["text/html"] = figure(stored)
        about = output.get("metadata", {}).get("image/png", {})
        if about.get("alt"):
            output.data["text/html"] = html_image(output.data["image/png"], about["alt"], about.get("width"))
            del output.data["image/png"]
    return result


def _clean_output(output: NotebookNode, count: int | None) -> NotebookNode | None:
    if output.output_type == "stream":
        return _clean_stream(output)
    if output.output_type == "error":
        output.traceback = [without_paths(line) for line in output.traceback]
        return output
    if "execution_count" in output:
        output.execution_count = count
    if output.data.pop(WIDGET_VIEW, None) is not None and "text/html" not in output.data:
        return None  # a bare widget leaves only "VBox(children=...)"
    if output.get("metadata", {}).get("image/png", {}).get("alt"):
        output.data.pop("text/html", None)  # the same picture once more, there for the alt text's sake
    for kind, value in output.data.items():
        if kind.startswith("text/") and isinstance(value, str):
            output.data[kind] = without_paths(value)
    return output


def _clean_stream(output: NotebookNode) -> NotebookNode | None:
    lines = output.text.replace("\r", "\n").splitlines(keepends=True) if output.name == "stderr" else [output.text]
    output.text = without_paths("".join(line for line in lines if not _PROGRESS_BAR.search(line)))
    return output if output.text.strip() else None


def without_paths(text: str) -> str:
    """``text`` without the folders of this computer: paths below the checkout become relative."""
    for folder in (str(REPOSITORY), os.path.realpath(REPOSITORY)):
        text = text.replace(folder + os.sep, "").replace(folder, ".")
    text = text.replace(tempfile.gettempdir() + os.sep, "<temporary folder>" + os.sep)
    return text.replace(str(Path.home()) + os.sep, "~" + os.sep)


def with_outputs(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The source notebook with the outputs of its executed copy: not a character of the source changes."""
    outputs = {cell.get("id"): cell for cell in executed.cells if cell.cell_type == "code"}
    result = copy.deepcopy(source)
    for cell in result.cells:
        if cell.cell_type == "code" and cell.get("id") in outputs:
            cell.outputs = copy.deepcopy(outputs[cell.id].outputs)
            cell.execution_count = outputs[cell.id].execution_count
    return cleaned(result)


# --- what a notebook costs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NotebookCost:
    """Minutes of wall time, peak memory and new cache files in MB of one measured execution (kernel and children)."""

    minutes: float
    memory_mb: float
    machine: str
    measured: str  # date, ISO 8601
    disk_mb: float = 0.0  # what the cache grew by


def costs_file() -> Path:
    return data_root() / "results" / "notebook_costs.json"


def read_costs() -> dict[str, dict[str, NotebookCost]]:
    """Notebook -> profile -> cost; empty when nothing was measured yet."""
    path = costs_file()
    if not path.exists():
        return {}
    stored: dict[str, dict[str, Json]] = json.loads(path.read_text(encoding="utf-8"))
    return {name: {profile: NotebookCost(**cost) for profile, cost in by.items()} for name, by in stored.items()}


def record_cost(name: str, profile: str, minutes: float, memory_mb: float, disk_mb: float = 0.0) -> None:
    """Store the measured cost of a notebook in ``data/results/notebook_costs.json``.

    Args:
        name: The notebook.
        profile: Its profile.
        minutes: Wall time.
        memory_mb: Peak memory of kernel and children, in MB.
        disk_mb: New files in the cache, in MB.
    """
    costs = read_costs()
    today = datetime.date.today().isoformat()
    cost = NotebookCost(round(minutes, 2), round(memory_mb), machine_class(), today, round(disk_mb))
    costs.setdefault(name, {})[profile] = cost
    stored = {key: {p: vars(c) for p, c in sorted(by.items())} for key, by in sorted(costs.items())}
    with atomic_write(costs_file()) as temporary:
        temporary.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def costs_line(costs: dict[str, NotebookCost]) -> str:
    """The sentence in a notebook's header."""
    if not costs:
        return "not measured yet"
    parts = [
        f"{_minutes(costs[name].minutes)}, {costs[name].memory_mb / 1000:.1f} GB of memory and "
        f"{costs[name].disk_mb:.0f} MB of new files in the {name} profile"
        for name in ("fast", "standard", "full")
        if name in costs
    ]
    machines = sorted({cost.machine for cost in costs.values()})
    return f"{'; '.join(parts)} (measured on {' / '.join(machines)})"


def _minutes(minutes: float) -> str:
    return f"{max(round(minutes * 60), 1)} seconds" if minutes < 1 else f"{minutes:.1f} minutes"


def fill_costs(notebook: NotebookNode, costs: dict[str, NotebookCost]) -> None:
    """Put the measured costs between the markers of the header, in place."""
    pattern = re.compile(re.escape(COSTS_BEGIN) + ".*?" + re.escape(COSTS_END), re.DOTALL)
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and COSTS_BEGIN in cell.source:
            cell.source = pattern.sub(lambda _: f"{COSTS_BEGIN}{costs_line(costs)}{COSTS_END}", cell.source)
