"""The benchmarks run, and compare things that do the same; how fast anything is, no test says."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from benchmarks import agd, cost, frechet, integers, paper_size, redraws, teachers, training, workers
from benchmarks.__main__ import README, SUBJECTS, main, measure, table, write
from benchmarks.plain_pix2pix import plain_generator, with_weights_of
from benchmarks.side_by_side import Budget, Comparison, compare, torch_threads
from factories import few
from gancomp_core.course import widgets
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.executors import InThisProcess
from gancomp_core.lab import PROTOCOLS, recording
from gancomp_core.lab.experiment import Experiment
from gancomp_core.lab.kinds import Job
from gancomp_core.lab.networks import values_of
from gancomp_core.measure import frechet_distance
from gancomp_core.nets import (
    ChannelConfig,
    ResnetArchitecture,
    ResnetGenerator,
    SegmenterArchitecture,
    initialize,
)
from gancomp_core.train import fastest_precision

TINY = Budget(rounds=1, seconds=0, pictures=8)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in SUBJECTS
        if name not in ("teachers", "supernets", "published", "redraws", "paper_size", "workers")
    ],
)
def test_every_benchmark_gives_finite_ratios(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On small networks and few pictures: each export and each thousand painted pictures take seconds."""
    monkeypatch.setattr(agd, "load_task", lambda name: few(load_task(name), 64))
    monkeypatch.setattr(training, "NETWORKS", ((8, 1),))
    small = next(each for each in integers.networks(32) if each[0].endswith("narrowest"))
    monkeypatch.setattr(integers, "networks", lambda largest: [small])
    comparisons = list(SUBJECTS[name](TINY))
    assert comparisons
    for comparison in comparisons:
        assert isinstance(comparison, Comparison)
        assert len(comparison.ratios) == TINY.rounds
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in comparison.ratios)


def test_steps_of_the_papers_sizes_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """At their real widths on small pictures: a teacher, and a supernet whose plain side is that of a student too."""
    monkeypatch.setattr(paper_size, "ON_CPU", (64, 1, 1))
    monkeypatch.setattr(paper_size, "NAMES", ("pix2pix-teacher", "once-for-all"))
    for found in paper_size.run(TINY):
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in found.comparison.ratios)
        assert 0 < found.share < 2
        assert len(found.cells()) == len(paper_size.HEADER)


def test_workers_are_compared_on_scores_and_on_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))
    quick = dataclasses.replace(PROTOCOLS["edges2shoes"], evaluations=1, evaluation_seeds=(0,))
    monkeypatch.setitem(PROTOCOLS, "edges2shoes", quick)
    score = recording.evaluate_generator
    monkeypatch.setattr(recording, "evaluate_generator", lambda *given, **how: score(*given, **how, n=8))
    here = InThisProcess()
    networks, runs = workers.compared(here, here, TINY, steps=1)
    assert networks.what == "the scores of 2 networks, 4 pictures each"
    assert runs.what == "2 runs of 1 steps, with their scores"
    assert len(list(tmp_path.glob("runs/*/row.json"))) == 8, "two runs of each side, to warm up and to be timed"


def test_what_a_notebook_says_of_its_pictures_becomes_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(widgets, "_LIVE", {})
    controls = {"low": widgets.Slider("Low", 1, 9, 2), "on": widgets.Switch("On")}
    widgets.explore(lambda low, on: plt.figure(), alt="Nothing", title="Empty, and white", **controls)
    assert len(widgets.drive_all_widgets()) == 6
    [said] = redraws.SAID.finditer(capsys.readouterr().out)
    picture, first, redrawn, median, slowest = redraws.Redraws("00_start_here", said).cells()
    assert (picture, redrawn) == ("00 Empty, and white", "6")
    assert re.fullmatch(r"\d+ ms \(\d+ ms CPU\)", first)
    assert re.fullmatch(r"\d+ ms \(\d+ ms CPU\)", median)
    assert re.fullmatch(r"\d+ ms at (Low|On) \w+", slowest)


@pytest.fixture
def small_recipes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Experiment]:
    """One recipe with a critic and one that does more after its last step, with tiny networks."""
    resnet = ResnetArchitecture(ChannelConfig.uniform(8), 1, False, 1, 1)
    every = teachers.recipes()
    recipes = {
        "shoes": every["edges2shoes/teacher"].but(network=values_of(resnet)),
        "segmenter": every["landcover2satellite/segmenter"].but(network=values_of(SegmenterArchitecture(10, 8))),
    }
    monkeypatch.setattr(teachers, "recipes", lambda: recipes)
    return recipes


def test_every_recipe_has_a_row_with_the_precisions_of_the_machine(small_recipes: dict[str, Experiment]) -> None:
    rows = list(teachers.run(TINY))
    assert [row.name for row in rows] == list(small_recipes)
    for row in rows:
        assert len(row.fp32) == TINY.rounds
        assert len(row.bf16) == (TINY.rounds if fastest_precision("cpu") == "bf16-mixed" else 0)
        assert all(math.isfinite(seconds) and seconds > 0 for seconds in row.fp32 + row.bf16)


