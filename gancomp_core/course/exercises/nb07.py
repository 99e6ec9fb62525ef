"""Exercises of notebook 07: the affine map, ranges, scales by channel, a slope for rounding, a calibration to beat."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gancomp_core.course import challenges
from gancomp_core.course.answers import Parts, Value, Wrong, number, tensor
from gancomp_core.course.exercise import Attempt, Exercise, Group, Praise, call, noise
from gancomp_core.methods.quantization import AffineMap, asymmetric, min_max, rows, symmetric

Ends = tuple[float, float]
Triple = tuple[Tensor, float, float]

# --- the affine map --------------------------------------------------------------------------------------------------


def _ends(low: float, high: float) -> Ends:
    return min(low, 0.0), max(high, 0.0)


def _scale(low: float, high: float, bits: int) -> float:
    low, high = _ends(low, high)
    steps: int = 2**bits - 1
    return (high - low) / steps


def _zero_point(low: float, high: float, bits: int) -> int:
    return round(-_ends(low, high)[0] / _scale(low, high, bits))


def _whole(steps: Tensor, zero_point: float, bits: int) -> Tensor:
    return (steps.round() + zero_point).clamp(0, 2**bits - 1)


def _affine(
    scale: Callable[[float, float, int], float] = _scale,
    zero_point: Callable[[float, float, int], float] = _zero_point,
    whole: Callable[[Tensor, float, int], Tensor] = _whole,
) -> Callable[[Tensor, float, float, int], Triple]:
    """The affine map with one of its three results made in another way."""

    def quantize(x: Tensor, low: float, high: float, bits: int) -> Triple:
        size, zero = scale(low, high, bits), zero_point(low, high, bits)
        return whole(x / size, zero, bits), size, zero

    return quantize


def affine_quantize(x: Tensor, low: float, high: float, bits: int) -> Triple:
    return _affine()(x, low, high, bits)


def _reals(x: Tensor, low: float, high: float, bits: int) -> Triple:
    q, scale, zero_point = affine_quantize(x, low, high, bits)
    return scale * (q - zero_point), scale, zero_point


def _floats(value: object, *arguments: object) -> Tensor:
    """Whole numbers of any type."""
    return tensor(value).float()


AFFINE_QUANTIZE = Exercise(
    reference=affine_quantize,
    kind=Parts(("q", "scale", "zero_point"), (_floats, number, number), first=("scale", "zero_point", "q")),
    tolerance=1e-5,
    inputs=[
        (2 * noise(400, seed=1), *span)
        for span in ((-1.0, 1.1, 8), (-0.5, 2.0, 8), (0.4, 3.0, 8), (-3.0, -0.2, 8), (-1.3, 0.7, 4), (0.0, 6.0, 3))
    ],
    mutants={
        "Your scale divides by 2**bits. That is how many *numbers* there are; "
        "between 256 numbers lie 255 steps.": _affine(lambda low, high, bits: (max(high, 0) - min(low, 0)) / 2**bits),
        "Your scale is right where the range holds 0, and wrong where it does not: 0 must have a number of its own, so "
        "first "
        "low = min(low, 0) and high = max(high, 0).": _affine(lambda low, high, bits: (high - low) / (2**bits - 1)),
        "Your scale is upside down: it says how much *real* one step is, the range over the number of steps.": _affine(
            lambda low, high, bits: 1 / _scale(low, high, bits)
        ),
        "That is the scale of the symmetric map, with 0 in the middle; here the range runs from low to high.": _affine(
            lambda low, high, bits: max(-low, high) / (2 ** (bits - 1) - 1)
        ),
        "Your scale always has 255 steps; with `bits` bits there are 2**bits - 1 of them.": _affine(
            lambda low, high, bits: _scale(low, high, 8)
        ),
        "Your zero point is no whole number. It is the number that stands for 0.0, and numbers "
        "are whole: round it.": _affine(zero_point=lambda low, high, bits: -min(low, 0) / _scale(low, high, bits)),
        "Your zero point has the wrong sign: with real = scale * (q - zero_point), the "
        "real `low` belongs to q = 0, so zero_point = -low / scale.": _affine(zero_point=lambda *of: -_zero_point(*of)),
        "Your zero point counts from the upper end; it counts the steps from `low` up to 0.": _affine(
            zero_point=lambda low, high, bits: round(max(high, 0) / _scale(low, high, bits))
        ),
        "Your zero point always lies in the middle; it depends on how much of the range is below 0.": _affine(
            zero_point=lambda low, high, bits: 2 ** (bits - 1)
        ),
        "Your zero point is always 0, as in the symmetric "
        "map; here q = 0 stands for `low`, and 0.0 lies higher.": _affine(zero_point=lambda low, high, bits: 0),
        "Your zero point is cut off; round it to the nearest whole number, as every other number.": _affine(
            zero_point=lambda low, high, bits: int(-min(low, 0) / _scale(low, high, bits))
        ),
        "The clamp is missing: a number outside of 0 ... 2**bits - 1 does not fit into its bits.": _affine(
            whole=lambda steps, zero, bits: steps.round() + zero
        ),
        "You cut off what follows the point (so does `.int()` and `.long()`), so every value moves down; round to the "
        "nearest number first.": _affine(whole=lambda steps, zero, bits: (steps + zero).trunc().clamp(0, 2**bits - 1)),
        "You round up; round to the nearest number.": _affine(
            whole=lambda steps, zero, bits: (steps + zero).ceil().clamp(0, 2**bits - 1)
        ),
        "Your numbers are not whole yet: round them.": _affine(
            whole=lambda steps, zero, bits: (steps + zero).clamp(0, 2**bits - 1)
        ),
        "The zero point is not added, so everything below 0 is lost.": _affine(
            whole=lambda steps, zero, bits: _whole(steps, 0, bits)
        ),
        "The zero point is subtracted; that is the way back. Forwards it is added.": _affine(
            whole=lambda steps, zero, bits: _whole(steps, -zero, bits)
        ),
        "These are reals again; wanted are the whole numbers q, before the way back.": _reals,
        "Your largest number is 2**bits, one too many: 8 bits end at 255.": _affine(
            whole=lambda steps, zero, bits: (steps.round() + zero).clamp(0, 2**bits)
        ),
        "You clamp to the signed numbers (-128 ... 127 for 8 bits); here q begins at 0.": (
            _affine(
                whole=lambda steps, zero, bits: (steps.round() + zero).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            )
        ),
        "Numbers that do not fit start again at the other end, as with `.to(torch.uint8)`: black "
        "turns white. Clamp them before.": _affine(whole=lambda steps, zero, bits: (steps.round() + zero) % 2**bits),
    },
)

# --- the range of the least error ------------------------------------------------------------------------------------

Shares = Sequence[float]


def _error(values: Tensor, ends: Ends, bits: int) -> Tensor:
    """Of every value, what the map of this range makes of it less the value."""
    return _reals(values, *ends, bits)[0] - values


def _squared(error: Tensor) -> Tensor:
    return error.square().mean()


def _part(values: Tensor, share: float) -> Ends:
    return float(values.min()) * share, float(values.max()) * share


def _choosing(
    score: Callable[[Tensor], Tensor] = _squared, kept: Callable[[Tensor, float], Ends] = _part, always: int = 0
) -> Callable[[Tensor, Shares, int], Ends]:
    """The range whose error has the least score; ``always`` stands for any number of bits."""

    def choose(values: Tensor, shares: Shares, bits: int) -> Ends:
        best = min(shares, key=lambda share: float(score(_error(values, kept(values, share), always or bits))))
        return kept(values, best)

    return choose


def _around_the_middle(values: Tensor, share: float) -> Ends:
    low, high = float(values.min()), float(values.max())
    middle, half = (low + high) / 2, (high - low) / 2 * share
    return middle - half, middle + half


def _percentiles(values: Tensor, share: float) -> Ends:
    cut = (1 - share) / 2
    return float(values.quantile(cut)), float(values.quantile(1 - cut))


def clipping_range(values: Tensor, shares: Shares, bits: int) -> Ends:
    return _choosing()(values, shares, bits)


def _range(value: object, values: Tensor, shares: Shares, bits: int) -> tuple[Value, ...]:
    if isinstance(value, float | int) and value in shares:
        raise Wrong("your function returns the share itself; wanted is the range that belongs to it, low and high.")
    pair = tuple(value.tolist()) if isinstance(value, Tensor) and value.shape == (2,) else value
    return Parts(("low", "high"), (number,))(pair)


CLIPPING_RANGE = Exercise(
    reference=clipping_range,
    kind=_range,
    tolerance=1e-5,
    inputs=[  # with outliers
        (noise(3000, seed=seed) ** 3 + shift, [step / 20 for step in range(1, 21)], bits)
        for seed, (bits, shift) in enumerate([(2, 0.0), (3, 0.8), (4, -0.4), (6, 0.3)])
    ]
    # all on one side of 0, which is in the range nevertheless
    + [(sign * (noise(3000, seed=4).abs() ** 3 + 2) / 8, [step / 20 for step in range(1, 21)], 3) for sign in (1, -1)],
    mutants={
        "You keep the whole range. At few bits a narrower one errs less, because all other values get finer steps; is "
        "the error "
        "of rounding in your sum, with `bits` and not with 8?": lambda values, shares, bits: _part(values, max(shares)),
        "You always keep the narrowest range, where nearly everything is clipped. Either your comparison is upside "
        "down, or the values that are clipped "
        "do not count; count the error of all of them.": lambda values, shares, bits: _part(values, min(shares)),
        "You measure the mean absolute error; the squared one weighs clipped outliers more.": _choosing(
            lambda error: error.abs().mean()
        ),
        "You measure the largest single error, which one outlier decides; take the mean of the squares.": _choosing(
            lambda error: error.abs().max()
        ),
        "You shrink the range toward its middle; shrink it toward 0, as low * share and high * share.": _choosing(
            kept=_around_the_middle
        ),
        "You keep a share of the *values* (a "
        "percentile); here `share` is the part of the range: low * share, high * share.": _choosing(kept=_percentiles),
        "You square the mean error; errors of opposite sign cancel in it. Take the mean of the squares.": _choosing(
            lambda error: error.mean().square()
        ),
        "Your range is upside down: the low end comes first, then the high one.": lambda *of: clipping_range(*of)[::-1],
    },
)

# --- a scale for each channel ----------------------------------------------------------------------------------------

Rounding = Callable[[Tensor, int, int], Tensor]


def round_by_channel(weight: Tensor, axis: int, bits: int) -> Tensor:
    return symmetric(min_max(rows(weight, axis)), bits, axis).rounded(weight)


def _with_scale(scale_of: Callable[[Tensor, int], Tensor]) -> Rounding:
    """Rounded with the scales that a function gives to rows [C, K]."""

    def rounded(weight: Tensor, axis: int, bits: int) -> Tensor:
        scale = scale_of(rows(weight, axis), bits)
        scale = torch.where(scale == 0, 1.0, scale)
        return AffineMap(scale, torch.zeros_like(scale, dtype=torch.int32), bits, True, axis).rounded(weight)

    return rounded


def _in_steps(act: Callable[[Tensor], Tensor], back: bool = True, dead: float = 1.0) -> Rounding:
    """Divided by the right scale, something else than rounded; ``dead`` is the scale of a channel of zeros."""

    def acted(weight: Tensor, axis: int, bits: int) -> Tensor:
        scale = weight.abs().amax([dim for dim in range(4) if dim != axis], keepdim=True) / (2 ** (bits - 1) - 1)
        scale = torch.where(scale == 0, dead, scale)
        return act(weight / scale) * (scale if back else 1)

    return acted


def _peak(channels: Tensor) -> Tensor:
    return channels.abs().amax(1)


def _weight(axis: int) -> Tensor:
    """[6, 6, 3, 3], whose channels along ``axis`` have different sizes and no mean of 0."""
    sizes = torch.logspace(-2, 0, 6).view([6 if place == axis else 1 for place in range(4)])
    return (noise(6, 6, 3, 3, seed=1 + axis) - 0.1) * sizes


def _with_dead_channel() -> Tensor:
    weight = _weight(0)
    weight[2] = 0
    return weight


ROUND_BY_CHANNEL = Exercise(
    reference=round_by_channel,
    kind=tensor,
    inputs=[
        Group([(_weight(0), 0, 8), (_weight(1), 1, 8), (_weight(0), 0, 4)]),
        Group(
            [(_with_dead_channel(), 0, 8)],
            hint="A channel of zeros has the peak 0, and dividing by the scale 0 gives NaN; give such a channel "
            "another scale, for instance 1.",
        ),
    ],
    mutants={
        "One scale serves the whole tensor; each place along `axis` wants its own.": lambda weight, axis, bits: (
            symmetric(min_max(weight.flatten()), bits).rounded(weight)
        ),
        "You always take axis 0. A transposed "
        "convolution writes along axis 1: use `axis`.": lambda weight, axis, bits: round_by_channel(weight, 0, bits),
        "You always take axis 1. An ordinary convolution writes along axis 0: use `axis`.": lambda weight, axis, bits: (
            round_by_channel(weight, 1, bits)
        ),
        "The two axes are exchanged: each place along `axis` gets a scale, over "
        "all the others the largest is taken.": lambda weight, axis, bits: round_by_channel(weight, 1 - axis, bits),
        "That is the asymmetric map; weights get the symmetric one, with the "
        "zero point 0.": lambda weight, axis, bits: asymmetric(min_max(rows(weight, axis)), bits, axis).rounded(weight),
        "You divide by 2**(bits - 1), which is 128; the greatest int8 is 127.": _with_scale(
            lambda channels, bits: _peak(channels) / 2 ** (bits - 1)
        ),
        "You divide by 2**bits - 1 and half of every channel is clipped: a "
        "signed number has one bit for its sign.": _with_scale(lambda channels, bits: _peak(channels) / (2**bits - 1)),
        "Your steps divide the whole width by 2**bits - 1, which leaves no number for 0 in the middle; divide "
        "the peak by 2**(bits - 1) - 1.": _with_scale(lambda channels, bits: 2 * _peak(channels) / (2**bits - 1)),
        "Your peak is the largest value; a large *negative* weight would be clipped. Take the absolute "
        "value first.": _with_scale(lambda channels, bits: channels.amax(1).clamp(min=0) / (2 ** (bits - 1) - 1)),
        "Your scale comes from the mean; everything above it is clipped. Take the largest.": _with_scale(
            lambda channels, bits: channels.abs().mean(1) / (2 ** (bits - 1) - 1)
        ),
        "You cut off instead of rounding to the nearest number.": _in_steps(torch.trunc),
        "You round down instead of to the nearest number.": _in_steps(torch.floor),
        "These are the whole numbers; multiply by the scale again, so that weights come back.": _in_steps(
            torch.round, back=False
        ),
        "Nothing is rounded: divided and multiplied again, the weights are what they were.": _in_steps(lambda q: q),
        "You always take 8 bits; use `bits`.": lambda weight, axis, bits: round_by_channel(weight, axis, 8),
        "These are the scales, one a channel; wanted are the rounded "
        "weights, in the shape they had.": lambda weight, axis, bits: _peak(rows(weight, axis)) / (2 ** (bits - 1) - 1),
    },
)

# --- a slope for rounding --------------------------------------------------------------------------------------------


def _stairs(x: Tensor, scale: float, zero: int, least: int, greatest: int) -> Tensor:
    return (((x / scale).round() + zero).clamp(least, greatest) - zero) * scale


def _clipped(x: Tensor, scale: float, zero: int, least: int, greatest: int) -> Tensor:
    """Clamped and not rounded: what the staircase follows, with the slope that is wanted."""
    return x.clamp((least - zero) * scale, (greatest - zero) * scale)


def _through(path: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The right values, with the gradient of ``path``."""

    def rounded(x: Tensor, scale: float, zero_point: int, least: int, greatest: int) -> Tensor:
        found = path(x, scale, zero_point, least, greatest)
        return _stairs(x.detach(), scale, zero_point, least, greatest) + found - found.detach()

    return rounded


