import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from gancomp_core import zoo
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, data_root
from gancomp_core.measure import cost, psnr

NAMES = zoo.names()


@pytest.fixture
def copied_data(tmp_path, monkeypatch):
    """A data folder of the test's own, with the shipped zoo in it."""
    shutil.copytree(data_root(), tmp_path / "data", ignore=shutil.ignore_patterns("results"))
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_shipped_weights_that_fit_their_card(name):
    model = zoo.load(name)
    assert not model.generator.training
    assert model.generator.architecture.as_dict() == model.card["architecture"]
    task = load_task(model.card["task"])
    assert cost(model.generator, task.size, task.size).macs == model.card["cost"]["macs"]
    assert model.card["data"] == task.fingerprint
    assert model.card["settings"]["steps"] == zoo.RECIPES[name].settings.steps


@pytest.mark.parametrize("name", NAMES)
def test_shipped_generators_paint_shoes_closer_to_the_photo_than_the_edges_are(name):
    model, task = zoo.load(name), load_task("edges2shoes")
    batch = task.test.batch(slice(0, 64))
    with torch.no_grad():
        painted = psnr(model.generator(batch.source), batch.target).mean()
    assert painted > psnr(batch.source, batch.target).mean() + 5


def test_teacher_is_better_than_the_small_student_and_neither_beats_real_pictures():
    quality = {name: zoo.load(name).card["quality"] for name in NAMES}
    teacher, student = quality["edges2shoes/teacher"], quality["edges2shoes/small_student"]
    assert teacher["fd_floor"] < teacher["fd"] < student["fd"]
    assert teacher["samples"] == 3000
    assert teacher["seeds"] == 3


def test_unknown_model_is_told_the_names():
    with pytest.raises(GancompError, match="edges2shoes/teacher"):
        zoo.load("edges2shoes/giant")


def test_damaged_weights_name_the_file_and_both_ways_out(copied_data):
    path = copied_data / "zoo/edges2shoes/teacher/generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GancompError, match=r"generator\.safetensors.*git checkout.*zoo train") as caught:
        zoo.load("edges2shoes/teacher")
    assert "\n" not in str(caught.value)


def test_missing_and_damaged_cards_are_named(copied_data):
    card = copied_data / "zoo/edges2shoes/teacher/card.json"
    card.write_text("{not json")
    with pytest.raises(GancompError, match="card"):
        zoo.load("edges2shoes/teacher")
    card.unlink()
    with pytest.raises(GancompError, match="git checkout -- data/zoo/edges2shoes/teacher"):
        zoo.load("edges2shoes/teacher")


@pytest.fixture
def quick_recipe(monkeypatch, tmp_path):
    """The small student's recipe, cut down to two steps of a tiny network, with a cache of its own."""
    tiny = zoo.ResnetArchitecture("8_8_8_8_8_8_8_8", blocks=1, in_channels=1, out_channels=1)
    recipe = dataclasses.replace(
        zoo.RECIPES["edges2shoes/small_student"], architecture=tiny, settings=zoo.Settings(2, batch_size=2)
    )
    monkeypatch.setitem(zoo.RECIPES, "edges2shoes/small_student", recipe)
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path / "cache"))
    original = zoo.evaluate_generator
    monkeypatch.setattr(zoo, "evaluate_generator", lambda *a, **k: original(*a, **k, n=24))  # speed; the real measure


def test_training_a_model_again_replaces_weights_and_card_together(copied_data, quick_recipe):
    model = zoo.train("edges2shoes/small_student")
    assert model.card["settings"]["steps"] == 2
    assert model.generator.architecture.blocks == 1


def test_a_training_that_fails_in_its_evaluation_leaves_the_old_model(copied_data, quick_recipe, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo, "evaluate_generator", fail)
    with pytest.raises(KeyboardInterrupt):
        zoo.train("edges2shoes/small_student")
    assert zoo.load("edges2shoes/small_student").generator.architecture.blocks == 3


def test_every_shipped_weight_has_a_card_with_a_picture_and_a_licence():
    for name in NAMES:
        folder = data_root() / "zoo" / name
        assert (folder / "grid.png").stat().st_size < 300_000
        text = (folder / "card.md").read_text(encoding="utf-8")
        assert json.loads((folder / "card.json").read_text())["command"] in text
        assert "licence" in text


def test_command_line_lists_models_and_explains_mistakes(capsys):
    assert zoo.main(["list"]) == 0
    assert "edges2shoes/teacher" in capsys.readouterr().out
    assert zoo.main(["train"]) == 1
    assert zoo.main(["train", "nonsense"]) == 1
    errors = capsys.readouterr().err
    assert "Name a model" in errors
    assert "There is no model 'nonsense'" in errors


def test_nothing_in_the_zoo_is_a_pickle():
    found = [p for p in Path(REPOSITORY / "data").rglob("*") if p.suffix in (".pth", ".pt", ".pkl", ".ckpt")]
    assert not found
