"""Exercises of notebook 08: the interval of a ratio over paired seeds, the Pareto front, the verdict on a claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from scipy.stats import t

from gancomp_core.course.answers import Parts, Value, Wrong, number, places
from gancomp_core.course.exercise import Exercise
from gancomp_core.lab.benchmark.verdicts import CONTRADICTED, NO_EFFECT, SHOWN, UNDECIDED
from gancomp_core.measure.statistics import ENOUGH_SEEDS

# --- the interval of a ratio -----------------------------------------------------------------------------------------

Scores = Sequence[float]
Ends = tuple[float, float]
HalfWidth = Callable[[np.ndarray], float]


def _student(d: np.ndarray, share: float = 0.975, degrees: int = 1) -> float:
    return float(t.ppf(share, len(d) - degrees))


def _half(d: np.ndarray, factor: float = 0.0, ddof: int = 1) -> float:
    """Half-width of the interval of a mean; ``factor`` stands for Student's."""
    if len(d) < 2:
        return math.inf
    return (factor or _student(d)) * float(d.std(ddof=ddof)) / math.sqrt(len(d))


def _logs(a: Scores, b: Scores) -> np.ndarray:
    ratios = np.asarray(a, dtype=float) / np.asarray(b, dtype=float)
    return np.asarray(np.log(ratios))


def _around(d: np.ndarray) -> Ends:
    return float(d.mean()) - _half(d), float(d.mean()) + _half(d)


def _percent(ends: Iterable[float]) -> Ends:
    low, high = (100 * (math.exp(end) - 1) for end in ends)
    return low, high


def _with_half(half: HalfWidth) -> Callable[[Scores, Scores], Ends]:
    """The interval with another half-width in the logarithms."""
    return lambda a, b: _percent(_logs(a, b).mean() + sign * half(_logs(a, b)) for sign in (-1, 1))


def _unpaired(a: Scores, b: Scores) -> Ends:
    one, other = np.log(a), np.log(b)
    error = math.sqrt((one.var(ddof=1) + other.var(ddof=1)) / len(a))
    gap, reach = one.mean() - other.mean(), t.ppf(0.975, 2 * len(a) - 2) * error
    return _percent((gap - reach, gap + reach))


def paired_ratio_interval(a: Scores, b: Scores) -> Ends:
    return _with_half(_half)(a, b)


