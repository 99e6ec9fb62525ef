"""An experiment runs the learner's function once it has passed its check, and the reference until then."""

import ast

import pytest
import torch

from gancomp_core.course import challenges, checks, scores
from gancomp_core.course.editions import exercise_names
from gancomp_core.course.exercises import nb04
from gancomp_core.course.notebook_files import NOTEBOOKS, choose, read_notebook, tagged, tags
from gancomp_core.errors import GancompError

ENGINES = choose(["00-07"])


@pytest.fixture
def told(monkeypatch):
    """What is displayed; nothing has passed yet."""
    said = []
    monkeypatch.setattr(checks, "_passed", {})
    monkeypatch.setattr(checks, "display", lambda *_, **__: None)
    monkeypatch.setattr(checks, "tell", said.append)
    return said


def right(mean1, std1, mean2, std2):
    return (mean1 - mean2) ** 2 + (std1 - std2) ** 2


def test_the_reference_runs_until_an_answer_passes_and_again_when_a_later_one_fails(told):
    reference = checks.exercises()["frechet_1d"].reference
    assert checks.yours("frechet_1d") is reference
    checks.check.frechet_1d(right)
    assert checks.yours("frechet_1d") is right
    checks.check.frechet_1d(lambda *_: 0.0)
    assert checks.yours("frechet_1d") is reference
    assert ["**your** `frechet_1d`" in line for line in told] == [False, True, False]
    assert "the reference `frechet_1d`: yours has not passed its check yet" in told[0]


def test_an_unknown_exercise_is_named():
    with pytest.raises(GancompError, match="no exercise 'frechet_2d'"):
        checks.yours("frechet_2d")


@pytest.mark.parametrize("path", ENGINES, ids=lambda path: path.stem[:2])
def test_every_exercise_runs_in_an_experiment_below_it(path):
    cells = read_notebook(path).cells
    for name in exercise_names(read_notebook(path)):
        check = next(i for i, cell in enumerate(cells) if f"check.{name}(" in cell.source)
        users = [i for i, cell in enumerate(cells) if f'yours("{name}")' in cell.source]
        assert users, f"no experiment runs {name}"
        assert min(users) > check
        assert not any("nbval-check" in tags(cells[i]) for i in users), (
            "what is shown there must be the same everywhere"
        )


@pytest.mark.parametrize("path", ENGINES, ids=lambda path: path.stem[:2])
def test_no_cell_holds_the_answer_of_an_exercise(path):
    solutions = read_notebook(NOTEBOOKS / "solutions" / f"{path.stem}_solutions.ipynb")
    code = {cell.id: _plain(cell.source) for cell in read_notebook(path).cells if cell.cell_type == "code"}
    for name in exercise_names(read_notebook(path)):
        [stub] = tagged(read_notebook(path), f"exercise:{name}")  # one to debug holds most of its answer
        [answer] = tagged(solutions, f"solution:{name}")
        lines = [ast.unparse(node) for node in ast.walk(ast.parse(answer.source)) if isinstance(node, ast.stmt)]
        lines = [line.removeprefix("return ") for line in lines if "\n" not in line and len(line) > 40]
        for line in lines:
            assert not any(line in source for cell, source in code.items() if cell != stub.id), f"{name}: {line}"


def _plain(source):
    return ast.unparse(ast.parse(source))


def test_an_open_challenge_keeps_the_best_score_and_survives_a_damaged_file(told, monkeypatch, tmp_path):
    monkeypatch.setenv("GANCOMP_PREDICTIONS", str(tmp_path / "predictions.json"))
    result = checks.check.predict_scores(checks.exercises()["predict_scores"].reference)
    assert result.score == scores.best_scores()["predict_scores"] > 0.53
    assert f"Your best: {result.score:.3f}." in result.message
    assert scores.keep_score("predict_scores", 0.1) == result.score
    scores.scores_file().write_text("{damaged", encoding="utf-8")
    assert scores.best_scores() == {}
    assert scores.keep_score("predict_scores", 0.1) == 0.1


def test_a_call_that_fails_leaves_the_teacher_of_the_challenges_as_it_was():
    importances = [torch.rand(128) for _ in challenges.inside_blocks()]
    before = challenges.pruned_psnr(importances)
    with pytest.raises(ValueError, match="shorter"):
        challenges.pruned_psnr(importances[:3])
    with pytest.raises(GancompError, match="part"):
        challenges.pruned_psnr(importances, "validation")
    assert challenges.pruned_psnr(importances) == before


def test_the_networks_of_the_challenge_are_asked_nowhere_else():
    known, asked = (set(places) for places in zip(*map(_as_tuples, nb04._exams()), strict=True))
    assert not {place for places in known for place in places} & {place for places in asked for place in places}
    rows, _ = nb04.practice()
    held_out = nb04._measured()[0][nb04._exams()[0][1]]
    assert not {row.tobytes() for row in rows} & {row.tobytes() for row in held_out}


def _as_tuples(exam):
    return tuple(tuple(places.tolist()) for places in exam)