def straight_through(x: Tensor, scale: float, zero_point: int, least: int, greatest: int) -> Tensor:
    return _through(_clipped)(x, scale, zero_point, least, greatest)


def _clear_of_the_ends(scale: float, zero: int, least: int, greatest: int) -> tuple[Tensor, float, int, int, int]:
    """Values that are not within one step beyond an end, where either slope is right."""
    x, low, high = 3 * noise(300, seed=3), (least - zero) * scale, (greatest - zero) * scale
    clear = (x < low - scale) | (x > high + scale) | ((x > low) & (x < high))
    return x[clear], scale, zero, least, greatest


STRAIGHT_THROUGH = Exercise(
    reference=straight_through,
    kind=tensor,
    tolerance=1e-5,
    inputs=[
        _clear_of_the_ends(0.02, 100, 0, 255),
        _clear_of_the_ends(0.5, 0, -4, 3),
        _clear_of_the_ends(0.3, 4, 0, 15),
    ],
    gradients=("x",),
    mutants={
        "These are the whole numbers; go back to reals: scale * (q "
        "- zero_point).": lambda x, scale, zero, least, greatest: ((x / scale).round() + zero).clamp(least, greatest),
        "The clamp is missing: values "
        "beyond the range must end at its border.": lambda x, scale, zero, least, greatest: (x / scale).round() * scale,
        "You cut off instead of rounding to the nearest number.": (
            lambda x, scale, zero, least, greatest: (((x / scale).trunc() + zero).clamp(least, greatest) - zero) * scale
        ),
        "The zero point is missing: add it before the clamp, and take "
        "it away after it.": lambda x, scale, zero, least, greatest: (x / scale).round().clamp(least, greatest) * scale,
        "The zero point is added and never taken away: everything is "
        "shifted.": lambda x, scale, zero, least, greatest: ((x / scale).round() + zero).clamp(least, greatest) * scale,
        "Nothing "
        "is rounded: forwards the values must lie on the staircase; only the *gradient* pretends otherwise.": _clipped,
        "Your function gives x back: forwards the values must lie on the staircase.": lambda x, *of: x * 1.0,
        "x is added and never taken away; subtract a detached copy of it.": lambda x, *of: _stairs(x, *of) + x,
        "The values are right, but no gradient passes: something is detached, or made "
        "under torch.no_grad(). Add x and subtract a detached copy of it.": lambda x, *of: _stairs(x.detach(), *of),
        "The values are right, but the gradient is zero "
        "everywhere, as that of round() is: nothing could be learned. Forwards the staircase, backwards x.": _stairs,
        "The values are right, but the gradient is 1 also "
        "where the map clips. There a small change of x changes nothing, and 0 is honest.": _through(lambda x, *of: x),
        "The values are right, but the mask is upside down: the gradient passes where the map clips.": _through(
            lambda x, *of: x - _clipped(x, *of)
        ),
        "The values are right, but the gradient has the wrong sign: add x, subtract its copy.": _through(
            lambda x, *of: -_clipped(x, *of)
        ),
        "The values are right, but the gradient is the scale; it is 1 inside of the range.": _through(
            lambda x, *of: of[0] * _clipped(x, *of)
        ),
        "The values are right, but the gradient is 1 / "
        "scale: go straight through in reals, not in whole numbers.": _through(lambda x, *of: _clipped(x, *of) / of[0]),
        "The values are right, but the gradient is twice too large: add x once.": _through(
            lambda x, *of: 2 * _clipped(x, *of)
        ),
    },
)

