"""Questions, answers that wait for them, and the file that keeps both."""

import json
import math
import os
import subprocess
import sys

import ipywidgets as widgets
import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from gancomp_core.cli import main
from gancomp_core.course import output, prediction_file, predictions, reveals
from gancomp_core.course.notebook_files import cleaned
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """The HTML that readers without a kernel would see, in the order of display."""
    monkeypatch.setenv("GANCOMP_PREDICTIONS", str(tmp_path / "answers.json"))
    monkeypatch.setattr(predictions, "LIVE_FORMS", {})
    monkeypatch.setattr(reveals, "WAITING", {})
    shown = []
    for module in (output, reveals):
        monkeypatch.setattr(module, "display", lambda bundle, **_: shown.append(bundle["text/html"]))
    return shown


def answer(id, value, confidence=80):
    form = predictions.LIVE_FORMS[id]
    form.answer.value, form.confidence.value = value, confidence
    form.button.click()
    return form.said.value


def stored_text(tmp_path):
    return (tmp_path / "answers.json").read_text() if (tmp_path / "answers.json").exists() else ""


def ask(id="q"):
    predictions.predict(id, "Which?", ["teacher", "student"])


def ask_number(**options):
    predictions.predict("n", "How many?", unit="G MACs", low=0, high=1000, **options)


# --- answers --------------------------------------------------------------------------------------------------------


def test_a_number_is_recorded_and_compared_with_the_truth(answers):
    ask_number()
    assert "Recorded: 20 G MACs, 80 % sure." in answer("n", "20")
    predictions.reveal("n", 56.8)
    [kept] = predictions.recorded()
    assert (kept.answer, kept.truth, kept.confidence, kept.right) == (20, 56.8, 80, False)
    assert kept.factor_off == pytest.approx(2.84)
    assert "Too low by a factor of 2.84" in answers[-1]
    assert "width:35%" in answers[-1]
    assert "width:100%" in answers[-1]
    assert "<details>" not in answers[-1]


def test_a_choice_is_right_or_not(answers):
    ask()
    answer("q", "student", 55)
    predictions.reveal("q", "student")
    assert "Right." in answers[-1]
    assert predictions.recorded()[0].right


@pytest.mark.parametrize(("typed", "number"), [("2.5", 2.5), ("2,5", 2.5), (" 50 G MACs", 50), ("1e2", 100), ("0", 0)])
def test_a_number_may_be_typed_as_people_write_it(answers, typed, number):
    ask_number()
    assert "Recorded" in answer("n", typed)
    assert predictions.recorded()[0].answer == number


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Type a number first."),
        ("  ", "Type a number first."),
        ("2000", "2,000 is out of range; type a number from 0 to 1,000 G MACs."),
        ("-1", "-1 is out of range; type a number from 0 to 1,000 G MACs."),
        ("many", "“many” is no number; type one from 0 to 1,000 G MACs, such as 2.5."),
        ("nan", "“nan” is no number; type one from 0 to 1,000 G MACs, such as 2.5."),
        ("inf", "inf is out of range; type a number from 0 to 1,000 G MACs."),
        ("1,000", "Is 1,000 meant as 1000? Type it without the comma, or with a decimal point."),
    ],
)
def test_no_number_is_no_answer(answers, typed, said):
    ask_number()
    assert said in answer("n", typed)
    assert predictions.recorded() == []


def test_an_untouched_form_is_no_answer(answers):
    ask_number()
    ask()
    for id, said in {"n": "Type a number first.", "q": "Choose an answer first."}.items():
        predictions.LIVE_FORMS[id].button.click()
        assert said in predictions.LIVE_FORMS[id].said.value
    assert predictions.recorded() == []


def test_an_answer_can_be_changed_until_the_truth_is_shown(answers):
    ask()
    answer("q", "teacher")
    assert predictions.LIVE_FORMS["q"].button.description == "Change my prediction"
    answer("q", "student")
    assert predictions.recorded()[0].answer == "student"
    predictions.reveal("q", "student")
    assert "stays: student" in answer("q", "teacher")
    assert predictions.recorded()[0].answer == "student"


def test_an_earlier_answer_is_shown_again(answers):
    ask_number()
    answer("n", "0.125", 65)
    ask_number()
    form = predictions.LIVE_FORMS["n"]
    assert "Recorded: 0.125 G MACs, 65 % sure." in form.said.value
    assert (form.answer.value, form.confidence.value) == ("0.125", 65)


