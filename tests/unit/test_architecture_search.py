import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from gancomp_core.errors import GancompError
from gancomp_core.measure import cost
from gancomp_core.methods.architecture_search import (
    STRATEGIES,
    Budget,
    Evaluations,
    Frontier,
    LatencyTable,
    Predictor,
    candidates,
    costs,
    search,
)
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    ResnetArchitecture,
    SearchSpace,
    SpadeArchitecture,
    search_space,
)

PIXELS = (32, 32)
BASE = ResnetArchitecture(ChannelConfig.uniform(16), 3, in_channels=1, out_channels=1)


def a_space(*choices, **more):
    return ArchitectureSpace(BASE, SearchSpace(choices or ((8, 16, 24),) * 8), **more)


SPACE = a_space()  # 6,561 networks
MIXED = a_space(*((8, 16),) * 8, depths=(1, 2, 3), kernels=(3, 5), separable=(False, True), resolutions=(1.0, 0.5))
SPADE = ArchitectureSpace(
    SpadeArchitecture(ChannelConfig.uniform(8), label_channels=3), SearchSpace(((8, 16),) * 8), depths=(1, 2)
)
ONE = a_space(*((8,),) * 8)
MEDIUM = Budget(macs=float(costs(SPACE, None, PIXELS).macs.median()))


class Landscape:
    """A score of the genes: wider is better, by how much depends on the place, with ripples and couplings."""

    def __init__(self, number: int = 0) -> None:
        draw = np.random.default_rng(number)
        self.slopes, self.phases, self.couplings = draw.random(8), 6 * draw.random(8), draw.normal(size=(8, 8))
        self.key = f"landscape {number}"

    def __call__(self, architecture) -> float:
        e = np.array(architecture.channels.entries) / 24
        return float(
            30 + 20 * self.slopes @ (1 - e) + 0.5 * np.sin(7 * e + self.phases).sum() + e @ self.couplings @ e / 3
        )


def found(strategy="evolution", space=SPACE, score=None, budget=MEDIUM, **options):
    stored = Evaluations(score or Landscape(), options.pop("executor", None), options.pop("cache", False))
    return search(space, stored, budget, strategy, **{"pixels": PIXELS, **options})


# --- costs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [SPACE, MIXED, SPADE], ids=["channels", "everything", "spade"])
def test_costs_by_the_thousand_are_those_of_each_network(space):
    pixels, rng = (64, 64), random.Random(0)
    some = [space.sample(rng) for _ in range(200)]
    rows = costs(space, some, pixels)
    for architecture, row in zip(some, rows.itertuples(index=False), strict=True):
        one = cost(architecture, *pixels)
        assert (row.macs, row.params, row.bytes) == (one.macs, one.params, one.bytes_fp32)


def test_costs_of_a_whole_space_come_in_its_order():
    assert costs(SPACE, None, PIXELS).equals(costs(SPACE, list(SPACE), PIXELS))


def test_costs_of_a_network_outside_the_space_are_refused():
    with pytest.raises(GancompError, match="none of the 6,561 networks"):
        costs(SPACE, [ResnetArchitecture(ChannelConfig.uniform(32), 3)], PIXELS)


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_a_budget_admits_what_lies_exactly_at_its_limit():
    row = {"macs": 100, "params": 7, "bytes": 28, "latency_ms": 1.5}
    assert Budget(macs=100, params=7, bytes=28, latency_ms=1.5).admits(row)
    assert not Budget(macs=99.5, params=7).admits(row)


@pytest.mark.parametrize("limits", [{}, {"macs": 0}, {"params": -1}, {"bytes": float("nan")}, {"latency_ms": "fast"}])
def test_a_budget_of_nothing_is_refused(limits):
    with pytest.raises(GancompError, match="budget"):
        Budget(**limits)


