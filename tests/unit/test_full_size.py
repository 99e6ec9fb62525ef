"""Plans at the papers' sizes: their figures are the papers', and each of them runs."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from factories import refused
from gancomp_core import cli
from gancomp_core.files import REPOSITORY
from gancomp_core.full import estimate, pictures_of, plan_of, plans, run, running
from gancomp_core.full.laps import Compiled
from gancomp_core.nets import build
from gancomp_core.train import Callback, load_weights, train_pix2pix

PAPER_STEPS = {
    "pix2pix-teacher": 249_125,
    "once-for-all": 498_250,
    "cyclegan-teacher": 266_800,
    "gaugan-teacher": 37_187,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of random squares: in pairs, and of two sides."""
    root, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    pairs = {f"paired/{part}/{side}": count for part, count in (("train", 12), ("val", 3), ("test", 3))
             for side in ("source", "target")}  # fmt: skip
    for side, count in {**pairs, "unpaired/trainA": 12, "unpaired/trainB": 12}.items():
        (root / side).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(root / side / f"{index}.png")
    return root


def narrow(name, **changes):
    """A plan with a narrow network, for what has nothing to do with its size."""
    network = {"family": "resnet", "channels": "8_8_8_8_8_8_8_8", "blocks": 3}
    return dataclasses.replace(plan_of(name), network=network, critic_width=8, **changes)


def task_of(plan, folders, size=32):
    return pictures_of(plan, str(folders / ("paired" if plan.paired else "unpaired")), size)