PAIRED_RATIO_INTERVAL = Exercise(
    reference=paired_ratio_interval,
    kind=Parts(("low", "high"), (number,)),
    tolerance=1e-5,
    inputs=[
        ([68.0, 71.0, 66.5, 69.0, 70.2], [74.0, 75.1, 76.9, 73.2, 72.0]),
        ([120.0, 95.0, 140.0], [80.0, 90.0, 85.0]),
        ([0.168, 0.171, 0.166, 0.170, 0.169, 0.173], [0.177, 0.176, 0.179, 0.175, 0.180, 0.174]),
    ],
    mutants={
        "That is the interval of b / a; the first argument belongs above the line.": lambda a, b: paired_ratio_interval(
            b, a
        ),
        "Your factor is the normal distribution's 1.96, which is too sure of a spread "
        "that comes from few seeds; use Student's, t.ppf(0.975, n - 1).": _with_half(lambda d: _half(d, 1.959964)),
        "Your factor is 2, a rule of thumb for many seeds; for few use Student's, t.ppf(0.975, n - 1).": _with_half(
            lambda d: _half(d, 2.0)
        ),
        "Your standard deviation divides by n; "
        "the mean was fitted to the same seeds, so divide by n - 1 (ddof=1).": _with_half(lambda d: _half(d, ddof=0)),
        "That is the spread of single seeds; the mean "
        "of n of them is surer: divide by the square root of n.": _with_half(lambda d: _half(d) * math.sqrt(len(d))),
        "You divide by n, that is by its square root twice; "
        "the standard error divides by the square root once.": _with_half(lambda d: _half(d) / math.sqrt(len(d))),
        "With t.ppf(0.95, ...) five percent lie beyond "
        "each end, which makes a 90 % interval; 95 % takes 0.975.": _with_half(lambda d: _half(d, _student(d, 0.95))),
        "That is the mean and one standard error; Student's factor, t.ppf(0.975, n - 1), is missing.": _with_half(
            lambda d: _half(d, 1.0)
        ),
        "Student's factor has n - 1 degrees of freedom, not n: one went into the mean.": _with_half(
            lambda d: _half(d, _student(d, degrees=0))
        ),
        "You treat the two methods as strangers. "
        "They share their seeds: take the ratio of each seed first, and the mean and spread of those.": _unpaired,
        "You average percentages. Take logarithms of the ratios first, and turn the *ends* "
        "back into percent: 100 * (exp(end) - 1).": lambda a, b: _around(100 * (np.asarray(a) / np.asarray(b) - 1)),
        "Those are differences of scores; wanted is the ratio a / b, in percent above 1.": lambda a, b: _around(
            np.asarray(a) - np.asarray(b)
        ),
        "The interval of the logarithms is right; turn its ends into percent now: 100 * (exp(end) - 1).": lambda a, b: (
            _around(_logs(a, b))
        ),
        "Nearly: 100 times a logarithm "
        "is only almost the percentage; use 100 * (exp(end) - 1) at both ends.": lambda a, b: _around(
            100 * _logs(a, b)
        ),
        "Those are logarithms to the base 10; take natural ones (np.log), whose inverse is exp.": lambda a, b: _around(
            100 * np.log10(np.asarray(a) / np.asarray(b))
        ),
        "Those are the ratios; percent above 1 is 100 * (ratio - 1).": lambda a, b: tuple(
            map(math.exp, _around(_logs(a, b)))
        ),
        "You are a factor of 100 short: percent, not shares.": lambda a, b: tuple(
            end / 100 for end in paired_ratio_interval(a, b)
        ),
        "The two ends are exchanged: the low one comes first.": lambda a, b: paired_ratio_interval(a, b)[::-1],
        "You return the middle and the half-width; wanted are the two "
        "ends, mean minus and mean plus half-width.": lambda a, b: _percent((_logs(a, b).mean(), _half(_logs(a, b)))),
    },
)

# --- the Pareto front ------------------------------------------------------------------------------------------------

Point = tuple[float, float]
Front = Callable[[Scores, Scores], list[int]]


def _beats(a: Point, b: Point) -> bool:
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def _unbeaten(beats: Callable[[Point, Point], bool]) -> Front:
    """Places that no other point beats, the cheapest first."""

    def front(costs: Scores, scores: Scores) -> list[int]:
        points = list(zip(costs, scores, strict=True))
        kept = [i for i, point in enumerate(points) if not any(beats(other, point) for other in points)]
        return sorted(kept, key=lambda place: costs[place])

    return front


def _sweep(order: Callable[[Scores, Scores], Sequence[int]], ties: bool = False) -> Front:
    """The usual sweep over points in some order: who improves on the best score until then stays."""

    def front(costs: Scores, scores: Scores) -> list[int]:
        kept: list[int] = []
        for place in order(costs, scores):
            best = min((scores[i] for i in kept), default=math.inf)
            if scores[place] < best or (ties and scores[place] == best):
                kept.append(place)
        return kept

    return front


def _sorted(costs: Scores, scores: Scores) -> list[int]:
    return sorted(range(len(costs)), key=lambda place: (costs[place], scores[place]))


def pareto_front(costs: Scores, scores: Scores) -> list[int]:
    return _unbeaten(_beats)(costs, scores)


def _front(value: object, costs: Scores, scores: Scores) -> tuple[Value, ...]:
    """Places, with equal points in the order of the list."""
    kept = pareto_front(costs, scores)
    values = [[costs[i] for i in kept], [scores[i] for i in kept], [(costs[i], scores[i]) for i in kept]]
    if isinstance(value, list) and [tuple(x) if isinstance(x, list) else x for x in value] in values:
        raise Wrong("you return the values of the front; wanted are its *places* in the lists, from 0 on.")
    found = list(places(value))
    points = dict(enumerate(zip(costs, scores, strict=True)))
    for place in range(len(found) - 1):
        first, second = found[place : place + 2]
        if first > second and points.get(first, first) == points.get(second):
            found[place : place + 2] = second, first
    return tuple(found)


