"""Checks of notebook 07: the affine map, the range of the least error, a scale a channel, and a slope for rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gancomp_core.course.checks import Attempt, Cases, Suspect, Wrong, call, compare, compare_tensors, exercise
from gancomp_core.methods.quantization import AffineMap, Range, asymmetric, min_max, rows, symmetric

#: A plausible mistake as a function of the same arguments, and the words that point to it.
Mistake = tuple[Callable[..., Tensor], str]
Ends = tuple[float, float]


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _span(low: float, high: float) -> Range:
    return Range(torch.tensor(low), torch.tensor(high))


# --- the affine map --------------------------------------------------------------------------------------------------

_SPANS = ((-1.0, 1.1, 8), (-0.5, 2.0, 8), (0.4, 3.0, 8), (-3.0, -0.2, 8), (-1.3, 0.7, 4), (0.0, 6.0, 3))


def _ends(low: float, high: float) -> Ends:
    return min(low, 0.0), max(high, 0.0)


def _scale(low: float, high: float, bits: int) -> float:
    low, high = _ends(low, high)
    return (high - low) / (2**bits - 1)


def _zero_point(low: float, high: float, bits: int) -> float:
    return round(-_ends(low, high)[0] / _scale(low, high, bits))


_SCALES = [
    Suspect(
        lambda low, high, bits: (_ends(low, high)[1] - _ends(low, high)[0]) / 2**bits,
        "Your scale divides by 2**bits. That is how many *numbers* there are; between 256 numbers lie 255 steps.",
    ),
    Suspect(
        lambda low, high, bits: (high - low) / (2**bits - 1),
        "Your scale is right where the range holds 0, and wrong where it does not: 0 must have a number of its own, so "
        "first low = min(low, 0) and high = max(high, 0).",
    ),
    Suspect(
        lambda low, high, bits: (2**bits - 1) / (_ends(low, high)[1] - _ends(low, high)[0]),
        "Your scale is upside down: it says how much *real* one step is, the range over the number of steps.",
    ),
    Suspect(
        lambda low, high, bits: max(-_ends(low, high)[0], _ends(low, high)[1]) / (2 ** (bits - 1) - 1),
        "That is the scale of the symmetric map, with 0 in the middle; here the range runs from low to high.",
    ),
    Suspect(
        lambda low, high, bits: (_ends(low, high)[1] - _ends(low, high)[0]) / 255,
        "Your scale always has 255 steps; with `bits` bits there are 2**bits - 1 of them.",
    ),
]
_ZEROS = [
    Suspect(
        lambda low, high, bits: -_ends(low, high)[0] / _scale(low, high, bits),
        "Your zero point is no whole number. It is the number that stands for 0.0, and numbers are whole: round it.",
    ),
    Suspect(
        lambda low, high, bits: -_zero_point(low, high, bits),
        "Your zero point has the wrong sign: with real = scale * (q - zero_point), the real `low` belongs to q = 0, so "
        "zero_point = -low / scale.",
    ),
    Suspect(
        lambda low, high, bits: round(_ends(low, high)[1] / _scale(low, high, bits)),
        "Your zero point counts from the upper end; it counts the steps from `low` up to 0.",
    ),
    Suspect(
        lambda low, high, bits: 2 ** (bits - 1),
        "Your zero point always lies in the middle; it depends on how much of the range is below 0.",
    ),
    Suspect(
        lambda low, high, bits: 0,
        "Your zero point is always 0, as in the symmetric map; here q = 0 stands for `low`, and 0.0 lies higher.",
    ),
    Suspect(
        lambda low, high, bits: -_ends(low, high)[0] // _scale(low, high, bits),
        "Your zero point is cut off; round it to the nearest whole number, as every other number.",
    ),
]


def _whole(x: Tensor, low: float, high: float, bits: int) -> Tensor:
    of = low, high, bits
    return _clamped(_steps(x, *of).round() + _zero_point(*of), bits)


def _steps(x: Tensor, low: float, high: float, bits: int) -> Tensor:
    return x / _scale(low, high, bits)


def _clamped(q: Tensor, bits: int) -> Tensor:
    return q.clamp(0, 2**bits - 1)


_WHOLES: list[Mistake] = [
    (
        lambda x, *of: _steps(x, *of).round() + _zero_point(*of),
        "The clamp is missing: a number outside of 0 ... 2**bits - 1 does not fit into its bits.",
    ),
    (
        lambda x, *of: _clamped((_steps(x, *of) + _zero_point(*of)).trunc(), of[2]),
        "You cut off what follows the point (so does `.int()` and `.long()`), so every value moves down; round to the "
        "nearest number first.",
    ),
    (
        lambda x, *of: _clamped((_steps(x, *of) + _zero_point(*of)).ceil(), of[2]),
        "You round up; round to the nearest number.",
    ),
    (
        lambda x, *of: _clamped(_steps(x, *of) + _zero_point(*of), of[2]),
        "Your numbers are not whole yet: round them.",
    ),
    (
        lambda x, *of: _clamped(_steps(x, *of).round(), of[2]),
        "The zero point is not added, so everything below 0 is lost.",
    ),
    (
        lambda x, *of: _clamped(_steps(x, *of).round() - _zero_point(*of), of[2]),
        "The zero point is subtracted; that is the way back. Forwards it is added.",
    ),
    (
        lambda x, *of: (_whole(x, *of) - _zero_point(*of)) * _scale(*of),
        "These are reals again; wanted are the whole numbers q, before the way back.",
    ),
    (
        lambda x, *of: (_steps(x, *of).round() + _zero_point(*of)).clamp(0, 2 ** of[2]),
        "Your largest number is 2**bits, one too many: 8 bits end at 255.",
    ),
    (
        lambda x, *of: (_steps(x, *of).round() + _zero_point(*of)).clamp(-(2 ** (of[2] - 1)), 2 ** (of[2] - 1) - 1),
        "You clamp to the signed numbers (-128 ... 127 for 8 bits); here q begins at 0.",
    ),
    (
        lambda x, *of: (_steps(x, *of).round() + _zero_point(*of)) % 2 ** of[2],
        "Numbers that do not fit start again at the other end, as `.to(torch.uint8)` does it: black turns white. Clamp "
        "them before.",
    ),
]


@exercise("affine_quantize")
def affine_quantize(attempt: Attempt) -> None:
    x = 2 * _random(400, seed=1)
    for span in _SPANS:
        _is_a_triple(call(attempt, x, *span))
    cases = [(span, _scale(*span)) for span in _SPANS]
    compare(lambda *span: attempt(x.clone(), *span)[1], Cases(("low", "high", "bits"), cases), _SCALES, 1e-5)
    cases = [(span, float(_zero_point(*span))) for span in _SPANS]
    compare(lambda *span: attempt(x.clone(), *span)[2], Cases(("low", "high", "bits"), cases), _ZEROS)
    given = {f"low={span[0]:g}, high={span[1]:g}, bits={span[2]}": (x, *span) for span in _SPANS}
    compare_tensors(lambda *of: _float(attempt(*of)[0]), _whole, given, _WHOLES)


def _float(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value


def _is_a_triple(value: Any) -> None:
    if isinstance(value, Tensor):
        raise Wrong("Three things are wanted, q, scale and zero_point; your function returns a single tensor.")
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise Wrong(
            "Three things are wanted, separated by commas: the whole numbers q, the scale and the zero point; your "
            f"function returns {f'{len(value)} of them' if isinstance(value, tuple | list) else type(value).__name__}."
        )


# --- the range of the least error ------------------------------------------------------------------------------------


def _kept(values: Tensor, share: float) -> Ends:
    return float(values.min()) * share, float(values.max()) * share


def _error(values: Tensor, ends: Ends, bits: int) -> Tensor:
    """Of every value, what the map of this range makes of it less the value."""
    return asymmetric(_span(*ends), bits).rounded(values) - values


def _choosing(score: Callable[[Tensor, Ends, int], Tensor], kept: Callable[..., Ends] = _kept) -> Callable[..., Tensor]:
    """The range [2] whose score is the least."""

    def choose(values: Tensor, shares: Sequence[float], bits: int) -> Tensor:
        best = min(shares, key=lambda share: float(score(values, kept(values, share), bits)))
        return torch.tensor(kept(values, best))

    return choose


def _mse(values: Tensor, ends: Ends, bits: int) -> Tensor:
    return _error(values, ends, bits).square().mean()


def _around_the_middle(values: Tensor, share: float) -> Ends:
    low, high = float(values.min()), float(values.max())
    middle, half = (low + high) / 2, (high - low) / 2 * share
    return middle - half, middle + half


def _by_share(values: Tensor, share: float) -> Ends:
    cut = (1 - share) / 2
    return float(values.quantile(cut)), float(values.quantile(1 - cut))


_right_range = _choosing(_mse)
_RANGES: list[Mistake] = [
    (
        lambda values, shares, bits: torch.tensor(_kept(values, max(shares))),
        "You keep the whole range. At few bits a narrower one errs less, because all other values get finer steps; is "
        "the error of rounding in your sum, with `bits` and not with 8?",
    ),
    (
        lambda values, shares, bits: torch.tensor(_kept(values, min(shares))),
        "You always keep the narrowest range, where nearly everything is clipped. Either your comparison is upside "
        "down, or the values that are clipped do not count; count the error of all of them.",
    ),
    (
        _choosing(lambda values, ends, bits: _error(values, ends, bits).abs().mean()),
        "You measure the mean absolute error; the squared one weighs clipped outliers more.",
    ),
    (
        _choosing(lambda values, ends, bits: _error(values, ends, bits).abs().max()),
        "You measure the largest single error, which one outlier decides; take the mean of the squares.",
    ),
    (
        _choosing(_mse, _around_the_middle),
        "You shrink the range towards its middle; shrink it towards 0, as low * share and high * share.",
    ),
    (
        _choosing(_mse, _by_share),
        "You keep a share of the *values* (a percentile); here `share` is the part of the range: low * share, "
        "high * share.",
    ),
    (
        _choosing(lambda values, ends, bits: _error(values, ends, bits).mean().square()),
        "You square the mean error; errors of opposite sign cancel in it. Take the mean of the squares.",
    ),
]


@exercise("clipping_range")
def clipping_range(attempt: Attempt) -> None:
    shares = [step / 20 for step in range(1, 21)]
    cases = {}
    for number, (bits, shift) in enumerate([(2, 0.0), (3, 0.8), (4, -0.4), (6, 0.3)]):
        values = _random(3000, seed=number) ** 3 + shift  # with outliers
        cases[f"{len(values)} values at {bits} bits"] = (values, shares, bits)
    for given in cases.values():
        _is_a_range(call(attempt, *given), given[1])
    compare_tensors(lambda *of: torch.tensor([float(end) for end in attempt(*of)]), _right_range, cases, _RANGES)


def _is_a_range(value: Any, shares: Sequence[float]) -> None:
    if isinstance(value, float | int) or (isinstance(value, Tensor) and value.ndim == 0):
        what = "the share itself" if float(value) in shares else "one number"
        raise Wrong(f"Your function returns {what}; wanted is the range that belongs to it, low and high.")
    if not isinstance(value, tuple | list | Tensor) or len(value) != 2:
        raise Wrong(f"Two numbers are wanted, low and high; your function returns {str(value)[:60]}.")
    if float(value[0]) > float(value[1]):
        raise Wrong("Your range is upside down: the low end comes first, then the high one.")


# --- a scale for each channel ----------------------------------------------------------------------------------------


def _by_channel(weight: Tensor, axis: int, bits: int) -> Tensor:
    return symmetric(min_max(rows(weight, axis)), bits, axis).rounded(weight)


def _one_scale(weight: Tensor, axis: int, bits: int) -> Tensor:
    return symmetric(min_max(weight.flatten()), bits).rounded(weight)


def _with_scale(of: Callable[[Tensor, int], Tensor], signed: bool = True) -> Callable[..., Tensor]:
    """Rounded with the scale that a function gives to rows [C, K]."""

    def rounded(weight: Tensor, axis: int, bits: int) -> Tensor:
        by_channel = rows(weight, axis)
        scale = of(by_channel, bits)
        scale = torch.where(scale == 0, torch.ones_like(scale), scale)
        return AffineMap(scale, torch.zeros_like(scale, dtype=torch.int32), bits, signed, axis).rounded(weight)

    return rounded


def _peak(by_channel: Tensor) -> Tensor:
    return by_channel.abs().amax(1)


def _in_steps(act: Callable[[Tensor], Tensor], back: bool = True) -> Callable[..., Tensor]:
    def found(weight: Tensor, axis: int, bits: int) -> Tensor:
        shape = [-1 if place == axis else 1 for place in range(4)]
        scale = (_peak(rows(weight, axis)) / (2 ** (bits - 1) - 1)).view(shape)
        scale = torch.where(scale == 0, torch.ones_like(scale), scale)
        q = act(weight / scale)
        return q * scale if back else q

    return found


_CHANNELS: list[Mistake] = [
    (
        _one_scale,
        "One scale serves the whole tensor; each place along `axis` wants its own.",
    ),
    (
        lambda weight, axis, bits: _by_channel(weight, 0, bits),
        "You always take axis 0. A transposed convolution writes along axis 1: use `axis`.",
    ),
    (
        lambda weight, axis, bits: _by_channel(weight, 1, bits),
        "You always take axis 1. An ordinary convolution writes along axis 0: use `axis`.",
    ),
    (
        lambda weight, axis, bits: _by_channel(weight, 1 - axis, bits),
        "The two axes are exchanged: each place along `axis` gets a scale, over all the others the largest is taken.",
    ),
    (
        lambda weight, axis, bits: asymmetric(min_max(rows(weight, axis)), bits, axis).rounded(weight),
        "That is the asymmetric map; weights get the symmetric one, with the zero point 0.",
    ),
    (
        _with_scale(lambda by_channel, bits: _peak(by_channel) / 2 ** (bits - 1)),
        "You divide by 2**(bits - 1), which is 128; the greatest int8 is 127.",
    ),
    (
        _with_scale(lambda by_channel, bits: _peak(by_channel) / (2**bits - 1)),
        "You divide by 2**bits - 1 and half of every channel is clipped: a signed number has one bit for its sign.",
    ),
    (
        _with_scale(lambda by_channel, bits: 2 * _peak(by_channel) / (2**bits - 1)),
        "Your steps divide the whole width by 2**bits - 1, which leaves no number for 0 in the middle; divide the peak "
        "by 2**(bits - 1) - 1.",
    ),
    (
        _with_scale(lambda by_channel, bits: by_channel.amax(1).clamp(min=0) / (2 ** (bits - 1) - 1)),
        "Your peak is the largest value; a large *negative* weight would be clipped. Take the absolute value first.",
    ),
    (
        _with_scale(lambda by_channel, bits: by_channel.abs().mean(1) / (2 ** (bits - 1) - 1)),
        "Your scale comes from the mean; everything above it is clipped. Take the largest.",
    ),
    (
        _in_steps(torch.trunc),
        "You cut off instead of rounding to the nearest number.",
    ),
    (
        _in_steps(torch.floor),
        "You round down instead of to the nearest number.",
    ),
    (
        _in_steps(torch.round, back=False),
        "These are the whole numbers; multiply by the scale again, so that weights come back.",
    ),
    (
        _in_steps(lambda q: q),
        "Nothing is rounded: divided and multiplied again, the weights are what they were.",
    ),
    (
        lambda weight, axis, bits: _by_channel(weight, axis, 8),
        "You always reckon with 8 bits; use `bits`.",
    ),
]


@exercise("round_by_channel")
def round_by_channel(attempt: Attempt) -> None:
    sizes = torch.logspace(-2, 0, 6)
    first = _random(6, 6, 3, 3, seed=1) * sizes.view(6, 1, 1, 1) - 0.1 * sizes.view(6, 1, 1, 1)
    second = _random(6, 6, 3, 3, seed=2) * sizes.view(1, 6, 1, 1) - 0.1 * sizes.view(1, 6, 1, 1)
    cases = {"axis=0, bits=8": (first, 0, 8), "axis=1, bits=8": (second, 1, 8), "axis=0, bits=4": (first, 0, 4)}
    for weight, axis, bits in cases.values():
        value = call(attempt, weight, axis, bits)
        if isinstance(value, Tensor) and value.shape == (6,):
            raise Wrong("These are the scales, one a channel; wanted are the rounded weights, in the shape they had.")
    compare_tensors(attempt, _by_channel, cases, _CHANNELS)
    dead = first.clone()
    dead[2] = 0
    value = call(attempt, dead, 0, 8)
    if not value.isfinite().all() or value[2].any():
        raise Wrong(
            "A channel of zeros has the peak 0, and dividing by the scale 0 gives NaN; give such a channel another "
            "scale, for instance 1."
        )


# --- a slope for rounding --------------------------------------------------------------------------------------------


def _map(scale: float, zero_point: int, least: int, greatest: int) -> tuple[Callable[[Tensor], Tensor], Ends]:
    """What the map leaves of reals, and the ends of its range."""

    def rounded(x: Tensor) -> Tensor:
        return ((x / scale).round() + zero_point).clamp(least, greatest).sub(zero_point) * scale

    return rounded, ((least - zero_point) * scale, (greatest - zero_point) * scale)


def _rounded(x: Tensor, *of: Any) -> Tensor:
    return _map(*of)[0](x.detach())


_ROUNDED: list[Mistake] = [
    (
        lambda x, scale, zero, least, greatest: ((x / scale).round() + zero).clamp(least, greatest),
        "These are the whole numbers; go back to reals: scale * (q - zero_point).",
    ),
    (
        lambda x, scale, zero, least, greatest: (x / scale).round() * scale,
        "The clamp is missing: values beyond the range must end at its border.",
    ),
    (
        lambda x, scale, zero, least, greatest: (
            ((x / scale).trunc() + zero).clamp(least, greatest).sub(zero).mul(scale)
        ),
        "You cut off instead of rounding to the nearest number.",
    ),
    (
        lambda x, scale, zero, least, greatest: (x / scale).round().clamp(least, greatest) * scale,
        "The zero point is missing: add it before the clamp, and take it away after it.",
    ),
    (
        lambda x, scale, zero, least, greatest: ((x / scale).round() + zero).clamp(least, greatest) * scale,
        "The zero point is added and never taken away: everything is shifted.",
    ),
    (
        lambda x, scale, zero, least, greatest: x.clamp((least - zero) * scale, (greatest - zero) * scale),
        "Nothing is rounded: forwards the values must lie on the staircase; only the *gradient* pretends otherwise.",
    ),
    (
        lambda x, scale, zero, least, greatest: x,
        "Your function gives x back: forwards the values must lie on the staircase.",
    ),
    (
        lambda x, *of: _map(*of)[0](x) + x,
        "x is added and never taken away; subtract a detached copy of it.",
    ),
]


@exercise("straight_through")
def straight_through(attempt: Attempt) -> None:
    maps = {"8 bits": (0.02, 100, 0, 255), "3 bits, signed": (0.5, 0, -4, 3), "4 bits": (0.3, 4, 0, 15)}
    cases = {f"{name} (scale {of[0]:g}, zero point {of[1]})": (_random(300, seed=3) * 3, *of)
             for name, of in maps.items()}  # fmt: skip
    for given in cases.values():
        call(attempt, *given)
    compare_tensors(attempt, _rounded, cases, _ROUNDED, tolerance=1e-3)
    for given in cases.values():
        _slopes(attempt, *given)


def _slopes(attempt: Attempt, values: Tensor, *of: Any) -> None:
    """The gradient is 1 inside of the range and 0 beyond it, by a random pull; within a step of an end, either."""
    low, high = _map(*of)[1]
    scale = float(of[0])
    clear = (values < low - scale) | (values > high + scale) | ((values > low) & (values < high))
    values = values[clear]
    inside = ((values > low) & (values < high)).float()
    pull, x = _random(len(values), seed=9), values.clone().requires_grad_()
    found = attempt(x, *of)
    if not found.requires_grad:
        raise Wrong(
            "The values are right, but no gradient passes: something is detached, or made under torch.no_grad(). Add x "
            "and subtract a detached copy of it."
        )
    (gradient,) = torch.autograd.grad((found * pull).sum(), x)
    guesses = [
        (
            0 * pull,
            "The values are right, but the gradient is zero everywhere, as that of round() is: nobody would learn. "
            "Forwards the staircase, backwards x.",
        ),
        (
            pull,
            "The values are right, but the gradient is 1 also where the map clips. There a small change of x changes "
            "nothing, and 0 is honest.",
        ),
        (
            pull * (1 - inside),
            "The values are right, but the mask is upside down: the gradient passes where the map clips.",
        ),
        (-pull * inside, "The values are right, but the gradient has the wrong sign: add x, subtract its copy."),
        (pull * inside * scale, "The values are right, but the gradient is the scale; it is 1 inside of the range."),
        (
            pull * inside / scale,
            "The values are right, but the gradient is 1 / scale: go straight through in reals, not in whole numbers.",
        ),
        (2 * pull * inside, "The values are right, but the gradient is twice too large: add x once."),
    ]
    if torch.allclose(gradient, pull * inside, rtol=1e-3, atol=1e-5):
        return
    for guess, hint in guesses:
        if torch.allclose(gradient, guess, rtol=1e-3, atol=1e-5):
            raise Wrong(hint)
    raise Wrong("The values are right, but the gradient is not 1 inside of the range and 0 beyond it.")
