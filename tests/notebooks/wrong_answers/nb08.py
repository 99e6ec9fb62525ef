"""Plausible wrong answers to the exercises of notebook 08."""

import math

import numpy as np
from scipy.stats import t


def _logs(a, b):
    return np.log(np.asarray(a) / np.asarray(b))


def _half(d, share=0.975, ddof=1, root=0.5, degrees=1):
    return t.ppf(share, len(d) - degrees) * d.std(ddof=ddof) / len(d) ** root


def _ends(d, half):
    return tuple(100 * (math.exp(end) - 1) for end in (d.mean() - half, d.mean() + half))


def _interval(**how):
    return lambda a, b: _ends(_logs(a, b), _half(_logs(a, b), **how))


def _normal(factor):
    return lambda a, b: _ends(_logs(a, b), factor * _logs(a, b).std(ddof=1) / math.sqrt(len(a)))


def _around(make):
    def answer(a, b):
        d = make(np.asarray(a), np.asarray(b))
        return d.mean() - _half(d), d.mean() + _half(d)

    return answer


def _unpaired(a, b):
    a, b = np.log(a), np.log(b)
    half = t.ppf(0.975, 2 * len(a) - 2) * math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    return tuple(100 * (math.exp(a.mean() - b.mean() + sign * half) - 1) for sign in (-1, 1))


def _ratios(a, b):
    return tuple(1 + end / 100 for end in _interval()(a, b))


def _dominates(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def _front(beats=_dominates, reverse=False):
    def answer(costs, scores):
        points = list(zip(costs, scores, strict=True))
        kept = [i for i, point in enumerate(points) if not any(beats(other, point) for other in points)]
        return sorted(kept, key=lambda i: costs[i], reverse=reverse)

    return answer


_right = _front()


def _sweep(order, ties=False):
    def answer(costs, scores):
        kept, best = [], math.inf
        for i in order(costs, scores):
            if scores[i] < best or (ties and scores[i] == best):
                kept.append(i)
                best = scores[i]
        return kept

    return answer


def _sorted(costs, scores):
    return sorted(range(len(costs)), key=lambda i: (costs[i], scores[i]))


def _changes(ours, theirs):
    return np.array([100 * (ours[seed] / theirs[seed] - 1) for seed in ours if seed in theirs])


def _judge(enough=5, half=_half, side=None, changes=_changes, zero="not reproduced"):
    def answer(ours, theirs, claimed):
        d = changes(ours, theirs)
        if len(d) < enough or len(d) < 2:
            return "undecided"
        mean = side(d.mean(), claimed) if side else d.mean() * (1 if claimed == "higher" else -1)
        if zero != "not reproduced" and abs(d.mean()) <= half(d):
            return zero
        return "at small scale" if mean > half(d) else "not reproduced"

    return answer


def _by_place(ours, theirs):
    return np.array([100 * (one / other - 1) for one, other in zip(ours.values(), theirs.values(), strict=False)])


WRONG_ANSWERS = {
    "paired_ratio_interval": {
        "b over a": lambda a, b: _interval()(b, a),
        "normal": _normal(1.959964),
        "rule of thumb": _normal(2),
        "one standard error": _normal(1),
        "divided by n": _interval(ddof=0),
        "spread of seeds": _interval(root=0),
        "square root twice": _interval(root=1),
        "90 per cent": _interval(share=0.95),
        "n degrees": _interval(degrees=0),
        "unpaired": _unpaired,
        "per cents averaged": _around(lambda a, b: 100 * (a / b - 1)),
        "differences": _around(lambda a, b: a - b),
        "logarithms": _around(lambda a, b: np.log(a / b)),
        "100 logarithms": _around(lambda a, b: 100 * np.log(a / b)),
        "base 10": _around(lambda a, b: 100 * np.log10(a / b)),
        "ratios": _ratios,
        "shares": lambda a, b: tuple(end / 100 for end in _interval()(a, b)),
        "exchanged": lambda a, b: _interval()(a, b)[::-1],
        "middle and half": lambda a, b: (
            100 * (math.exp(_logs(a, b).mean()) - 1),
            100 * (math.exp(_half(_logs(a, b))) - 1),
        ),
        "one number": lambda a, b: 100 * (math.exp(_logs(a, b).mean()) - 1),
        "three numbers": lambda a, b: (*_interval()(a, b), len(a)),
        "twice too wide": lambda a, b: _ends(_logs(a, b), 2 * _half(_logs(a, b))),
    },
    "pareto_front": {
        "everybody": lambda costs, scores: list(range(len(costs))),
        "larger scores": _front(lambda a, b: a[0] <= b[0] and a[1] >= b[1] and a != b),
        "larger costs": _front(lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b),
        "wrong side": _front(lambda a, b: _dominates(b, a)),
        "strict in both": _front(lambda a, b: a[0] < b[0] and a[1] < b[1]),
        "one advantage": _front(lambda a, b: a[0] < b[0] or a[1] < b[1]),
        "ties dropped": _sweep(_sorted),
        "equal scores kept": _sweep(_sorted, ties=True),
        "unsorted": _sweep(lambda costs, scores: range(len(costs))),
        "sorted by cost alone": _sweep(lambda costs, scores: sorted(range(len(costs)), key=lambda i: costs[i])),
        "order of the list": lambda costs, scores: sorted(_right(costs, scores)),
        "dearest first": lambda costs, scores: _right(costs, scores)[::-1],
        "cheapest alone": lambda costs, scores: _right(costs, scores)[:1],
        "best alone": lambda costs, scores: [min(range(len(costs)), key=lambda i: (scores[i], costs[i]))],
        "dominated": lambda costs, scores: sorted(
            set(range(len(costs))) - set(_right(costs, scores)), key=lambda i: costs[i]
        ),
        "from 1": lambda costs, scores: [i + 1 for i in _right(costs, scores)],
        "values": lambda costs, scores: [(costs[i], scores[i]) for i in _right(costs, scores)],
        "mask": lambda costs, scores: [i in _right(costs, scores) for i in range(len(costs))],
        "a number": lambda costs, scores: len(_right(costs, scores)),
        "floats": lambda costs, scores: [float(i) for i in _right(costs, scores)],
    },
    "verdict": {
        "either side": _judge(side=lambda mean, claimed: abs(mean)),
        "always lower": _judge(side=lambda mean, claimed: -mean),
        "always higher": _judge(side=lambda mean, claimed: mean),
        "exchanged": _judge(side=lambda mean, claimed: mean if claimed == "lower" else -mean),
        "mean alone": _judge(half=lambda d: 0),
        "two seeds": _judge(enough=2),
        "three seeds": _judge(enough=3),
        "six seeds": _judge(enough=6),
        "zero undecided": _judge(zero="undecided"),
        "by place": _judge(changes=_by_place),
        "normal": _judge(half=lambda d: 1.959964 * d.std(ddof=1) / math.sqrt(len(d))),
        "divided by n": _judge(half=lambda d: _half(d, ddof=0)),
        "spread of seeds": _judge(half=lambda d: _half(d, root=0)),
        "never decided": lambda ours, theirs, claimed: "undecided",
        "reproduced": lambda ours, theirs, claimed: "reproduced",
        "true or false": lambda ours, theirs, claimed: _judge()(ours, theirs, claimed) == "at small scale",
    },
}
