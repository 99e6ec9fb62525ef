"""Plausible wrong answers to the exercises of notebook 04: exercise -> fault -> function. Each must be refused."""

import random

import numpy as np
from scipy import stats


def _ranks(values):
    return np.argsort(np.argsort(values))


def _pearson(x, y):
    return np.corrcoef(x, y)[0, 1]


def _redrawn(genes, choices, rate, rng):
    return tuple(
        rng.choice(values) if rng.random() < rate else gene for gene, values in zip(genes, choices, strict=True)
    )


def _in_place(genes, choices, rate, rng):
    for place, values in enumerate(choices):
        if rng.random() < rate:
            genes[place] = rng.choice(values)
    return genes


def _neighbours(genes, choices, rate, rng):
    child = []
    for gene, values in zip(genes, choices, strict=True):
        place = values.index(gene) + (rng.choice((-1, 1)) if rng.random() < rate else 0)
        child.append(values[min(max(place, 0), len(values) - 1)])
    return tuple(child)


def _one_gene(genes, choices, rate, rng):
    place = rng.randrange(len(genes))
    new = rng.choice(choices[place]) if rng.random() < rate else genes[place]
    return (*genes[:place], new, *genes[place + 1 :])


def _between(genes, choices, rate, rng):
    return tuple(
        (min(v) + max(v)) / 2 + 0.25 if rng.random() < rate else g for g, v in zip(genes, choices, strict=True)
    )


def _fits(networks, budget):
    return [n for n in networks if all(n[name] <= limit for name, limit in budget.items())]


def _score(network):
    return network["score"]


def _or_help(choose):
    def answer(networks, budget):
        found = choose(networks, budget)
        if not found:
            raise ValueError(f"the least are { ({name: min(n[name] for n in networks) for name in budget}) }")
        return min(found, key=_score)

    return answer


def _refusing(message):
    def answer(networks, budget):
        if not _fits(networks, budget):
            raise ValueError(message)
        return min(_fits(networks, budget), key=_score)

    return answer


