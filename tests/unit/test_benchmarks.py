"""The benchmarks run, and compare things that do the same; how fast anything is, no test says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks import cost, frechet, training
from benchmarks.__main__ import README, SUBJECTS, main, table, write
from benchmarks.plain_pix2pix import plain_generator, with_weights_of
from benchmarks.side_by_side import Budget, compare
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.measure import frechet_distance
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, ResnetGenerator, initialise

TINY = Budget(rounds=1, seconds=0, pictures=8)


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_benchmark_gives_finite_ratios(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "NETWORKS", ((8, 1),))
    comparisons = list(SUBJECTS[name](TINY))
    assert comparisons
    for comparison in comparisons:
        assert len(comparison.ratios) == TINY.rounds
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in comparison.ratios)


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
    ours = initialise(ResnetGenerator(ResnetArchitecture(ChannelConfig.uniform(8), 2, False, 1, 1)), 0)
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
    assert "the names are cost, loading, training, frechet" in capsys.readouterr().err
