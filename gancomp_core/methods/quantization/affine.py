"""The affine map of quantization, and the ranges it may cover.

A real number r is stored as an integer q of few bits: ``r = scale * (q - zero_point)``. The formulas are those of
ONNX's QuantizeLinear and DequantizeLinear, so a network simulated here computes what integer kernels compute. Source:
Jacob et al., CVPR 2018 (arXiv 1712.05877).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gancomp_core.errors import GancompError

BITS = range(2, 17)
BINS = 2048  # of a histogram that stands for more values than that: 8 to a step of 8 bits


class Range(NamedTuple):
    """The smallest and the largest value that a map covers: scalars, or one per channel."""

    low: Tensor
    high: Tensor


class RangeEstimator(Protocol):
    """Chooses ranges: from values [..., K] to a low and a high end [...], for a map of ``bits`` bits."""

    def __call__(self, values: Tensor, bits: int = 8, symmetric: bool = False) -> Range: ...


@dataclass(frozen=True)
class AffineMap:
    """``real = scale * (q - zero_point)``.

    Attributes:
        scale: float32, positive: a scalar, or a vector with one entry for each place along ``axis``.
        zero_point: int32 of the same shape.
        bits: 2 to 16.
        signed: Whether q lies in -2**(bits - 1) ... 2**(bits - 1) - 1 instead of 0 ... 2**bits - 1.
        axis: The dimension that has individual scales, None for one scale.
    """

    scale: Tensor
    zero_point: Tensor
    bits: int = 8
    signed: bool = False
    axis: int | None = None

    @property
    def least(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def greatest(self) -> int:
        return self.least + (1 << self.bits) - 1

    def quantize(self, real: Tensor) -> Tensor:
        """Integers (int32, shape as given): rounded half to even, clipped where the range ends."""
        return self._unclipped(real).clamp(self.least, self.greatest).to(torch.int32)

    def dequantize(self, q: Tensor) -> Tensor:
        """float32 reals of integers."""
        scale, zero_point = self._along(q)
        return (q - zero_point).float() * scale

    def rounded(self, real: Tensor) -> Tensor:
        """Reals after quantizing and dequantizing: float32 of the same shape."""
        return self.dequantize(self.quantize(real))

    def covers(self, real: Tensor) -> Tensor:
        """Whether each real is rounded (True) or lies outside the range and is clipped (False)."""
        q = self._unclipped(real)
        return (q >= self.least) & (q <= self.greatest)

    def _unclipped(self, real: Tensor) -> Tensor:
        scale, zero_point = self._along(real)
        return (real.float() / scale).round() + zero_point

    def _along(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.axis is None:
            return self.scale, self.zero_point
        shape = [-1 if dim == self.axis % x.ndim else 1 for dim in range(x.ndim)]
        return self.scale.view(shape), self.zero_point.view(shape)


def asymmetric(span: Range, bits: int = 8, axis: int | None = None) -> AffineMap:
    """The unsigned map that covers a range and zero, which it represents exactly; uint8 for 8 bits.

    Args:
        span: The range.
        bits: 2 to 16.
        axis: The dimension along which the range has entries.

    Returns:
        The map.

    Raises:
        GancompError: For another number of bits.
    """
    _check_bits(bits)
    low, high = (end.detach().float() for end in span)
    low, high = low.clamp(max=0), high.clamp(min=0)
    steps = 2**bits - 1
    scale = _positive((high - low) / steps)
    zero_point = (-low / scale).round().clamp(0, steps).to(torch.int32)
    return AffineMap(scale, zero_point, bits, False, axis)


def symmetric(span: Range, bits: int = 8, axis: int | None = None) -> AffineMap:
    """The signed map with zero point 0 that covers a range: int8 for 8 bits, with the range -127 ... 127.

    Args:
        span: The range.
        bits: 2 to 16.
        axis: The dimension along which the range has entries.

    Returns:
        The map.

    Raises:
        GancompError: For another number of bits.
    """
    _check_bits(bits)
    peak = torch.maximum(span.low.detach().abs(), span.high.detach().abs()).float()
    scale = _positive(peak / (2 ** (bits - 1) - 1))
    return AffineMap(scale, torch.zeros_like(scale, dtype=torch.int32), bits, True, axis)


def rows(values: Tensor, axis: int | None) -> Tensor:
    """Values as an estimator expects them: all in one row [K], or one row for each place along an axis [C, K]."""
    return values.reshape(-1) if axis is None else values.movedim(axis, 0).flatten(1)


# --- which range ----------------------------------------------------------------------------------------------------


def min_max(values: Tensor, bits: int = 8, symmetric: bool = False) -> Range:
    """All of the values, including outliers."""
    return Range(values.amin(-1), values.amax(-1))


def percentile(values: Tensor, bits: int = 8, symmetric: bool = False, *, share: float = 0.999) -> Range:
    """The middle ``share`` of the values (above 0, up to 1); equally many are cut off at both ends."""
    if not 0 < share <= 1:
        raise GancompError(f"A range holds a share of the values above 0 and up to 1, not {share:g}; try 0.999.")
    count = values.shape[-1]
    cut = int(count * (1 - share) / 2)
    return Range(values.kthvalue(cut + 1, -1).values, values.kthvalue(count - cut, -1).values)


def mse(values: Tensor, bits: int = 8, symmetric: bool = False, *, candidates: int = 64) -> Range:
    """The range whose map has the least mean squared error.

    A grid search over the share (1/candidates to 1) of the range of :func:`min_max` that is covered, first with both
    ends moving together, then each alone. Clipping costs a few outliers much and gives all other values finer steps.
    More than 2,048 values in a row are first counted in as many bins.

    Args:
        values: [..., K].
        bits: Bits of the map.
        symmetric: Whether the map is symmetric around zero.
        candidates: Number of shares that are tried, at least 1.

    Returns:
        The range [...].

    Raises:
        GancompError: For fewer than 1 candidate.
    """
    if candidates < 1:
        raise GancompError(f"The search for the least error needs at least 1 candidate, not {candidates}; try 64.")
    ends = min_max(values)
    flat, whole = values.detach().float().reshape(-1, values.shape[-1]), Range(*(end.reshape(-1) for end in ends))
    centers, counts = _binned(flat, whole)
    clipped = _Clipped(centers, counts)
    shares = torch.arange(candidates, 0, -1, device=flat.device)[:, None] / candidates
    least, best = torch.full_like(whole.low, torch.inf), whole
    for moving in ((True, True),) if symmetric else ((True, True), (False, True), (True, False)):
        tried = Range(*(whole[end] * shares if moving[end] else best[end].expand(candidates, -1) for end in range(2)))
        maps = MAPS[symmetric](tried, bits)
        bounds = clipped.error(maps)
        for each in range(candidates):
            rows = (bounds[each] < least).nonzero()[:, 0]  # where what is cut off does not cost too much already
            if len(rows):
                scale, zero_point = maps.scale[each, rows, None], maps.zero_point[each, rows, None]
                by = AffineMap(scale, zero_point, bits, symmetric)
                found = (centers, counts) if len(rows) == len(flat) else (centers[rows], counts[rows])
                error = torch.full_like(least, torch.inf).index_copy_(0, rows, _error(by, *found))
                best = Range(
                    *(torch.where(error < least, new[each], old) for new, old in zip(tried, best, strict=True))
                )
                least = torch.minimum(error, least)
    return Range(*(end.reshape(ends.low.shape) for end in best))


def _error(by: AffineMap, centers: Tensor, counts: Tensor) -> Tensor:
    """The squared error of each row: that of ``by.rounded``, without its copies and its way through integers."""
    whole = (centers / by.scale).round_().add_(by.zero_point).clamp_(by.least, by.greatest)
    return whole.sub_(by.zero_point).mul_(by.scale).sub_(centers).square_().mul_(counts).sum(-1)


class _Clipped:
    """The error of the values that maps cut off, from running sums: less than the whole error, and quickly known."""

    def __init__(self, centers: Tensor, counts: Tensor) -> None:
        order = centers.argsort(-1)
        self.sorted, weights = centers.gather(-1, order).double(), counts.gather(-1, order).double()
        powers = torch.stack([weights, weights * self.sorted, weights * self.sorted.square()])
        self.below = torch.nn.functional.pad(powers.cumsum(-1), (1, 0))  # [3, rows, K + 1]

    def error(self, maps: AffineMap) -> Tensor:
        """Of each map [candidates, rows], lower by a thousandth for what rounding may change."""
        low, high = ((end - maps.zero_point) * maps.scale.double() for end in (maps.least, maps.greatest))
        left, right = (self._sums(end) for end in (low, high))
        beyond = [whole - part for whole, part in zip(self.below[..., -1], right, strict=True)]
        return 0.999 * sum((n * end**2 - 2 * end * s + q for (n, s, q), end in ((left, low), (beyond, high))), 0 * low)

    def _sums(self, ends: Tensor) -> Tensor:
        """Count, sum and sum of squares of the values below each end: [3, candidates, rows]."""
        places = torch.searchsorted(self.sorted, ends.T.contiguous())
        return self.below.gather(-1, places.expand(3, -1, -1)).transpose(1, 2)


def ema(before: Range, now: Range, decay: float = 0.9) -> Range:
    """An exponential moving average of ranges, batch by batch; AGD's decay is 0.9 (arXiv 2006.08198)."""
    low, high = (old * decay + new * (1 - decay) for old, new in zip(before, now, strict=True))
    return Range(low, high)


