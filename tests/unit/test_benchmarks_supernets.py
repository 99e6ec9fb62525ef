"""The benchmark of supernets compares things that do the same, and prints its rows; how fast they are, no test says."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
import torch

from benchmarks import supernets
from benchmarks.__main__ import README, main, table, write
from benchmarks.side_by_side import Budget, torch_threads
from gancomp_core import nets
from gancomp_core.measure import cost
from gancomp_core.nets import ArchitectureSpace, ChannelConfig, ElasticGenerator, ResnetArchitecture, SearchSpace
from gancomp_core.train import fastest_precision

TINY = Budget(rounds=1, seconds=0, pictures=8)
STEPS = 5


def tiny_game(size: int = 64, batch_size: int = 2) -> supernets.Game:
    """The published game with narrow networks of three blocks."""
    base = ResnetArchitecture(ChannelConfig.uniform(16), 3, separable=True)
    space = ArchitectureSpace(base, SearchSpace(((16, 8),) * 8))
    teacher = ResnetArchitecture(ChannelConfig.uniform(24), 3, separable=True)
    return supernets.imitation(teacher, space, size, batch_size, discriminator_width=8)


def constant(step: int, steps: int) -> float:
    return 1.0


@pytest.mark.parametrize("network", ["widest", "narrowest"])
def test_plain_networks_make_the_same_pictures_and_features(network: str) -> None:
    game = tiny_game()
    chosen = getattr(game.space, network)
    plain, ours = supernets.plain_models(game).student, nets.build(game.space)
    ours.activate(chosen)
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    picture, features = plain(source, chosen.channels)
    expected, taps = ours(source, features=chosen.taps)
    torch.testing.assert_close(picture, expected, atol=1e-5, rtol=1e-4)
    assert len(features) == len(chosen.taps) == 4
    for feature, name in zip(features, chosen.taps, strict=True):
        torch.testing.assert_close(feature, taps[name], atol=1e-4, rtol=1e-4)


def test_plain_supernet_arrives_at_the_same_losses() -> None:
    """In float64, because Adam makes steps of full length out of what float32 only rounds."""
    game = tiny_game()
    networks = game.drawn(3)
    assert len(set(networks)) == 3
    last = supernets.train_ours(game, networks, STEPS, "64-true", constant).history.iloc[-1]
    assert last["step"] == supernets.WARM_UP + STEPS
    plain = supernets.train_plainly(game, networks, STEPS, constant, torch.float64)
    assert set(plain) == {"critic_hinge", "gan_hinge", "reconstruction", "feature_kd"}
    for name, value in plain.items():
        assert value == pytest.approx(last[name], rel=1e-5, abs=1e-6), name


def test_both_sides_train_the_same_networks_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    game = tiny_game()
    networks, activated, sliced = game.drawn(3), [], []
    activate, train = ElasticGenerator.activate, supernets.train_plain_supernet

    def noted(elastic: ElasticGenerator, architecture: ResnetArchitecture) -> None:
        activated.append(architecture.channels)
        activate(elastic, architecture)

    monkeypatch.setattr(ElasticGenerator, "activate", noted)
    monkeypatch.setattr(
        supernets,
        "train_plain_supernet",
        lambda models, rounds, lr: train(models, (sliced.append(config) or (b, config) for b, config in rounds), lr),
    )
    for step in (supernets.train_ours, supernets.train_plainly):
        extra = ("32-true",) if step is supernets.train_ours else ()
        with contextlib.suppress(supernets.Enough):
            step(game, networks, STEPS, *extra, supernets.Laps(STEPS))
    begun = supernets.WARM_UP + STEPS  # ours runs the networks of one more step before it asks for its learning rate
    assert activated[:begun] == sliced[:begun] == [networks[i % 3].channels for i in range(begun)]


def test_the_warm_up_does_not_count() -> None:
    ticks = iter([0.0, 50.0, 60.0, 61.0, 65.0])
    laps = supernets.Laps(steps=2, clock=lambda: next(ticks))
    for step in range(4):
        assert laps(step, 100) == 1.0
    with pytest.raises(supernets.Enough):
        laps(4, 100)
    assert laps.seconds_a_step == 2.5


def test_a_quick_run_prints_a_finite_ratio_for_every_row_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supernets, "published", lambda size, batch_size: tiny_game(batch_size=batch_size // 4))
    monkeypatch.setattr(supernets, "shoes", tiny_game)
    monkeypatch.setattr(supernets, "CONFIGS", 2)
    monkeypatch.setattr(supernets, "SQUARE", 64)
    monkeypatch.setattr("benchmarks.__main__.QUICK", TINY)
    before = README.read_bytes()
    with torch_threads(1):
        assert main(["supernets", "published", "--quick"]) == 0
    rows = [line.split("  |  ") for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    precisions = 2 if fastest_precision("cpu") == "bf16-mixed" else 1
    assert len(rows) == 2 * precisions + 3 + 2 * (precisions + 1)
    for row in rows:
        ratio = float(
            dict(zip(supernets.HEADER, row, strict=True))["times as fast"].removesuffix(" x").replace(",", "")
        )
        assert math.isfinite(ratio)
        assert ratio > 0
    assert README.read_bytes() == before


def test_the_multiplications_of_a_step_are_those_of_its_pictures() -> None:
    """Twice as many with twice the batch."""
    small, large = (tiny_game(batch_size=batch_size) for batch_size in (1, 2))
    counts = [supernets.plain_macs(game, [game.space.widest]) for game in (small, large)]
    assert counts[1] == pytest.approx(2 * counts[0], rel=1e-3)
    critic = cost(supernets.plain_models(small).critic, 64, 64, 6).macs
    assert counts[0] > 8 * critic  # two pictures forward and back, and one more through it for the generator


def test_the_table_has_a_place_in_the_readme(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text(encoding="utf-8"), encoding="utf-8")
    write(copy, {"supernets": table("supernets", [["new"] * len(supernets.HEADER)], "a machine")})
    text = copy.read_text(encoding="utf-8")
    assert "| " + " | ".join(supernets.HEADER) + " |" in text
    assert "| new | new |" in text