def test_a_budget_of_unknown_costs_admits_nothing_silently():
    with pytest.raises(GancompError, match="latency_ms"):
        Budget(latency_ms=1).admits({"macs": 100})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_budget_at_the_narrowest_network_finds_that_one(strategy):
    exactly = cost(SPACE.narrowest, *PIXELS).macs
    frontier = found(strategy, budget=Budget(macs=exactly))
    assert frontier.architectures == [SPACE.narrowest]


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "too large to list"])
@pytest.mark.parametrize("name", ["macs", "params", "bytes"])
def test_an_impossible_budget_is_answered_with_the_reachable_range(name, listed, monkeypatch):
    if not listed:
        monkeypatch.setattr(candidates, "ENUMERABLE", 0)
    table = costs(SPACE, None, PIXELS)
    with pytest.raises(GancompError) as error:
        found(score=_unused, budget=Budget(**{name: table[name].min() - 1}))
    assert candidates.amount(name, table[name].min()) in str(error.value)
    assert candidates.amount(name, table[name].max()) in str(error.value)
    assert str(error.value).count(". ") == 0


def test_limits_that_exclude_each_other_are_told_with_what_each_costs():
    table = LatencyTable(BASE, PIXELS, 1, "a machine")
    space = a_space(*((8,),) * 8, separable=(False, True))
    _pretend(table, space, lambda name: 9.0 if "separable" in name else 1.0)
    fewest = cost(space.narrowest, *PIXELS).macs
    with pytest.raises(GancompError, match="each limit can be kept alone.*least MACs has .* and 33 ms.* 9 ms"):
        found(space=space, score=_unused, budget=Budget(macs=fewest, latency_ms=9), pixels=table)


# --- strategies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(4))
def test_evolution_finds_the_optimum_within_three_percent_at_a_twentieth_of_the_evaluations(number):
    score = Landscape(number)
    everything = found("brute force", score=score)
    few = len(everything) // 20
    for seed in range(3):
        frontier = found(score=score, evaluations=few, seed=seed)
        assert len(frontier) <= few
        assert frontier.best_row.score <= 1.03 * everything.best_row.score


def test_a_controller_learns_and_evolution_beats_chance():
    best = {
        strategy: np.mean([found(strategy, evaluations=100, seed=seed).best_row.score for seed in range(4)])
        for strategy in ("random", "controller", "evolution")
    }
    assert best["evolution"] < best["random"]
    assert best["controller"] < best["random"]


def test_a_predictor_finds_the_optimum_with_few_evaluations():
    predictor = Predictor(SPACE, steps=100)
    frontier = found(evaluations=100, predictor=predictor)
    assert len(frontier) == 100
    assert predictor.correlation > 0.8
    assert frontier.best_row.score <= 1.03 * found("brute force").best_row.score


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "too large to list"])
def test_nothing_is_evaluated_twice_or_over_the_budget(strategy, listed, monkeypatch):
    if not listed:
        if strategy == "brute force":
            pytest.skip("which is refused")
        monkeypatch.setattr(candidates, "ENUMERABLE", 0)
    asked = []

    def score(architecture):
        asked.append(architecture)
        return Landscape()(architecture)

    tight = Budget(macs=float(costs(SPACE, None, PIXELS).macs.quantile(0.02)))
    frontier = found(strategy, score=score, budget=tight, evaluations=None if strategy == "brute force" else 60)
    assert len(asked) == len(set(asked)) == len(frontier) >= 60
    assert all(tight.admits({"macs": cost(architecture, *PIXELS).macs}) for architecture in asked)
    assert set(asked) == set(frontier.architectures)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_more_evaluations_than_networks_evaluate_each_once(strategy):
    assert len(found(strategy, space=ONE, evaluations=50, budget=Budget(macs=1e9))) == 1
    small = a_space((8, 16), (8, 16), *((8,),) * 6)
    assert len(found(strategy, space=small, evaluations=50, budget=Budget(macs=1e9))) == 4


def test_a_predictor_in_a_space_of_one_network_does_no_harm():
    assert found(space=ONE, budget=Budget(macs=1e9), predictor=Predictor(ONE)).best == ONE.widest


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_depends_on_nothing_but_the_seed(strategy):
    score = lambda: Landscape(3)  # noqa: E731
    count = None if strategy == "brute force" else 40
    one, again = (found(strategy, score=score(), evaluations=count, seed=5) for _ in range(2))
    pd.testing.assert_frame_equal(one.table, again.table)
    if strategy != "brute force":
        assert not one.table.equals(found(strategy, score=score(), evaluations=count, seed=6).table)


