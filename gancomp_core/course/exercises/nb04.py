"""Checks of notebook 04: dominated networks, mutants that stay in the space, rank correlation, the best in a budget."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from gancomp_core.course.checks import Attempt, Cases, NotDoneYet, Suspect, Wrong, call, compare, exercise

# --- which network dominates -----------------------------------------------------------------------------------------

Point = tuple[float, float]


def _dominates(a: Point, b: Point) -> bool:
    return a[0] <= b[0] and a[1] <= b[1] and a != b


_PAIRS: list[tuple[Point, Point]] = [
    ((1.0, 5.0), (2.0, 6.0)),
    ((2.0, 6.0), (1.0, 5.0)),
    ((1.0, 6.0), (2.0, 5.0)),
    ((2.0, 5.0), (1.0, 6.0)),
    ((1.0, 5.0), (1.0, 6.0)),
    ((1.0, 6.0), (1.0, 5.0)),
    ((1.0, 5.0), (2.0, 5.0)),
    ((2.0, 5.0), (1.0, 5.0)),
    ((3.0, 4.0), (3.0, 4.0)),
    ((3e6, 180.0), (4e6, 179.0)),
    ((3e6, 180.0), (4e6, 181.0)),
    ((1.0, 100.0), (3.0, 50.0)),
    ((1.0, 50.0), (3.0, 49.0)),
    ((1.0, 90.0), (2.0, 9.0)),
]
_WRONG_PAIRS: list[tuple[Callable[[Point, Point], bool], str]] = [
    (
        lambda a, b: a[0] < b[0] and a[1] < b[1],
        "You ask for better in both; a network that costs the same and paints better dominates as well: no worse in "
        "both, better in at least one.",
    ),
    (
        lambda a, b: a[0] <= b[0] and a[1] <= b[1],
        "Nearly: by your rule a network dominates its own twin, and then neither would stay; one of the two numbers "
        "has to be really smaller.",
    ),
    (
        lambda a, b: a[0] < b[0] or a[1] < b[1],
        "One advantage is not enough: a cheap network with bad pictures does not dominate a dear one with good ones.",
    ),
    (
        lambda a, b: a[0] <= b[0] or a[1] <= b[1],
        "With `or` nearly everybody dominates everybody; a has to be no worse in cost *and* in score.",
    ),
    (
        lambda a, b: _dominates(b, a),
        "The other way round: this says when b dominates a.",
    ),
    (
        lambda a, b: a[1] < b[1],
        "You look at the score alone; what does it cost?",
    ),
    (
        lambda a, b: a[0] < b[0],
        "You look at the cost alone; a cheap network may paint badly.",
    ),
    (
        lambda a, b: a[0] <= b[0] and a[1] >= b[1] and a != b,
        "A sign: the score is a distance, so lower is better, as with the cost.",
    ),
    (
        lambda a, b: a[0] >= b[0] and a[1] >= b[1] and a != b,
        "Upside down in both: smaller costs and smaller distances are the better ones.",
    ),
    (
        lambda a, b: a[0] + a[1] < b[0] + b[1],
        "You add a cost and a distance, which have no common unit; compare cost with cost and score with score.",
    ),
    (
        lambda a, b: a[0] * a[1] < b[0] * b[1],
        "You multiply cost and distance, so that one can pay for the other; domination knows no such exchange.",
    ),
    (
        lambda a, b: a < b,
        "Python compares tuples like words in a dictionary: the second number counts only where the first ones are "
        "equal.",
    ),
    (
        lambda a, b: a <= b,
        "Python compares tuples like words in a dictionary, and `<=` lets a twin dominate as well; compare cost with "
        "cost and score with score.",
    ),
]


@exercise("dominates")
def dominates(attempt: Attempt) -> None:
    got = []
    for a, b in _PAIRS:
        value = call(attempt, a, b)
        if not isinstance(value, bool | np.bool_):
            raise Wrong(f"For a={a} and b={b} True or False is wanted, and your function returns {value!r:.60}.")
        got.append(bool(value))
    want = [_dominates(a, b) for a, b in _PAIRS]
    if got == want:
        return
    for mistake, hint in _WRONG_PAIRS:
        if got == [mistake(a, b) for a, b in _PAIRS]:
            raise Wrong(hint)
    bad = next(i for i in range(len(want)) if got[i] != want[i])
    raise Wrong(
        f"For a={_PAIRS[bad][0]} and b={_PAIRS[bad][1]}, each (cost, score), your function says {got[bad]}, and "
        f"{want[bad]} is right."
    )


# --- a mutant that stays in the space --------------------------------------------------------------------------------

_CHOICES: tuple[tuple[Any, ...], ...] = (
    (16, 8),
    (64, 48, 40, 32),
    (24, 20),
    (False, True),
    (6, 5, 4),
    (7, 9),
    (28, 36, 44),
)
_GENES = (16, 40, 24, False, 5, 7, 36)
Child = tuple[Any, ...]


def _children(attempt: Attempt, rate: float, count: int = 400) -> list[Child]:
    return [_child(call(attempt, _GENES, _CHOICES, rate, random.Random(seed)), rate) for seed in range(count)]


def _child(value: Any, rate: float) -> Child:
    if isinstance(value, list) and len(value) == len(_GENES):
        raise Wrong(
            "Your function returns a list, and a list cannot be looked up among the networks that are known already; "
            "return tuple(...)."
        )
    if not isinstance(value, tuple):
        raise Wrong(f"A tuple of genes is wanted, and your function returns a {type(value).__name__}.")
    if len(value) != len(_GENES):
        raise Wrong(
            f"For rate={rate} the child has {len(value)} genes and its parent {len(_GENES)}; genes that do not mutate "
            "are copied."
        )
    for place, (gene, values) in enumerate(zip(value, _CHOICES, strict=True)):
        if gene not in values:
            _outside(place, gene, values)
    return value


def _outside(place: int, gene: Any, values: tuple[Any, ...]) -> None:
    left = f"Gene {place} of the child is {gene!r:.40}, and may be {' or '.join(map(str, values))}"
    if isinstance(gene, tuple):
        raise Wrong(f"{left}: you put all its choices there; draw one of them.")
    if gene in range(len(values)) and not isinstance(gene, bool):
        raise Wrong(f"{left}: this looks like a *place* among the choices; take the value that stands there.")
    if any(gene in other for other in _CHOICES):
        raise Wrong(f"{left}: it is the value of another gene; each gene draws from its own choices.")
    if min(values) < gene < max(values):
        raise Wrong(f"{left}: a value in between is no network of the space; draw one that is listed.")
    raise Wrong(f"{left}: the child has left the space.")


def _changed(child: Child) -> int:
    return sum(gene != before for gene, before in zip(child, _GENES, strict=True))


@exercise("mutate")
def mutate(attempt: Attempt) -> None:
    still, all_new = _children(attempt, 0.0, 60), _children(attempt, 1.0)
    if any(map(_changed, still)):
        if not any(map(_changed, all_new)):
            raise Wrong("The rate is upside down: with rate=0 everything changes and with rate=1 nothing.")
        raise Wrong("With rate=0 nothing may change, and your children differ from their parent.")
    if not any(map(_changed, all_new)):
        raise Wrong("With rate=1 every gene is drawn anew, and your children are all like their parent.")
    _draws_with_rng(attempt)
    if max(map(_changed, all_new)) == 1:
        raise Wrong("With rate=1 every gene is drawn anew, and in your children only one gene changes.")
    _reaches_all(all_new)
    _keeps_the_rate(_children(attempt, 0.3))


def _draws_with_rng(attempt: Attempt) -> None:
    twice = [[call(attempt, _GENES, _CHOICES, 0.5, random.Random(seed)) for seed in range(40)] for _ in range(2)]
    if twice[0] != twice[1]:
        raise Wrong(
            "Two searches with the same seed would differ: draw with the given rng, rng.choice and rng.random, not "
            "with the module random."
        )
    if len(set(twice[0])) == 1:
        raise Wrong("Every seed gives the same child; draw with the given rng and do not seed it anew.")


def _reaches_all(children: list[Child]) -> None:
    for place, values in enumerate(_CHOICES):
        reached = {child[place] for child in children}
        if missing := [value for value in values if value not in reached and value != _GENES[place]]:
            raise Wrong(
                f"With rate=1, gene {place} goes from {_GENES[place]} to {sorted(reached)} and never to {missing[0]} "
                f"in {len(children)} children; a mutation may reach every choice in one step."
            )


def _keeps_the_rate(children: list[Child]) -> None:
    """Drawn anew with probability 0.3; whether the old value may come again is left open."""
    shares = [np.mean([child[place] != _GENES[place] for child in children]) for place in range(len(_GENES))]
    least = np.array([0.3 * (1 - 1 / len(values)) for values in _CHOICES])
    touched = [_changed(child) for child in children if _changed(child)]
    if len(touched) < 0.5 * len(children) and np.mean(touched) > 2.5:
        raise Wrong(
            "With rate=0.3 most of your children are like their parent in every gene: one coin decides for all genes. "
            "Throw one for each gene."
        )
    if np.mean(shares) < 0.75 * least.mean() or np.mean(shares) > 0.4:
        raise Wrong(
            f"With rate=0.3 your children differ from their parent in {np.mean(shares):.0%} of their genes, and "
            f"{least.mean():.0%} to 30% is right (the old value may be drawn again); is the rate used as it is given?"
        )
    if min(shares) < 0.4 * least.min():
        raise Wrong(
            f"Gene {int(np.argmin(shares))} hardly ever mutates; every gene has the same chance to be drawn anew."
        )


# --- rank correlation ------------------------------------------------------------------------------------------------


def _ranks(values: Sequence[float]) -> list[int]:
    return [sum(other < value for other in values) for value in values]


def _once(values: Sequence[float]) -> list[int]:
    return [int(place) for place in np.argsort(values)]


def _pearson(x: Sequence[float], y: Sequence[float]) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _squares(x: Sequence[float], y: Sequence[float]) -> int:
    return sum((a - b) ** 2 for a, b in zip(_ranks(x), _ranks(y), strict=True))


_LISTS = [
    ([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.6], [30.0, 12.0, 11.0, 16.0, 50.0, 2.0, 900.0]),
    ([0.2, 0.9, 0.4, 0.7, 0.1, 0.8], [2.0, 90.0, 4.0, 3.0, 1.0, 70.0]),
    ([180.0, 210.0, 190.0, 250.0, 205.0, 184.0, 222.0, 400.0], [9.0, 4.0, 8.5, 1.0, 6.0, 7.0, 3.0, 2.0]),
    ([1.0, 2.0, 4.0, 8.0, 16.0], [1.0, 2.0, 3.0, 4.0, 5.0]),
    ([1.0, 2.0, 4.0, 8.0, 16.0], [0.5, 0.4, 0.3, 0.2, 0.1]),
]
_SPEARMAN = Cases(("x", "y"), [((x, y), _pearson(_ranks(x), _ranks(y))) for x, y in _LISTS])


@exercise("rank_correlation")
def rank_correlation(attempt: Attempt) -> None:
    suspects = [
        Suspect(
            _pearson,
            "That is Pearson's correlation of the values; replace the values by their ranks first.",
        ),
        Suspect(
            lambda x, y: _pearson(_once(x), _once(y)),
            "argsort tells *who stands at* each place, and not the place of each; the places are the argsort of the "
            "argsort.",
        ),
        Suspect(
            lambda x, y: _pearson(_once(x), _ranks(y)),
            "The ranks of x are not right: argsort tells who stands at each place; take the argsort of it once more.",
        ),
        Suspect(
            lambda x, y: _pearson(_ranks(x), y),
            "Only x is ranked; y must be, too.",
        ),
        Suspect(
            lambda x, y: _pearson(x, _ranks(y)),
            "Only y is ranked; x must be, too.",
        ),
        Suspect(
            lambda x, y: -_pearson(_ranks(x), _ranks(y)),
            "The sign: one of the two is ranked from the largest down, the other from the smallest up.",
        ),
        Suspect(
            lambda x, y: abs(_pearson(_ranks(x), _ranks(y))),
            "The sign is lost: a predictor that is always the wrong way round has -1, not 1.",
        ),
        Suspect(
            lambda x, y: _pearson(_ranks(x), _ranks(y)) ** 2,
            "That is its square; a correlation of ranks keeps its sign.",
        ),
        Suspect(
            lambda x, y: float(np.cov(_ranks(x), _ranks(y))[0, 1]),
            "That is the covariance of the ranks; divide by both standard deviations.",
        ),
        Suspect(
            lambda x, y: float(np.cov(_ranks(x), _ranks(y), ddof=0)[0, 1]),
            "That is the covariance of the ranks, divided by n; divide by both standard deviations as well.",
        ),
        Suspect(
            lambda x, y: float(stats.kendalltau(x, y).statistic),
            "That is Kendall's tau, which counts pairs in order; wanted is Spearman's, the correlation of the ranks.",
        ),
        Suspect(
            lambda x, y: 1 - _squares(x, y) / (len(x) * (len(x) ** 2 - 1)),
            "The formula with the squared differences of ranks has a factor 6: 1 - 6 * sum / (n * (n**2 - 1)).",
        ),
        Suspect(
            lambda x, y: 1 - 6 * _squares(x, y) / len(x) ** 3,
            "Nearly: below the sum stands n * (n**2 - 1), not n**3.",
        ),
        Suspect(
            lambda x, y: float(np.dot(_ranks(x), _ranks(y)) / np.linalg.norm(_ranks(x)) / np.linalg.norm(_ranks(y))),
            "The mean rank has to be subtracted first; without that, this is the cosine between the ranks.",
        ),
        Suspect(
            lambda x, y: float(np.mean(np.array(_ranks(x)) == np.array(_ranks(y)))),
            "That is the share of networks with exactly the same rank; near misses should count as well.",
        ),
    ]
    compare(attempt, _SPEARMAN, suspects)


# --- the best network within a budget --------------------------------------------------------------------------------

Network = Mapping[str, Any]

_NETWORKS: list[Network] = [
    {"name": "huge", "macs": 20, "latency_ms": 16, "score": 195.0},
    {"name": "quick", "macs": 8, "latency_ms": 5, "score": 215.0},
    {"name": "wide", "macs": 12, "latency_ms": 8, "score": 190.0},
    {"name": "dud", "macs": 6, "latency_ms": 7, "score": 260.0},
    {"name": "lean", "macs": 5, "latency_ms": 12, "score": 205.0},
    {"name": "tiny", "macs": 3, "latency_ms": 9, "score": 240.0},
]
_BUDGETS: list[Mapping[str, float]] = [
    {"macs": 30},
    {"macs": 10},
    {"latency_ms": 8},
    {"macs": 8},
    {"macs": 10, "latency_ms": 9},
    {"macs": 5, "latency_ms": 12},
    {"macs": 4, "latency_ms": 20},
    {"latency_ms": 6, "macs": 25},
    {"macs": 20, "latency_ms": 10},
    {"macs": 20, "latency_ms": 7},
]


def _keeps(network: Network, budget: Mapping[str, float]) -> bool:
    return all(network[name] <= limit for name, limit in budget.items())


def _best(networks: Sequence[Network], keeps: Callable[[Network], bool], key: Callable[[Network], float]) -> str | None:
    found = [network for network in networks if keeps(network)]
    return str(min(found, key=key)["name"]) if found else None


def _score(network: Network) -> float:
    return float(network["score"])


_CHOSEN_WRONGLY: list[tuple[Callable[[Mapping[str, float]], str | None], str]] = [
    (
        lambda b: _best(_NETWORKS, lambda n: all(n[k] < v for k, v in b.items()), _score),
        "A network exactly at a limit keeps it: compare with <=.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: any(n[k] <= v for k, v in b.items()), _score),
        "One kept limit is not enough: *all* limits of a budget have to be kept.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: n[next(iter(b))] <= b[next(iter(b))], _score),
        "You look at the first limit alone; a budget may have several.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: n[list(b)[-1]] <= b[list(b)[-1]], _score),
        "You look at the last limit alone; a budget may have several.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: _keeps(n, b), lambda n: -_score(n)),
        "You take the largest score, and the score is a distance: lower is better.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: _keeps(n, b), lambda n: 0.0),
        "You take the first network that fits; wanted is the one of the lowest score.",
    ),
    (
        lambda b: _best(_NETWORKS[::-1], lambda n: _keeps(n, b), lambda n: 0.0),
        "You take the last network that fits; wanted is the one of the lowest score.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: _keeps(n, b), lambda n: float(n[next(iter(b))])),
        "You take the *cheapest* network that fits; the budget is there to be spent: take the one of the lowest score.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: _keeps(n, b), lambda n: -float(n[next(iter(b))])),
        "You take the *dearest* network that fits, and the widest is not always the best: take the lowest score.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: True, _score),
        "The budget plays no part yet: you return the best network of all.",
    ),
    (
        lambda b: _best(_NETWORKS, lambda n: all(n[k] >= v for k, v in b.items()), _score),
        "The comparison is upside down: these networks cost *more* than the limits.",
    ),
]


@exercise("best_within")
def best_within(attempt: Attempt) -> None:
    got = []
    for budget in _BUDGETS:
        value = call(attempt, _NETWORKS, budget)
        if not isinstance(value, Mapping) or "name" not in value:
            raise Wrong(
                f"For budget={budget} one of the networks is wanted, a dict; your function returns {value!r:.60}."
            )
        got.append(value["name"])
    want = [_best(_NETWORKS, lambda n, b=budget: _keeps(n, b), _score) for budget in _BUDGETS]  # type: ignore[misc]
    if got != want:
        for mistake, hint in _CHOSEN_WRONGLY:
            guesses = [mistake(budget) for budget in _BUDGETS]
            if all(guess in (None, name) for guess, name in zip(guesses, got, strict=True)) and any(guesses):
                raise Wrong(hint)
        bad = next(i for i in range(len(want)) if got[i] != want[i])
        raise Wrong(f"For budget={_BUDGETS[bad]} your function returns {got[bad]!r}, and {want[bad]!r} is right.")
    _says_what_can_be_reached(attempt)


def _says_what_can_be_reached(attempt: Attempt) -> None:
    for budget, least in (({"macs": 2}, 3), ({"latency_ms": 4}, 5), ({"macs": 2, "latency_ms": 30}, 3)):
        try:
            got = call(attempt, _NETWORKS, budget)
        except NotDoneYet:
            got = None
        except Wrong as refused:
            _helps(refused.__cause__, budget, least, refused)
            continue
        raise Wrong(
            f"For budget={budget} no network is cheap enough, and your function returns {got!r:.50}; "
            "raise ValueError(...) that says what the cheapest one needs."
        )


def _helps(error: BaseException | None, budget: Mapping[str, float], least: int, refused: Wrong) -> None:
    if (
        not isinstance(error, ValueError)
        or "iterable argument is empty" in str(error)
        or "empty sequence" in str(error)
    ):
        raise Wrong(
            f"For budget={budget} no network is cheap enough, and your function stops with {type(error).__name__}: "
            f"{error}; say it in words of your own, with raise ValueError(...)."
        ) from refused
    numbers = [
        float(word) for word in "".join(c if c in "0123456789." else " " for c in str(error)).split() if word != "."
    ]
    if not any(math.isclose(number, least) for number in numbers):
        raise Wrong(
            f"For budget={budget} your error says {str(error)!r:.80}; let it name what *can* be reached, here {least}, "
            "so that the reader knows how far to go."
        ) from refused
