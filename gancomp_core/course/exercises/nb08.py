"""Checks of notebook 08: the interval of a ratio over paired seeds, the Pareto front, the verdict on a claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t

from gancomp_core.course.checks import Attempt, Wrong, call, exercise, number
from gancomp_core.measure.statistics import ENOUGH_SEEDS

# --- the interval of a ratio -----------------------------------------------------------------------------------------

Scores = Sequence[float]
Ends = tuple[float, float]


def _half(d: np.ndarray, factor: float | None = None, ddof: int = 1) -> float:
    """Half-width of the interval of a mean; ``factor`` stands for Student's."""
    if len(d) < 2:
        return math.inf
    student = float(t.ppf(0.975, len(d) - 1)) if factor is None else factor
    return student * float(d.std(ddof=ddof)) / math.sqrt(len(d))


def _percent(low: float, high: float) -> Ends:
    return 100 * (math.exp(low) - 1), 100 * (math.exp(high) - 1)


def _of_logs(d: np.ndarray, half: float | None = None) -> Ends:
    reach = _half(d) if half is None else half
    return _percent(float(d.mean()) - reach, float(d.mean()) + reach)


def _logs(a: Scores, b: Scores) -> np.ndarray:
    return np.log(np.asarray(a, dtype=float) / np.asarray(b, dtype=float))


def _around(d: np.ndarray) -> Ends:
    return float(d.mean()) - _half(d), float(d.mean()) + _half(d)


def _of_percentages(a: Scores, b: Scores) -> Ends:
    return _around(100 * (np.asarray(a) / np.asarray(b) - 1))


def _unpaired(a: Scores, b: Scores) -> Ends:
    one, other = np.log(a), np.log(b)
    error = math.sqrt((one.var(ddof=1) + other.var(ddof=1)) / len(a))
    gap, reach = one.mean() - other.mean(), t.ppf(0.975, 2 * len(a) - 2) * error
    return _percent(gap - reach, gap + reach)


def _with_degrees(missing: int) -> Callable[[Scores, Scores], Ends]:
    def mistake(a: Scores, b: Scores) -> Ends:
        d = _logs(a, b)
        return _of_logs(d, _half(d, float(t.ppf(0.975, len(d) - missing))))

    return mistake


def _scaled(scale: Callable[[np.ndarray], float]) -> Callable[[Scores, Scores], Ends]:
    """The half-width is another multiple of the right one."""
    return lambda a, b: _of_logs(_logs(a, b), _half(_logs(a, b)) * scale(_logs(a, b)))


#: A plausible mistake as a function of the same arguments, and the words that point to it.
_INTERVALS: list[tuple[Callable[[Scores, Scores], Ends], str]] = [
    (lambda a, b: _of_logs(-_logs(a, b)), "That is the interval of b / a; the first argument belongs above the line."),
    (
        lambda a, b: _of_logs(_logs(a, b), _half(_logs(a, b), 1.959964)),
        "Your factor is the normal distribution's 1.96, which is too sure of a spread that few seeds have told; use "
        "Student's, t.ppf(0.975, n - 1).",
    ),
    (
        lambda a, b: _of_logs(_logs(a, b), _half(_logs(a, b), 2.0)),
        "Your factor is 2, a rule of thumb for many seeds; for few use Student's, t.ppf(0.975, n - 1).",
    ),
    (
        lambda a, b: _of_logs(_logs(a, b), _half(_logs(a, b), ddof=0)),
        "Your standard deviation divides by n; the mean was fitted to the same seeds, so divide by n - 1 (ddof=1).",
    ),
    (
        _scaled(lambda d: math.sqrt(len(d))),
        "That is the spread of single seeds; the mean of n of them is surer: divide by the square root of n.",
    ),
    (
        _scaled(lambda d: 1 / math.sqrt(len(d))),
        "You divide by n, that is by its square root twice; the standard error divides by the square root once.",
    ),
    (
        _scaled(lambda d: float(t.ppf(0.95, len(d) - 1) / t.ppf(0.975, len(d) - 1))),
        "With t.ppf(0.95, ...) five per cent lie beyond each end, which makes a 90 % interval; 95 % takes 0.975.",
    ),
    (
        _scaled(lambda d: 1 / float(t.ppf(0.975, len(d) - 1))),
        "That is the mean and one standard error; Student's factor, t.ppf(0.975, n - 1), is missing.",
    ),
    (
        _with_degrees(0),
        "Student's factor has n - 1 degrees of freedom, not n: one went into the mean.",
    ),
    (
        _unpaired,
        "You treat the two methods as strangers. They share their seeds: take the ratio of each seed first, and the "
        "mean and spread of those.",
    ),
    (
        _of_percentages,
        "You average per cents. Take logarithms of the ratios first, and turn the *ends* back into per cent: "
        "100 * (exp(end) - 1).",
    ),
    (
        lambda a, b: _around(np.asarray(a) - np.asarray(b)),
        "Those are differences of scores; wanted is the ratio a / b, in per cent above 1.",
    ),
    (
        lambda a, b: _around(_logs(a, b)),
        "The interval of the logarithms is right; turn its ends into per cent now: 100 * (exp(end) - 1).",
    ),
    (
        lambda a, b: _around(100 * _logs(a, b)),
        "Nearly: 100 times a logarithm is only almost the per cent; use 100 * (exp(end) - 1) at both ends.",
    ),
    (
        lambda a, b: _around(100 * np.log10(np.asarray(a) / np.asarray(b))),
        "Those are logarithms to the base 10; take natural ones (np.log), whose inverse is exp.",
    ),
    (
        lambda a, b: (_of_logs(_logs(a, b))[0] / 100 + 1, _of_logs(_logs(a, b))[1] / 100 + 1),
        "Those are the ratios; per cent above 1 is 100 * (ratio - 1).",
    ),
    (
        lambda a, b: (_of_logs(_logs(a, b))[0] / 100, _of_logs(_logs(a, b))[1] / 100),
        "You are a factor of 100 short: per cent, not shares.",
    ),
    (
        lambda a, b: _of_logs(_logs(a, b))[::-1],
        "The two ends are exchanged: the low one comes first.",
    ),
    (
        lambda a, b: (100 * (math.exp(float(_logs(a, b).mean())) - 1), 100 * (math.exp(_half(_logs(a, b))) - 1)),
        "You return the middle and the half-width; wanted are the two ends, mean minus and mean plus half-width.",
    ),
]