def test_every_gene_of_a_space_is_searched():
    frontier = found(space=MIXED, budget=Budget(macs=2e6), evaluations=60)
    for words in ("depth=", "kernels=", "kinds=", "resolution="):
        assert frontier.table.architecture.str.contains(words).all()
    assert all(architecture in MIXED for architecture in frontier.architectures)


def test_spade_generators_are_searched():
    frontier = search(SPADE, Evaluations(Landscape(), cache=False), Budget(params=1e9), pixels=(64, 64), evaluations=20)
    assert frontier.best in SPADE


def test_an_executor_changes_nothing_but_the_time():
    serial = found(evaluations=40)
    with ThreadPoolExecutor(3) as threads:
        pd.testing.assert_frame_equal(found(evaluations=40, executor=threads).table, serial.table)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        pd.testing.assert_frame_equal(found(evaluations=40, executor=processes).table, serial.table)


# --- evaluations are kept ---------------------------------------------------------------------------------------------


def test_a_second_search_evaluates_nothing_again(tmp_path):
    first = found(evaluations=30, cache=tmp_path)
    again = found(evaluations=30, cache=tmp_path, score=_with_key(_unused, Landscape().key))
    pd.testing.assert_frame_equal(again.table, first.table)


def test_another_score_does_not_get_the_first_ones_evaluations(tmp_path):
    first = found(evaluations=30, cache=tmp_path)
    assert not found(evaluations=30, cache=tmp_path, score=Landscape(1)).table.equals(first.table)


def test_a_line_cut_short_costs_one_evaluation(tmp_path):
    first = found(evaluations=30, cache=tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-25])
    asked = []
    score = _with_key(lambda architecture: asked.append(architecture) or Landscape()(architecture), Landscape().key)
    pd.testing.assert_frame_equal(found(evaluations=30, cache=tmp_path, score=score).table, first.table)
    assert len(asked) == 1
    assert found(evaluations=30, cache=tmp_path, score=_with_key(_unused, Landscape().key)).table.equals(first.table)


KILLED = """
import sys, time
sys.path.insert(0, {folder!r})
from test_architecture_search import Landscape, found
class Slow(Landscape):
    def __call__(self, architecture):
        time.sleep(0.02)
        return super().__call__(architecture)
found(score=Slow(), evaluations=300, cache={cache!r})
"""


def test_a_killed_search_goes_on_where_it_stood(tmp_path, repository):
    script = KILLED.format(folder=str(repository / "tests" / "unit"), cache=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], cwd=repository)
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline and _lines(tmp_path) < 10:
            time.sleep(0.01)
    finally:
        process.kill() if sys.platform == "win32" else process.send_signal(signal.SIGKILL)
        process.wait()
    before = _lines(tmp_path)
    assert 10 <= before < 300
    asked = []
    score = _with_key(lambda architecture: asked.append(architecture) or Landscape()(architecture), Landscape().key)
    # the same seed and number of evaluations ask for the same networks in the same order
    resumed = found(score=score, evaluations=300, cache=tmp_path)
    assert len(asked) in (300 - before, 300 - before + 1)  # the kill may cut the last line
    pd.testing.assert_frame_equal(resumed.table, found(evaluations=300).table)


