"""Editions of the notebooks for a class, made from the one source: for students, for instructors, for a grader.

The exercises stand in the notebooks as stubs, their answers in ``notebooks/solutions``; an edition joins the two or
keeps them apart. Grading uses otter-grader (``pip install otter-grader``), whose tests ask the course's own checks.
"""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from gancomp_core.course.notebook_files import NOTEBOOKS, choose, read_notebook, tagged, tags, write_notebook
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, atomic_write

OUT = REPOSITORY / "build" / "editions"
#: What an answer may use: otter executes a submission's exercise cells and nothing else.
IMPORTS = "import math\nimport statistics\nimport time\n\nimport numpy as np\nimport torch\nfrom torch import nn"
TEST = """\
from otter.test_files import test_case

OK_FORMAT = False
name = "{name}"
points = 1


@test_case(points=1)
def test_{name}(env):
    from gancomp_core.course.checks import exercises, judge

    result = judge(exercises()["{name}"], env.get("{name}"))
    assert result.passed, f"{{result.status}}: {{result.message}}"
"""


def exercise_names(notebook: NotebookNode) -> list[str]:
    """The exercises of a notebook, in their order."""
    found = [tag for cell in notebook.cells for tag in tags(cell)]
    return [tag.removeprefix("exercise:") for tag in found if tag.startswith("exercise:")]


def student_edition(notebook: NotebookNode) -> NotebookNode:
    """A copy without outputs: the exercises are empty, and no result is seen before its cell has run.

    Args:
        notebook: A notebook of the course.

    Returns:
        The copy.
    """
    edition = copy.deepcopy(notebook)
    for cell in edition.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return edition


def instructor_edition(notebook: NotebookNode, solutions: NotebookNode) -> NotebookNode:
    """A copy with every exercise solved, each answer's explanation below it; outputs stay, except those of the stubs.

    Args:
        notebook: A notebook of the course.
        solutions: Its solutions.

    Returns:
        The copy.

    Raises:
        GancompError: When an exercise has no solution.
    """
    edition = copy.deepcopy(notebook)
    for name in exercise_names(edition):
        answer, explained = _solution(solutions, name)
        place = next(i for i, cell in enumerate(edition.cells) if f"exercise:{name}" in tags(cell))
        edition.cells[place].source = answer
        edition.cells.insert(
            place + 1, new_markdown_cell(f"**For instructors.** {explained}", id=f"answer-{name}"[:64])
        )
        for cell in edition.cells[place : place + 3]:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
    setup = [
        new_code_cell(cell.source, id=f"answers-setup-{place}")
        for place, cell in enumerate(tagged(solutions, "exercise-setup"))
    ]
    first = next(i for i, cell in enumerate(edition.cells) if cell.cell_type == "code")
    edition.cells[first + 1 : first + 1] = setup
    return edition


def graded_edition(notebook: NotebookNode) -> NotebookNode:
    """The student edition in which otter-grader executes the answers alone, so that grading takes seconds.

    Args:
        notebook: A notebook of the course.

    Returns:
        A copy whose other code cells carry the tag ``otter_ignore``.
    """
    edition = student_edition(notebook)
    for cell in edition.cells:
        if cell.cell_type == "code" and not any(tag.startswith("exercise") for tag in tags(cell)):
            cell.metadata["tags"] = [*tags(cell), "otter_ignore"]
    first = next(i for i, cell in enumerate(edition.cells) if cell.cell_type == "code")
    edition.cells.insert(first + 1, new_code_cell(IMPORTS, id="exercise-imports"))
    return edition


def write_editions(chosen: Sequence[str] = (), out: Path = OUT, *, otter: bool = False) -> list[Path]:
    """Write the editions of notebooks to ``out/students``, ``out/instructors`` and, for a grader, ``out/grading``.

    Args:
        chosen: Numbers, ranges or names of notebooks; all if empty.
        out: The folder.
        otter: Whether to write the notebooks to hand out and ``autograder_NN.zip`` for otter-grader too.

    Returns:
        The files written.

    Raises:
        GancompError: For an unknown notebook, and where otter-grader is asked for and not installed.
    """
    if otter and importlib.util.find_spec("otter") is None:
        raise GancompError("Grading needs otter-grader, which is not installed; run `pip install otter-grader`.")
    written: list[Path] = []
    for path in choose(chosen):
        notebook = read_notebook(path)
        solutions = read_notebook(NOTEBOOKS / "solutions" / f"{path.stem}_solutions.ipynb")
        editions = {"students": student_edition(notebook), "instructors": instructor_edition(notebook, solutions)}
        if otter:
            editions["grading"] = graded_edition(notebook)
            written.append(_autograder(out / "grading", path.stem[:2], exercise_names(notebook)))
        for folder, edition in editions.items():
            (out / folder).mkdir(parents=True, exist_ok=True)
            write_notebook(edition, out / folder / path.name)
            written.append(out / folder / path.name)
    return written


def _solution(solutions: NotebookNode, name: str) -> tuple[str, str]:
    """The answer's code, and the text above it without its heading."""
    places = [i for i, cell in enumerate(solutions.cells) if f"solution:{name}" in tags(cell)]
    if not places:
        raise GancompError(f"The exercise {name!r} has no solution; add a cell tagged solution:{name} to its notebook.")
    above = solutions.cells[places[0] - 1]
    lines = above.source.splitlines() if above.cell_type == "markdown" else []
    text = "\n".join(line for line in lines if not line.startswith("#")).strip()
    return solutions.cells[places[0]].source, text


def _autograder(folder: Path, number: str, names: Sequence[str]) -> Path:
    """``autograder_NN.zip``, written by otter itself from a file of tests for each exercise."""
    tests = folder / f"tests_{number}"
    tests.mkdir(parents=True, exist_ok=True)
    for name in names:
        with atomic_write(tests / f"{name}.py") as temporary:
            temporary.write_text(TEST.format(name=name), encoding="utf-8", newline="\n")
    made = folder / f"autograder_{number}.zip"
    command = [sys.executable, "-m", "otter", "generate", "--no-environment", "-t", str(tests), "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise GancompError(f"otter-grader could not write {made.name} ({last}); `otter generate --help` says more.")
    return made