_PAIRS: list[tuple[list[float], list[float]]] = [
    ([68.0, 71.0, 66.5, 69.0, 70.2], [74.0, 75.1, 76.9, 73.2, 72.0]),
    ([120.0, 95.0, 140.0], [80.0, 90.0, 85.0]),
    ([0.168, 0.171, 0.166, 0.170, 0.169, 0.173], [0.177, 0.176, 0.179, 0.175, 0.180, 0.174]),
]


def _ends(value: Any, case: str) -> Ends:
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        what = f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")
        raise Wrong(f"{case} two numbers are wanted, (low, high); your function returns {what}.")
    low, high = (number(end) for end in value)
    return low, high


def _same(ours: Ends, theirs: Ends) -> bool:
    return all(math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-7) for one, other in zip(ours, theirs, strict=True))


@exercise("paired_ratio_interval")
def paired_ratio_interval(attempt: Attempt) -> None:
    got = [_ends(call(attempt, a, b), f"For {len(a)} pairs") for a, b in _PAIRS]
    want = [_of_logs(_logs(a, b)) for a, b in _PAIRS]
    if all(map(_same, got, want)):
        return
    for mistake, hint in _INTERVALS:
        if all(_same(ends, mistake(a, b)) for ends, (a, b) in zip(got, _PAIRS, strict=True)):
            raise Wrong(hint)
    place = next(place for place in range(len(got)) if not _same(got[place], want[place]))
    (low, high), (right_low, right_high) = got[place], want[place]
    raise Wrong(
        f"For a={_PAIRS[place][0]} and b={_PAIRS[place][1]} your function returns ({low:.4g}, {high:.4g}), and "
        f"({right_low:.4g}, {right_high:.4g}) is right."
    )


# --- the Pareto front ------------------------------------------------------------------------------------------------

Points = Sequence[tuple[float, float]]


def _dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def _kept(points: Points, beats: Callable[[tuple[float, float], tuple[float, float]], bool] = _dominates) -> list[int]:
    """Places that nobody beats, the cheapest first."""
    places = [i for i, point in enumerate(points) if not any(beats(other, point) for other in points)]
    return sorted(places, key=lambda place: points[place][0])


def _sweep(points: Points, order: Sequence[int], ties: bool) -> list[int]:
    """The usual sweep over points in some order: who improves on the best score so far stays."""
    kept: list[int] = []
    for place in order:
        best = min((points[i][1] for i in kept), default=math.inf)
        if points[place][1] < best or (ties and points[place][1] == best):
            kept.append(place)
    return kept


def _by_cost(points: Points) -> list[int]:
    return sorted(range(len(points)), key=lambda place: points[place])