# --- an open challenge: a better calibration -------------------------------------------------------------------------

Choice = Callable[[Tensor, int], Ends]
TWENTIETHS = [step / 20 for step in range(1, 21)]


def _chosen(attempt: Attempt, name: str, values: Tensor, bits: int) -> Ends:
    case = f"For what `{name}` reads, with bits={bits}"
    value = call(attempt, (values, bits), case)
    try:
        both = Parts(("low", "high"), (number,))(tuple(value) if isinstance(value, Tensor | list) else value)
        low, high = (number(end) for end in both)
    except Wrong as fault:
        raise Wrong(f"{case}, {fault}") from fault
    if not math.isfinite(high - low):
        raise Wrong(f"{case}, your range is {low} to {high}; both ends must be finite.")
    if low > high:
        raise Wrong(f"{case}, your range is {low:.3g} to {high:.3g}: the low end comes first.")
    return _ends(low, high)


def _rounded(choice: Choice) -> float:
    """Mean PSNR in dB on test sketches over all numbers of bits, with the ranges of a choice."""
    layers = challenges.layer_inputs()
    scores = [
        challenges.rounded_psnr({name: choice(values, bits) for name, values in layers.items()}, bits, "test")
        for bits in challenges.BITS
    ]
    return sum(scores) / len(scores)


