"""A reader's own method in the benchmark: its file is read without being executed, and trained like every other one."""

from __future__ import annotations

import shutil

import pytest

from gancomp_core import cli
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root
from gancomp_core.lab import added
from gancomp_core.lab.benchmark import outcome, plan, rows
from gancomp_core.lab.benchmark.doing import compared_with
from gancomp_core.lab.kinds import Job

CARD = "CARD = {'name': 'neighbor differences', 'task': 'edges2shoes'}"
METHOD = f'''"""Students learn where their teacher's pictures change."""

from gancomp_core.methods.feature_distillation import distil
from gancomp_core.train import gan, reconstruction
from gancomp_core.train.objectives import term

{CARD}


@term()
def neighbors(outputs):
    """Differences between neighboring pixels."""
    ours, its = (pictures.diff(dim=-1) for pictures in (outputs.fake, outputs.teacher_picture))
    return (ours - its).abs().mean()


def train(student, teacher, task, config, discriminator, callbacks):
    objective = gan() + 10 * reconstruction() + 20 * neighbors()
    return distil(student, teacher, task, config, objective=objective, callbacks=callbacks)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD, encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The shipped data with a folder of results of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    for each in data_root().iterdir():
        if each.name != "results":
            (folder / each.name).symlink_to(each, target_is_directory=each.is_dir())
    (folder / "results").mkdir()
    shutil.copyfile(data_root() / "results" / "results.parquet", folder / "results" / "results.parquet")
    monkeypatch.setenv("GANCOMP_DATA", str(folder))
    return folder


def test_a_method_is_planned_kept_and_trained_with_the_teacher_of_its_task(file, data):
    method = added.read_method(file)
    assert (method.name, method.task) == ("neighbor differences", "edges2shoes")
    assert "5 trainings of 2,500 steps on edges2shoes" in plan(method)
    assert method.name not in [row.label for row in rows("edges2shoes")]
    added.add_method(file)
    row = rows("edges2shoes")[-1]
    assert (row.label, len({each.key for each in row.experiments})) == (method.name, 5)
    assert [row.label for row in rows("flat2gloss")][-1] != method.name
    first = row.experiments[0].but(steps=2, batch_size=2)
    trained = Job(first).train()
    assert trained.step == 2
    assert "20 * neighbors" in trained.objective
    assert trained.averaged["generator"].architecture == row.architecture


def test_a_changed_file_is_another_method_and_is_not_trained_as_the_old_one(file, data):
    method = added.add_method(file)
    file.write_text(METHOD.replace("20 *", "30 *"), encoding="utf-8")
    changed = added.add_method(file)
    assert changed.experiments[0].key != method.experiments[0].key
    with pytest.raises(GancompError, match="has changed since its rows were planned"):
        Job(method.experiments[0].but(steps=2, batch_size=2)).train()


def test_reading_a_file_executes_none_of_it(file, tmp_path):
    mark = tmp_path / "mark"
    file.write_text(f"{METHOD}\nopen({str(mark)!r}, 'w')\n", encoding="utf-8")
    added.read_method(file)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (CARD, "", "needs CARD"),
        (CARD, "CARD = print('x')", "plain values alone"),
        (CARD, "CARD = []", "needs CARD"),
        ("'task'", "'tsak'", "has an entry 'tsak'"),
        ("'edges2shoes'", "'horses'", "needs a 'task' of the benchmark: one of edges2shoes"),
        ("'edges2shoes'", "[]", "needs a 'task' of the benchmark"),
        ("'neighbor differences'", "'../../x'", "3 to 60 letters"),
        ("'neighbor differences'", "'from scratch'", "has a row 'from scratch' already"),
        ("'edges2shoes'}", "'edges2shoes', 'begin': 'xavier'}", "'l1' .* or 'random'"),
        ("'edges2shoes'}", "'edges2shoes', 'network': 'large'}", "'network'|channel config|network"),
        ("'edges2shoes'}", "'edges2shoes', 'network': 3}", "'network' in the CARD"),
        ("'edges2shoes'}", "'edges2shoes', 'paper': 3}", "'paper' in the CARD"),
        ("def train(student,", "def train(", r"needs a function 'train\(student, teacher"),
        ("def train(", "def train(:", "is not Python"),
        ('"""Students learn where their teacher\'s pictures change."""', "", "needs a docstring"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(file, old, new, said):
    assert old in METHOD
    file.write_text(METHOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(GancompError, match=said) as caught:
        added.read_method(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"#" * 300_000])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GancompError, match=r"mine\.py"):
        added.read_method(path)


def test_a_function_must_return_a_training_of_the_given_student(file, data):
    file.write_text(METHOD.replace("    return distil(", "    return print("), encoding="utf-8")
    method = added.add_method(file)
    with pytest.raises((GancompError, TypeError)):
        Job(method.experiments[0].but(steps=2, batch_size=2)).train()


def test_the_outcome_is_paired_by_seed_with_students_that_imitate_nothing(file, data, monkeypatch):
    """As if the method had trained the row that it is compared with: then nothing differs."""
    monkeypatch.setattr(added.Method, "experiments", compared_with("edges2shoes").experiments[:5])
    said = outcome(added.add_method(file))
    assert "+0.0 +- 0.0 % against 'begun with the teacher's channels'" in said
    assert "5 paired seeds" in said


def test_the_command_checks_before_it_trains(file, data, capsys):
    assert cli.main(["benchmark", "add", str(file), "--dry-run"]) == 0
    assert "5 trainings of 2,500 steps" in capsys.readouterr().out
    assert not (data / "results" / "methods").exists()
    assert cli.main(["benchmark", "add", str(file.with_name("none.py"))]) == 1
    assert "There is no file" in capsys.readouterr().err
