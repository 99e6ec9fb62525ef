"""Editions for a class: nothing is given away to students, instructors see every answer, otter-grader grades."""

import json
import subprocess
import sys

import pytest

from gancomp_core.course.checks import exercises, judge
from gancomp_core.course.editions import exercise_names, instructor_edition, student_edition, write_editions
from gancomp_core.course.notebook_files import NOTEBOOKS, choose, read_notebook, tagged, write_notebook
from gancomp_core.errors import GancompError

COURSE = choose([])


def solutions_of(path):
    return read_notebook(NOTEBOOKS / "solutions" / f"{path.stem}_solutions.ipynb")


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem[:2])
def test_students_get_every_exercise_and_no_output(path):
    notebook = read_notebook(path)
    edition = student_edition(notebook)
    assert exercise_names(edition) == exercise_names(notebook)
    assert [cell.source for cell in edition.cells] == [cell.source for cell in notebook.cells]
    assert not any(cell.get("outputs") for cell in edition.cells)
    assert any(cell.get("outputs") for cell in notebook.cells), "the source keeps its outputs"


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem[:2])
def test_instructors_get_every_answer_with_its_explanation(path):
    solutions = solutions_of(path)
    edition = instructor_edition(read_notebook(path), solutions)
    assert len({cell.id for cell in edition.cells}) == len(edition.cells)
    for name in exercise_names(edition):
        place = next(i for i, cell in enumerate(edition.cells) if f"exercise:{name}" in cell.metadata.get("tags", []))
        assert edition.cells[place].source == tagged(solutions, f"solution:{name}")[0].source
        assert len(edition.cells[place + 1].source.split()) > 10, f"{name} has no explanation"


def test_an_exercise_without_a_solution_is_named():
    notebook = read_notebook(COURSE[0])
    empty = read_notebook(COURSE[0])
    with pytest.raises(GancompError, match=f"'{exercise_names(notebook)[0]}' has no solution"):
        instructor_edition(notebook, empty)


@pytest.mark.notebooks
def test_otter_grades_right_answers_and_explains_a_wrong_one(tmp_path):
    write_editions(["00"], tmp_path, otter=True)
    handed_in = read_notebook(tmp_path / "grading" / COURSE[0].name)
    for name in exercise_names(handed_in):
        tagged(handed_in, f"exercise:{name}")[0].source = tagged(solutions_of(COURSE[0]), f"solution:{name}")[0].source
    wrong = tagged(handed_in, "exercise:conv_macs")[0]
    wrong.source = wrong.source.replace("return ", "return 2 * ")
    write_notebook(handed_in, tmp_path / "handed_in.ipynb")

    grade = [sys.executable, "-m", "otter", "run", "-a", "grading/autograder_00.zip", "-o", ".", "handed_in.ipynb"]
    done = subprocess.run(grade, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]

    found = {test["name"]: test for test in json.loads((tmp_path / "results.json").read_text())["tests"]}
    scores = {name: found[name]["score"] for name in exercise_names(handed_in)}
    assert scores == {name: 0.0 if name == "conv_macs" else 1.0 for name in scores}
    namespace: dict = {}
    exec(wrong.source, namespace)
    hint = judge(exercises()["conv_macs"], namespace["conv_macs"]).message
    assert hint in found["conv_macs"]["output"]