WRONG_ANSWERS = {
    "dominates": {
        "strict": lambda a, b: a[0] < b[0] and a[1] < b[1],
        "its own twin": lambda a, b: a[0] <= b[0] and a[1] <= b[1],
        "one advantage": lambda a, b: a[0] < b[0] or a[1] < b[1],
        "or": lambda a, b: a[0] <= b[0] or a[1] <= b[1],
        "reversed": lambda a, b: b[0] <= a[0] and b[1] <= a[1] and a != b and not a == b and b < a,
        "score alone": lambda a, b: a[1] < b[1],
        "cost alone": lambda a, b: a[0] < b[0],
        "higher is better": lambda a, b: a[0] <= b[0] and a[1] >= b[1] and a != b,
        "sum": lambda a, b: sum(a) < sum(b),
        "product": lambda a, b: a[0] * a[1] < b[0] * b[1],
        "tuples": lambda a, b: a < b,
        "tuples or equal": lambda a, b: a <= b,
        "a number": lambda a, b: b[1] - a[1],
        "nobody": lambda a, b: False,
    },
    "mutate": {
        "list": lambda g, c, r, rng: list(_redrawn(g, c, r, rng)),
        "in place": _in_place,
        "generator": lambda g, c, r, rng: (rng.choice(v) for v in c),
        "places": lambda g, c, r, rng: tuple(
            rng.randrange(len(v)) if rng.random() < r else gene for gene, v in zip(g, c, strict=True)
        ),
        "another's choices": lambda g, c, r, rng: tuple(
            rng.choice(rng.choice(c)) if rng.random() < r else gene for gene in g
        ),
        "all choices": lambda g, c, r, rng: tuple(
            v if rng.random() < r else gene for gene, v in zip(g, c, strict=True)
        ),
        "in between": _between,
        "doubled": lambda g, c, r, rng: tuple(1_000 * (gene + 1) if rng.random() < r else gene for gene in g),
        "upside down": lambda g, c, r, rng: _redrawn(g, c, 1 - r, rng),
        "always": lambda g, c, r, rng: _redrawn(g, c, 1.0, rng),
        "never": lambda g, c, r, rng: g,
        "global random": lambda g, c, r, rng: _redrawn(g, c, r, random),
        "seeded anew": lambda g, c, r, rng: _redrawn(g, c, r, random.Random(0)),
        "one gene": _one_gene,
        "neighbours": _neighbours,
        "one coin": lambda g, c, r, rng: tuple(map(rng.choice, c)) if rng.random() < r else g,
        "half the rate": lambda g, c, r, rng: _redrawn(g, c, r if r in (0, 1) else r / 2, rng),
        "only those that mutate": lambda g, c, r, rng: tuple(rng.choice(v) for v in c if rng.random() < r),
    },
    "rank_correlation": {
        "values": _pearson,
        "argsort once": lambda x, y: _pearson(np.argsort(x), np.argsort(y)),
        "argsort once, x": lambda x, y: _pearson(np.argsort(x), _ranks(y)),
        "x alone": lambda x, y: _pearson(_ranks(x), y),
        "y alone": lambda x, y: _pearson(x, _ranks(y)),
        "reversed": lambda x, y: -_pearson(_ranks(x), _ranks(y)),
        "absolute": lambda x, y: abs(_pearson(_ranks(x), _ranks(y))),
        "squared": lambda x, y: _pearson(_ranks(x), _ranks(y)) ** 2,
        "covariance": lambda x, y: np.cov(_ranks(x), _ranks(y))[0, 1],
        "covariance by n": lambda x, y: np.cov(_ranks(x), _ranks(y), ddof=0)[0, 1],
        "kendall": lambda x, y: stats.kendalltau(x, y).statistic,
        "no six": lambda x, y: 1 - ((_ranks(x) - _ranks(y)) ** 2).sum() / (len(x) * (len(x) ** 2 - 1)),
        "n cubed": lambda x, y: 1 - 6 * ((_ranks(x) - _ranks(y)) ** 2).sum() / len(x) ** 3,
        "cosine": lambda x, y: _ranks(x) @ _ranks(y) / np.linalg.norm(_ranks(x)) / np.linalg.norm(_ranks(y)),
        "equal ranks": lambda x, y: (_ranks(x) == _ranks(y)).mean(),
        "matrix": lambda x, y: np.corrcoef(_ranks(x), _ranks(y)),
    },
    "best_within": {
        "strict": _or_help(lambda ns, b: [n for n in ns if all(n[k] < v for k, v in b.items())]),
        "any limit": _or_help(lambda ns, b: [n for n in ns if any(n[k] <= v for k, v in b.items())]),
        "first limit": _or_help(lambda ns, b: [n for n in ns if n[next(iter(b))] <= b[next(iter(b))]]),
        "last limit": _or_help(lambda ns, b: [n for n in ns if n[list(b)[-1]] <= b[list(b)[-1]]]),
        "largest score": lambda ns, b: max(_fits(ns, b), key=_score),
        "first that fits": lambda ns, b: _fits(ns, b)[0],
        "last that fits": lambda ns, b: _fits(ns, b)[-1],
        "cheapest": lambda ns, b: min(_fits(ns, b), key=lambda n: n[next(iter(b))]),
        "dearest": lambda ns, b: max(_fits(ns, b), key=lambda n: n[next(iter(b))]),
        "no budget": lambda ns, b: min(ns, key=_score),
        "upside down": lambda ns, b: min(
            (n for n in ns if all(n[k] >= v for k, v in b.items())), key=_score, default=ns[0]
        ),
        "the score": lambda ns, b: min(map(_score, _fits(ns, b))),
        "min of nothing": lambda ns, b: min(_fits(ns, b), key=_score),
        "none": lambda ns, b: min(_fits(ns, b), key=_score, default=None),
        "curt": _refusing("impossible"),
    },
}
