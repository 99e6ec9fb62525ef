import numpy as np
import pytest
from scipy.stats import ttest_1samp

from factories import refused
from gancomp_core.errors import GancompError
from gancomp_core.measure.statistics import bootstrap_interval, paired_interval


def test_interval_is_that_of_the_paired_t_test():
    differences = np.random.default_rng(0).normal(1, 2, 7)
    low, high = ttest_1samp(differences, 0).confidence_interval(0.95)
    found = paired_interval(differences)
    assert found.mean - found.half_width == pytest.approx(low)
    assert found.mean + found.half_width == pytest.approx(high)


def test_a_difference_counts_as_shown_only_with_five_seeds_and_an_interval_without_zero():
    assert paired_interval([1.0, 1.1, 0.9, 1.0, 1.05]).shown
    assert not paired_interval([1.0, 1.1, 0.9]).shown
    assert not paired_interval([1.0, -1.1, 0.9, 1.0, -1.05]).shown
    assert "includes zero" in str(paired_interval([1.0, -1.0]))


def test_an_interval_always_covers_its_share_of_the_truth():
    rng = np.random.default_rng(1)
    covered = [abs(p.mean) <= p.half_width for p in (paired_interval(rng.normal(0, 1, 5)) for _ in range(2000))]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")]])
def test_too_few_pairs_and_missing_values_are_refused(values):
    with pytest.raises(GancompError, match="at least two independent pairs, such as seeds or photos, .* missing"):
        paired_interval(values)


def test_groups_of_one_change_nothing_and_copies_within_a_group_are_no_evidence():
    differences = np.random.default_rng(0).normal(1, 2, 7)
    alone = paired_interval(differences)
    assert paired_interval(differences, groups=list("abcdefg")).half_width == pytest.approx(alone.half_width)
    copied = paired_interval(np.repeat(differences, 5), groups=np.repeat(range(7), 5).tolist())
    assert (copied.half_width, copied.seeds) == (pytest.approx(alone.half_width), 7)
    assert "95 % over 7 independent pairs" in str(paired_interval(differences))
    with pytest.raises(GancompError, match="at least two independent pairs.* there are 1 with 0 missing"):
        paired_interval([1.0, 2.0], groups=["a", "a"])


def test_a_wide_interval_is_written_in_plain_digits():
    assert str(paired_interval([-200.0, 100.0, 56.0])).startswith("-14.7 ± 402 (")
    assert str(paired_interval([0.0101, 0.0123])).startswith("0.0112 ± 0.014 (")


def test_a_bootstrap_interval_agrees_with_students_for_many_values() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    low, high = bootstrap_interval(values)
    student = paired_interval(values)
    assert (low + high) / 2 == pytest.approx(student.mean, abs=0.02)
    assert (high - low) / 2 == pytest.approx(student.half_width, rel=0.05)
    assert bootstrap_interval(values) == (low, high)
    with refused("at least two"):
        bootstrap_interval([1.0])
