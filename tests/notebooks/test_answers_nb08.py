"""The answers behind notebook 08's checks are what the library does."""

import math

import numpy as np
import pandas as pd
import pytest

from gancomp_core.course.exercises import nb08
from gancomp_core.lab.benchmark.verdicts import Effect, alone
from gancomp_core.measure import paired_interval
from gancomp_core.methods.architecture_search import Frontier


@pytest.mark.parametrize("pair", nb08.PAIRED_RATIO_INTERVAL.inputs, ids=lambda pair: f"{len(pair[0])} seeds")
def test_the_interval_of_a_ratio_is_that_of_paired_logarithms(pair):
    logs = nb08._logs(*pair)
    library = paired_interval(list(logs))
    ends = nb08.paired_ratio_interval(*pair)
    assert np.log1p(np.array(ends) / 100) == pytest.approx([library.mean - library.half_width, sum_of(library)])


def sum_of(interval):
    return interval.mean + interval.half_width


@pytest.mark.parametrize("points", nb08.PARETO_FRONT.inputs, ids=lambda points: f"{len(points[0])} points")
def test_the_front_is_the_library_s_where_no_two_points_are_equal(points):
    distinct = list(dict.fromkeys(zip(*points, strict=True)))
    table = pd.DataFrame(distinct, columns=["macs", "score"])
    table = table.assign(order=range(len(table)), architecture=[str(place) for place in range(len(table))])
    library = [int(place) for place in Frontier(table, space=None).pareto("macs").architecture]
    assert nb08.pareto_front(*zip(*distinct, strict=True)) == library


@pytest.mark.parametrize(("ours", "theirs", "claimed", "d"), nb08.VERDICT.inputs)
def test_the_verdict_is_that_of_the_ledger_s_rule(ours, theirs, claimed, d):
    changes = list(nb08.changes(ours, theirs))
    if len(changes) > 1:
        effect = Effect(interval=paired_interval(changes), claimed=claimed, margin=d)
        assert nb08.verdict(ours, theirs, claimed, d) == alone(effect)
    else:
        assert nb08.verdict(ours, theirs, claimed, d) == "undecided"
    assert all(math.isfinite(change) for change in changes)
