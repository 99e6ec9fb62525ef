"""Every exercise both ways: the stub is kindly not done, the solution passes, plausible wrong answers are refused."""

import runpy
from pathlib import Path

import pytest
from nbformat import NotebookNode

from gancomp_core.course.checks import exercises, judge
from gancomp_core.course.notebook_files import NOTEBOOKS, read_notebook, tagged

EXERCISES = sorted(exercises().values(), key=lambda task: (task.notebook, task.name))
IMPORTS = "import math, statistics, time\nimport numpy as np\nimport torch\nfrom torch import nn\n"


def notebook_of(task) -> Path | None:
    return next(iter(NOTEBOOKS.glob(f"{task.notebook}_*.ipynb")), None)


def solutions_of(task) -> Path:
    found = list((NOTEBOOKS / "solutions").glob(f"{task.notebook}_*_solutions.ipynb"))
    assert found, f"notebooks/solutions has no solutions for notebook {task.notebook}"
    return found[0]


def wrong_answers(task) -> dict:
    path = Path(__file__).parent / "wrong_answers" / f"nb{task.notebook}.py"
    return runpy.run_path(str(path))["WRONG_ANSWERS"][task.name]


def function_in(notebook: NotebookNode, tag: str, name: str):
    cells = tagged(notebook, tag)
    assert len(cells) == 1, f"exactly one cell must carry the tag {tag!r}, and {len(cells)} do"
    namespace: dict = {}
    exec(IMPORTS, namespace)
    for setup in tagged(notebook, "exercise-setup"):
        exec(setup.source, namespace)
    exec(cells[0].source, namespace)
    assert name in namespace, f"the cell tagged {tag!r} must define {name}"
    return namespace[name]


@pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.name)
def test_the_stub_is_kindly_not_done_yet(task):
    notebook = notebook_of(task)
    if notebook is None:
        pytest.skip(f"notebook {task.notebook} is not there yet")
    stub = function_in(read_notebook(notebook), f"exercise:{task.name}", task.name)
    assert judge(task, stub).status == "not done yet"


@pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.name)
def test_the_solution_passes(task):
    solution = function_in(read_notebook(solutions_of(task)), f"solution:{task.name}", task.name)
    result = judge(task, solution)
    assert result.passed, result.message


@pytest.mark.parametrize(
    ("task", "fault"),
    [(task, fault) for task in EXERCISES for fault in wrong_answers(task)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_wrong_answer_is_refused_and_told_why(task, fault):
    result = judge(task, wrong_answers(task)[fault])
    assert result.status == "wrong", f"{fault}: {result}"
    assert len(result.message.split()) >= 6, "a refusal says what to look at"


@pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.name)
def test_different_faults_get_different_words(task):
    answers = wrong_answers(task)
    assert len(answers) >= 5
    by_message: dict[str, list[str]] = {}
    for fault, answer in answers.items():
        by_message.setdefault(judge(task, answer).message, []).append(fault)
    shared = [faults for faults in by_message.values() if len(faults) > 1]
    assert not shared, f"told apart in nothing: {shared}"


def test_every_exercise_cell_of_a_notebook_has_a_check():
    known = exercises()
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        names = [
            tag.removeprefix("exercise:")
            for cell in read_notebook(path).cells
            for tag in cell.metadata.get("tags", [])
            if tag.startswith("exercise:")
        ]
        assert set(names) <= set(known), f"{path.name}: no check for {set(names) - set(known)}"