@pytest.mark.parametrize("name", plans())
def test_cost_and_parameters_are_the_published_ones(name):
    plan = plan_of(name)
    width = 512 if plan.method == "gaugan" else 256
    cost = plan.architecture().cost(256, width)
    ours = {"macs": cost.published_macs, "params": cost.params}
    given = {key: value for key, value in plan.published.items() if key in ours}
    assert given == {key: ours[key] for key in given}
    with (REPOSITORY / "data/results/published_costs.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(line for line in file if not line.startswith("#")))
    for key, column in {"macs": "published_macs", "params": "params"}.items():
        assert key not in given or str(given[key]) in {row[column] for row in table}


@pytest.mark.parametrize(("name", "steps"), PAPER_STEPS.items())
def test_steps_are_those_of_the_paper(name, steps):
    plan = plan_of(name)
    assert plan.steps(plan.published["pictures"]) == steps


def test_the_space_has_as_many_networks_as_the_papers():
    for plan in plans().values():
        if "networks" in plan.published:
            assert len(plan.search_space()) == plan.published["networks"]


def test_the_learning_rate_is_constant_and_then_falls_to_zero():
    plan, steps = plan_of("pix2pix-teacher"), 20_000
    factors = [plan.schedule(step, steps) for step in (0, 4_999, 5_000, 12_500, 19_999)]
    assert factors == pytest.approx([1, 1, 1, 0.5, 1 / 15_000])


@pytest.mark.parametrize("name", [name for name in plans() if name not in ("once-for-all-search", "gaugan-teacher")])
def test_every_training_runs_at_its_real_width(name, folders, tmp_path, monkeypatch):
    """Two steps on small pictures, from a teacher with random weights."""
    monkeypatch.setattr(running, "TIMED", 2)
    plan = plan_of(name)
    found = estimate(plan, task_of(plan, folders), tmp_path, steps=1000)
    assert found.seconds > 0
    assert found.memory > 100e6
    assert found.disk >= 4 * 3 * (plan.published.get("params") or 1)
    assert "steps     1,000" in str(found)
    assert f"{found.hours:,.1f} hours" in str(found)
    assert found.teacher_is_there == (not plan.teacher)


def test_gaugan_runs_at_its_real_width_on_a_task_with_maps(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "TIMED", 2)
    plan = dataclasses.replace(plan_of("gaugan-teacher"), batch_size=2)
    found = estimate(plan, pictures_of(plan, "landcover2satellite"), tmp_path)
    assert found.steps == plan.steps(len(found.task.train))


def test_supernet_search_and_student_follow_one_another(folders, tmp_path):
    """Teacher, supernet and search, each beginning with what the one before left in the folder."""
    teacher, free = narrow("pix2pix-mobile-teacher"), "course/channels-16"
    teacher = dataclasses.replace(teacher, network={**teacher.network, "channels": "16_16_16_16_16_16_16_16"})
    task = task_of(teacher, folders)
    run(teacher, task, tmp_path, steps=2)
    supernet = dataclasses.replace(plan_of("once-for-all"), network=teacher.network, space=free, critic_width=8)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(running, "plan_of", {"pix2pix-mobile-teacher": teacher, "once-for-all": supernet}.__getitem__)
    with monkey.context():
        run(supernet, task, tmp_path, steps=2)
        searched = dataclasses.replace(plan_of("once-for-all-search"), network=teacher.network, space=free)
        monkey.setattr("gancomp_core.full.methods._budget", lambda plan, task: running_budget(supernet, task))
        folder = run(searched, task, tmp_path, steps=2)
    monkey.undo()
    assert len((folder / "table.csv").read_text().splitlines()) == 3
    assert (folder / "generator.safetensors").exists()


def running_budget(plan, task):
    from gancomp_core.methods.architecture_search import Budget

    return Budget(macs=0.5 * plan.architecture(task).cost(task.size, task.size).macs)


class Stop(Exception):
    """A run is killed."""


class Killed(Callback):
    def after_step(self, training):
        if training.step == 3:
            raise Stop


def test_a_killed_run_continues_to_the_same_weights(folders, tmp_path, monkeypatch):
    plan = narrow("pix2pix-teacher")
    task = task_of(plan, folders)
    whole = run(plan, task, tmp_path / "whole", steps=5)
    monkeypatch.setattr(running, "SECONDS", 0.0)  # between checkpoints
    with monkeypatch.context() as patch:
        patch.setattr(running, "faster", lambda: (Killed(),))
        with pytest.raises(Stop):
            run(plan, task, tmp_path / "killed", steps=5)
    again = run(dataclasses.replace(plan), task, tmp_path / "killed", steps=5)
    ours, theirs = (
        load_weights(build(plan.architecture(task)), each / "generator.safetensors") for each in (whole, again)
    )
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert json.loads((again / "about.json").read_text())["steps"] == 5


def test_a_compiled_training_comes_to_the_same_losses(folders, tmp_path):
    """By the compiler's front alone, which decides what is computed; the kernels are another matter."""
    plan = narrow("pix2pix-teacher")
    task = task_of(plan, folders)
    config = running.setting(plan, task, 2, 0, {}, ()).config
    config = dataclasses.replace(config, progress=False, precision="32-true")
    losses = [
        train_pix2pix(task, plan.architecture(task), config, callbacks=callbacks).history
        for callbacks in ((), (Compiled(backend="eager"),))
    ]
    assert np.allclose(losses[0].to_numpy(), losses[1].to_numpy(), rtol=1e-5)


def test_a_plan_whose_teacher_is_not_there_is_refused(folders, tmp_path):
    plan = plan_of("feature-distillation")
    with refused(r"begins with the networks of 'pix2pix-mobile-teacher'.*run 'gancomp full"):
        run(plan, task_of(plan, folders), tmp_path)


def test_pictures_that_do_not_suit_a_plan_are_refused(folders):
    with refused("needs pairs"):
        pictures_of(plan_of("pix2pix-teacher"), str(folders / "unpaired"), 32)
    with refused("needs semantic maps"):
        pictures_of(plan_of("gaugan-teacher"), str(folders / "paired"), 64)
    with refused("There is no plan of full size 'no such'"):
        plan_of("no such")


def test_the_command_lists_plans_and_prints_one(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(running, "TIMED", 2)
    assert cli.main(["full"]) == 0
    assert "pix2pix-teacher: " in capsys.readouterr().out
    words = ["full", "feature-distillation", "--pictures", str(folders / "paired"), "--size", "32", "--dry-run"]
    assert cli.main([*words, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "not there yet: run 'gancomp full pix2pix-mobile-teacher' first" in printed
    assert not list(tmp_path.iterdir())