def _points(*points: Point) -> tuple[list[float], list[float]]:
    return [cost for cost, _ in points], [score for _, score in points]


PARETO_FRONT = Exercise(
    reference=pareto_front,
    kind=_front,
    inputs=[
        _points((20.0, 68.0), (135.0, 68.4), (6.7, 94.0), (6.7, 71.4), (13.0, 74.5), (20.0, 165.0), (6.7, 80.0)),
        _points((3.0, 5.0), (1.0, 9.0), (3.0, 5.0), (2.0, 9.0), (5.0, 1.0), (4.0, 6.0), (5.0, 2.0)),
        _points((4.5, 1.5), (3.5, 2.5), (2.5, 3.5), (1.5, 4.5)),
    ],
    mutants={
        "You keep every point; leave out those that "
        "another one beats: no dearer, no worse, and better in one.": lambda costs, scores: list(range(len(costs))),
        "Your scores are better when larger; here, as with distances, smaller is better in both.": _unbeaten(
            lambda a, b: a[0] <= b[0] and a[1] >= b[1] and a != b
        ),
        "You keep dear points with good scores; smaller is better in the cost as well.": _unbeaten(
            lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b
        ),
        "That is the wrong side of the front: you keep "
        "the points that beat no other instead of those that no other beats.": _unbeaten(lambda a, b: _beats(b, a)),
        "You keep dominated points: one that costs the same and scores worse, or scores the same and costs more, is "
        "dominated "
        "too; only one of the two must be strictly better.": _unbeaten(lambda a, b: a[0] < b[0] and a[1] < b[1]),
        "One advantage is enough to drop a point in your version; it takes one that is no worse in *both*.": _unbeaten(
            lambda a, b: a[0] < b[0] or a[1] < b[1]
        ),
        "You drop one of two equal points; neither dominates the other, so both stay.": _sweep(_sorted),
        "You keep a point that costs more and scores "
        "the same as a cheaper one; only points equal in *both* numbers stay together.": _sweep(_sorted, ties=True),
        "You go through the points as they come, as if they were sorted by cost; they are not.": _sweep(
            lambda costs, scores: range(len(costs))
        ),
        "Among points of equal cost the order decides in your version; sort by cost *and* score.": _sweep(
            lambda costs, scores: sorted(range(len(costs)), key=lambda place: costs[place])
        ),
        "The right places, in the order of the list; wanted is ascending order of cost.": lambda costs, scores: sorted(
            pareto_front(costs, scores)
        ),
        "The right places, the dearest first; wanted is the cheapest first.": lambda costs, scores: pareto_front(
            costs, scores
        )[::-1],
        "That is the cheapest point alone; the front has all that no other dominates.": lambda costs, scores: (
            pareto_front(costs, scores)[:1]
        ),
        "That is the point of the best score alone; the front also has cheaper ones with worse "
        "scores.": lambda costs, scores: [min(range(len(costs)), key=lambda place: (scores[place], costs[place]))],
        "You return the dominated points; wanted are the others.": (
            lambda costs, scores: [i for i in _sorted(costs, [0] * len(costs)) if i not in pareto_front(costs, scores)]
        ),
        "Your places count from 1; Python's lists count from 0.": lambda costs, scores: [
            place + 1 for place in pareto_front(costs, scores)
        ],
    },
)

# --- the verdict on a claim ------------------------------------------------------------------------------------------

BySeed = Mapping[int, float]
Judgment = Callable[[BySeed, BySeed, str, float], str]
STATUSES = (SHOWN, CONTRADICTED, NO_EFFECT, UNDECIDED)