@functools.cache
def _calibrations() -> tuple[float, float]:
    """The scores of the whole range, and of the share of it with the least squared error."""
    whole = _rounded(lambda values, bits: _part(values, 1))
    return whole, _rounded(lambda values, bits: clipping_range(values, TWENTIETHS, bits))


def _beats_the_whole_range(attempt: Attempt) -> Praise:
    name, values = next(iter(challenges.layer_inputs().items()))
    if _chosen(attempt, name, values, 4) != _chosen(attempt, name, values, 4):
        raise Wrong("Two calls with the same values give different ranges; fix the seed inside the function.")
    score = _rounded(lambda values, bits: _chosen(attempt, "a layer", values, bits))
    whole, least = _calibrations()
    said = (
        f"PSNR to the pictures in float, on held-out sketches: {score:.2f} dB; with the whole range {whole:.2f}, with "
        f"the range of the least squared error {least:.2f}"
    )
    if score <= whole:
        raise Wrong(
            f"{said}. The whole range needs no choice and is still better. Clip less with 8 bits, where steps are "
            "small anyway, and more with 4."
        )
    return Praise(f"{said}.", round(score, 2))


def choose_range(values: Tensor, bits: int) -> Ends:
    return _choosing(lambda error: error.abs().pow(2.2).mean())(values, [step / 40 for step in range(4, 41)], bits)


CHOOSE_RANGE = Exercise(reference=choose_range, also=_beats_the_whole_range)

EXERCISES = [AFFINE_QUANTIZE, CLIPPING_RANGE, ROUND_BY_CHANNEL, STRAIGHT_THROUGH, CHOOSE_RANGE]
