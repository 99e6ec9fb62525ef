"""Checks of notebook 00: counting multiply-accumulates, comparing Gaussians, timing honestly."""

from __future__ import annotations

import math
import statistics

from gancomp_core.course.checks import Attempt, Cases, NotDoneYet, Suspect, Wrong, call, compare, exercise, number

# Answers counted once by PyTorch's own FLOP counter (halved: it counts a multiplication and an addition apart); the
# unit tests count them again.
_MACS = Cases(
    ("c_in", "c_out", "kernel", "height", "width", "groups"),
    [
        ((3, 64, 7, 256, 256, 1), 616_562_688),
        ((256, 256, 3, 64, 64, 1), 2_415_919_104),
        ((16, 24, 5, 10, 12, 1), 1_152_000),
        ((32, 32, 3, 8, 6, 32), 13_824),
        ((12, 18, 1, 9, 7, 3), 4_536),
    ],
)


@exercise("conv_macs")
def conv_macs(attempt: Attempt) -> None:
    ungrouped = Cases(_MACS.names[:5], [(row[:5], answer) for row, answer in _MACS.rows if row[5] == 1])
    suspects = [
        Suspect(
            lambda i, o, k, h, w: 2 * i * o * k * k * h * w,
            "Exactly twice too many: one multiply-accumulate is a multiplication *and* its addition, counted "
            "once. You have FLOPs; half of them are the MACs.",
        ),
        Suspect(
            lambda i, o, k, h, w: i * o * k * h * w,
            "One factor `kernel` is missing: the kernel is a square, kernel * kernel weights for each pair of "
            "channels.",
        ),
        Suspect(
            lambda i, o, k, h, w: i * o * k * k,
            "That is the number of weights, the parameters. Each of them is used once for every output pixel: "
            "height * width times.",
        ),
        Suspect(
            lambda i, o, k, h, w: (i * k * k + 1) * o * h * w,
            "You count the bias as well; by the convention of this course MACs are the multiplications of the "
            "kernel only.",
        ),
        Suspect(
            lambda i, o, k, h, w: (i + o) * k * k * h * w,
            "Input and output channels are multiplied, not added: every output channel looks at every input channel.",
        ),
        Suspect(
            lambda i, o, k, h, w: o * k * k * h * w,
            "The input channels are missing: each output number sums over a kernel of every input channel.",
        ),
        Suspect(
            lambda i, o, k, h, w: i * k * k * h * w,
            "The output channels are missing: the work is done once for each of them.",
        ),
        Suspect(
            lambda i, o, k, h, w: i * o * k * k * h,
            "The width is missing: a picture has height * width pixels.",
        ),
        Suspect(
            lambda i, o, k, h, w: i * o * k * k * w,
            "The height is missing: a picture has height * width pixels.",
        ),
        Suspect(
            lambda i, o, k, h, w: i * o * k * k * (h - k + 1) * (w - k + 1),
            "You shrink the picture by kernel - 1 pixels, as without padding; here the output has the size height "
            "x width that you are given.",
        ),
    ]
    compare(attempt, ungrouped, suspects)
    grouped = [
        Suspect(
            lambda i, o, k, h, w, g: i * o * k * k * h * w,
            "Right without groups, but `groups` changes nothing: with groups, an output channel sees only c_in / "
            "groups input channels.",
        ),
        Suspect(
            lambda i, o, k, h, w, g: i * o * k * k * h * w * g,
            "Right without groups, but more groups mean less work: divide by groups, do not multiply.",
        ),
        Suspect(
            lambda i, o, k, h, w, g: i * o * k * k * h * w / g**2,
            "Right without groups, but you divide by groups twice: only the input channels are shared out, all "
            "c_out output channels still have to be computed.",
        ),
    ]
    compare(attempt, _MACS, grouped)


def _saving(c_in: int, c_out: int, kernel: int) -> float:
    return (c_in * c_out * kernel**2) / (c_in * kernel**2 + c_in * c_out)


_SAVING = Cases(
    ("c_in", "c_out", "kernel"),
    # 9 * 256 / (9 + 256), 9 * 128 / (9 + 128), 25 * 40 / (25 + 40), 1 * 8 / (1 + 8): c_in cancels
    [((256, 256, 3), 2304 / 265), ((64, 128, 3), 1152 / 137), ((24, 40, 5), 1000 / 65), ((16, 8, 1), 8 / 9)],
)