def changes(ours: BySeed, theirs: BySeed) -> np.ndarray:
    """Percent by which ours differ from theirs, for each common seed."""
    return np.array([100 * (ours[seed] / theirs[seed] - 1) for seed in sorted(ours.keys() & theirs.keys())])


def _by_place(ours: BySeed, theirs: BySeed) -> np.ndarray:
    return np.array([100 * (one / other - 1) for one, other in zip(ours.values(), theirs.values(), strict=False)])


def _ruling(
    half: HalfWidth = _half,
    enough: int = ENOUGH_SEEDS,
    pairs: Callable[[BySeed, BySeed], np.ndarray] = changes,
    side: Callable[[float, str], float] = lambda mean, claimed: mean if claimed == "higher" else -mean,
    around_zero: Callable[[float, float, float], str] = lambda mean, half, d: (
        NO_EFFECT if abs(mean) + half < d else UNDECIDED
    ),
) -> Judgment:
    """The verdict with one step of it replaced."""

    def rule(ours: BySeed, theirs: BySeed, claimed: str, d: float) -> str:
        found = pairs(ours, theirs)
        if len(found) < enough:
            return UNDECIDED
        mean, reach = float(found.mean()), half(found)
        if abs(mean) <= reach:
            return around_zero(mean, reach, d)
        return SHOWN if side(mean, claimed) > 0 else CONTRADICTED

    return rule


def verdict(ours: BySeed, theirs: BySeed, claimed: str, d: float) -> str:
    return _ruling()(ours, theirs, claimed, d)


def _status(value: object, *arguments: object) -> str:
    if value not in STATUSES:
        raise Wrong(f"one of {', '.join(map(repr, STATUSES))} is wanted; you return {value!r:.60}.")
    return str(value)


def _seeds(*values: float, first: int = 0) -> dict[int, float]:
    return dict(enumerate(values, start=first))


_FLAT = _seeds(*[100.0] * 8)
_LOWER, _HIGHER = _seeds(91.0, 92.5, 93.0, 91.5, 92.0), _seeds(107.0, 108.5, 109.0, 107.5, 108.0)

_NEAR = _seeds(99.6, 100.5, 99.9, 100.3, 99.8)

