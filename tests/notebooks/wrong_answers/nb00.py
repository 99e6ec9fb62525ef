"""Plausible wrong answers to the exercises of notebook 00: exercise -> fault -> function. Each must be refused."""

import math
import statistics

import numpy as np


def _sorts_in_place(times_ms, warmup):
    for _ in range(warmup):
        times_ms.pop(0)
    if not times_ms:
        raise ValueError("nothing left")
    return statistics.median(times_ms)


def _answers_zero_when_empty(times_ms, warmup):
    kept = times_ms[warmup:]
    return statistics.median(kept) if kept else 0.0


def _by_hand_index(times_ms, warmup):
    kept = sorted(times_ms[warmup:])
    middle = len(kept) // 2
    return kept[middle] if len(kept) % 2 else (kept[middle - 1] + kept[middle]) / 2


WRONG_ANSWERS = {
    "conv_macs": {
        "FLOPs": lambda i, o, k, h, w, groups=1: 2 * i * o * k * k * h * w // groups,
        "kernel once": lambda i, o, k, h, w, groups=1: i * o * k * h * w // groups,
        "parameters": lambda i, o, k, h, w, groups=1: i * o * k * k // groups,
        "bias": lambda i, o, k, h, w, groups=1: (i // groups * k * k + 1) * o * h * w,
        "sum of channels": lambda i, o, k, h, w, groups=1: (i + o) * k * k * h * w // groups,
        "no input channels": lambda i, o, k, h, w, groups=1: o * k * k * h * w,
        "no output channels": lambda i, o, k, h, w, groups=1: i * k * k * h * w,
        "square pictures": lambda i, o, k, h, w, groups=1: i * o * k * k * h * h // groups,
        "one side": lambda i, o, k, h, w, groups=1: i * o * k * k * h // groups,
        "no padding": lambda i, o, k, h, w, groups=1: i * o * k * k * (h - k + 1) * (w - k + 1) // groups,
        "groups ignored": lambda i, o, k, h, w, groups=1: i * o * k * k * h * w,
        "groups multiplied": lambda i, o, k, h, w, groups=1: i * o * k * k * h * w * groups,
        "groups twice": lambda i, o, k, h, w, groups=1: (i // groups) * (o // groups) * k * k * h * w,
        "no groups argument": lambda i, o, k, h, w: i * o * k * k * h * w,
        "text": lambda i, o, k, h, w, groups=1: f"{i * o * k * k * h * w // groups} MACs",
        "in millions": lambda i, o, k, h, w, groups=1: i * o * k * k * h * w / groups / 1e6,
    },
    "separable_saving": {
        "upside down": lambda i, o, k: (i * k * k + i * o) / (i * o * k * k),
        "fraction saved": lambda i, o, k: 1 - (i * k * k + i * o) / (i * o * k * k),
        "no pointwise": lambda i, o, k: (i * o * k * k) / (i * k * k),
        "dense depthwise": lambda i, o, k: (i * o * k * k) / (i * o * k * k + i * o),
        "depthwise on outputs": lambda i, o, k: (i * o * k * k) / (o * k * k + i * o),
        "kernel once": lambda i, o, k: (i * o * k) / (i * k + i * o),
        "floor": lambda i, o, k: (i * o * k * k) // (i * k * k + i * o),
        "rounded": lambda i, o, k: round((i * o * k * k) / (i * k * k + i * o)),
        "difference": lambda i, o, k: i * o * k * k - i * k * k - i * o,
        "product": lambda i, o, k: (i * o * k * k) / (i * k * k * i * o),
        "always nine": lambda i, o, k: 9.0,
    },
    "frechet_1d": {
        "square root": lambda a, s, b, t: math.hypot(a - b, s - t),
        "means only": lambda a, s, b, t: (a - b) ** 2,
        "spreads only": lambda a, s, b, t: (s - t) ** 2,
        "variances": lambda a, s, b, t: (a - b) ** 2 + (s**2 - t**2) ** 2,
        "no cross term": lambda a, s, b, t: (a - b) ** 2 + s**2 + t**2,
        "std for variance": lambda a, s, b, t: (a - b) ** 2 + s + t - 2 * np.sqrt(s * t),
        "sign": lambda a, s, b, t: (a - b) ** 2 + s**2 + t**2 + 2 * s * t,
        "half cross term": lambda a, s, b, t: (a - b) ** 2 + s**2 + t**2 - s * t,
        "subtracted": lambda a, s, b, t: (a - b) ** 2 - (s - t) ** 2,
        "mean not squared": lambda a, s, b, t: abs(a - b) + (s - t) ** 2,
        "sum squared": lambda a, s, b, t: (a - b + s - t) ** 2,
        "array": lambda a, s, b, t: np.array([(a - b) ** 2, (s - t) ** 2]),
    },
    "median_latency": {
        "warm-up kept": lambda times, warmup: statistics.median(times),
        "mean": lambda times, warmup: sum(times[warmup:]) / len(times[warmup:]),
        "sorted first": lambda times, warmup: statistics.median(sorted(times)[warmup:]),
        "drops the slowest": lambda times, warmup: statistics.median(sorted(times)[: len(times) - warmup]),
        "drops the last": lambda times, warmup: statistics.median(times[: len(times) - warmup]),
        "one too many": lambda times, warmup: statistics.median(times[warmup + 1 :]),
        "one too few": lambda times, warmup: statistics.median(times[max(warmup - 1, 0) :]),
        "upper middle": lambda times, warmup: sorted(times[warmup:])[len(times[warmup:]) // 2],
        "not sorted": lambda times, warmup: times[warmup:][len(times[warmup:]) // 2],
        "fastest": lambda times, warmup: min(times[warmup:]),
        "changes the list": _sorts_in_place,
        "zero for nothing": _answers_zero_when_empty,
        "IndexError for nothing": _by_hand_index,
        "nan for nothing": lambda times, warmup: float(np.median(times[warmup:])) if times[warmup:] else math.nan,
    },
}