def test_a_question_that_was_reworded_is_asked_again(answers):
    ask()
    answer("q", "teacher")
    predictions.predict("q", "How many?", low=0, high=9)
    assert predictions.LIVE_FORMS["q"].answer.value == ""
    predictions.reveal("q", 3)
    assert predictions.recorded()[0].truth == 3


def test_what_is_pressed_is_read_aloud(answers):
    ask()
    assert 'role="alert"' in answer("q", "teacher")


# --- answers that wait ----------------------------------------------------------------------------------------------


def test_running_all_cells_shows_and_writes_no_truth(answers, tmp_path):
    ask()
    predictions.reveal("q", "student")
    assert "the answer is" not in reveals.WAITING["q"].answer.value
    assert stored_text(tmp_path) == ""
    assert answers[-1].startswith("<details><summary>Show the answer</summary>")
    assert "The answer is <b>student</b>." in answers[-1]


def test_an_answer_given_while_the_truth_waits_opens_it_and_counts(answers):
    ask()
    predictions.reveal("q", "student")
    assert "The answer is open below." in answer("q", "teacher")
    assert "Not this time." in reveals.WAITING["q"].answer.value
    [kept] = predictions.recorded()
    assert (kept.answer, kept.truth, kept.counts) == ("teacher", "student", True)


def test_a_skipped_question_shows_the_truth_and_a_later_answer_does_not_count(answers):
    ask()
    predictions.reveal("q", "student")
    reveals.WAITING["q"].button.click()
    assert "No prediction recorded; the answer is <b>student</b>" in reveals.WAITING["q"].answer.value
    assert reveals.WAITING["q"].button.layout.display == "none"
    assert "does not count" in answer("q", "student")
    assert not predictions.recorded()[0].counts
    assert "does not count" in reveals.WAITING["q"].answer.value


def test_run_again_a_truth_that_was_shown_is_shown_at_once(answers):
    ask()
    predictions.reveal("q", "student")
    reveals.WAITING["q"].button.click()
    predictions.reveal("q", "student")
    assert "No prediction recorded; the answer is <b>student</b>" in answers[-1]
    assert "<details>" not in answers[-1]


def test_a_number_keeps_its_unit_without_a_prediction(answers):
    ask_number()
    predictions.reveal("n", 49.55)
    assert "<b>49.55 G MACs</b>" in answers[-1]
    predictions.reveal("never asked", 3, unit="ms")
    assert "<b>3 ms</b>" in answers[-1]


def test_a_truth_that_cannot_be_written_stays_closed(answers, tmp_path):
    ask()
    predictions.reveal("q", "student")
    (tmp_path / "answers.json").mkdir()
    reveals.WAITING["q"].button.click()
    assert "cannot be read" in reveals.WAITING["q"].note.value
    assert not reveals.WAITING["q"].opened


CELLS = [
    "from gancomp_core.course import predict, reveal, show, tell\nimport matplotlib.pyplot as plt",
    "predict('q', 'Which?', ['teacher', 'student'])\npredict('r', 'Which?', ['teacher', 'student'])",
    "show(plt.figure(), alt='Bars')\nreveal('q', 'student')\ntell('It is the **student**.')",
    "tell('Nothing hidden')",
    "from gancomp_core.course import predictions\nform = predictions.LIVE_FORMS['r']\nform.answer.value = 'teacher'\n"
    "form.record()",
    "show(plt.figure(), alt='Bars')\nreveal('r', 'student')\ntell('It is the **student**.')",
    "tell('Seen before the error')\nraise ValueError(reveal('q', 'student'))",
]


@pytest.mark.notebooks
def test_a_whole_cell_waits_for_its_answer_and_is_folded_where_no_kernel_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_PREDICTIONS", str(tmp_path / "answers.json"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, kernel_name="python3", timeout=60, allow_errors=True).execute()
    nbformat.validate(notebook)
    _, _, closed, plain, _, opened, failed = cleaned(notebook).cells
    [folded] = closed.outputs
    words = folded.data["text/html"]
    assert words.startswith("<details><summary>Show the answer</summary><p>The answer is <b>student</b>.")
    assert words.endswith("</details>")
    assert '<img src="data:image/png;base64,' in words
    assert 'alt="Bars"' in words
    assert "<p>It is the <strong>student</strong>.</p>" in words
    assert plain.outputs[0].data["text/markdown"] == "Nothing hidden"
    assert ["text/html" in each.data for each in opened.outputs] == [False, True, False]
    assert "Not this time." in opened.outputs[1].data["text/html"]
    assert {each.output_type for each in failed.outputs} == {"display_data", "error"}


