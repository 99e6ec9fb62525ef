"""Exercises of notebook 00: counting multiply-accumulates, comparing Gaussians, timing honestly."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from gancomp_core.course.exercise import Exercise, Group, Refusal


def conv_macs(c_in: int, c_out: int, kernel: int, height: int, width: int, groups: int = 1) -> int:
    return c_in * c_out * kernel**2 * height * width // groups


CONV_MACS = Exercise(
    reference=conv_macs,
    inputs=[
        Group([(3, 64, 7, 256, 256), (256, 256, 3, 64, 64), (16, 24, 5, 10, 12)]),
        Group([(32, 32, 3, 8, 6, 32), (12, 18, 1, 9, 7, 3)]),
    ],
    mutants={
        "A picture need not be square: it has height * width pixels.": lambda i, o, k, h, w, g=1: (
            i * o * k * k * h * h // g
        ),
        "Exactly twice too many: one multiply-accumulate is a multiplication *and* its addition, counted once. You "
        "have FLOPs; half of them are the MACs.": lambda i, o, k, h, w, g=1: 2 * i * o * k * k * h * w // g,
        "One factor `kernel` is missing: the kernel is a square, kernel * kernel weights for each pair of "
        "channels.": lambda i, o, k, h, w, g=1: i * o * k * h * w // g,
        "That is the number of weights, the parameters. Each of them is used once for every output pixel: height * "
        "width times.": lambda i, o, k, h, w, g=1: i * o * k * k // g,
        "You count the bias as well; by the convention of this course MACs are the multiplications of the kernel "
        "only.": lambda i, o, k, h, w, g=1: (i // g * k * k + 1) * o * h * w,
        "Input and output channels are multiplied, not added: every output channel reads every input "
        "channel.": lambda i, o, k, h, w, g=1: (i + o) * k * k * h * w // g,
        "The input channels are missing: each output number sums over a kernel of every input "
        "channel.": lambda i, o, k, h, w, g=1: o * k * k * h * w // g,
        "The output channels are missing: the work is done once for each of them.": lambda i, o, k, h, w, g=1: (
            i * k * k * h * w // g
        ),
        "The width is missing: a picture has height * width pixels.": lambda i, o, k, h, w, g=1: i * o * k * k * h // g,
        "The height is missing: a picture has height * width pixels.": lambda i, o, k, h, w, g=1: (
            i * o * k * k * w // g
        ),
        "You shrink the picture by kernel - 1 pixels, as without padding; here the output has the size height x width "
        "that you are given.": lambda i, o, k, h, w, g=1: i * o * k * k * (h - k + 1) * (w - k + 1) // g,
        "Right without groups, but `groups` changes nothing: with groups, an output channel sees only c_in / groups "
        "input channels.": lambda i, o, k, h, w, g=1: i * o * k * k * h * w,
        "Right without groups, but more groups mean less work: divide by groups, do not "
        "multiply.": lambda i, o, k, h, w, g=1: i * o * k * k * h * w * g,
        "Right without groups, but you divide by groups twice: only the input channels are shared out, all c_out "
        "output channels still have to be computed.": lambda i, o, k, h, w, g=1: (i // g) * (o // g) * k * k * h * w,
    },
)


def separable_saving(c_in: int, c_out: int, kernel: int) -> float:
    return (c_in * c_out * kernel**2) / (c_in * kernel**2 + c_in * c_out)


SEPARABLE_SAVING = Exercise(
    reference=separable_saving,
    inputs=[(256, 256, 3), (64, 128, 3), (24, 40, 5), (16, 8, 1)],
    mutants={
        "9 is what a 3 x 3 kernel comes near to with very many output channels; compute the ratio from c_in, c_out and "
        "kernel.": lambda i, o, k: 9.0,
        "Upside down: how many times *fewer* MACs does the separable layer need? Dense divided by "
        "separable.": lambda i, o, k: (i * k * k + i * o) / (i * o * k * k),
        "That is the fraction saved; wanted is the ratio, dense divided by separable (8.7 reads as '8.7 times "
        "fewer').": lambda i, o, k: 1 - (i * k * k + i * o) / (i * o * k * k),
        "You forgot the pointwise half: after the depthwise kernel, a 1x1 convolution mixes the channels, and it costs "
        "c_in * c_out per pixel.": lambda i, o, k: (i * o * k * k) / (i * k * k),
        "You forgot the depthwise half, c_in * kernel * kernel per pixel: the 1x1 convolution sees no "
        "neighbors.": lambda i, o, k: (i * o * k * k) / (i * o),
        "The depthwise half has one kernel for each *input* channel, c_in * kernel * kernel, not c_in * c_out of "
        "them.": lambda i, o, k: (i * o * k * k) / (i * o * k * k + i * o),
        "The depthwise half works on the *input* channels: c_in * kernel * kernel, because it comes before the "
        "channels are mixed.": lambda i, o, k: (i * o * k * k) / (o * k * k + i * o),
        "The kernel is a square: kernel * kernel, in both the dense and the depthwise layer.": lambda i, o, k: (
            (i * o * k) / (i * k + i * o)
        ),
        "Nearly: `//` throws the fraction away; use `/`.": lambda i, o, k: (i * o * k * k) // (i * k * k + i * o),
        "Nearly: do not round the ratio.": lambda i, o, k: round((i * o * k * k) / (i * k * k + i * o)),
        "That is the difference; wanted is the ratio, dense divided by separable.": lambda i, o, k: (
            i * o * k * k - (i * k * k + i * o)
        ),
        "The two halves run one after the other, so their MACs are added, not multiplied.": lambda i, o, k: (
            i * o * k * k / (i * k * k * i * o)
        ),
    },
)


def frechet_1d(mean1: float, std1: float, mean2: float, std2: float) -> float:
    return (mean1 - mean2) ** 2 + (std1 - std2) ** 2


FRECHET_1D = Exercise(
    reference=frechet_1d,
    inputs=[
        (0.0, 1.0, 3.0, 1.0),
        (0.0, 1.0, 0.0, 3.0),
        (1.5, 0.5, -0.5, 2.0),
        (-2.0, 2.5, -5.0, 0.5),
        (0.3, 0.7, 0.3, 0.7),
    ],
    mutants={
        "That is its square root: by the convention of FID the distance stays squared.": lambda a, s, b, t: math.hypot(
            a - b, s - t
        ),
        "The means are right, and the spreads are missing: two Gaussians of different width are not at distance "
        "zero.": lambda a, s, b, t: (a - b) ** 2,
        "The spreads are right, and the means are missing.": lambda a, s, b, t: (s - t) ** 2,
        "You compare the variances; in one dimension the formula compares the standard deviations, (std1 - std2) "
        "squared.": lambda a, s, b, t: (a - b) ** 2 + (s * s - t * t) ** 2,
        "The cross term is missing: std1² + std2² - 2 * std1 * std2; equal Gaussians must come out at distance "
        "zero.": lambda a, s, b, t: (a - b) ** 2 + s * s + t * t,
        "The power ½ is missing: the root of std1² * std2² is std1 * std2.": lambda a, s, b, t: (
            (a - b) ** 2 + s * s + t * t - 2 * s * s * t * t
        ),
        "You use the standard deviations where the formula has variances: square std1 and std2 "
        "first.": lambda a, s, b, t: (a - b) ** 2 + s + t - 2 * math.sqrt(s * t),
        "Square std1 and std2 where they stand alone: the formula has variances there.": lambda a, s, b, t: (
            (a - b) ** 2 + s + t - 2 * s * t
        ),
        "A sign: the cross term is subtracted, - 2 * std1 * std2.": lambda a, s, b, t: (
            (a - b) ** 2 + s * s + t * t + 2 * s * t
        ),
        "The factor 2 of the cross term is missing: - 2 * std1 * std2.": lambda a, s, b, t: (
            (a - b) ** 2 + s * s + t * t - s * t
        ),
        "A sign: both squares are added; a distance is never negative.": lambda a, s, b, t: (a - b) ** 2 - (s - t) ** 2,
        "The difference of the means must be squared as well.": lambda a, s, b, t: abs(a - b) + (s - t) ** 2,
        "Both differences must be squared: they are only added up as they stand.": lambda a, s, b, t: (
            abs(a - b) + abs(s - t)
        ),
        "Square first, then add: (a + b)² is not a² + b².": lambda a, s, b, t: ((a - b) + (s - t)) ** 2,
        "A sign: the *difference* of the means is squared.": lambda a, s, b, t: (a + b) ** 2 + (s - t) ** 2,
    },
)


def median_latency(times_ms: Sequence[float], warmup: int) -> float:
    kept = times_ms[warmup:]
    if not kept:
        raise ValueError("nothing is left to measure")
    return statistics.median(kept)


def _sorts_in_place(times_ms: list[float], warmup: int) -> float:
    del times_ms[:warmup]
    times_ms.sort()
    return statistics.median(times_ms)


def _nothing_left(times_ms: list[float], warmup: int) -> Refusal:
    why = f"With {len(times_ms)} times and warmup={warmup} nothing is left to measure"
    return Refusal((times_ms, warmup), why)


MEDIAN_LATENCY = Exercise(
    reference=median_latency,
    inputs=[
        Group(
            [
                ([90.0, 40.0, 12.0, 10.0, 30.0, 11.0, 13.0], 2),
                ([5.0, 9.0, 1.0, 7.0], 0),
                ([100.0, 8.0, 4.0, 6.0, 20.0], 1),
                ([4.0, 12.0, 15.0, 11.0], 1),
            ]
        ),
        Group([([3.0, 2.5], 1)]),
    ],
    mutants={
        "The warm-up runs are still in: drop the first `warmup` times before taking the median.": lambda t, n: (
            statistics.median(t)
        ),
        "That is the mean, and one slow run drags it along; the median is wanted.": lambda t, n: statistics.fmean(
            t[n:]
        ),
        "That is the mean of all runs; wanted is the median of those after the warm-up.": lambda t, n: statistics.fmean(
            t
        ),
        "You sort before dropping the warm-up, so you drop the *fastest* runs; the warm-up runs are the first ones in "
        "time.": lambda t, n: statistics.median(sorted(t)[n:]),
        "You drop the *slowest* runs; the warm-up runs are the first ones in time, slow or not.": lambda t, n: (
            statistics.median(sorted(t, reverse=True)[n:])
        ),
        "You drop the last runs; the warm-up is at the beginning.": lambda t, n: statistics.median(t[: len(t) - n]),
        "Off by one: you drop warmup + 1 runs.": lambda t, n: statistics.median(t[n + 1 :]),
        "Off by one: you drop warmup - 1 runs.": lambda t, n: statistics.median(t[max(n - 1, 0) :]),
        "With an even number of runs the median is the mean of the two middle ones; you return the upper "
        "one.": lambda t, n: statistics.median_high(t[n:]),
        "With an even number of runs the median is the mean of the two middle ones; you return the lower "
        "one.": lambda t, n: statistics.median_low(t[n:]),
        "You take the run in the middle of the *list*; sort the times first.": lambda t, n: t[n:][len(t[n:]) // 2],
        "That is the fastest run, which flatters; the median is wanted.": lambda t, n: min(t[n:]),
        "The number is right, but your function changes the caller's list (`.sort()`, `.pop()` and `del` do that); "
        "work on a copy: sorted(times_ms[warmup:]).": _sorts_in_place,
    },
    refusals=[_nothing_left([4.0, 5.0], 2), _nothing_left([4.0, 5.0], 3), _nothing_left([], 0)],
)

EXERCISES = [CONV_MACS, SEPARABLE_SAVING, FRECHET_1D, MEDIAN_LATENCY]
