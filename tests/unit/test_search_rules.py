"""What the parts of a search do, rule by rule: generations, gradients, budgets, frontiers, predictors."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from factories import refused
from gancomp_core.methods.architecture_search import Budget, Frontier, LatencyTable, Predictor, candidates, costs
from gancomp_core.methods.architecture_search import strategies as of
from gancomp_core.methods.architecture_search.budget import amount
from gancomp_core.methods.architecture_search.candidates import Candidates
from gancomp_core.methods.architecture_search.latency_table import stage_keys
from gancomp_core.methods.architecture_search.predictor import _rank_correlation
from gancomp_core.methods.architecture_search.rows import every_row, rows_of
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    GeneSpace,
    ResnetArchitecture,
    SearchSpace,
    SpadeArchitecture,
    super_resolution_supernet,
)

PIXELS = (32, 32)
BASE = ResnetArchitecture(ChannelConfig.uniform(16), 3, in_channels=1, out_channels=1)
SPACE = ArchitectureSpace(BASE, SearchSpace(((8, 16, 24),) * 8))  # 6,561 networks
ONE = ArchitectureSpace(BASE, SearchSpace(((8,),) * 8))
KINDS = ArchitectureSpace(BASE, SearchSpace((*((8, 16),) * 3, *((8,),) * 3, (8, 16), (8,))), separable=(False, True))
ANY = Budget(macs=1e12)
GENES = len(SPACE.choices)


def admitted(space=SPACE, budget=ANY, latency=None, seed=0):
    return Candidates(space, budget, PIXELS, latency, np.random.default_rng(seed))


def table_of_random_milliseconds(space, seed):
    table, rng = LatencyTable(BASE, PIXELS, 1, "a machine"), np.random.default_rng(seed)
    for architecture in space:
        for key in stage_keys(architecture, PIXELS):
            table.stages.setdefault(key, rng.integers(1, 100) / 10)
    return table


def plain_milliseconds(table, space):
    """By architecture: the sum over its stages."""
    return {a: sum(table.stages[key] for key in stage_keys(a, PIXELS)) for a in space}


# --- strategies


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(20, [8, 6, 6]), (100, [25, 19, 19, 19, 18]), (500, [100, 75, 75, 75, 75, 75, 25])],
)
def test_evolution_replaces_all_but_the_best_quarter_in_each_generation(count, sizes):
    asked, rng = [], np.random.default_rng(1)
    history = of.History(lambda rows: asked.append(len(rows)) or rng.random(len(rows)))
    of.evolution(admitted(), history, count)
    assert asked == sizes


def test_half_of_a_generation_are_mutants_and_half_are_crossings(monkeypatch):
    history = of.History(lambda rows: range(len(rows)))
    history.add([(2,) * GENES])
    every = every_row(SPACE)
    for name, first in (("_mutants", 0), ("_crossings", 1)):
        monkeypatch.setattr(of, name, lambda *_, first=first: every[every[:, 0] == first])
    made = of._children(admitted(), history, 2, 7)
    assert [row[0] for row in made] == [0] * 4 + [1] * 3


def test_chance_fills_a_generation_whose_parents_have_no_other_children(monkeypatch):
    history = of.History(lambda rows: range(len(rows)))
    history.add([(0,) * GENES, (1,) * GENES])
    for name in ("_mutants", "_crossings"):
        monkeypatch.setattr(of, name, lambda *_: np.zeros((3, GENES), dtype=np.int64))
    made = of._children(admitted(), history, 2, 6)
    assert len(set(made) - history.scores.keys()) == len(made) == 6


def test_a_search_that_is_told_to_end_ends_at_that_count():
    history = of.History(lambda rows: [0.5] * len(rows), ends=lambda count: count >= 3)
    with pytest.raises(of.EndedError):
        history.add([(gene,) for gene in range(5)])
    assert list(history.scores) == [(0,), (1,), (2,)]


def test_the_controllers_rewards_are_standardized_scores_above_a_moving_average(monkeypatch):
    asked, told, rng = [], [], np.random.default_rng(2)
    monkeypatch.setattr(of._Policy, "learn", lambda policy, rows, advantages: told.append(advantages))
    history = of.History(lambda rows: asked.append(rng.normal(5, 3, len(rows))) or asked[-1])
    of.controller(admitted(), history, 130)
    assert [len(scores) for scores in asked] == [5] * 26
    baseline = 0.0
    for number, (scores, advantages) in enumerate(zip(asked, told, strict=True), 1):
        known = np.concatenate(asked[:number])
        rewards = (known.mean() - scores) / known.std()
        np.testing.assert_allclose(advantages, rewards - baseline)
        baseline = 0.8 * baseline + 0.2 * rewards.mean()
    flat = of.History(lambda rows: [1.0] * len(rows))
    of.controller(admitted(), flat, 10)
    assert (np.concatenate(told[26:]) == 0).all()  # equal scores have no deviation to divide by


def test_a_controller_that_draws_one_network_alone_is_helped_out_by_chance():
    asked = []

    class Decided:
        def draw(self, count, rng):
            asked.append(count)
            return np.zeros((count, GENES), dtype=np.int64)

    found = of._drawn(admitted(), of.History(lambda rows: []), Decided(), 5)
    assert (len(found), len(set(found)), found[0]) == (5, 5, (0,) * GENES)
    assert asked == [20] * of.TRIES


def test_the_controller_climbs_the_gradient_of_expected_reward_and_entropy():
    rng = np.random.default_rng(3)
    policy = of._Policy(np.array([3, 4]))
    rows, advantages = rng.integers(0, [3, 4], size=(6, 2)), rng.normal(size=6)
    policy.logits = [rng.normal(size=3), rng.normal(size=4)]
    before = [torch.tensor(logits, requires_grad=True) for logits in policy.logits]
    goal = 0.0
    for gene, logits in enumerate(before):
        log_p = torch.log_softmax(logits, 0)
        goal = goal + (torch.from_numpy(advantages) * log_p[rows[:, gene]]).mean() - 0.02 * (log_p.exp() * log_p).sum()
    goal.backward()
    policy.learn(rows, advantages)
    for logits, start in zip(policy.logits, before, strict=True):
        np.testing.assert_allclose(logits, (start + 0.3 * start.grad).detach(), atol=1e-9)


def test_a_controller_that_is_certain_stays_finite():
    policy = of._Policy(np.array([2]))
    policy.logits = [np.array([1000.0, 0.0])]
    policy.learn(np.array([[0], [0]]), np.array([1.0, -2.0]))
    assert np.isfinite(policy.logits[0]).all()
    assert policy.draw(9, np.random.default_rng(0)).tolist() == [[0]] * 9


# --- candidates


def test_a_limit_on_milliseconds_admits_what_the_sums_over_stages_say():
    table = table_of_random_milliseconds(KINDS, 0)
    sums = plain_milliseconds(table, KINDS)
    limit = float(np.median(list(sums.values())))
    found = admitted(KINDS, Budget(latency_ms=limit), table)
    assert {KINDS.decode(row) for row in found.all} == {a for a, ms in sums.items() if ms <= limit + 1e-9}


@pytest.mark.parametrize("seed", range(4))
def test_the_fastest_network_of_a_listed_space_is_exact(seed):
    """Going down gene by gene would end at a network from which no single gene leads further down."""
    table = table_of_random_milliseconds(KINDS, seed)
    found = admitted(KINDS, Budget(latency_ms=1e6), table)
    sums = plain_milliseconds(table, KINDS).values()
    assert found._cheapest("latency_ms")["latency_ms"] == pytest.approx(min(sums))
    assert found._dearest("latency_ms")["latency_ms"] == pytest.approx(max(sums))


def test_a_space_too_large_to_list_is_never_listed(monkeypatch):
    table = table_of_random_milliseconds(KINDS, 0)
    monkeypatch.setattr(candidates, "ENUMERABLE", 0)
    monkeypatch.setattr(candidates, "every_row", lambda space: pytest.fail("it was listed"))
    found = admitted(KINDS, Budget(latency_ms=1e6, macs=1e12), table)
    assert found._cheapest("latency_ms")["latency_ms"] in plain_milliseconds(table, KINDS).values()
    assert (found.all, len(found)) == (None, KINDS.size)


def test_costs_go_down_gene_by_gene_to_the_least_and_up_to_the_most():
    table, found = costs(SPACE, None, PIXELS), admitted()
    widest, narrowest = rows_of(SPACE, [SPACE.widest, SPACE.narrowest])

    def macs(rows):
        return found.table(rows).macs.to_numpy()

    assert macs(found._descended(widest, macs)[None])[0] == table.macs.min()
    assert macs(found._descended(narrowest, lambda rows: -macs(rows))[None])[0] == table.macs.max()


def test_the_nearest_limit_is_the_one_of_which_most_is_taken():
    budget = Budget(macs=3e7, params=1e5)
    rows = every_row(SPACE)[::700]
    table = costs(SPACE, [SPACE.decode(row) for row in rows], PIXELS)
    expected = [max(one.macs / 3e7, one.params / 1e5) for one in table.itertuples()]
    np.testing.assert_allclose(admitted(budget=budget)._worst_share(rows), expected)


def test_nothing_is_drawn_where_nothing_is_asked_for():
    assert admitted().fresh(0, {}) == admitted().fresh(-3, {}) == []


def test_chance_alone_draws_four_times_before_networks_are_moved_into_the_budget(monkeypatch):
    monkeypatch.setattr(candidates, "ENUMERABLE", 0)
    found, tried, moved = admitted(), [], []
    monkeypatch.setattr(found, "usable", lambda rows, seen: tried.append(rows) or [])
    monkeypatch.setattr(found, "_moved_inside", lambda rows: moved.append(len(tried)) or rows)
    assert found.fresh(1, {}) == []
    assert moved == list(range(4, 40))
    assert len(tried) == 40


def test_networks_over_the_budget_move_inside_by_genes_of_one_within_it(monkeypatch):
    monkeypatch.setattr(candidates, "ENUMERABLE", 0)
    tight = Budget(macs=float(costs(SPACE, None, PIXELS).macs.quantile(0.01)))
    found = admitted(budget=tight)
    rows = every_row(SPACE)[::50]
    within = found.admitted(rows)
    moved = found._moved_inside(rows)
    assert found.admitted(moved).all()
    assert (moved[within] == rows[within]).all()
    assert ((moved == rows) | (moved == found._inside)).all()
    assert not (moved[~within] == found._inside).all()  # no more genes than it takes


def test_an_impossible_budget_counts_the_networks():
    with refused("the 6,561 networks reach from"):
        admitted(budget=Budget(macs=1))
    with refused("the 1 network reach"):
        admitted(ONE, Budget(macs=1))


# --- budgets


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("macs", 1e9, "1 G MACs"),
        ("macs", 1.5e9, "1.5 G MACs"),
        ("macs", 999e6, "999 M MACs"),
        ("params", 1e6, "1 M parameters"),
        ("params", 1500, "1.5 k parameters"),
        ("params", 1000, "1 k parameters"),
        ("params", 999, "999 parameters"),
        ("macs", -2e9, "-2 G MACs"),
        ("bytes", 1.25e6, "1.25 MB"),
        ("bytes", 12, "12 bytes"),
        ("latency_ms", 1234.5, "1.23e+03 ms"),
    ],
)
def test_an_amount_is_told_in_the_largest_unit_that_it_fills(name, value, said):
    assert amount(name, value) == said


def test_a_budget_names_the_runtimes_that_there_are():
    with refused("runtime of a budget", "eager"):
        Budget(latency_ms=1, runtime="abacus")


# --- frontiers


def a_frontier(scores, macs=None):
    some = list(itertools.islice(SPACE, len(scores)))
    columns = {"architecture": [SPACE.name(a) for a in some], "macs": macs or range(len(some)), "score": scores}
    return Frontier(pd.DataFrame(columns | {"order": range(1, len(some) + 1)}), SPACE)


def test_pareto_rows_are_those_that_nothing_as_cheap_is_as_good_as():
    found = a_frontier([5.0, 5.0, 3.0, 4.0, 3.0, 1.0, 2.0], [10, 20, 30, 40, 30, 50, 50]).pareto("macs")
    assert found[["macs", "score", "order"]].values.tolist() == [[10, 5, 1], [30, 3, 3], [50, 1, 6]]
    assert found.index.tolist() == [0, 1, 2]
    assert "index" not in found


@pytest.mark.parametrize("by", ["params", "score", "flops"])
def test_a_frontier_knows_the_costs_that_it_has(by):
    with refused(f"no cost '{by}'", "choose one of macs"):
        a_frontier([1.0, 2.0]).pareto(by)


def test_a_table_without_a_needed_column_is_refused():
    with refused("lacks the column 'order'"):
        Frontier(pd.DataFrame({"architecture": ["a"]}), SPACE)


def test_a_csv_keeps_every_bit_of_a_score(tmp_path):
    frontier = a_frontier((10.0 ** np.random.default_rng(0).uniform(-9, 9, 400)).tolist())
    frontier.to_csv(tmp_path / "frontier.csv")
    assert Frontier.from_csv(tmp_path / "frontier.csv", SPACE).table.score.tolist() == frontier.table.score.tolist()


def test_a_csv_whose_macs_are_no_whole_number_is_refused(tmp_path):
    a_frontier([1.0, 2.0], [3, 1.5]).to_csv(tmp_path / "frontier.csv")
    with refused("is not the frontier of a search in this space"):
        Frontier.from_csv(tmp_path / "frontier.csv", SPACE)


@pytest.mark.parametrize(("count", "more"), [(1, ""), (12, ""), (13, ", the best 12")])
def test_a_frontier_says_whether_it_shows_all_its_rows(count, more):
    said = str(a_frontier([float(score) for score in range(count)]))
    networks = "1 network" if count == 1 else f"{count} networks"
    assert said.startswith(f"{networks} evaluated of a space of 6,561{more}:\n")
    assert len(said.splitlines()) == 2 + min(count, 12)


# --- the predictor


@pytest.mark.parametrize("count", [5, 10, 257, 300])
def test_a_predictor_equals_its_plain_computation(count):
    rng, seed, steps = np.random.default_rng(count), 2, 4
    space = ArchitectureSpace(BASE, SearchSpace(((8, 16, 24), (8,), (8, 16), *((8, 16, 24),) * 5)))
    sizes = np.array([len(choice) for choice in space.choices.values()])
    rows, others = (rng.integers(0, sizes, size=(number, len(sizes))) for number in (count, 9))
    scores = torch.from_numpy(rng.normal(50, 7, count)).float()

    def inputs(rows):  # a gene without choice says nothing
        hot = [np.eye(size)[column] for size, column in zip(sizes, rows.T, strict=True) if size > 1]
        return torch.from_numpy(np.hstack([*hot, np.ones((len(rows), 1))])).float()

    def trained(x, y):
        torch.manual_seed(seed)
        layers = [nn.Linear(21, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(400, 1))
        adam = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
        for step in range(steps):
            adam.param_groups[0]["lr"] = 1e-3 * (1 + np.cos(np.pi * step / steps)) / 2
            some = torch.arange(len(x)) if len(x) <= 256 else torch.randint(len(x), (256,))
            adam.zero_grad()
            (network(x[some]).flatten() - y[some]).square().mean().backward()
            adam.step()
        return network.requires_grad_(False)

    mean, deviation = scores.double().mean().item(), scores.double().std(unbiased=False).item()
    x, y = inputs(rows), (scores - mean) / deviation
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held, rest = order[: count // 5], order[count // 5 :]
    with torch.random.fork_rng():
        whole, part = trained(x, y), trained(x[rest], y[rest])
    predictor = Predictor(space, seed=seed, steps=steps).learn(rows, scores)
    expected = whole(inputs(others)).flatten().double().numpy() * deviation + mean
    np.testing.assert_allclose(predictor.scores(others), expected, rtol=1e-4)
    assert predictor.rows == count
    if count == 5:  # one network alone has no rank
        assert np.isnan(predictor.correlation)
    else:
        ranks = stats.spearmanr(part(x[held]).flatten().numpy(), y[held].numpy()).statistic
        assert predictor.correlation == pytest.approx(ranks, abs=1e-3)


def test_five_networks_are_enough_to_learn_from():
    pairs = [(a, float(number)) for number, a in enumerate(itertools.islice(SPACE, 5))]
    assert Predictor(SPACE, steps=1).fit(pairs).rows == 5
    with refused("at least 5 networks with finite scores"):
        Predictor(SPACE, steps=1).fit([*pairs, (SPACE.widest, float("nan"))])


def test_ranks_with_ties_are_correlated_and_equal_scores_are_not():
    one, two, flat = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.0, 4.0]), torch.ones(3)
    assert _rank_correlation(one, two) == pytest.approx(stats.spearmanr([1, 2, 3], [0, 0, 4]).statistic)
    assert _rank_correlation(two, one) == _rank_correlation(one, two)
    assert np.isnan(_rank_correlation(one, flat))
    assert np.isnan(_rank_correlation(flat, one))
    assert np.isnan(_rank_correlation(one[:1], one[:1]))


# --- spaces


MIXED = ArchitectureSpace(
    BASE, SearchSpace(((16, 8, 24), *((8,),) * 7)), (3, 1), (5, 3), (False, True), resolutions=(0.75, 1.0)
)


def test_a_name_has_a_word_for_all_that_may_be_chosen():
    network = MIXED.decode([1, *[0] * 7, 1, 0, 1, 0, 0, 1, 0, 0])
    name = "8_8_8_8_8_8_8_8 depth=1 kernels=5.3.5 kinds=dense.separable.dense resolution=0.75"
    assert MIXED.name(network) == name
    assert MIXED.named(name) == network
    assert MIXED.name(MIXED.widest).endswith("resolution=1")
    assert ONE.name(ONE.widest) == "8_8_8_8_8_8_8_8"


def test_the_widest_and_the_narrowest_do_not_depend_on_the_order_of_choices():
    assert MIXED.name(MIXED.widest) == "24_8_8_8_8_8_8_8 depth=3 kernels=5.5.5 kinds=dense.dense.dense resolution=1"
    assert MIXED.name(MIXED.narrowest).startswith("8_8_8_8_8_8_8_8 depth=1 kernels=3.3.3 kinds=separable.separable.")


def test_a_gene_that_stays_is_named_beside_one_of_its_kind_that_may_be_chosen():
    space = GeneSpace(MIXED.widest, {"kernel1": (3, 5)})
    assert len(space) == 2
    assert [space.name(network).split()[1] for network in space] == ["kernels=5.3.5", "kernels=5.5.5"]
    assert GeneSpace(MIXED.widest, {}).choices == {name: (gene,) for name, gene in MIXED.widest.genes.items()}


def test_of_names_the_last_one_is_the_widest():
    base = super_resolution_supernet(8, 1, 1).space.base
    gene = next(name for name in base.genes if name.endswith(".operator") and name.startswith("cell"))
    space = GeneSpace(base, {gene: ("conv3x3", "conv1x1")})
    assert (space.widest.genes[gene], space.narrowest.genes[gene]) == ("conv1x1", "conv3x3")


def test_genes_that_there_are_not_are_named():
    with refused("has no gene 'depths'; it has c0, c1"):
        GeneSpace(BASE, {"kernel9": (1, 2), "depths": (1, 2)})


@pytest.mark.parametrize(
    ("outsider", "said"),
    [
        (replace(MIXED.widest, blocks=2), ": its depth is 2, and may be 3 or 1."),
        (replace(MIXED.widest, in_channels=3), ", which differ from .* in their genes alone."),
        (SpadeArchitecture(ChannelConfig.uniform(8)), ", which differ from .* in their genes alone."),
    ],
)
def test_what_keeps_a_network_out_of_a_space_is_said(outsider, said):
    assert outsider not in MIXED
    with refused(f"none of the 768 networks of the space{said}"):
        MIXED.encode(outsider)
    assert MIXED.difference("a string").startswith(", which differ from")
