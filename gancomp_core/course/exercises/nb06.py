"""Checks of notebook 06: one step of Haar's transform, in one dimension and in two, and the loss made of its bands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gancomp_core.course.checks import Attempt, Wrong, call, compare_tensors, exercise
from gancomp_core.measure import wavelet_transform

#: A plausible mistake as a function of the same arguments, and the words that point to it.
Mistake = tuple[Callable[..., Tensor], str]
ROOT = math.sqrt(2)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _have_parts(attempt: Attempt, given: Tensor, names: Sequence[str], shape: tuple[int, ...], hints: Any) -> None:
    """The answer is a tuple of tensors of this shape; ``hints`` maps wrong shapes to words."""
    case, found = f"For an input of shape {list(given.shape)},", call(attempt, given)
    wanted = f"{len(names)} tensors are wanted ({', '.join(names)})"
    if isinstance(found, Tensor):
        raise Wrong(f"{case} {wanted}; your function returns a single tensor. Return them separated by commas.")
    if not isinstance(found, tuple | list):
        raise Wrong(f"{case} {wanted}; your function returns a {type(found).__name__}.")
    if len(found) != len(names):
        raise Wrong(f"{case} {wanted}; your function returns {len(found)}.")
    for name, part in zip(names, found, strict=True):
        if not isinstance(part, Tensor):
            raise Wrong(f"{case} {wanted}; your {name} is a {type(part).__name__}.")
        if tuple(part.shape) != shape:
            hint = hints.get(tuple(part.shape), "")
            raise Wrong(
                f"{case} your {name} has the shape {list(part.shape)}, and {list(shape)} is right. {hint}".strip()
            )


def _let_learn(attempt: Attempt, given: Tensor) -> None:
    """Gradients pass through every part of the answer."""
    try:
        found = attempt(given.clone().requires_grad_())
    except Exception as error:
        raise Wrong(
            f"The numbers are right, but when a gradient is wanted your function stops with {type(error).__name__}: "
            f"{error}"
        ) from error
    if not all(part.requires_grad for part in found):
        raise Wrong(
            "The numbers are right, but no gradient passes through them, and a loss will need it; leave `.detach()`, "
            "`.numpy()` and `torch.no_grad()` out."
        )


# --- one step in one dimension ---------------------------------------------------------------------------------------


def _pair(signal: Tensor) -> tuple[Tensor, Tensor]:
    return signal[..., ::2], signal[..., 1::2]


def _step(signal: Tensor) -> Tensor:
    """[2, ..., N / 2]: low, then high."""
    first, second = _pair(signal)
    return torch.stack([first + second, first - second]) / ROOT


def _halves(signal: Tensor) -> Tensor:
    first, second = signal.chunk(2, dim=-1)
    return torch.stack([first + second, first - second]) / ROOT


def _scaled(low: float, high: float) -> Callable[[Tensor], Tensor]:
    return lambda signal: torch.stack([_step(signal)[0] * low, _step(signal)[1] * high])


_STEPS: list[Mistake] = [
    (
        _scaled(1, -1),
        "The high part has the wrong sign: first minus second, as PyWavelets counts; yours is second minus first.",
    ),
    (
        _scaled(1 / ROOT, 1 / ROOT),
        "You divide by 2, which makes averages; divide by the square root of 2, so that the energy, the sum of "
        "squares, stays what it was.",
    ),
    (
        _scaled(ROOT, ROOT),
        "Sums and differences are right, but not scaled yet: both are divided by the square root of 2.",
    ),
    (_scaled(1, ROOT), "The low part is right; the high part is not divided by the square root of 2 yet."),
    (_scaled(ROOT, 1), "The high part is right; the low part is not divided by the square root of 2 yet."),
    (_scaled(1 / ROOT, 1), "The low part is an average: divide the sum by the square root of 2, and not by 2."),
    (lambda s: _step(s).flip(0), "The two are exchanged: low, the sums, comes first."),
    (
        _halves,
        "You pair the first half of the signal with its second half; pair *neighbours*: places 0 and 1, 2 and 3 ...",
    ),
    (
        lambda s: _step(s.roll(-1, -1)),
        "Your pairs are places 1 and 2, 3 and 4 ...; they begin at place 0.",
    ),
    (
        lambda s: torch.stack([_step(s)[0], _step(s)[1].abs()]),
        "The differences have lost their sign, so the signal could not be rebuilt; leave the absolute value out.",
    ),
    (
        lambda s: torch.stack([_pair(s)[0], _pair(s)[1]]),
        "You only separate the even places from the odd ones; add and subtract them, over the square root of 2.",
    ),
    (
        lambda s: torch.stack([_pair(s)[0] * ROOT, _step(s)[1]]),
        "The low part only drops every second number; it is the *sum* of the two, over the square root of 2.",
    ),
]


@exercise("haar_step")
def haar_step(attempt: Attempt) -> None:
    names = ("low", "high")
    for given in (_random(8, seed=1), _random(2, 3, 6, 10, seed=2)):
        *front, length = given.shape
        hints = {
            (*front, length): "Half as many numbers as came in: take every pair once, with steps of 2.",
            (*front, length - 1): "You take every neighbour; take every *pair* once, with steps of 2.",
        }
        if front:
            hints[(*front[:-1], front[-1] // 2, length)] = "The signal runs along the *last* axis: use `[..., ::2]`."
            hints[(front[0] // 2, *front[1:], length)] = "Several signals may come at once: use `[..., ::2]`."
        _have_parts(attempt, given, names, (*front, length // 2), hints)
    cases = {
        f"an input of shape {list(given.shape)}": (given,) for given in (_random(8, seed=1), _random(3, 4, 6, seed=2))
    }
    compare_tensors(lambda signal: torch.stack(list(attempt(signal))), _step, cases, _STEPS)
    _let_learn(attempt, _random(4, 6, seed=3))


# --- one level in two dimensions -------------------------------------------------------------------------------------


def _columns_then_rows(picture: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    left, right = picture[..., ::2], picture[..., 1::2]
    low, high = (left + right) / ROOT, (left - right) / ROOT
    (low_top, low_bottom), (high_top, high_bottom) = ((x[..., ::2, :], x[..., 1::2, :]) for x in (low, high))
    return (
        (low_top + low_bottom) / ROOT,
        (low_top - low_bottom) / ROOT,
        (high_top + high_bottom) / ROOT,
        (high_top - high_bottom) / ROOT,
    )


def _bands(picture: Tensor) -> Tensor:
    """[4, ..., H / 2, W / 2]: low, horizontal, vertical, diagonal."""
    return torch.stack(_columns_then_rows(picture))


def _signed(*factors: float) -> Callable[[Tensor], Tensor]:
    def mistake(picture: Tensor) -> Tensor:
        return torch.stack([factor * band for factor, band in zip(factors, _bands(picture), strict=True)])

    return mistake


def _in_order(*order: int) -> Callable[[Tensor], Tensor]:
    return lambda picture: _bands(picture)[list(order)]


def _quadrants(picture: Tensor) -> Tensor:
    top, bottom = picture.chunk(2, dim=-2)
    return torch.stack([quarter for half in (top, bottom) for quarter in half.chunk(2, dim=-1)])


_LEVELS: list[Mistake] = [
    (
        _in_order(0, 2, 1, 3),
        "Horizontal and vertical are exchanged. The horizontal band answers to horizontal *edges*: high down the "
        "columns (above minus below), low along the rows.",
    ),
    (
        _in_order(3, 2, 1, 0),
        "The bands come in the wrong order, the diagonal one first; wanted is low, horizontal, vertical, diagonal.",
    ),
    (
        _in_order(0, 3, 1, 2),
        "The right four bands, but the diagonal one belongs to the end: low, horizontal, vertical, diagonal.",
    ),
    (
        _signed(0.5, 0.5, 0.5, 0.5),
        "Everything is half as large as it should be: you divide by 4, and two divisions by the square root of 2 "
        "make 2.",
    ),
    (
        _signed(2, 2, 2, 2),
        "Everything is twice too large: each of the two directions divides by the square root of 2.",
    ),
    (
        _signed(ROOT, ROOT, ROOT, ROOT),
        "Everything is too large by the square root of 2: only one of the two directions divides by it.",
    ),
    (_signed(1, -1, 1, -1), "The vertical direction has the wrong sign: above minus below, in both high bands of it."),
    (_signed(1, 1, -1, -1), "Along the rows the sign is wrong: left minus right, in both bands that are high there."),
    (_signed(1, -1, -1, 1), "Both directions have the wrong sign: first minus second, left to right and downwards."),
    (_signed(1, 1, 1, -1), "Only the diagonal has the wrong sign: the high part of a high part, with no minus added."),
    (_signed(1, -1, 1, 1), "Only the horizontal band has the wrong sign: above minus below."),
    (_signed(1, 1, -1, 1), "Only the vertical band has the wrong sign: left minus right."),
    (
        lambda p: torch.cat([_bands(p)[:1], _bands(p)[1:].abs()]),
        "The details have lost their sign, so the picture could not be rebuilt; leave the absolute value out.",
    ),
    (
        _quadrants,
        "You cut the picture into its four quarters; the bands come from neighbouring pixels, two by two.",
    ),
    (
        lambda p: torch.stack([p[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]),
        "You only separate the four pixels of every square; add and subtract them.",
    ),
    (
        lambda p: torch.cat([2 * p[None, ..., ::2, ::2], _bands(p)[1:]]),
        "The details are right; the low band is the sum of all four pixels, and yours keeps only one of them.",
    ),
]


@exercise("haar_bands")
def haar_bands(attempt: Attempt) -> None:
    given = _random(2, 3, 6, 8, seed=4)
    hints = {
        (2, 3, 6, 4): "The columns are done; the other direction, down the rows, is missing.",
        (2, 3, 3, 8): "The rows are done; the other direction, along the columns, is missing.",
        (2, 3, 4, 3): "The picture lies on its side: transpose once more at the end.",
        (2, 3, 6, 8): "Half the height and half the width: every square of four pixels counts once.",
    }
    _have_parts(attempt, given, ("low", "horizontal", "vertical", "diagonal"), (2, 3, 3, 4), hints)
    square = _random(4, 4, seed=5)
    _have_parts(attempt, square, ("low", "horizontal", "vertical", "diagonal"), (2, 2), {})
    cases = {f"a picture of shape {list(picture.shape)}": (picture,) for picture in (given, square)}
    compare_tensors(lambda picture: torch.stack(list(attempt(picture))), _bands, cases, _LEVELS)
    _let_learn(attempt, given)


# --- the loss --------------------------------------------------------------------------------------------------------


def _details(picture: Tensor, levels: int = 3) -> list[Tensor]:
    """[3, ...] for each level, the finest first."""
    return [torch.stack(bands) for bands in wavelet_transform(picture, "haar", levels).details]


def _gaps(student: Tensor, teacher: Tensor, levels: int = 3) -> list[Tensor]:
    return [a - b for a, b in zip(_details(student, levels), _details(teacher, levels), strict=True)]


def _low_gap(student: Tensor, teacher: Tensor) -> Tensor:
    return wavelet_transform(student, "haar", 3).low - wavelet_transform(teacher, "haar", 3).low


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum()


def _means(student: Tensor, teacher: Tensor, levels: int = 3) -> Tensor:
    return _sum([gap.abs().mean() for gap in _gaps(student, teacher, levels)])


def _all_gaps(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.cat([gap.flatten() for gap in _gaps(student, teacher)])


_LOSSES: list[Mistake] = [
    (
        lambda s, t: _means(s, t) + _low_gap(s, t).abs().mean(),
        "The low band is in it, too; the loss leaves it to the other terms.",
    ),
    (lambda s, t: _low_gap(s, t).abs().mean(), "That is the low band alone, and it should be the details alone."),
    (lambda s, t: _means(s, t, 1), "Only the finest level is in it; wanted are levels 1 to 3."),
    (lambda s, t: _gaps(s, t)[-1].abs().mean(), "Only the coarsest level is in it; wanted are levels 1 to 3."),
    (lambda s, t: _means(s, t, 2), "Level 3 is missing; wanted are levels 1 to 3."),
    (lambda s, t: _means(s, t, 4), "There is a level too many: wanted are levels 1 to 3."),
    (
        lambda s, t: _sum([gap.square().mean() for gap in _gaps(s, t)]),
        "You square the differences; the paper's distance is L1, the absolute value.",
    ),
    (
        lambda s, t: _sum([gap.square().mean().sqrt() for gap in _gaps(s, t)]),
        "You take the root of the mean square, an L2 norm; the paper's distance is L1, the mean absolute value.",
    ),
    (
        lambda s, t: _sum([gap.mean() for gap in _gaps(s, t)]),
        "Without the absolute value differences of opposite sign cancel.",
    ),
    (
        lambda s, t: _sum([gap.mean().abs() for gap in _gaps(s, t)]),
        "The absolute value comes too late: take it of every coefficient, and the mean after that.",
    ),
    (
        lambda s, t: _sum([gap.abs().sum() for gap in _gaps(s, t)]),
        "You sum over the coefficients; take their mean in each level, so that the picture's size does not matter.",
    ),
    (
        lambda s, t: _means(s, t) / 3,
        "A factor of 3: the levels are summed, not averaged.",
    ),
    (
        lambda s, t: 3 * _means(s, t),
        "A factor of 3: you sum the means of the three bands of a level; take one mean over all three.",
    ),
    (
        lambda s, t: _all_gaps(s, t).abs().mean(),
        "One mean over the coefficients of all levels gives most of the say to the finest, which has the most of them; "
        "take the mean of each level and sum the three.",
    ),
    (
        lambda s, t: _sum([gap[:2].abs().mean() for gap in _gaps(s, t)]),
        "The diagonal band is missing; every level has three bands.",
    ),
    (
        lambda s, t: _sum([gap[0].abs().mean() for gap in _gaps(s, t)]),
        "Only the horizontal band of each level is in it; every level has three.",
    ),
    (
        lambda s, t: _sum([(a.abs() - b.abs()).abs().mean() for a, b in zip(_details(s), _details(t), strict=True)]),
        "You compare sizes and lose the signs: a bright line and a dark one would count as the same detail.",
    ),
    (lambda s, t: (s - t).abs().mean(), "That compares pixels; transform both pictures first."),
    (
        lambda s, t: -_means(s, t),
        "The sign: a loss falls as the pictures become alike.",
    ),
]


@exercise("wavelet_loss")
def wavelet_loss(attempt: Attempt) -> None:
    cases = {
        f"pictures of shape {list(shape)}": (_random(*shape, seed=seed), _random(*shape, seed=seed + 1))
        for seed, shape in enumerate([(2, 1, 32, 32), (3, 3, 16, 48)], start=10)
    }
    compare_tensors(attempt, _means, cases, _LOSSES)
    _teaches_the_student(attempt)


def _teaches_the_student(attempt: Attempt) -> None:
    """The gradient reaches the student's picture as it should, and the teacher's not at all."""
    student, teacher = (_random(2, 1, 16, 16, seed=seed).requires_grad_() for seed in (20, 21))
    loss = attempt(student, teacher)
    if not isinstance(loss, Tensor):
        raise Wrong(
            f"The number is right, but a {type(loss).__name__} has no gradient, and nobody learns from it; return a "
            "tensor, without `.item()` or `float()`."
        )
    gradients: tuple[Tensor | None, ...] = (None, None)
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, (student, teacher), allow_unused=True)
    if gradients[0] is None:
        raise Wrong(
            "The number is right, but no gradient reaches the *student's* picture, so it would learn nothing; detach "
            "the teacher alone."
        )
    if gradients[1] is not None and gradients[1].any():
        raise Wrong(
            "The number is right, but the gradient also reaches the teacher, which would learn to draw as badly as its "
            "student; put `.detach()` behind the teacher's picture."
        )
    (right,) = torch.autograd.grad(_means(student, teacher.detach()), student)
    if not torch.allclose(gradients[0], right, rtol=1e-3, atol=1e-7):
        raise Wrong("The number is right, but its gradient is not; is a part of the student's transform detached?")