# --- beginning again ------------------------------------------------------------------------------------------------


def test_answering_again_before_the_truth_is_shown_counts(answers):
    ask()
    answer("q", "teacher")
    assert predictions.forget("q") == "Your prediction is removed: teacher."
    assert predictions.recorded() == []
    answer("q", "student")
    assert predictions.recorded()[0].counts


def test_answering_again_after_the_truth_was_shown_does_not_count(answers):
    ask_number()
    answer("n", "20")
    predictions.reveal("n", 50)
    ask_number()
    form = predictions.LIVE_FORMS["n"]
    assert (form.button.layout.display, form.again.layout.display) == ("none", "")
    form.again.click()
    assert "Your prediction is removed: 20 G MACs. The answer has been shown" in form.said.value
    assert form.answer.value == ""
    assert (form.button.layout.display, form.again.layout.display) == ("", "none")
    assert "does not count" in answer("n", "50")
    [kept] = predictions.recorded()
    assert (kept.answer, kept.truth, kept.counts) == (50, 50, False)
    assert "so none is removed" in predictions.forget("other")


def test_the_whole_course_begins_again_and_the_old_answers_are_kept(answers, tmp_path):
    assert "so none are removed" in predictions.forget_all()
    ask()
    ask_number()
    answer("q", "teacher")
    predictions.reveal("n", 50)
    reveals.WAITING["n"].button.click()
    before = stored_text(tmp_path)
    said = predictions.forget_all()
    assert said.startswith("Removed: 1 prediction, to 2 questions answered or shown.")
    assert predictions.recorded() == []
    [backup] = tmp_path.glob("answers.json.before-reset-*")
    assert backup.name in said
    assert backup.read_text() == before


def test_the_command_line_lists_predictions_and_begins_again(answers, capsys):
    ask_number()
    answer("n", "20")
    assert main(["course", "predictions"]) == 0
    assert "n: 20 G MACs\n" in capsys.readouterr().out
    assert main(["course", "predictions", "--reset"]) == 0
    assert "Removed: 1 prediction" in capsys.readouterr().out
    assert predictions.recorded() == []


# --- the file -------------------------------------------------------------------------------------------------------

WRITE_MANY = """
import sys
from gancomp_core.course.prediction_file import Prediction, update
for number in range(40):
    with update() as known:
        id = f"{sys.argv[1]}/{number}"
        known[id] = Prediction(id, "?", answer=number)
"""


def test_two_notebooks_that_write_at_once_lose_no_answer(answers, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITE_MANY, name], env=environment) for name in "ab"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert {each.id for each in predictions.recorded()} == {f"{name}/{n}" for name in "ab" for n in range(40)}


def test_a_file_that_another_notebook_holds_is_told(answers, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_file, "PATIENCE", 0.1)
    ask()
    with prediction_file._locked():
        assert "Another notebook has been writing" in answer("q", "teacher")


DAMAGES = ['{"predictions": [{"no": "id"}]}', '{"predictions": 7}', '{\n "version": 1,\n "predictions": [\n  {"id"']


def only_backup(folder, name):
    [backup] = folder.glob(f"{name}.damaged-*")
    return backup.read_text()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_kept_aside_and_said_so(answers, tmp_path, capsys, damage):
    (tmp_path / "answers.json").write_text(damage)
    predictions.predict("q", "Which?", ["teacher", "student"])
    answer("q", "teacher")
    assert "the old one is kept as" in capsys.readouterr().out
    assert only_backup(tmp_path, "answers.json") == damage
    assert json.loads((tmp_path / "answers.json").read_text())["version"] == 1


@pytest.mark.parametrize("variable", ["", " "])
@pytest.mark.parametrize("damage", [*DAMAGES, "{", "[1, 2]", "\x00"])
def test_the_course_s_own_file_is_kept_aside_whatever_damaged_it(
    answers, tmp_path, monkeypatch, capsys, variable, damage
):
    monkeypatch.setenv("GANCOMP_PREDICTIONS", variable)
    monkeypatch.setattr(prediction_file, "REPOSITORY", tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / ".predictions.json").write_text(damage)
    assert predictions.recorded() == []
    assert "the old one is kept as" in capsys.readouterr().out
    assert only_backup(tmp_path / "notebooks", ".predictions.json") == damage