def _larger(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[0] and a[1] >= b[1] and a != b


_FRONTS: list[tuple[Callable[[Points], list[int]], str]] = [
    (
        lambda p: list(range(len(p))),
        "You keep every point; leave out those that another one beats: no dearer, no worse, and better in one.",
    ),
    (
        lambda p: _kept(p, _larger),
        "Your scores are better when larger; here, as with distances, smaller is better in both.",
    ),
    (
        lambda p: _kept(p, lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b),
        "You look for dear points with good scores; smaller is better in the cost as well.",
    ),
    (
        lambda p: _kept(p, lambda a, b: _dominates(b, a)),
        "That is the wrong side of the front: you keep the points that beat nobody instead of those nobody beats.",
    ),
    (
        lambda p: _kept(p, lambda a, b: a[0] < b[0] and a[1] < b[1]),
        "You keep dominated points: one that costs the same and scores worse, or scores the same and costs more, is "
        "dominated too; only one of the two must be strictly better.",
    ),
    (
        lambda p: _kept(p, lambda a, b: a[0] < b[0] or a[1] < b[1]),
        "One advantage is enough to drop a point in your version; it takes one that is no worse in *both*.",
    ),
    (
        lambda p: _sweep(p, _by_cost(p), ties=False),
        "You drop one of two equal points; neither dominates the other, so both stay.",
    ),
    (
        lambda p: _sweep(p, _by_cost(p), ties=True),
        "You keep a point that costs more and scores the same as a cheaper one; only points equal in *both* numbers "
        "stay together.",
    ),
    (
        lambda p: _sweep(p, range(len(p)), ties=False),
        "You go through the points as they come, as if they were sorted by cost; they are not.",
    ),
    (
        lambda p: _sweep(p, sorted(range(len(p)), key=lambda place: p[place][0]), ties=False),
        "Among points of equal cost the order decides in your version; sort by cost *and* score.",
    ),
    (lambda p: sorted(_kept(p)), "The right places, in the order of the list; wanted is ascending order of cost."),
    (lambda p: _kept(p)[::-1], "The right places, the dearest first; wanted is the cheapest first."),
    (lambda p: _kept(p)[:1], "That is the cheapest point alone; the front has everybody whom nobody dominates."),
    (
        lambda p: [min(range(len(p)), key=lambda place: (p[place][1], p[place][0]))],
        "That is the point of the best score alone; the front also has cheaper ones with worse scores.",
    ),
    (
        lambda p: sorted(set(range(len(p))) - set(_kept(p)), key=lambda place: p[place][0]),
        "You return the dominated points; wanted are the others.",
    ),
]

_CLOUDS: list[Points] = [
    [(20.0, 68.0), (135.0, 68.4), (6.7, 94.0), (6.7, 71.4), (13.0, 74.5), (20.0, 165.0), (6.7, 80.0)],
    [(3.0, 5.0), (1.0, 9.0), (3.0, 5.0), (2.0, 9.0), (5.0, 1.0), (4.0, 6.0), (5.0, 2.0)],
    [(4.0, 1.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0)],
]


def _values(points: Points, found: Sequence[Any]) -> bool:
    """Whether scores, costs or points came back in place of places."""
    kept = [points[place] for place in _kept(points)]
    forms = ([cost for cost, _ in kept], [score for _, score in kept], kept)
    return any([tuple(x) if isinstance(x, list) else x for x in found] == form for form in forms)


def _front_of(attempt: Attempt, points: Points) -> list[int]:
    costs, scores = [cost for cost, _ in points], [score for _, score in points]
    found, case = call(attempt, costs, scores), f"For {len(points)} points"
    if isinstance(found, np.ndarray):
        found = found.tolist()
    if not isinstance(found, list | tuple):
        raise Wrong(f"{case} a list of places is wanted, and your function returns a {type(found).__name__}.")
    if len(found) == len(points) and all(isinstance(x, bool | np.bool_) for x in found):
        raise Wrong(f"{case} you return True and False for each point; wanted are the *places* of those that stay.")
    if _values(points, found):
        raise Wrong(f"{case} you return the values of the front; wanted are its *places* in the lists, from 0 on.")
    if any(isinstance(x, bool) or not isinstance(x, int | np.integer) for x in found):
        raise Wrong(f"{case} places are whole numbers from 0 on; your list has {found!r}.")
    return [int(x) for x in found]


@exercise("pareto_front")
def pareto_front(attempt: Attempt) -> None:
    got, want = ([_front_of(attempt, points) for points in _CLOUDS], [_kept(points) for points in _CLOUDS])
    if all(_alike(points, *pair) for points, pair in zip(_CLOUDS, zip(got, want, strict=True), strict=True)):
        return
    if all(found == [place + 1 for place in right] for found, right in zip(got, want, strict=True)):
        raise Wrong("Your places count from 1; Python's lists count from 0.")
    for mistake, hint in _FRONTS:
        if all(found == mistake(points) for found, points in zip(got, _CLOUDS, strict=True)):
            raise Wrong(hint)
    place = next(i for i, points in enumerate(_CLOUDS) if not _alike(points, got[i], want[i]))
    raise Wrong(
        f"For the points (cost, score) {list(_CLOUDS[place])} your function returns {got[place]}, and {want[place]} is "
        "right."
    )


def _alike(points: Points, found: list[int], right: list[int]) -> bool:
    """The same places, in ascending order of cost; equal points may stand in any order."""
    costs = [points[place][0] for place in found if 0 <= place < len(points)]
    return sorted(found) == sorted(right) and costs == sorted(costs)


# --- the verdict on a claim ------------------------------------------------------------------------------------------

BySeed = Mapping[int, float]
STATUSES = ("undecided", "at small scale", "not reproduced")


def _changes(ours: BySeed, theirs: BySeed) -> np.ndarray:
    return np.array([100 * (ours[seed] / theirs[seed] - 1) for seed in sorted(ours.keys() & theirs.keys())])


def _ruled(d: np.ndarray, claimed: str, half: float, enough: int = ENOUGH_SEEDS) -> str:
    if len(d) < enough:
        return "undecided"
    beyond = float(d.mean()) * (1 if claimed == "higher" else -1)
    return "at small scale" if beyond > half else "not reproduced"


def _verdict(ours: BySeed, theirs: BySeed, claimed: str) -> str:
    d = _changes(ours, theirs)
    return "undecided" if len(d) < ENOUGH_SEEDS else _ruled(d, claimed, _half(d))


def _unsure_of_zero(ours: BySeed, theirs: BySeed, claimed: str) -> str:
    """An interval that includes zero counts as undecided, however many seeds."""
    d = _changes(ours, theirs)
    if len(d) < ENOUGH_SEEDS or abs(d.mean()) <= _half(d):
        return "undecided"
    return _ruled(d, claimed, _half(d))


def _by_place(ours: BySeed, theirs: BySeed, claimed: str) -> str:
    pairs = min(len(ours), len(theirs))
    one, other = (np.array(list(scores.values())[:pairs]) for scores in (ours, theirs))
    d = 100 * (one / other - 1)
    return _ruled(d, claimed, _half(d))


def _with(change: Callable[[np.ndarray], float], enough: int = ENOUGH_SEEDS) -> Callable[[BySeed, BySeed, str], str]:
    def mistake(ours: BySeed, theirs: BySeed, claimed: str) -> str:
        d = _changes(ours, theirs)
        return _ruled(d, claimed, change(d), enough)

    return mistake


def _either_side(ours: BySeed, theirs: BySeed, claimed: str) -> str:
    d = _changes(ours, theirs)
    return "undecided" if len(d) < ENOUGH_SEEDS else _ruled(np.abs(d.mean()) * np.ones(len(d)), "higher", _half(d))


_VERDICTS: list[tuple[Callable[[BySeed, BySeed, str], str], str]] = [
    (
        _either_side,
        "An interval that excludes zero on the *other* side speaks against the claim; look at the sign of the mean.",
    ),
    (
        lambda o, h, c: _verdict(o, h, "lower"),
        "You take every claim for 'lower'; with 'higher' the interval must lie above zero.",
    ),
    (
        lambda o, h, c: _verdict(o, h, "higher"),
        "You take every claim for 'higher'; with 'lower' the interval must lie below zero.",
    ),
    (
        lambda o, h, c: _verdict(o, h, "higher" if c == "lower" else "lower"),
        "The sides are exchanged: 'lower' means that our scores lie below theirs, so that differences are negative.",
    ),
    (
        _with(lambda d: 0.0),
        "The mean alone decides in your version; the whole interval must lie beyond zero.",
    ),
    (
        _with(lambda d: _half(d), enough=2),
        "You decide by too few seeds: with fewer than five common ones the answer is 'undecided', whatever they say.",
    ),
    (
        _with(lambda d: _half(d), enough=3),
        "You decide by three seeds; they explore. Fewer than five common ones are 'undecided'.",
    ),
    (
        _with(lambda d: _half(d), enough=6),
        "Five seeds are enough: only *fewer* than five are 'undecided'.",
    ),
    (
        _unsure_of_zero,
        "With five seeds or more, an interval that includes zero is 'not reproduced': enough was tried, and nothing "
        "was shown.",
    ),
    (
        _by_place,
        "You pair by place in the dictionary; pair by *seed*, and only those seeds that both have.",
    ),
    (
        _with(lambda d: _half(d, 1.959964)),
        "Your interval uses 1.96; for so few seeds take Student's factor, t.ppf(0.975, n - 1).",
    ),
    (
        _with(lambda d: _half(d, ddof=0)),
        "Your standard deviation divides by n; divide by n - 1 (ddof=1), or the interval is too short.",
    ),
    (
        _with(lambda d: _half(d) * math.sqrt(len(d))),
        "You use the spread of single seeds; the interval of the *mean* divides it by the square root of n.",
    ),
]


def _seeds(values: Sequence[float], first: int = 0) -> dict[int, float]:
    return dict(enumerate(values, start=first))


_FLAT = _seeds([100.0] * 8)
_BORDER = [94.0, 99.0, 98.3, 93.4, 100.8, 98.3]  # the mean is farther from 0 than 1.96 standard errors, not than t
_TIGHT = [93.2, 97.9, 96.9, 93.5, 100.5]  # beyond 0 only for a standard deviation over n
_CASES: dict[str, tuple[dict[int, float], dict[int, float], str]] = {
    "five seeds, all about 8 % lower, claimed lower": (_seeds([91.0, 92.5, 93.0, 91.5, 92.0]), _FLAT, "lower"),
    "five seeds, all about 8 % higher, claimed lower": (_seeds([107.0, 108.5, 109.0, 107.5, 108.0]), _FLAT, "lower"),
    "five seeds, all about 8 % higher, claimed higher": (_seeds([107.0, 108.5, 109.0, 107.5, 108.0]), _FLAT, "higher"),
    "five seeds, all about 8 % lower, claimed higher": (_seeds([91.0, 92.5, 93.0, 91.5, 92.0]), _FLAT, "higher"),
    "five seeds of both signs, claimed lower": (_seeds([90.0, 108.0, 95.0, 104.0, 99.0]), _FLAT, "lower"),
    "four seeds, all about 8 % lower, claimed lower": (_seeds([91.0, 92.5, 93.0, 91.5]), _FLAT, "lower"),
    "three seeds of both signs, claimed higher": (_seeds([90.0, 108.0, 95.0]), _FLAT, "higher"),
    "two seeds, both about 8 % lower, claimed lower": (_seeds([91.0, 92.5]), _FLAT, "lower"),
    "one seed, claimed lower": (_seeds([91.0]), _FLAT, "lower"),
    "six seeds whose interval just includes zero, claimed lower": (_seeds(_BORDER), _FLAT, "lower"),
    "five seeds whose interval just includes zero, claimed lower": (_seeds(_TIGHT), _FLAT, "lower"),
    "five seeds, spread but clear of zero, claimed lower": (_seeds([96.0, 90.0, 97.0, 91.0, 94.0]), _FLAT, "lower"),
    "five seeds each, of which three are common, claimed lower": (
        _seeds([91.0, 92.5, 93.0, 91.5, 92.0], first=2),
        _seeds([100.0, 100.5, 99.5, 100.0, 101.0]),
        "lower",
    ),
    "six seeds in different order, claimed lower": (
        {5: 80.0, 4: 90.0, 3: 100.0, 2: 110.0, 1: 120.0, 0: 130.0},
        {0: 135.0, 1: 126.0, 2: 114.0, 3: 105.0, 4: 94.0, 5: 84.0},
        "lower",
    ),
}


@exercise("verdict")
def verdict(attempt: Attempt) -> None:
    got: dict[str, Any] = {}
    for case, given in _CASES.items():
        found = call(attempt, *given)
        if not isinstance(found, str) or found not in STATUSES:
            raise Wrong(f"For {case}: one of {', '.join(map(repr, STATUSES))} is wanted; you return {found!r}.")
        got[case] = found
    want = {case: _verdict(*given) for case, given in _CASES.items()}
    if got == want:
        return
    for mistake, hint in _VERDICTS:
        if all(found == mistake(*_CASES[case]) for case, found in got.items()):
            raise Wrong(hint)
    case = next(case for case in _CASES if got[case] != want[case])
    raise Wrong(f"For {case}, your function says {got[case]!r}, and {want[case]!r} is right.")
