"""Exercises of notebook 04: domination, mutants, rank correlation, the best in a budget, and a predictor to beat."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from gancomp_core.course.answers import Wrong, shown, truth
from gancomp_core.course.exercise import Attempt, Exercise, Praise, Refusal, call

if TYPE_CHECKING:
    from gancomp_core.nets import Architecture, Space

# --- which network dominates -----------------------------------------------------------------------------------------

Point = tuple[float, float]


def dominates(a: Point, b: Point) -> bool:
    return a[0] <= b[0] and a[1] <= b[1] and a != b


DOMINATES = Exercise(
    reference=dominates,
    kind=truth,
    inputs=[
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
    ],
    mutants={
        "You ask for better in both; a network that costs the same and paints "
        "better dominates as well: no worse in both, better in at least one.": lambda a, b: a[0] < b[0] and a[1] < b[1],
        "Nearly: by your rule a network dominates its own twin, and then neither "
        "would stay; one of the two numbers has to be really smaller.": lambda a, b: a[0] <= b[0] and a[1] <= b[1],
        "One advantage is not enough: a cheap network "
        "with bad pictures does not dominate a dear one with good ones.": lambda a, b: a[0] < b[0] or a[1] < b[1],
        "With `or` nearly every network dominates "
        "every other; a has to be no worse in cost *and* in score.": lambda a, b: a[0] <= b[0] or a[1] <= b[1],
        "The other way round: this says when b dominates a.": lambda a, b: dominates(b, a),
        "You compare the score alone; what does it cost?": lambda a, b: a[1] < b[1],
        "You compare the cost alone; a cheap network may paint badly.": lambda a, b: a[0] < b[0],
        "A sign: the score is a distance, so lower is better, as with the cost.": lambda a, b: (
            a[0] <= b[0] and a[1] >= b[1] and a != b
        ),
        "Upside down in both: smaller costs and smaller distances are the better ones.": lambda a, b: (
            a[0] > b[0] and a[1] > b[1]
        ),
        "You add a cost and a distance, which "
        "have no common unit; compare cost with cost and score with score.": lambda a, b: a[0] + a[1] < b[0] + b[1],
        "You multiply cost and distance, "
        "so that one can pay for the other; domination knows no such exchange.": lambda a, b: a[0] * a[1] < b[0] * b[1],
        "Python compares tuples "
        "like words in a dictionary: the second number counts only where the first ones are equal.": lambda a, b: a < b,
        "Python compares tuples like words in a dictionary, "
        "and `<=` lets a twin dominate as well; compare cost with cost and score with score.": lambda a, b: a <= b,
    },
)

# --- a mutant that stays in the space --------------------------------------------------------------------------------

Genes = tuple[object, ...]

_CHOICES: tuple[tuple[int, ...], ...] = (
    (16, 8),
    (64, 48, 40, 32),
    (24, 20),
    (False, True),
    (6, 5, 4),
    (7, 9),
    (28, 36, 44),
)
_GENES = (16, 40, 24, False, 5, 7, 36)


def mutate(genes: Genes, choices: Sequence[Sequence[object]], rate: float, rng: random.Random) -> Genes:
    pairs = zip(genes, choices, strict=True)
    return tuple(rng.choice(values) if rng.random() < rate else gene for gene, values in pairs)


def _stays_in_the_space(attempt: Attempt) -> None:
    still, all_new = _children(attempt, 0.0, 60), _children(attempt, 1.0)
    changed = {rate: (children != _GENES).sum(1) for rate, children in ((0, still), (1, all_new))}
    if changed[0].any() and not changed[1].any():
        raise Wrong("The rate is upside down: with rate=0 everything changes and with rate=1 nothing.")
    if changed[0].any():
        raise Wrong("With rate=0 nothing may change, and your children differ from their parent.")
    if not changed[1].any():
        raise Wrong("With rate=1 every gene is drawn again, and your children are all like their parent.")
    _draws_with_rng(attempt)
    if changed[1].max() == 1:
        raise Wrong("With rate=1 every gene is drawn again, and in your children only one gene changes.")
    for place, values in enumerate(_CHOICES):
        reached = sorted({*all_new[:, place].tolist()})
        if missing := {*values} - {*reached, _GENES[place]}:
            raise Wrong(
                f"With rate=1, gene {place} goes from {_GENES[place]} to {reached} and never to {min(missing)} in "
                f"{len(all_new)} children; a mutation may reach every choice in one step."
            )
    _keeps_the_rate(_children(attempt, 0.3) != _GENES)


def _children(attempt: Attempt, rate: float, count: int = 400) -> np.ndarray:
    """Genes [count, places] of children."""
    return np.array([_child(call(attempt, (_GENES, _CHOICES, rate, random.Random(seed)))) for seed in range(count)])


def _child(child: object) -> Genes:
    if isinstance(child, list):
        raise Wrong(
            "Your function returns a list, and a list cannot be looked up among the networks that are known already; "
            "return tuple(...)."
        )
    if not isinstance(child, tuple):
        raise Wrong(f"A tuple of genes is wanted, and your function returns a {type(child).__name__}.")
    if len(child) != len(_GENES):
        raise Wrong(
            f"The child has {len(child)} genes and its parent {len(_GENES)}; genes that do not mutate are copied."
        )
    for place, (gene, values) in enumerate(zip(child, _CHOICES, strict=True)):
        if gene not in values:
            raise Wrong(f"Gene {place} of the child is {shown(gene)}, and may be {' or '.join(map(str, values))}: "
                        f"{_why_outside(gene, values)}.")  # fmt: skip
    return child


def _why_outside(gene: object, values: Sequence[int]) -> str:
    if isinstance(gene, tuple):
        return "you put all its choices there; draw one of them"
    if gene in range(len(values)) and not isinstance(gene, bool):
        return "is that a *place* among the choices? Take the value that stands there"
    if any(gene in other for other in _CHOICES):
        return "it is the value of another gene; each gene draws from its own choices"
    if isinstance(gene, int | float) and min(values) < gene < max(values):
        return "a value in between is no network of the space; draw one that is listed"
    return "the child has left the space"


def _draws_with_rng(attempt: Attempt) -> None:
    first, second = (
        [call(attempt, (_GENES, _CHOICES, 0.5, random.Random(seed))) for seed in range(40)] for _ in range(2)
    )
    if first != second:
        raise Wrong(
            "Two searches with the same seed would differ: draw with the given rng, rng.choice and rng.random, not "
            "with the module random."
        )
    if len({*map(str, first)}) == 1:
        raise Wrong("Every seed gives the same child; draw with the given rng and do not seed it again.")


def _keeps_the_rate(changed: np.ndarray) -> None:
    """Drawn again with probability 0.3; whether the old value may come again is left open."""
    shares = changed.mean(0)
    least = np.array([0.3 * (1 - 1 / len(values)) for values in _CHOICES])
    counts = changed.sum(1)
    if (counts > 0).mean() < 0.5 and counts[counts > 0].mean() > 2.5:
        raise Wrong(
            "With rate=0.3 most of your children are like their parent in every gene: one coin decides for all genes. "
            "Throw one for each gene."
        )
    if not 0.75 * least.mean() <= shares.mean() <= 0.4:
        raise Wrong(
            f"With rate=0.3 your children differ from their parent in {shares.mean():.0%} of their genes, and "
            f"{least.mean():.0%} to 30% is right (the old value may be drawn again); is the rate used as it is given?"
        )
    if shares.min() < 0.4 * least.min():
        raise Wrong(f"Gene {shares.argmin()} hardly ever mutates; every gene has the same chance to be drawn again.")


MUTATE = Exercise(reference=mutate, also=_stays_in_the_space)

# --- rank correlation ------------------------------------------------------------------------------------------------

Numbers = Sequence[float]


def _once(values: Numbers) -> np.ndarray:
    return np.argsort(values)


def _ranks(values: Numbers) -> np.ndarray:
    return np.argsort(np.argsort(values))


def _pearson(x: Numbers | np.ndarray, y: Numbers | np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _squares(x: Numbers, y: Numbers) -> int:
    return int(((_ranks(x) - _ranks(y)) ** 2).sum())


def rank_correlation(x: Numbers, y: Numbers) -> float:
    return _pearson(_ranks(x), _ranks(y))


RANK_CORRELATION = Exercise(
    reference=rank_correlation,
    inputs=[
        ([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.6], [30.0, 12.0, 11.0, 16.0, 50.0, 2.0, 900.0]),
        ([0.2, 0.9, 0.4, 0.7, 0.1, 0.8], [2.0, 90.0, 4.0, 3.0, 1.0, 70.0]),
        ([180.0, 210.0, 190.0, 250.0, 205.0, 184.0, 222.0, 400.0], [9.0, 4.0, 8.5, 1.0, 6.0, 7.0, 3.0, 2.0]),
        ([1.0, 2.0, 4.0, 8.0, 16.0], [1.0, 2.0, 3.0, 4.0, 5.0]),
        ([1.0, 2.0, 4.0, 8.0, 16.0], [0.5, 0.4, 0.3, 0.2, 0.1]),
    ],
    mutants={
        "That is Pearson's correlation of the values; replace the values by their ranks first.": _pearson,
        "argsort says *who stands at* each place, and "
        "not the place of each; the places are the argsort of the argsort.": lambda x, y: _pearson(_once(x), _once(y)),
        "The ranks of x are not right: argsort "
        "says who stands at each place; take the argsort of it once more.": lambda x, y: _pearson(_once(x), _ranks(y)),
        "Only x is ranked; y must be, too.": lambda x, y: _pearson(_ranks(x), y),
        "Only y is ranked; x must be, too.": lambda x, y: _pearson(x, _ranks(y)),
        "The sign: one of the two is ranked from the largest down, the other from the smallest up.": lambda x, y: (
            -rank_correlation(x, y)
        ),
        "The sign is lost: a predictor that is always the wrong way round has -1, not 1.": lambda x, y: abs(
            rank_correlation(x, y)
        ),
        "That is its square; a correlation of ranks keeps its sign.": lambda x, y: rank_correlation(x, y) ** 2,
        "That is the covariance of the ranks; divide by both standard deviations.": lambda x, y: np.cov(
            _ranks(x), _ranks(y)
        )[0, 1],
        "That is the covariance of the ranks, divided by n; divide by both standard deviations as well.": lambda x, y: (
            np.cov(_ranks(x), _ranks(y), ddof=0)[0, 1]
        ),
        "That is Kendall's tau, which counts pairs "
        "in order; wanted is Spearman's, the correlation of the ranks.": lambda x, y: stats.kendalltau(x, y).statistic,
        "The formula with the squared differences of ranks has "
        "a factor 6: 1 - 6 * sum / (n * (n**2 - 1)).": lambda x, y: 1 - _squares(x, y) / (len(x) * (len(x) ** 2 - 1)),
        "Nearly: below the sum stands n * (n**2 - 1), not n**3.": lambda x, y: 1 - 6 * _squares(x, y) / len(x) ** 3,
        "The mean rank has to be subtracted first; without that, this is the cosine between the ranks.": lambda x, y: (
            _ranks(x) @ _ranks(y) / np.linalg.norm(_ranks(x)) / np.linalg.norm(_ranks(y))
        ),
        "That is the share of networks with exactly the same rank; near misses should count as well.": lambda x, y: (
            _ranks(x) == _ranks(y)
        ).mean(),
    },
)

# --- the best network within a budget --------------------------------------------------------------------------------

Network = Mapping[str, object]
Budget = Mapping[str, float]

_NETWORKS: list[dict[str, float | str]] = [
    {"name": "huge", "macs": 20, "latency_ms": 16, "score": 195.0},
    {"name": "quick", "macs": 8, "latency_ms": 5, "score": 215.0},
    {"name": "wide", "macs": 12, "latency_ms": 8, "score": 190.0},
    {"name": "dud", "macs": 6, "latency_ms": 7, "score": 260.0},
    {"name": "lean", "macs": 5, "latency_ms": 12, "score": 205.0},
    {"name": "tiny", "macs": 3, "latency_ms": 9, "score": 240.0},
]


def _number(network: Network, name: str) -> float:
    value = network[name]
    assert isinstance(value, int | float)
    return value


def _within(budget: Budget) -> Callable[[Network], bool]:
    return lambda network: all(_number(network, name) <= limit for name, limit in budget.items())


def _score(network: Network) -> float:
    return _number(network, "score")


def _best(
    networks: Sequence[Network], keeps: Callable[[Network], bool], key: Callable[[Network], float] = _score
) -> Network:
    found = [network for network in networks if keeps(network)]
    if not found:
        raise ValueError(f"no network is cheap enough; the cheapest have {[dict(each) for each in networks]}")
    return min(found, key=key)


def best_within(networks: Sequence[Network], budget: Budget) -> Network:
    if not any(map(_within(budget), networks)):
        least = {name: min(_number(network, name) for network in networks) for name in budget}
        asked, reached = (", ".join(f"{round(n, 3):,} {name}" for name, n in each.items()) for each in (budget, least))
        raise ValueError(f"No network keeps to {asked}; the least that can be reached is {reached}.")
    return _best(networks, _within(budget))


def _name(value: object, *arguments: object) -> str:
    if not isinstance(value, Mapping) or "name" not in value:
        raise Wrong(f"one of the networks is wanted, a dict; your function returns {shown(value)}.")
    return str(value["name"])


def _too_dear(budget: Budget, least: float) -> Refusal:
    return Refusal((_NETWORKS, budget), f"For budget={budget} no network is cheap enough", least)


def _costs(budget: Budget, place: int) -> Callable[[Network], float]:
    return lambda network: _number(network, list(budget)[place])


BEST_WITHIN = Exercise(
    reference=best_within,
    kind=_name,
    inputs=[
        (_NETWORKS, budget)
        for budget in (
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
        )
    ],
    mutants={
        "A network exactly at a limit keeps it: compare with <=.": lambda ns, b: _best(
            ns, lambda n: all(n[k] < v for k, v in b.items())
        ),
        "One kept limit is not enough: *all* limits of a budget have to be kept.": lambda ns, b: _best(
            ns, lambda n: any(n[k] <= v for k, v in b.items())
        ),
        "You compare the first limit alone; a budget may have several.": lambda ns, b: _best(
            ns, lambda n: n[[*b][0]] <= b[[*b][0]]
        ),
        "You compare the last limit alone; a budget may have several.": lambda ns, b: _best(
            ns, lambda n: n[[*b][-1]] <= b[[*b][-1]]
        ),
        "You take the largest score, and the score is a distance: lower is better.": lambda ns, b: _best(
            ns, _within(b), lambda n: -_score(n)
        ),
        "You take the first network that fits; wanted is the one of the lowest score.": lambda ns, b: _best(
            ns, _within(b), lambda n: 0.0
        ),
        "You take the last network that fits; wanted is the one of the lowest score.": lambda ns, b: _best(
            ns[::-1], _within(b), lambda n: 0.0
        ),
        "You take the *cheapest* network that fits; the budget "
        "is there to be spent: take the one of the lowest score.": lambda ns, b: _best(ns, _within(b), _costs(b, 0)),
        "You take the *dearest* network that fits, and the widest is "
        "not always the best: take the lowest score.": lambda ns, b: _best(ns, _within(b), lambda n: -_costs(b, 0)(n)),
        "The budget plays no part yet: you return the best network of all.": lambda ns, b: _best(ns, lambda n: True),
        "The comparison is upside down: these networks cost *more* than the limits.": lambda ns, b: _best(
            ns, lambda n: all(n[k] >= v for k, v in b.items()) or n == ns[0]
        ),
    },
    refusals=[_too_dear({"macs": 2}, 3), _too_dear({"latency_ms": 4}, 5), _too_dear({"macs": 2, "latency_ms": 30}, 3)],
)

# --- an open challenge: a better predictor ---------------------------------------------------------------------------

LEARN_FROM = 15  # networks
DRAWS = 8  # of the networks to learn from
Table = tuple[np.ndarray, np.ndarray]


def _rows(space: Space[Architecture], architectures: Sequence[Architecture], macs: np.ndarray) -> np.ndarray:
    """Zeros and ones for every choice of every gene, and the logarithm of the M MACs: float [networks, places + 1]."""
    free = [(gene, choices) for gene, choices in space.choices.items() if len(choices) > 1]
    places = [(gene, value) for gene, choices in free for value in choices]
    genes = [[float(a.genes[gene] == value) for gene, value in places] for a in architectures]
    return np.column_stack([genes, np.log(macs / 1e6)])


@functools.cache
def _measured() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the recorded search of the whole space: rows, scores, and a mixed order of its networks."""
    from gancomp_core import lab

    found = lab.frontier("edges2shoes/both kinds")
    rows = _rows(found.space, found.architectures, found.table["macs"].to_numpy(float))
    return rows, found.table["score"].to_numpy(float), np.random.default_rng(4).permutation(len(rows))