def test_an_empty_file_holds_no_predictions_yet(answers, tmp_path):
    (tmp_path / "answers.json").touch()
    assert predictions.recorded() == []
    assert [path.name for path in tmp_path.iterdir()] == ["answers.json"]


FOREIGN = [
    "{",
    "[1, 2]",
    '{"version": "1.0", "name": "mine"}',
    '{"version": 2}',
    "dear diary",
    "\x00\xff" * 99,
    "[" * 10**5,
]


@pytest.mark.parametrize("content", FOREIGN)
def test_another_file_is_refused_and_left_where_it_is(answers, tmp_path, content):
    path = tmp_path / "answers.json"
    path.write_text(content)
    for use in (
        predictions.recorded,
        lambda: predictions.forget("q"),
        lambda: predictions.reveal("q", 3),
        lambda: predictions.predict("q", "Which?", ["teacher", "student"]),
    ):
        with pytest.raises(GancompError, match=r"not a file of predictions.*set GANCOMP_PREDICTIONS to the name of a"):
            use()
    assert path.read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["answers.json"]


def test_a_folder_or_a_pipe_in_place_of_the_file_is_told(answers, tmp_path, monkeypatch):
    (tmp_path / "answers.json").mkdir()
    with pytest.raises(GancompError, match=r"answers\.json cannot be read .*set GANCOMP_PREDICTIONS"):
        predictions.recorded()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.setenv("GANCOMP_PREDICTIONS", str(tmp_path / "pipe"))
        with pytest.raises(GancompError, match="no plain file"):
            predictions.recorded()


def test_a_home_folder_is_found_by_its_sign(answers, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("GANCOMP_PREDICTIONS", "~/mine.json")
    assert predictions.predictions_file() == tmp_path / "mine.json"


SCRIPT = "<script>alert(1)</script>"
STORED = {"id": "q", "question": "?", "answer": 3, "confidence": 80, "truth": 3.0, "counts": True}


def stored(tmp_path, **changes):
    (tmp_path / "answers.json").write_text(json.dumps({"version": 1, "predictions": [STORED | changes]}))


@pytest.mark.parametrize(
    ("changes", "truth"),
    [
        ({"confidence": SCRIPT}, 3),
        ({"unit": SCRIPT}, 3),
        ({"unit": SCRIPT, "answer": 0}, 3),
        ({"answer": SCRIPT, "choices": [SCRIPT, "b"]}, "b"),
        ({"answer": SCRIPT, "choices": [SCRIPT, "b"]}, SCRIPT),
        ({"answer": None, "unit": SCRIPT}, 3),
        ({"within": SCRIPT}, 3),
        ({"question": SCRIPT}, 3),
    ],
)
def test_no_script_from_a_file_of_predictions_reaches_the_page(answers, tmp_path, changes, truth):
    stored(tmp_path, **changes)
    predictions.reveal("q", truth)
    predictions.predict("q", SCRIPT, [SCRIPT, "b"])
    boxes = [form.box for form in predictions.LIVE_FORMS.values()] + [each.box for each in reveals.WAITING.values()]
    shown = [*answers, *(each.value for box in boxes for each in box.children if isinstance(each, widgets.HTML))]
    assert len(shown) > 3
    assert not any("<script" in page for page in shown)


@pytest.mark.parametrize(
    "changes",
    [{"answer": ["a"]}, {"answer": math.nan}, {"within": "x"}, {"answer": math.inf}, {"confidence": {}}, {"id": 3},
     {"within": 10**400}, {"choices": [1, 2]}, {"truth": {}}],
)  # fmt: skip
def test_values_that_no_prediction_has_count_as_damage(answers, tmp_path, capsys, changes):
    stored(tmp_path, **changes)
    predictions.reveal("q", 3)
    assert "were damaged" in capsys.readouterr().out


def test_wrong_questions_are_refused(answers):
    with pytest.raises(GancompError, match="two different choices"):
        predictions.predict("q", "Which?", ["one"])
    with pytest.raises(GancompError, match="low= and high="):
        predictions.predict("q", "How many?")
    predictions.predict("q", "Which?", ["teacher", "student"])
    answer("q", "teacher")
    with pytest.raises(GancompError, match="not one of its choices"):
        predictions.reveal("q", "nobody")
