"""The argument checks that packages share."""

import copy

import pytest

from gancomp_core.errors import GancompError, TrainingDiverged, at_least, one_of


def test_a_known_name_is_given_back_and_an_unknown_one_is_answered_with_the_known_ones():
    assert one_of("b", iter("ab"), "letter") == "b"
    with pytest.raises(GancompError, match=r"^There is no letter 'c'; choose one of 'a', 'b'\.$"):
        one_of("c", "ab", "letter")


def test_a_number_below_the_least_is_answered_with_the_way_out():
    assert at_least(1, 1, "threads", "4 is usual") == 1
    with pytest.raises(GancompError, match=r"^threads is a whole number from 1, not 0; 4 is usual\.$"):
        at_least(1, 0, "threads", "4 is usual")


def test_a_divergence_comes_back_from_another_process_as_it_was():
    error = copy.copy(TrainingDiverged(7, "gan_lsgan", float("inf"), "a.ckpt"))  # by what pickle takes, too
    assert (error.step, error.term, error.checkpoint) == (7, "gan_lsgan", "a.ckpt")
    assert "stopped at step 7" in str(error)
