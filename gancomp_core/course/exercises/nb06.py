"""Exercises of notebook 06: one step of Haar's transform, in one dimension and in two, and a loss made of its bands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gancomp_core.course.answers import Parts, tensor
from gancomp_core.course.exercise import Exercise, Group, noise
from gancomp_core.measure import wavelet_transform

ROOT = math.sqrt(2)
Bands = tuple[Tensor, ...]

# --- one step in one dimension ---------------------------------------------------------------------------------------


def _pair(signal: Tensor) -> Bands:
    return signal[..., ::2], signal[..., 1::2]


def _sums(first: Tensor, second: Tensor) -> Bands:
    return (first + second) / ROOT, (first - second) / ROOT


def haar_step(signal: Tensor) -> Bands:
    return _sums(*_pair(signal))


def _scaled(low: float, high: float) -> Callable[[Tensor], Bands]:
    return lambda signal: (haar_step(signal)[0] * low, haar_step(signal)[1] * high)


def _down(picture: Tensor) -> Bands:
    return tuple(part.mT for part in haar_step(picture.mT))


HAAR_STEP = Exercise(
    reference=haar_step,
    kind=Parts(("low", "high")),
    inputs=[Group([(noise(8, seed=1),), (noise(2, 3, 6, 10, seed=2),)]), Group([(noise(3, 4, 6, seed=2),)])],
    gradients=("signal",),
    mutants={
        "The high part "
        "has the wrong sign: first minus second, as PyWavelets counts; yours is second minus first.": _scaled(1, -1),
        "You divide by 2, which makes averages; divide by "
        "the square root of 2, so that the energy, the sum of squares, stays what it was.": _scaled(1 / ROOT, 1 / ROOT),
        "Sums and differences are right, but not scaled yet: both are divided by the square root of 2.": _scaled(
            ROOT, ROOT
        ),
        "The low part is right; the high part is not divided by the square root of 2 yet.": _scaled(1, ROOT),
        "The high part is right; the low part is not divided by the square root of 2 yet.": _scaled(ROOT, 1),
        "The low part is an average: divide the sum by the square root of 2, and not by 2.": _scaled(1 / ROOT, 1),
        "The two are exchanged: low, the sums, comes first.": lambda s: haar_step(s)[::-1],
        "You pair the first half of the "
        "signal with its second half; pair *neighbors*: places 0 and 1, 2 and 3 ...": lambda s: _sums(*s.chunk(2, -1)),
        "Your pairs are places 1 and 2, 3 and 4 ...; they begin at place 0.": lambda s: haar_step(s.roll(-1, -1)),
        "The differences have lost their sign, so the signal "
        "could not be rebuilt; leave the absolute value out.": lambda s: (haar_step(s)[0], haar_step(s)[1].abs()),
        "You only separate the even places from the odd ones; add and subtract them, over the square root of 2.": _pair,
        "The low part only drops every second number; "
        "it is the *sum* of the two, over the square root of 2.": lambda s: (_pair(s)[0] * ROOT, haar_step(s)[1]),
        "You take every neighbor; take every *pair* once, with steps of 2.": lambda s: _sums(s[..., :-1], s[..., 1:]),
        "Half as many numbers as came in: take every pair once, with steps of 2.": lambda s: _sums(s, s.roll(-1, -1)),
        "Several signals may come at once, along the *last* axis: use `[..., ::2]`.": lambda s: _sums(s[::2], s[1::2]),
        "The signal runs along the *last* axis, and yours along the one before it: use `[..., ::2]`.": lambda s: (
            _down(s) if s.ndim > 1 else haar_step(s)
        ),
        "The numbers are right, but no gradient passes through them, and a "
        "loss will need it; leave `.detach()`, `.numpy()` and `torch.no_grad()` out.": lambda s: haar_step(s.detach()),
    },
)

# --- one level in two dimensions -------------------------------------------------------------------------------------


def haar_bands(picture: Tensor) -> Bands:
    low, high = haar_step(picture)
    return (*_down(low), *_down(high))


def _weighted(*factors: float) -> Callable[[Tensor], Bands]:
    return lambda picture: tuple(factor * band for factor, band in zip(factors, haar_bands(picture), strict=True))


def _in_order(*order: int) -> Callable[[Tensor], Bands]:
    return lambda picture: tuple(haar_bands(picture)[place] for place in order)


HAAR_BANDS = Exercise(
    reference=haar_bands,
    kind=Parts(("low", "horizontal", "vertical", "diagonal")),
    inputs=[(noise(2, 3, 6, 8, seed=4),), (noise(4, 4, seed=5),)],
    gradients=("picture",),
    mutants={
        "Horizontal and vertical are exchanged. The horizontal band answers "
        "to horizontal *edges*: high down the columns (above minus below), low along the rows.": _in_order(0, 2, 1, 3),
        "The bands come in the "
        "wrong order, the diagonal one first; wanted is low, horizontal, vertical, diagonal.": _in_order(3, 2, 1, 0),
        "The right four "
        "bands, but the diagonal one belongs to the end: low, horizontal, vertical, diagonal.": _in_order(0, 3, 1, 2),
        "Everything is half as large as it "
        "should be: you divide by 4, and two divisions by the square root of 2 make 2.": _weighted(0.5, 0.5, 0.5, 0.5),
        "Everything is twice too large: each of the two directions divides by the square root of 2.": _weighted(
            2, 2, 2, 2
        ),
        "Everything is too large by the square root of 2: only one of the two directions divides by it.": _weighted(
            ROOT, ROOT, ROOT, ROOT
        ),
        "The vertical direction has the wrong sign: above minus below, in both high bands of it.": _weighted(
            1, -1, 1, -1
        ),
        "Along the rows the sign is wrong: left minus right, in both bands that are high there.": _weighted(
            1, 1, -1, -1
        ),
        "Both directions have the wrong sign: first minus second, left to right and downwards.": _weighted(
            1, -1, -1, 1
        ),
        "Only the diagonal has the wrong sign: the high part of a high part, with no minus added.": _weighted(
            1, 1, 1, -1
        ),
        "Only the horizontal band has the wrong sign: above minus below.": _weighted(1, -1, 1, 1),
        "Only the vertical band has the wrong sign: left minus right.": _weighted(1, 1, -1, 1),
        "The details have lost their sign, so the picture could not be rebuilt; "
        "leave the absolute value out.": lambda p: (haar_bands(p)[0], *(band.abs() for band in haar_bands(p)[1:])),
        "You cut the picture into its four quarters; the bands come from neighboring pixels, two by two.": lambda p: (
            tuple(quarter for half in p.chunk(2, -2) for quarter in half.chunk(2, -1))
        ),
        "You only separate the four pixels of every square; add and subtract them.": lambda p: tuple(
            p[..., i::2, j::2] for i in (0, 1) for j in (0, 1)
        ),
        "The details are right; the low band is the sum "
        "of all four pixels, and yours keeps only one of them.": lambda p: (2 * p[..., ::2, ::2], *haar_bands(p)[1:]),
        "The columns are done; the other direction, down the rows, is missing.": lambda p: (
            *haar_step(p),
            *haar_step(p),
        ),
        "The rows are done; the other direction, along the columns, is missing.": lambda p: (*_down(p), *_down(p)),
        "The picture lies on its side: transpose once more at the end.": lambda p: tuple(
            band.mT for band in haar_bands(p)
        ),
        "Half the height and half the width: every square of four pixels counts once.": lambda p: (p, p, p, p),
    },
)

# --- the loss --------------------------------------------------------------------------------------------------------


def _details(picture: Tensor, levels: int = 3) -> list[Tensor]:
    """[3, ...] for each level, the finest first."""
    return [torch.stack(bands) for bands in wavelet_transform(picture, "haar", levels).details]


def _gaps(student: Tensor, teacher: Tensor, levels: int = 3) -> list[Tensor]:
    pairs = zip(_details(student, levels), _details(teacher.detach(), levels), strict=True)
    return [a - b for a, b in pairs]


def _low_gap(student: Tensor, teacher: Tensor) -> Tensor:
    low, wanted = (wavelet_transform(picture, "haar", 3).low for picture in (student, teacher.detach()))
    return (low - wanted).abs().mean()


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum()


def _over_levels(measure: Callable[[Tensor], Tensor], levels: int = 3) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda student, teacher: _sum([measure(gap) for gap in _gaps(student, teacher, levels)])


def wavelet_loss(student: Tensor, teacher: Tensor) -> Tensor:
    return _over_levels(lambda gap: gap.abs().mean())(student, teacher)


WAVELET_LOSS = Exercise(
    reference=wavelet_loss,
    kind=tensor,
    inputs=[
        (noise(*shape, seed=seed), noise(*shape, seed=seed + 1))
        for seed, shape in enumerate([(2, 1, 32, 32), (3, 3, 16, 48)], start=10)
    ],
    gradients=("student", "teacher"),
    mutants={
        "The low band is in it, too; the loss leaves it to the other terms.": lambda s, t: (
            wavelet_loss(s, t) + _low_gap(s, t)
        ),
        "That is the low band alone, and it should be the details alone.": _low_gap,
        "Only the finest level is in it; wanted are levels 1 to 3.": _over_levels(lambda gap: gap.abs().mean(), 1),
        "Only the coarsest level is in it; wanted are levels 1 to 3.": lambda s, t: _gaps(s, t)[-1].abs().mean(),
        "Level 3 is missing; wanted are levels 1 to 3.": _over_levels(lambda gap: gap.abs().mean(), 2),
        "There is a level too many: wanted are levels 1 to 3.": _over_levels(lambda gap: gap.abs().mean(), 4),
        "You square the differences; the paper's distance is L1, the absolute value.": _over_levels(
            lambda gap: gap.square().mean()
        ),
        "You take the root of the mean square, an L2 norm; "
        "the paper's distance is L1, the mean absolute value.": _over_levels(lambda gap: gap.square().mean().sqrt()),
        "Without the absolute value differences of opposite sign cancel.": _over_levels(lambda gap: gap.mean()),
        "The absolute value comes too late: take it of every coefficient, and the mean after that.": _over_levels(
            lambda gap: gap.mean().abs()
        ),
        "You sum over the coefficients; take their "
        "mean in each level, so that the picture's size does not matter.": _over_levels(lambda gap: gap.abs().sum()),
        "A factor of 3: the levels are summed, not averaged.": lambda s, t: wavelet_loss(s, t) / 3,
        "A factor of 3: you sum the means of the three bands of a level; take one mean over all three.": lambda s, t: (
            3 * wavelet_loss(s, t)
        ),
        "One mean over the coefficients of all levels gives most of the say to the finest, which has the most of them; "
        "take the mean "
        "of each level and sum the three.": lambda s, t: torch.cat([gap.flatten() for gap in _gaps(s, t)]).abs().mean(),
        "The diagonal band is missing; every level has three bands.": _over_levels(lambda gap: gap[:2].abs().mean()),
        "Only the horizontal band of each level is in it; every level has three.": _over_levels(
            lambda gap: gap[0].abs().mean()
        ),
        "You compare sizes and lose the signs: a bright line and a dark one would count as the same detail.": (
            lambda s, t: _sum([(a.abs() - b.abs()).abs().mean() for a, b in zip(_details(s), _details(t), strict=True)])
        ),
        "That compares pixels; transform both pictures first.": lambda s, t: (s - t.detach()).abs().mean(),
        "The sign: a loss falls as the pictures become alike.": lambda s, t: -wavelet_loss(s, t),
        "That is the loss of each level; one sum over the three levels is wanted.": lambda s, t: torch.stack(
            [gap.abs().mean() for gap in _gaps(s, t)]
        ),
        "The number is right, but no gradient reaches the *student's* "
        "picture, so it would learn nothing; detach the teacher alone.": lambda s, t: wavelet_loss(s.detach(), t),
        "The number is right, but the gradient also reaches the teacher, which would learn to draw as badly as its "
        "student; put `.detach()` behind the teacher's "
        "picture.": lambda s, t: _sum([(a - b).abs().mean() for a, b in zip(_details(s), _details(t), strict=True)]),
    },
)

EXERCISES = [HAAR_STEP, HAAR_BANDS, WAVELET_LOSS]
