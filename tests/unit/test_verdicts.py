"""The rule of the ledger: one status for each kind of data, corrected for all claims at once."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gancomp_core.errors import GancompError
from gancomp_core.lab.benchmark.claims import _missing
from gancomp_core.lab.benchmark.verdicts import (
    CONTRADICTED,
    LEVEL,
    NO_EFFECT,
    POWER,
    SHOWN,
    UNDECIDED,
    Effect,
    alone,
    holm,
    seeds_to_equal,
    seeds_to_show,
    together,
)
from gancomp_core.measure import PairedInterval, paired_interval


def effect(values, claimed="lower", **more):
    return Effect(interval=paired_interval(list(values)), claimed=claimed, **more)


BELOW = [-8.0, -7.0, -9.0, -6.5, -8.5]
WIDE = [-10.0, 8.0, -5.0, 4.0, -1.0]
NARROW = [-0.5, 0.4, 0.2, -0.3, 0.1]


@pytest.mark.parametrize(
    ("of", "status"),
    [
        (effect(BELOW), SHOWN),
        (effect(BELOW, "higher"), CONTRADICTED),
        (effect(NARROW), NO_EFFECT),
        (effect(NARROW, margin=0.2), UNDECIDED),
        (effect(NARROW, margin=None), UNDECIDED),
        (effect(WIDE), UNDECIDED),
        (effect(WIDE, "higher"), UNDECIDED),
        (effect(BELOW[:4]), UNDECIDED),
        (effect(BELOW, obstacle="another network"), UNDECIDED),
        (effect([4.0, 5.0, 6.0, 5.5, 4.5], than=10, margin=None), SHOWN),
        (effect([14.0, 15.0, 16.0, 15.5, 14.5], than=10, margin=None), CONTRADICTED),
        (effect([4.0, 15.0, 6.0, 12.0, 9.0], than=10, margin=None), UNDECIDED),
    ],
)
def test_each_kind_of_data_has_its_status(of, status):
    assert alone(of) == status
    assert together([of]) == [status]


def test_the_other_side_of_an_undecided_claim_is_undecided_too():
    """The fallacy that the old rule made: what does not show an effect does not show its absence."""
    assert {alone(effect(WIDE, side)) for side in ("lower", "higher")} == {UNDECIDED}


@given(st.lists(st.floats(-20, 20), min_size=5, max_size=9).filter(lambda values: np.std(values) > 0.01))
def test_p_values_are_those_of_scipy_and_of_the_interval(values):
    of, found = effect(values), paired_interval(values)
    assert of.p_difference == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-9)
    one_sided = [
        stats.ttest_1samp(values, -3, alternative="greater").pvalue,
        stats.ttest_1samp(values, 3, alternative="less").pvalue,
    ]
    assert of.p_equivalence == pytest.approx(min(1, 2 * max(one_sided)), abs=1e-9)
    assert (of.p_difference <= LEVEL) == (abs(found.mean) >= found.half_width)
    assert (of.p_equivalence <= LEVEL) == (abs(found.mean) + found.half_width <= 3)


def test_holm_as_calculated_by_hand():
    # sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, and never below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_no_less_than_bonferroni_and_no_more_than_alone_and_keeps_the_order(p_values):
    corrected = holm(p_values)
    assert all(p <= each <= min(1, len(p_values) * p) for p, each in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


@given(st.floats(0, 30), st.floats(0.1, 10), st.floats(1, 3))
def test_a_larger_effect_or_a_shorter_interval_never_takes_a_verdict_back(mean, half_width, times):
    def shown(mean, half_width):
        return alone(Effect(interval=PairedInterval(-mean, half_width, 5), claimed="lower")) == SHOWN

    assert shown(mean * times, half_width) >= shown(mean, half_width)
    assert shown(mean, half_width / times) >= shown(mean, half_width)


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(0.1, 20)), min_size=1, max_size=8))
def test_more_claims_decide_nothing_that_one_alone_leaves_open(pairs):
    some = [Effect(interval=PairedInterval(*pair, 5), claimed="lower") for pair in pairs]
    for each, status in zip(some, together(some), strict=True):
        assert status in (alone(each), UNDECIDED, NO_EFFECT)
        assert not (alone(each) == UNDECIDED and status != UNDECIDED)


def test_a_claim_that_is_not_tested_costs_the_others_nothing():
    one = Effect(interval=PairedInterval(-8.0, 7.9, 5), claimed="lower")
    untested = Effect(interval=PairedInterval(-8.0, 7.9, 4), claimed="lower")
    assert together([one, untested]) == [SHOWN, UNDECIDED]
    assert together([one, one]) == [UNDECIDED, UNDECIDED]


def test_an_effect_without_any_spread_is_decided():
    assert alone(Effect(interval=PairedInterval(-1.0, 0.0, 5), claimed="lower")) == SHOWN
    assert alone(Effect(interval=PairedInterval(0.0, 0.0, 5), claimed="lower")) == NO_EFFECT


def test_the_seeds_of_a_power_of_80_percent_are_those_that_a_simulation_needs():
    spread, d, chance = 4.0, 3.0, np.random.default_rng(0)
    for seeds, mean, status in ((seeds_to_show(spread, d), -d, SHOWN), (seeds_to_equal(spread, d), 0.0, NO_EFFECT)):
        runs = chance.normal(mean, spread, (4_000, seeds))
        half_widths = stats.t.ppf(0.975, seeds - 1) * runs.std(axis=1, ddof=1) / math.sqrt(seeds)
        means = runs.mean(axis=1)
        hits = means + half_widths < 0 if status == SHOWN else abs(means) + half_widths < d
        assert hits.mean() == pytest.approx(POWER, abs=0.03)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.5, 30), st.floats(0.5, 10))
def test_more_spread_a_smaller_effect_and_more_claims_take_more_seeds(spread, d):
    for needed in (seeds_to_show, seeds_to_equal):
        assert needed(spread, d) <= needed(2 * spread, d) == needed(spread, d / 2)
        assert needed(spread, d) <= needed(spread, d, LEVEL / 20)


def test_a_claim_goes_up_or_down():
    with pytest.raises(GancompError, match="'lower' or 'higher'"):
        Effect(interval=PairedInterval(0, 1, 5), claimed="sideways")


def test_the_decision_names_the_seeds_that_small_effects_take(repository):
    page = (repository / "docs" / "decisions" / "verdicts.md").read_text(encoding="utf-8")
    shown, equal = seeds_to_show(7, 3), seeds_to_equal(7, 3)
    assert f"it takes {shown} seeds to show an\neffect of 3 %, and {equal} to show that there is none" in page


def test_an_effect_at_its_bound_asks_for_no_more_seeds():
    near = Effect(interval=PairedInterval(10.8, 2.9, 5), claimed="lower", than=10.0, margin=None)
    assert _missing(near, 0.05 / 24) == "seeds: 5 tell none from +10 %; the effect is too close to the bound"
    wide = Effect(interval=PairedInterval(10.8, 14.0, 5), claimed="lower", than=10.0, margin=None)
    assert " more would tell none from +10 %" in _missing(wide, 0.05 / 24)
