"""Compress your own: budgets, pictures, plan, and a whole run of a tiny teacher that is killed and goes on."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gancomp_core
from factories import StopAfter, Stopped, assert_same_weights, random_resnet, refused, resnet, smooth
from gancomp_core.compress import compress, make_plan, open_teacher
from gancomp_core.compress.budgets import Limits, read_budget
from gancomp_core.compress.pictures import divided, middles, scan
from gancomp_core.compress.plan import Plan
from gancomp_core.compress.run import Workshop
from gancomp_core.compress.stages import Decisions, PairedScore, TimeLimit, begun, search, train_supernet
from gancomp_core.data import to_uint8
from gancomp_core.files import sha256
from gancomp_core.measure import OnnxGenerator
from gancomp_core.nets.blocks import rescaled
from gancomp_core.train import Callback, Checkpoint, Trained

COSTS = {"macs": 12e6, "params": 2e6}
MINUTES = 10  # enough for a plan on a machine that does other things as well


# ---- budgets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("macs/12", Limits(macs=1e6)),
        ("11M macs", Limits(macs=11e6)),
        ("1.5 GMACs", Limits(macs=1.5e9)),
        ("params/20", Limits(params=1e5)),
        ("5 ms", Limits(latency_ms=5)),
        ("200 kB", Limits(file_bytes=2e5)),
        ("macs/12, 5ms and 200 kB", Limits(macs=1e6, latency_ms=5, file_bytes=2e5)),
    ],
)
def test_budgets_are_read_as_people_write_them(text, limits):
    assert read_budget(text, COSTS) == limits


@pytest.mark.parametrize("text", ["", "fast", "macs", "macs/0.5", "5", "0 ms", "5 ms, 6 ms", "-3 MB", "macs/12,"])
def test_other_texts_are_refused(text):
    with refused():
        read_budget(text, COSTS)


def test_a_share_of_an_unknown_cost_is_refused():
    with refused("cannot be counted"):
        read_budget("macs/12", {})


# ---- pictures -------------------------------------------------------------------------------------------------------


def write_pictures(folder: Path, count: int, size: int = 32, start: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(to_uint8(smooth(count, 3, size, size, seed=start))):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{start + i:03d}.png")


def test_any_mix_of_pictures_is_found_and_what_is_unreadable_is_named(tmp_path):
    write_pictures(tmp_path, 8)
    write_pictures(tmp_path / "more", 4, 48, start=20)
    Image.new("L", (40, 50)).save(tmp_path / "gray.jpg")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    found = scan(tmp_path, 3)
    assert (found.facts.readable, found.facts.folders, found.facts.typical) == (13, 1, 32)
    assert (found.facts.smallest, found.facts.largest) == ((32, 32), (50, 48))
    assert [line.split(":")[0] for line in found.facts.unreadable] == ["broken.png"]
    assert {tuple(found.read(path, (20, 24)).shape) for path in found.files} == {(3, 20, 24)}


def test_too_few_pictures_are_refused_with_the_number_that_is_needed(tmp_path):
    write_pictures(tmp_path, 7)
    with refused("8 or more"):
        scan(tmp_path, 3)


def test_sources_of_six_channels_come_from_arrays(tmp_path):
    for i in range(8):
        np.save(tmp_path / f"{i}.npy", np.full((6, 20, 24), i / 8, np.float32))
    np.save(tmp_path / "wrong.npy", np.zeros((3, 20, 24), np.float32))
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    found = scan(tmp_path, 6)
    assert (found.facts.readable, len(found.facts.unreadable)) == (8, 2)
    assert found.read(tmp_path / "4.npy", (16, 16)).eq(191).all()


def test_every_split_has_pictures():
    assert divided(8) == {"train": 4, "search": 2, "test": 2}
    assert divided(1000) == {"train": 736, "search": 64, "test": 200}


# ---- plan -----------------------------------------------------------------------------------------------------------


def a_teacher():
    return random_resnet(resnet(16, 3, in_channels=3, out_channels=3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("pictures")
    write_pictures(found, 24)
    return found


@pytest.fixture(scope="module")
def plan(folder):
    return make_plan(open_teacher(a_teacher()), folder, budget="macs/5", minutes=MINUTES)


def test_a_plan_fits_the_minutes_and_is_read_back(plan, tmp_path):
    assert sum(stage.minutes for stage in plan.stages) < MINUTES
    assert plan.warm
    assert plan.painted == {"train": 17, "search": 2, "test": 5}
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert "24 pictures" in str(plan)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"budget": "macs/1000"}, "No network of the space"),
        ({"size": 30}, "multiple of 4"),
        ({"minutes": 0}, "at least 0.1"),
        ({"runtime": "tensorflow"}, "runtime"),
        ({"opset": 9}, "18 to 23"),
    ],
)
def test_what_cannot_work_is_refused_at_once(folder, wrong, says):
    teacher, began = open_teacher(a_teacher()), time.monotonic()
    with refused(says):
        make_plan(teacher, folder, **wrong)
    assert time.monotonic() - began < 5


def test_the_package_is_the_function_as_well():
    assert inspect.signature(gancomp_core.compress) == inspect.signature(compress)
    assert gancomp_core.compress.make_plan is make_plan


# ---- a whole run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short(plan):
    return replace(plan, supernet_steps=8, tuning_steps=8, candidates=8)


def run(folder: Path | str, out: Path | str, **changes):
    return compress(a_teacher(), folder, **{"out": out, "budget": "macs/5", "minutes": MINUTES} | changes)


def killed_when(file: Path, folder: Path, out: Path) -> None:
    """A process that does the same, killed as soon as it has written a file."""
    call = f"from test_compress import run; run({str(folder)!r}, {str(out)!r})"
    process = subprocess.Popen([sys.executable, "-c", call], cwd=Path(__file__).parent, env=child_environment())
    try:
        while not file.exists():
            assert process.poll() is None, "it ended before"
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()


def child_environment() -> dict[str, str]:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def test_a_run_that_is_killed_and_goes_on_makes_the_same_file(folder, short, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    short.save(whole / "plan.json")
    (whole / "report.html").touch()  # a stage that is done: reports have tests of their own
    finished = run(folder, whole)
    assert finished.student.cost.macs <= finished.plan.budget.macs
    assert len(finished.task.test) == 5
    assert [*finished.minutes, "report"] == [stage.name for stage in finished.plan.stages]
    short.save(parts / "plan.json")
    killed_when(parts / "pictures" / "painted.json", folder, parts)
    killed_when(parts / "supernet.safetensors", folder, parts)
    again = Workshop(short, open_teacher(a_teacher()), parts).files
    assert sha256(again["int8"]) == sha256(finished.files["int8"])
    written = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    run(folder, whole)
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == written
    with refused(f"with minutes {MINUTES}"):
        run(folder, whole, minutes=3)


def test_a_search_that_is_too_slow_ends_with_what_it_has_and_goes_on_alike(short, tmp_path):
    shop = Workshop(short, open_teacher(a_teacher()), tmp_path)
    score = PairedScore(begun(short, a_teacher()).eval(), shop.task, short.scored)

    def found(seconds: float, scores: str) -> list[str]:
        decisions = Decisions(tmp_path / "decisions.json")
        return [*search(short, score, tmp_path / scores, seconds, decisions).table.architecture]

    whole = found(1e6, "others")
    assert len(whole) == short.candidates
    first = found(1e-6, "scores")
    assert len(first) == 1
    assert found(1e6, "scores") == first  # what was decided stays
    assert {*first} < {*whole}


class Resizing(nn.Module):
    """A teacher that makes pictures larger or smaller, in other colors."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale, self.colors = scale, nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.colors(rescaled(x, self.scale)))


