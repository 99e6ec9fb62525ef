"""The answers behind notebook 04's checks are what the library does."""

import random

import numpy as np
import pytest
from scipy import stats

from gancomp_core.course.checks import judge
from gancomp_core.course.exercises import nb04
from gancomp_core.methods.architecture_search import Budget, Frontier, costs, search
from gancomp_core.nets import ArchitectureSpace, ChannelConfig, ResnetArchitecture, SearchSpace

WIDEST = ResnetArchitecture(ChannelConfig.uniform(16), 3, in_channels=1, out_channels=1)
SPACE = ArchitectureSpace(WIDEST, SearchSpace(((16,), *((16, 8),) * 5, (16,), (16,))))


@pytest.fixture(scope="module")
def frontier() -> Frontier:
    worth = dict(zip(SPACE, np.random.default_rng(0).random(len(SPACE)), strict=True))
    most = Budget(macs=costs(SPACE, None, (32, 32)).macs.max())
    return search(SPACE, worth.__getitem__, most, "brute force", pixels=(32, 32))


def test_the_front_of_the_library_holds_the_networks_that_nobody_dominates(frontier):
    points = list(zip(frontier.table.macs, frontier.table.score, strict=True))
    free = {point for point in points if not any(nb04.dominates(other, point) for other in points)}
    assert free == set(zip(frontier.pareto().macs, frontier.pareto().score, strict=True))


def test_the_best_within_a_budget_is_the_one_of_the_library(frontier):
    networks = [{"name": row.architecture, "macs": row.macs, "score": row.score} for row in frontier.table.itertuples()]
    limit = float(frontier.table.macs.median())
    ours = nb04.best_within(networks, {"macs": limit})["name"]
    assert ours == frontier.within(Budget(macs=limit)).best_row.architecture


def test_rank_correlation_is_spearmans():
    for x, y in nb04.RANK_CORRELATION.inputs:
        assert nb04.rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_a_mutation_that_never_draws_the_old_value_again_passes_as_well():
    def other(genes, choices, rate, rng: random.Random):
        return tuple(
            rng.choice([value for value in values if value != gene]) if rng.random() < rate else gene
            for gene, values in zip(genes, choices, strict=True)
        )

    assert judge(nb04.MUTATE, other).passed