VERDICT = Exercise(
    reference=verdict,
    kind=_status,
    inputs=[
        (_LOWER, _FLAT, "lower", 3.0),
        (_HIGHER, _FLAT, "lower", 3.0),
        (_HIGHER, _FLAT, "higher", 3.0),
        (_LOWER, _FLAT, "higher", 3.0),
        # as easily 10 % lower as 9 % higher
        (_seeds(90.0, 108.0, 95.0, 104.0, 99.0), _FLAT, "lower", 3.0),
        (_seeds(90.0, 108.0, 95.0, 104.0, 99.0), _FLAT, "higher", 3.0),
        (_NEAR, _FLAT, "lower", 3.0),
        (_NEAR, _FLAT, "lower", 0.3),
        # the mean lies within d, or half of the width does, and the interval does not
        (_seeds(97.0, 99.0, 95.5, 100.5, 98.0), _FLAT, "lower", 3.0),
        (_seeds(98.0, 101.5, 97.0, 102.5, 100.0), _FLAT, "lower", 2.0),
        (_seeds(91.0, 92.5, 93.0, 91.5), _FLAT, "lower", 3.0),
        (_seeds(91.0, 92.5, 93.0), _FLAT, "lower", 3.0),
        (_seeds(91.0, 91.2), _FLAT, "lower", 3.0),
        (_seeds(91.0), _FLAT, "lower", 3.0),
        # the mean is farther from 0 than 1.96 standard errors, and not than Student's factor of them
        (_seeds(94.0, 99.0, 98.3, 93.4, 100.8, 98.3), _FLAT, "lower", 3.0),
        # beyond 0 only for a standard deviation over n
        (_seeds(93.2, 97.9, 96.9, 93.5, 100.5), _FLAT, "lower", 3.0),
        (_seeds(96.0, 90.0, 97.0, 91.0, 94.0), _FLAT, "lower", 3.0),
        # beyond 0 for 4 degrees of freedom, not for 3; within d by a hundredth of it; less than 1 %
        (_seeds(94.5, 100.0, 96.0, 98.5, 97.0), _FLAT, "lower", 3.0),
        (_NEAR, _FLAT, "lower", 0.482),
        (_seeds(100.5, 100.6, 100.4, 100.5, 100.55), _FLAT, "higher", 3.0),
        # three common seeds
        (_seeds(91.0, 92.5, 93.0, 91.5, 92.0, first=2), _seeds(100.0, 100.5, 99.5, 100.0, 101.0), "lower", 3.0),
        # the same seeds in different order
        (
            {5: 80.0, 4: 90.0, 3: 100.0, 2: 110.0, 1: 120.0, 0: 130.0},
            {0: 135.0, 1: 126.0, 2: 114.0, 3: 105.0, 4: 94.0, 5: 84.0},
            "lower",
            3.0,
        ),
    ],
    mutants={
        "You never decide anything: an interval that lies wholly on one side of zero shows the claim or contradicts "
        "it.": lambda ours, theirs, claimed, d: UNDECIDED,
        "An interval that excludes zero on the *other* "
        "side contradicts the claim; the sign of the mean decides.": _ruling(side=lambda mean, claimed: abs(mean)),
        "You take every claim for 'lower'; with 'higher' the interval must lie above zero.": _ruling(
            side=lambda mean, claimed: -mean
        ),
        "You take every claim for 'higher'; with 'lower' the interval must lie below zero.": _ruling(
            side=lambda mean, claimed: mean
        ),
        "The sides are exchanged: 'lower' means that our scores lie below theirs, "
        "so that differences are negative.": _ruling(side=lambda mean, claimed: mean if claimed == "lower" else -mean),
        "The mean alone decides in your version; the whole interval must lie beyond zero.": _ruling(lambda d: 0.0),
        "You decide by too few seeds: with fewer than five common ones the answer is always 'undecided'.": _ruling(
            enough=2
        ),
        "You decide by three seeds; they explore. Fewer than five common ones are 'undecided'.": _ruling(enough=3),
        "Five seeds are enough: only *fewer* than five are 'undecided'.": _ruling(enough=6),
        "An interval that includes zero contradicts nothing: it holds the claim and its opposite, and would "
        "contradict the opposite claim, too. Absence of evidence is 'undecided'.": _ruling(
            around_zero=lambda mean, half, d: CONTRADICTED
        ),
        "That the interval includes zero does not show that there is no effect: a wide one holds large effects. "
        "Only an interval that lies within d on both sides says so.": _ruling(
            around_zero=lambda mean, half, d: NO_EFFECT
        ),
        "You compare the mean with d; the whole interval must lie within -d and d.": _ruling(
            around_zero=lambda mean, half, d: NO_EFFECT if abs(mean) < d else UNDECIDED
        ),
        "You look at the width of the interval alone; its mean counts as well: both ends must lie within -d and d.": (
            _ruling(around_zero=lambda mean, half, d: NO_EFFECT if half < d else UNDECIDED)
        ),
        "You never find that there is no effect: an interval around zero whose ends both lie within -d and d is "
        "'no effect larger than d'.": _ruling(around_zero=lambda mean, half, d: UNDECIDED),
        "You pair by place in the dictionary; pair by *seed*, and only those seeds that both have.": _ruling(
            pairs=_by_place
        ),
        "Your interval uses 1.96; for few seeds take Student's factor, t.ppf(0.975, n - 1).": _ruling(
            lambda d: _half(d, 1.959964)
        ),
        "Your standard deviation divides by n; divide by n - 1 (ddof=1), or the interval is too short.": _ruling(
            lambda d: _half(d, ddof=0)
        ),
        "You use the spread of single seeds; the interval of the *mean* divides it by the square root of n.": _ruling(
            lambda d: _half(d) * math.sqrt(len(d))
        ),
    },
)

EXERCISES = [PAIRED_RATIO_INTERVAL, PARETO_FRONT, VERDICT]