@pytest.mark.parametrize("scale", [2, 1 / 2])
def test_a_student_makes_pictures_as_large_as_its_teacher(folder, scale, tmp_path, monkeypatch):
    teacher = open_teacher(Resizing(scale))
    plan = make_plan(teacher, folder, budget="999M macs", minutes=MINUTES)
    made = round(plan.size * scale)
    assert (plan.size, plan.made, plan.crop) == (32, made, made)
    assert plan.space.base.scale == scale
    assert f"which become {made} x {made}" in str(plan)
    shop = Workshop(replace(plan, supernet_steps=3, tuning_steps=3, candidates=2), teacher, tmp_path)
    pairs = shop.task.test.batch(slice(0, 2))
    assert shop.task.test.teacher[:2].shape == (2, 3, made, made)
    assert (teacher.paint(pairs.source) - pairs.target).abs().max() < 2 / 127.5
    painter = OnnxGenerator(shop.files["int8"])
    assert painter(pairs.source).shape == pairs.target.shape
    assert painter(pairs.source[..., :31, :30]).shape[2:] == (int(31 * scale), int(30 * scale))
    monkeypatch.setattr("gancomp_core.compress.run.FAITHFUL", 200.0)
    assert re.search(r"most of it in the layer [\w.]+ \(\d+\.\d dB alone\)", shop.checks[0])


def test_the_middle_of_a_fixed_size_is_the_same_on_both_sides():
    given = torch.arange(50.0).expand(1, 50, 50)
    for scale in (2, 4, 1 / 2):
        source, made = middles(given, rescaled(given[None], scale)[0], 40, round(40 * scale))
        assert float(source.mean()) == pytest.approx(float(made.mean()), abs=0.01)


def test_a_training_that_is_too_slow_ends_earlier_and_goes_on_alike(short, tmp_path):
    plan = replace(short, supernet_steps=40)
    task = Workshop(plan, open_teacher(a_teacher()), tmp_path).task

    def trained(seconds: float, *more: Callback) -> Trained:
        limit = TimeLimit("supernet", seconds, Decisions(tmp_path / "decisions.json"))
        return train_supernet(plan, a_teacher(), task, [limit, *more], progress=False)

    first = trained(1e-6)
    assert first.step == 6  # seen after 5 steps, and one more is done
    with pytest.raises(Stopped):
        trained(1e6, Checkpoint(tmp_path / "half.pt", seconds=0.0), StopAfter(3))
    assert_same_weights(trained(1e6, Checkpoint(tmp_path / "half.pt")), first)