def test_a_cache_needs_a_score_with_a_key(tmp_path):
    with pytest.raises(GancompError, match="key"):
        found(score=lambda architecture: 1.0, cache=tmp_path)
    assert len(found(score=lambda architecture: 1.0, cache=None, evaluations=5)) == 5


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_names_the_network(value):
    with pytest.raises(GancompError, match=f"ResnetArchitecture.*is {value}"):
        found(score=lambda architecture: value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "luck"}, "brute force, evolution"),
        ({"evaluations": 0}, "from 1, not 0"),
        ({"budget": Budget(latency_ms=3)}, "LatencyTable.build"),
        ({"space": search_space("resnet/channels-32")}, "ArchitectureSpace"),
        ({"strategy": "brute force", "evaluations": 10}, "leave evaluations out"),
        ({"predictor": Predictor(ONE)}, "another space"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(options, words):
    with pytest.raises(GancompError, match=words):
        found(score=_unused, **options)


def test_pictures_that_some_network_cannot_take_are_refused_before_anything_is_evaluated():
    space = a_space(resolutions=(1.0, 0.75))
    with pytest.raises(GancompError, match="multiples of 16"):
        search(space, _unused, Budget(macs=1e9), pixels=(40, 40))
    with pytest.raises(GancompError, match="height and width"):
        search(space, _unused, Budget(macs=1e9), pixels=32)


def test_brute_force_refuses_a_space_that_never_ends(monkeypatch):
    monkeypatch.setattr(candidates, "ENUMERABLE", 1000)
    with pytest.raises(GancompError, match="6,561 networks is too large"):
        found("brute force")


# --- the frontier -----------------------------------------------------------------------------------------------------


def test_no_network_beats_one_of_the_pareto_rows():
    frontier = found("random", evaluations=80)
    pareto = frontier.pareto("macs")
    assert frontier.best_row.architecture == pareto.architecture.iloc[-1]
    for row in pareto.itertuples():
        better = (frontier.table.macs <= row.macs) & (frontier.table.score < row.score)
        assert not better.any()
    assert pareto.macs.is_monotonic_increasing
    assert pareto.score.is_monotonic_decreasing


def test_a_frontier_survives_its_csv(tmp_path):
    frontier = found(space=MIXED, budget=Budget(macs=2e6), evaluations=20)
    frontier.to_csv(tmp_path / "frontier.csv")
    again = Frontier.from_csv(tmp_path / "frontier.csv", MIXED)
    pd.testing.assert_frame_equal(again.table, frontier.table)
    assert again.best == frontier.best
    with pytest.raises(GancompError, match="not the frontier of a search in this space"):
        Frontier.from_csv(tmp_path / "frontier.csv", SPACE)


def test_a_frontier_reads_as_a_table():
    frontier = found(evaluations=20)
    assert str(frontier).startswith("20 networks evaluated of a space of 6,561")
    assert "MACs" in str(frontier)
    assert "<table" in frontier._repr_html_()
    assert frontier.best_row.architecture in str(frontier)


def test_a_tighter_budget_chooses_among_the_evaluated():
    frontier = found(evaluations=40)
    tighter = Budget(macs=float(frontier.table.macs.median()))
    assert frontier.within(tighter).table.macs.max() <= tighter.macs
    with pytest.raises(GancompError, match="None of the 40 evaluated networks"):
        frontier.within(Budget(macs=1))


# --- the predictor ----------------------------------------------------------------------------------------------------


def test_a_predictor_is_the_same_for_the_same_rows():
    frontier = found("random", evaluations=40)
    some = list(SPACE)[::500]
    one, again = (Predictor(SPACE, seed=2, steps=40).fit(frontier).predict(some) for _ in range(2))
    assert (one == again).all()
    assert (one != Predictor(SPACE, seed=3, steps=40).fit(frontier).predict(some)).any()


def test_a_predictor_learns_from_pairs_and_ranks_others():
    rng = random.Random(1)
    pairs = [(a, Landscape()(a)) for a in (SPACE.sample(rng) for _ in range(150))]
    predictor = Predictor(SPACE, steps=100).fit(pairs)
    others = [SPACE.sample(rng) for _ in range(100)]
    true = pd.Series([Landscape()(a) for a in others])
    assert true.corr(pd.Series(predictor.predict(others)), method="spearman") > 0.9
    assert f"{predictor.correlation:.2f}" in str(predictor)


def test_a_predictor_without_rows_is_refused():
    with pytest.raises(GancompError, match="fit"):
        Predictor(SPACE).predict([SPACE.widest])
    with pytest.raises(GancompError, match="at least 5"):
        Predictor(SPACE).fit([(SPACE.widest, 1.0)])


# --- helpers ----------------------------------------------------------------------------------------------------------


def _unused(architecture):
    raise AssertionError(f"{architecture} should not have been evaluated")


def _with_key(score, key):
    def keyed(architecture):
        return score(architecture)

    keyed.key = key
    return keyed


def _lines(folder) -> int:
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("*.jsonl"))


def _pretend(table, space, milliseconds):
    """Fill a latency table as if its stages had been measured."""
    from gancomp_core.methods.architecture_search.latency_table import stage_keys

    for architecture in space:
        for key in stage_keys(architecture, table.pixels):
            table.stages[key] = milliseconds(key)


def test_the_evaluations_on_disk_are_lines_of_json(tmp_path):
    found(evaluations=5, cache=tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 5
    assert all(set(line) == {"score", "architecture"} for line in lines)