@exercise("separable_saving")
def separable_saving(attempt: Attempt) -> None:
    suspects = [
        Suspect(
            lambda i, o, k: 1 / _saving(i, o, k),
            "Upside down: how many times *fewer* MACs does the separable layer need? Dense divided by separable.",
        ),
        Suspect(
            lambda i, o, k: 1 - 1 / _saving(i, o, k),
            "That is the fraction saved; wanted is the ratio, dense divided by separable (8.7 reads as '8.7 times "
            "fewer').",
        ),
        Suspect(
            lambda i, o, k: k * k,
            "You forgot the pointwise half: after the depthwise kernel, a 1x1 convolution mixes the channels, and "
            "it costs c_in * c_out per pixel.",
        ),
        Suspect(
            lambda i, o, k: o,
            "You forgot the pointwise half: after the depthwise kernel, a 1x1 convolution mixes the channels, and "
            "it costs c_in * c_out per pixel.",
        ),
        Suspect(
            lambda i, o, k: k * k * o / (k * k * o + o),
            "The depthwise half has one kernel for each *input* channel, c_in * kernel * kernel, not c_in * c_out "
            "of them.",
        ),
        Suspect(
            lambda i, o, k: i * o * k * k / (i * o * k * k + i * o),
            "The depthwise half has one kernel for each *input* channel, c_in * kernel * kernel, not c_in * c_out "
            "of them.",
        ),
        Suspect(
            lambda i, o, k: i * o * k * k / (o * k * k + i * o),
            "The depthwise half works on the *input* channels: c_in * kernel * kernel, because it comes before "
            "the channels are mixed.",
        ),
        Suspect(
            lambda i, o, k: i * o * k / (i * k + i * o),
            "The kernel is a square: kernel * kernel, in both the dense and the depthwise layer.",
        ),
        Suspect(
            lambda i, o, k: (i * o * k * k) // (i * k * k + i * o),
            "Nearly: `//` throws the fraction away; use `/`.",
        ),
        Suspect(
            lambda i, o, k: round(_saving(i, o, k)),
            "Nearly: do not round the ratio.",
        ),
        Suspect(
            lambda i, o, k: i * o * k * k - (i * k * k + i * o),
            "That is the difference; wanted is the ratio, dense divided by separable.",
        ),
        Suspect(
            lambda i, o, k: i * o * k * k / (i * k * k * i * o),
            "The two halves run one after the other, so their MACs are added, not multiplied.",
        ),
    ]
    compare(attempt, _SAVING, suspects)


_FRECHET = Cases(
    ("mean1", "std1", "mean2", "std2"),
    [
        ((0.0, 1.0, 3.0, 1.0), 9.0),
        ((0.0, 1.0, 0.0, 3.0), 4.0),
        ((1.5, 0.5, -0.5, 2.0), 6.25),
        ((-2.0, 2.5, -5.0, 0.5), 13.0),
        ((0.3, 0.7, 0.3, 0.7), 0.0),
    ],
)


@exercise("frechet_1d")
def frechet_1d(attempt: Attempt) -> None:
    suspects = [
        Suspect(
            lambda a, s, b, t: math.sqrt((a - b) ** 2 + (s - t) ** 2),
            "That is its square root: by the convention of FID the distance stays squared.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2,
            "The means are right, and the spreads are missing: two Gaussians of different width are not at "
            "distance zero.",
        ),
        Suspect(
            lambda a, s, b, t: (s - t) ** 2,
            "The spreads are right, and the means are missing.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2 + (s * s - t * t) ** 2,
            "You compare the variances; in one dimension the formula compares the standard deviations, (std1 - "
            "std2) squared.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2 + s * s + t * t,
            "The cross term is missing: std1² + std2² - 2 * std1 * std2; equal Gaussians must come out at "
            "distance zero.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2 + s * s + t * t - 2 * s * s * t * t,
            "The power ½ is missing: the root of std1² * std2² is std1 * std2.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2 + s + t - 2 * s * t,
            "You use the standard deviations where the formula has variances: square std1 and std2 first.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2 + s + t - 2 * math.sqrt(s * t),
            "You use the standard deviations where the formula has variances: square std1 and std2 first.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2 + s * s + t * t + 2 * s * t,
            "A sign: the cross term is subtracted, - 2 * std1 * std2.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2 + s * s + t * t - s * t,
            "The factor 2 of the cross term is missing: - 2 * std1 * std2.",
        ),
        Suspect(
            lambda a, s, b, t: (a - b) ** 2 - (s - t) ** 2,
            "A sign: both squares are added; a distance is never negative.",
        ),
        Suspect(
            lambda a, s, b, t: abs(a - b) + (s - t) ** 2,
            "The difference of the means must be squared as well.",
        ),
        Suspect(
            lambda a, s, b, t: abs(a - b) + abs(s - t),
            "Both differences must be squared: they are only added up as they stand.",
        ),
        Suspect(
            lambda a, s, b, t: ((a - b) + (s - t)) ** 2,
            "Square first, then add: (a + b)² is not a² + b².",
        ),
        Suspect(
            lambda a, s, b, t: (a + b) ** 2 + (s - t) ** 2,
            "A sign: the *difference* of the means is squared.",
        ),
    ]
    compare(attempt, _FRECHET, suspects)