def practice() -> Table:
    """Two thirds of the measured networks to try predictors on: rows [networks, places + 1], and distances.

    A row holds zeros and ones for the choices of every gene, and at the end the logarithm of the M MACs. The check of
    ``predict_scores`` judges on the other third.
    """
    rows, scores, order = _measured()
    seen = order[: 2 * len(order) // 3]
    return rows[seen], scores[seen]


def _exams() -> list[tuple[np.ndarray, np.ndarray]]:
    """Places of the networks to learn from, and of those that are asked."""
    _, _, order = _measured()
    known, asked = order[: 2 * len(order) // 3], order[2 * len(order) // 3 :]
    return [(np.random.default_rng(draw).choice(known, LEARN_FROM, replace=False), asked) for draw in range(DRAWS)]


def _guesses(attempt: Attempt, known: np.ndarray, scores: np.ndarray, asked: np.ndarray) -> np.ndarray:
    value = call(attempt, (known, scores, asked), f"With {len(known)} networks to learn from")
    try:
        guess = np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise Wrong(f"One guess for each network asked is wanted; your function returns {shown(value)}.") from error
    if guess.shape != (len(asked),):
        raise Wrong(
            f"{len(asked)} networks are asked, one guess for each is wanted; your function returns numbers of shape "
            f"{list(guess.shape)}."
        )
    if not np.isfinite(guess).all():
        raise Wrong("Some guesses are NaN or infinite; with few networks some columns never change: do not divide by "
                    "their spread.")  # fmt: skip
    return guess


def _beats_the_control(attempt: Attempt) -> Praise:
    rows, scores, _ = _measured()
    reached, by_macs = [], []
    for known, asked in _exams():
        given = rows[known], scores[known], rows[asked]
        guess = _guesses(attempt, *given)
        if np.ptp(guess) == 0:
            raise Wrong("All guesses are equal, and an order is wanted: which of the networks asked are better?")
        if not np.array_equal(guess, _guesses(attempt, *given)):
            raise Wrong("Two calls with the same networks give different guesses; fix the seed inside the function.")
        if np.array_equal(guess, _guesses(attempt, given[0], given[1][::-1], given[2])):
            raise Wrong("Your guesses do not depend on the scores that were measured: that is a rule, and a predictor "
                        "learns. (The rule 'more MACs first' is the control.)")  # fmt: skip
        reached.append(stats.spearmanr(guess, scores[asked]).statistic)
        by_macs.append(stats.spearmanr(-rows[asked, -1], scores[asked]).statistic)
    score, control = float(np.mean(reached)), float(np.mean(by_macs))
    said = f"Rank correlation on the held-out networks: {score:.3f}, of 'more MACs first' {control:.3f}"
    if score < -0.2:
        raise Wrong(f"{said}. Your order is upside down: guess the distance, which is low for good networks.")
    if score <= control:
        raise Wrong(f"{said}. The control needs no learning and is still better: begin with what it knows, the last "
                    f"column, and remember that {LEARN_FROM} networks allow few free numbers.")  # fmt: skip
    return Praise(f"{said}.", score)


def predict_scores(known: np.ndarray, scores: np.ndarray, asked: np.ndarray) -> np.ndarray:
    middle = known.mean(0)
    spread = np.append(np.ones(known.shape[1] - 1), known[:, -1].std() / 2)
    x, goal = (known - middle) / spread, np.log(scores)
    weights = np.linalg.solve(x.T @ x + np.eye(len(middle)), x.T @ (goal - goal.mean()))
    return np.asarray((asked - middle) / spread @ weights + goal.mean())


PREDICT_SCORES = Exercise(reference=predict_scores, also=_beats_the_control)

EXERCISES = [DOMINATES, MUTATE, RANK_CORRELATION, PREDICT_SCORES, BEST_WITHIN]