MAPS: dict[bool, Callable[..., AffineMap]] = {False: asymmetric, True: symmetric}
"""How a range becomes a map, by whether zero is in its middle."""


def _binned(values: Tensor, whole: Range) -> tuple[Tensor, Tensor]:
    """Values [..., K] as centers [..., B] of bins, and how many are in each; few values are their own centers."""
    if values.shape[-1] <= BINS:
        return values, torch.ones_like(values)
    flat = values.reshape(-1, values.shape[-1])
    low, width = whole.low.reshape(-1, 1), ((whole.high - whole.low) / BINS).reshape(-1, 1)
    places = ((flat - low) / _positive(width)).long().clamp(0, BINS - 1)
    places += BINS * torch.arange(len(flat), device=flat.device)[:, None]
    counts = torch.bincount(places.flatten(), minlength=BINS * len(flat)).float().view(len(flat), BINS)
    centers = low + (torch.arange(BINS, device=flat.device) + 0.5) * width
    shape = (*values.shape[:-1], BINS)
    return centers.reshape(shape), counts.reshape(shape)


def _positive(scale: Tensor) -> Tensor:
    """1 where everything is 0: any scale but 0 will do there."""
    return torch.where(scale < torch.finfo(torch.float32).tiny, torch.ones_like(scale), scale)


def _check_bits(bits: int) -> None:
    if bits not in BITS:
        raise GancompError(f"Quantization takes 2 to 16 bits, not {bits!r}; leave a layer out to keep it in float.")