@pytest.mark.parametrize(("all_threads", "expected"), [(False, ["1"]), (True, ["1", "2"])])
def test_recipes_run_on_one_thread_and_on_all_when_asked(
    all_threads: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def idle(job: Job) -> None:
        """Two threads would wait for each other where tests share the cores, so nothing trains here."""
        for step in range(100):
            job.config.schedule(step, 100)

    idler = teachers.recipes()["edges2shoes/teacher"]
    monkeypatch.setattr(teachers, "recipes", lambda: {"idle": idler})
    monkeypatch.setattr(Job, "train", idle)
    with torch_threads(2):
        found = measure(["teachers"], TINY, all_threads)["teachers"]
        assert torch.get_num_threads() == 2
    rows = [line.split(" | ") for line in found.splitlines() if line.startswith("| idle")]
    assert [threads for _, threads, *_ in rows] == expected


def test_a_recipe_takes_its_pictures_times_the_median() -> None:
    row = teachers.Speed("a", steps=1200, batch_size=10, threads=1, fp32=(0.03, 0.02, 0.01), bf16=(0.01, 0.01, 0.01))
    assert dict(zip(teachers.HEADER, row.cells(), strict=True)) == {
        "model": "a",
        "threads": "1",
        "fp32": "50.0 pictures/s (33.3-100)",
        "bf16": "100 pictures/s (100-100)",
        "times as fast": "2.00 x (1.00-3.00)",
        "steps": "1,200 x 10",
        "fp32, all steps": "4 min",
        "bf16, all steps": "2 min",
    }


def test_a_machine_without_bfloat16_leaves_its_columns_empty() -> None:
    cells = teachers.Speed("a", steps=60, batch_size=1, threads=1, fp32=(1.0,), bf16=()).cells()
    assert cells == ("a", "1", "1.00 pictures/s", "-", "-", "60 x 1", "1 min", "-")


def test_the_first_steps_of_a_training_do_not_count() -> None:
    ticks = iter([0.0, 50.0, 60.0, 61.0, 62.0, 63.0])
    watch = teachers.Stopwatch(seconds=3, clock=lambda: next(ticks))
    for step in range(5):
        watch(step, 100)
    with pytest.raises(teachers.Enough):
        watch(5, 100)
    assert watch.seconds_a_step == 1.0


def test_both_sides_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def block(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    found = compare("work", lambda: block("ours", 1.0), lambda: block("plain", 3.0), rounds=3)
    assert order == ["ours", "plain", "ours", "plain", "plain", "ours", "ours", "plain"]
    assert found.ratios == (3.0, 3.0, 3.0)
    assert found.cells()[2:] == ("1.00 s (1.00-1.00)", "3.00 s (3.00-3.00)", "3.00 x (3.00-3.00)")


def test_plain_generator_makes_the_same_pictures() -> None:
    ours = initialize(ResnetGenerator(ResnetArchitecture(ChannelConfig.uniform(8), 2, False, 1, 1)), 0)
    plain = with_weights_of(plain_generator(8, 2), ours)
    source = torch.rand(2, 1, 32, 32) * 2 - 1
    torch.testing.assert_close(plain(source), ours(source), atol=1e-5, rtol=1e-4)


def test_plain_training_arrives_at_the_same_losses() -> None:
    task, steps = load_task("edges2shoes"), 3
    last = training.ours(task, 8, 1, "32-true", steps).history.iloc[-1]
    assert last["step"] == steps - 1
    for name, value in training.theirs(task, 8, 1, "32-true", steps)[1].items():
        assert value == pytest.approx(last[name], rel=0.01), name


def test_torchmetrics_finds_the_same_distance() -> None:
    one, other = frechet.pictures(32)
    assert frechet.torchmetrics_distance(one, other)() == pytest.approx(frechet_distance(one, other), rel=0.01)


def test_torchprofile_counts_the_same_multiplications() -> None:
    architecture = ResnetArchitecture(ChannelConfig.uniform(8), 1)
    counted = cost.cost(architecture, cost.SIZE, cost.SIZE)
    norms = 30 * cost.SIZE**2  # values put out by the norms; torchprofile does not count them when written as GroupNorm
    assert cost.profile()(ResnetGenerator(architecture)) == counted.published_macs - norms


def test_tables_replace_only_what_stands_between_their_markers(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text(encoding="utf-8"), encoding="utf-8")
    for rows in ([["old"] * 5], [["new"] * 5]):
        write(copy, {"loading": table("loading", rows, "a machine")})
    text = copy.read_text(encoding="utf-8")
    assert "| new | new |" in text
    assert "| old |" not in text
    assert text.startswith("# Benchmarks")
    assert text.count("<!-- end of") == len(SUBJECTS)


def test_a_readme_without_markers_is_left_alone(tmp_path: Path) -> None:
    bare = tmp_path / "README.md"
    bare.write_text("nothing here")
    with pytest.raises(GancompError, match="<!-- cost: written by the command -->"):
        write(bare, {"cost": "table"})
    assert bare.read_text() == "nothing here"


def test_unknown_benchmark_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "the names are cost, loading, training, teachers, frechet" in capsys.readouterr().err
