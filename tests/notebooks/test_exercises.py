"""Every exercise both ways: the stub is kindly not done, the solution passes, plausible wrong answers are refused."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from nbformat import NotebookNode
from wrong_answers import WRITTEN_IN_ANOTHER_WAY, WRONG_ANSWERS

from gancomp_core.course.checks import exercises, judge
from gancomp_core.course.notebook_files import NOTEBOOKS, read_notebook, tagged

EXERCISES = sorted(exercises().values(), key=lambda task: (task.notebook, task.name))
EXPLANATIONS = yaml.safe_load(Path(__file__).with_name("explanations.yml").read_text(encoding="utf-8"))
IMPORTS = "import math, statistics, time\nimport numpy as np\nimport torch\nfrom torch import nn\n"


def notebook_of(task) -> Path | None:
    return next(iter(NOTEBOOKS.glob(f"{task.notebook}_*.ipynb")), None)


def solutions_of(task) -> Path:
    found = list((NOTEBOOKS / "solutions").glob(f"{task.notebook}_*_solutions.ipynb"))
    assert found, f"notebooks/solutions has no solutions for notebook {task.notebook}"
    return found[0]


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


@pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.name)
def test_a_mutant_gets_its_hint(task):
    said = {hint: judge(task, mutant) for hint, mutant in task.mutants.items()}
    assert {hint: result.message for hint, result in said.items()} == {hint: hint for hint in said}
    assert all(result.status == "wrong" and len(hint.split()) >= 6 for hint, result in said.items())


@pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.name)
def test_other_wrong_answers_are_refused_in_words_of_their_own(task):
    said = {fault: judge(task, answer) for fault, answer in WRONG_ANSWERS[task.name].items()}
    assert {fault: result.status for fault, result in said.items()} == dict.fromkeys(said, "wrong")
    assert said.keys() == EXPLANATIONS[task.name].keys()
    assert {fault: EXPLANATIONS[task.name][fault] in result.message for fault, result in said.items()} == dict.fromkeys(
        said, True
    ), "the explanation is another one"
    words = [result.message for result in said.values() if result.message not in task.mutants]
    assert len({*words}) == len(said), "told apart in nothing, from each other or from a mutant"
    assert len(task.mutants) + len(said) >= 5


@pytest.mark.parametrize(
    ("name", "answer", "words"), WRITTEN_IN_ANOTHER_WAY, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_hint_reaches_the_same_mistake_written_in_another_way(name, answer, words):
    message = judge(exercises()[name], answer).message
    assert message in exercises()[name].mutants
    assert words in message


def test_pictures_rounded_to_bytes_are_close_enough():
    def rounded(student, teacher, source):
        with torch.no_grad():
            picture = teacher.eval()(source).add(1).mul(127.5).round().div(127.5).sub(1)
        return F.l1_loss(student(source), picture)

    result = judge(exercises()["pseudo_pair_loss"], rounded)
    assert result.passed, result.message


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
