"""What every exercise check does: one comparison for all kinds of answers, and a mutant's hint where there is one."""

import math
import random

import pytest
import torch
from torch import nn

from gancomp_core.course.answers import NotDoneYet, Parts, Wrong, difference, places, tensor
from gancomp_core.course.exercise import Exercise, Group, Refusal, noise


def said(exercise: Exercise, answer) -> str:
    with pytest.raises(Wrong) as told:
        exercise.diagnose(answer)
    return str(told.value)


def scaled(x, factor):
    return factor * x


SQUARE = noise(3, 3, seed=0)
SCALED = Exercise(reference=scaled, kind=tensor, inputs=[(SQUARE, 2.0), (SQUARE, 3.0)], gradients=("x",))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, f: -f * x, "the right numbers with the wrong sign"),
        (lambda x, f: 4 * f * x, "too large by a factor of 4"),
        (lambda x, f: (f * x).mT, "rows and columns exchanged"),
        (lambda x, f: (f * x).flip(0), "the right numbers in another order"),
        (lambda x, f: f * x[0], r"the shape [3], and [3, 3] is right"),
        (lambda x, f: f * x + 1, "the right shape, and numbers up to 1 off"),
        (lambda x, f: f * x / 0, "NaN or infinite numbers; is there a division by zero"),
        (lambda x, f: f * x + random.random(), "Two calls with the same arguments give different answers"),
        (lambda x, f: [x], "For x of shape [3, 3], factor=2, a tensor is wanted, and your function returns a list"),
        (lambda x, f: x @ f, "your function stopped at the line"),
        (lambda x, f: (f * x).detach(), "no gradient reaches `x`"),
        (lambda x, f: torch.tensor((f * x).tolist()), "no gradient reaches `x`"),
        (lambda x, f: f * x.detach() + 2 * f * x - 2 * f * x.detach(), "not the gradient of `x`"),
    ],
)
def test_a_difference_is_put_into_words(answer, words):
    assert words in said(SCALED, answer)


def test_a_right_answer_says_nothing_and_a_stub_is_not_done():
    SCALED.diagnose(lambda x, f: x * f)
    with pytest.raises(NotDoneYet):
        SCALED.diagnose(lambda x, f: None)


def test_numbers_are_compared_by_size_and_sign():
    assert difference(2.0, 3.0) == "your function returns 2, and 3 is right: too small by a factor of 1.5."
    assert difference(-3.0, 3.0).endswith("only the sign differs.")
    assert difference(0.0, 3.0).endswith("3 too small.")
    assert "logarithm" in difference(math.nan, 3.0)


def ends(low, high):
    return low, high


def test_parts_are_compared_in_their_order_and_named():
    exercise = Exercise(
        reference=ends,
        kind=Parts(("low", "high"), (tensor,), first=("high", "low")),
        inputs=[(torch.ones(2), torch.zeros(2))],
        mutants={"the high end is one too large": lambda low, high: (low, high + 1)},
    )
    assert said(exercise, lambda low, high: (low + 9, high + 1)) == "the high end is one too large"
    assert "your low has numbers that are too large by a factor of 2" in said(
        exercise, lambda low, high: (2 * low, high)
    )
    assert "2 results are wanted (low, high); your function returns a tuple of 1" in said(
        exercise, lambda low, high: (1,)
    )


def first(values, count):
    return values[:count]


FIRST = Exercise(
    reference=first,
    kind=places,
    inputs=[
        Group([([4, 5, 6], 3)]),
        Group([([4, 5, 6], 2)], "with less than all"),
        Group([([], 1)], hint="an empty list"),
    ],
    mutants={
        "all of them": lambda values, count: [*values],
        "wrong from the start": lambda values, count: values[-count:] if count < 3 else [0],
        "the last ones": lambda values, count: values[-count:],
        "sorts the caller's": lambda values, count: values.append(7) or values[:count],
    },
)


def test_a_hint_comes_from_the_first_group_that_differs_and_from_a_mutant_right_until_then():
    assert said(FIRST, lambda values, count: list(values)) == "all of them"
    assert said(FIRST, lambda values, count: values[-count:]) == "the last ones"
    assert "count=2, with less than all, your function returns [4], and [4, 5] is right" in said(
        FIRST, lambda values, count: values[:count] if count != 2 else [4]
    )
    assert said(FIRST, lambda values, count: values[:count] if values else [0]) == "an empty list"


def test_a_changed_argument_is_noticed():
    def clears(values, count):
        kept = values[:count]
        values.append(1)
        return kept

    plain = Exercise(reference=first, kind=places, inputs=[([4, 5, 6], 2)])
    assert "your function changes the caller's `values`" in said(plain, clears)


def test_a_mutant_of_the_same_wrong_shape_gives_its_hint():
    exercise = Exercise(
        reference=scaled,
        kind=tensor,
        inputs=[(SQUARE, 2.0)],
        mutants={"a row is missing": lambda x, f: x[1:], "a column is missing": lambda x, f: x[:, 1:]},
    )
    assert said(exercise, lambda x, f: 9 * x[:, :2]) == "a column is missing"


def run(network, x):
    return network(x)


def test_modules_are_reached_by_gradients_and_keep_their_mode():
    network = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.0))
    exercise = Exercise(reference=run, kind=tensor, inputs=[(network, SQUARE)], gradients=("network",))
    assert "no gradient reaches `network`" in said(exercise, lambda network, x: network.requires_grad_(False)(x))
    assert "changes the caller's `network`" in said(exercise, lambda network, x: network.eval()(x))


def test_a_teacher_must_not_learn():
    def apart(x, factor):
        return factor * x.detach() + 0 * torch.ones(3, 3, requires_grad=True)

    exercise = Exercise(reference=apart, kind=tensor, inputs=[(SQUARE, 2.0)], gradients=("x",))
    assert "a gradient flows into `x`, which does not learn" in said(exercise, scaled)


def test_a_refusal_is_asked_for_and_must_help():
    def refuses(x):
        raise ValueError("the least is 3.5")

    Refusal((1,), "For x=1 nothing is there", naming=3.5).check(refuses)
    for answer, naming, words in [
        (lambda x: x, None, "still answers 1; raise ValueError"),
        (lambda x: None, None, "still answers None"),
        (lambda x: x["a"], None, "stops with TypeError"),
        (refuses, 4, "name what can be reached, here 4"),
    ]:
        with pytest.raises(Wrong, match="For x=1 nothing is there") as told:
            Refusal((1,), "For x=1 nothing is there", naming).check(answer)
        assert words in str(told.value)