_LATENCY = Cases(
    ("times_ms", "warmup"),
    [
        (([90.0, 40.0, 12.0, 10.0, 30.0, 11.0, 13.0], 2), 12.0),
        (([5.0, 9.0, 1.0, 7.0], 0), 6.0),
        (([100.0, 8.0, 4.0, 6.0, 20.0], 1), 7.0),
        (([3.0, 2.5], 1), 2.5),
    ],
)


@exercise("median_latency")
def median_latency(attempt: Attempt) -> None:
    suspects = [
        Suspect(
            lambda t, n: statistics.median(t),
            "The warm-up runs are still in: drop the first `warmup` times before taking the median.",
        ),
        Suspect(
            lambda t, n: statistics.fmean(t[n:]),
            "That is the mean, and one slow run drags it along; the median is wanted.",
        ),
        Suspect(
            lambda t, n: statistics.fmean(t),
            "That is the mean of all runs; wanted is the median of those after the warm-up.",
        ),
        Suspect(
            lambda t, n: statistics.median(sorted(t)[n:]),
            "You sort before dropping the warm-up, so you drop the *fastest* runs; the warm-up runs are the first "
            "ones in time.",
        ),
        Suspect(
            lambda t, n: statistics.median(sorted(t, reverse=True)[n:]),
            "You drop the *slowest* runs; the warm-up runs are the first ones in time, slow or not.",
        ),
        Suspect(
            lambda t, n: statistics.median(t[: len(t) - n]),
            "You drop the last runs; the warm-up is at the beginning.",
        ),
        Suspect(
            lambda t, n: statistics.median(t[n + 1 :]),
            "Off by one: you drop warmup + 1 runs.",
        ),
        Suspect(
            lambda t, n: statistics.median(t[max(n - 1, 0) :]),
            "Off by one: you drop warmup - 1 runs.",
        ),
        Suspect(
            lambda t, n: statistics.median_high(t[n:]),
            "With an even number of runs the median is the mean of the two middle ones; you return the upper one.",
        ),
        Suspect(
            lambda t, n: statistics.median_low(t[n:]),
            "With an even number of runs the median is the mean of the two middle ones; you return the lower one.",
        ),
        Suspect(
            lambda t, n: t[n:][len(t[n:]) // 2],
            "You take the run in the middle of the *list*; sort the times first.",
        ),
        Suspect(
            lambda t, n: min(t[n:]),
            "That is the fastest run, which flatters; the median is wanted.",
        ),
    ]
    compare(attempt, _LATENCY, suspects)
    _keeps_the_list(attempt)
    _refuses_an_empty_remainder(attempt)


def _keeps_the_list(attempt: Attempt) -> None:
    times = [9.0, 2.0, 8.0, 1.0, 5.0]
    number(attempt(times, 2))
    if times != [9.0, 2.0, 8.0, 1.0, 5.0]:
        raise Wrong(
            "The number is right, but your function changes the caller's list (`.sort()`, `.pop()` and `del` do that); "
            "work on a copy: sorted(times_ms[warmup:])."
        )


def _refuses_an_empty_remainder(attempt: Attempt) -> None:
    for times, warmup in (([4.0, 5.0], 2), ([4.0, 5.0], 3), ([], 0)):
        try:
            got = call(attempt, times, warmup)
        except NotDoneYet:
            got = None
        except Wrong as refused:
            if isinstance(refused.__cause__, ValueError):
                continue
            raise Wrong(
                f"With {len(times)} times and warmup={warmup} nothing is left to measure, and your function stops with "
                f"{type(refused.__cause__).__name__}; say so yourself: raise ValueError('...')."
            ) from refused
        raise Wrong(
            f"With {len(times)} times and warmup={warmup} nothing is left to measure, and your function still answers "
            f"{got}; raise ValueError('...') instead of inventing a latency."
        )
