"""Strategies that choose which networks to evaluate next.

Each gets the :class:`Candidates`, the history of evaluations, and the number of evaluations that are left. All networks
it evaluates are new and admitted by the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gancomp_core.methods.architecture_search.candidates import Candidates
from gancomp_core.methods.architecture_search.rows import Rows, as_row
from gancomp_core.nets.space import Row

POPULATION, PARENTS, MUTATION = 100, 0.25, 0.2
"""GAN Compression's population, share of parents, and probability that a gene mutates."""
TRIES = 12  # batches of children, before chance fills the rest of a generation


class EndedError(Exception):
    """A search was told to end with what it has evaluated."""


@dataclass
class History:
    """What was evaluated, in order; ``evaluate`` computes the scores of more, until ``ends`` says enough of a count."""

    evaluate: Callable[[Sequence[Row]], Sequence[float]]
    ends: Callable[[int], bool] | None = None
    scores: dict[Row, float] = field(default_factory=dict)

    def add(self, rows: Sequence[Row]) -> list[float]:
        """Evaluate these, which are new; their scores. Raises :class:`EndedError`."""
        for group in ([row] for row in rows) if self.ends else filter(None, [rows]):
            if self.ends and self.ends(len(self.scores)):
                raise EndedError
            self.scores |= zip(group, self.evaluate(group), strict=True)
        return [self.scores[row] for row in rows]

    def best(self, count: int) -> list[Row]:
        """The rows of the lowest scores; among equals the earlier ones."""
        return sorted(self.scores, key=self.scores.__getitem__)[:count]


class Strategy(Protocol):
    def __call__(self, candidates: Candidates, history: History, count: int) -> None: ...


def brute_force(candidates: Candidates, history: History, count: int) -> None:
    """Every network that the budget admits."""
    assert candidates.all is not None
    everything = [as_row(row) for row in candidates.all]
    history.add([row for row in everything if row not in history.scores][:count])


def random_search(candidates: Candidates, history: History, count: int) -> None:
    """Networks at random, each equally likely."""
    history.add(candidates.fresh(count, history.scores))


def evolution(candidates: Candidates, history: History, count: int) -> None:
    """Replace networks by children of the best quarter: half of them mutants of one parent, half crossings of two.

    Population 100, or a quarter of the evaluations if these are few, so that there are enough generations. Source: Real
    et al. 2019 (arXiv 1802.01548) as used by GAN Compression and Once-for-All.
    """
    population = min(POPULATION, max(8, count // 4))
    parents, left = max(2, round(PARENTS * population)), count
    newborn = candidates.fresh(min(population, left), history.scores)
    while newborn:
        history.add(newborn)
        left -= len(newborn)
        newborn = _children(candidates, history, parents, min(population - parents, left))


def _children(candidates: Candidates, history: History, parents: int, count: int) -> list[Row]:
    """New admitted networks; chance fills up where the parents have no other children left."""
    if count < 1:
        return []
    best = np.array(history.best(parents), dtype=np.int64)
    found: dict[Row, None] = {}
    for breed, wanted in ((_mutants, (count + 1) // 2), (_crossings, count)):
        for _ in range(TRIES):
            if len(found) >= wanted:
                break
            bred = breed(candidates, best, 2 * count + 8)
            new = candidates.usable(bred, {**history.scores, **found})
            found |= dict.fromkeys(new[: wanted - len(found)])
    if len(found) < count:
        found |= dict.fromkeys(candidates.fresh(count - len(found), {**history.scores, **found}))
    return list(found)


def _mutants(candidates: Candidates, parents: Rows, count: int) -> Rows:
    """Copies of parents whose genes were drawn anew, each with probability 0.2."""
    rng, sizes = candidates.rng, candidates.sizes
    children = parents[rng.integers(0, len(parents), count)]
    return np.where(rng.random(children.shape) < MUTATION, rng.integers(0, sizes, children.shape), children)


def _crossings(candidates: Candidates, parents: Rows, count: int) -> Rows:
    """Each gene from one of two parents."""
    rng = candidates.rng
    mothers, fathers = (parents[rng.integers(0, len(parents), count)] for _ in range(2))
    return np.where(rng.random(mothers.shape) < 0.5, mothers, fathers)


def controller(candidates: Candidates, history: History, count: int) -> None:
    """REINFORCE: one softmax per gene, rewarded for low scores; the method that supernets and evolution replaced.

    The reward is the negative standardized score, the baseline a moving average of rewards, and an entropy bonus keeps
    the controller from deciding early. Networks over the budget or drawn before are drawn again. Source: Zoph and Le,
    ICLR 2017 (arXiv 1611.01578), with independent genes in place of the recurrent network.
    """
    policy = _Policy(candidates.sizes)
    batch, left = min(20, max(4, count // 25)), count
    baseline = 0.0
    while left > 0 and (drawn := _drawn(candidates, history, policy, min(batch, left))):
        history.add(drawn)
        left -= len(drawn)
        known = np.array(list(history.scores.values()))
        rewards = np.array([(known.mean() - history.scores[row]) / (known.std() or 1.0) for row in drawn])
        policy.learn(np.array(drawn), rewards - baseline)
        baseline = 0.8 * baseline + 0.2 * float(rewards.mean())


def _drawn(candidates: Candidates, history: History, policy: _Policy, count: int) -> list[Row]:
    found: dict[Row, None] = {}
    for _ in range(TRIES):
        found |= dict.fromkeys(candidates.usable(policy.draw(4 * count, candidates.rng), {**history.scores, **found}))
        if len(found) >= count:
            return list(found)[:count]
    return [*found, *candidates.fresh(count - len(found), {**history.scores, **found})]


class _Policy:
    """A softmax over the choices of each gene."""

    rate, bonus = 0.3, 0.02

    def __init__(self, sizes: NDArray[np.int64]) -> None:
        self.logits = [np.zeros(size) for size in sizes]

    def draw(self, count: int, rng: np.random.Generator) -> Rows:
        genes = [rng.choice(len(logits), count, p=_softmax(logits)) for logits in self.logits]
        return np.stack(genes, axis=1).astype(np.int64)

    def learn(self, rows: Rows, advantages: NDArray[np.float64]) -> None:
        """One step up the gradient of expected reward and entropy."""
        for gene, logits in enumerate(self.logits):
            p = _softmax(logits)
            taken = np.eye(len(logits))[rows[:, gene]]
            entropy = -p * (np.log(p + 1e-12) - (p * np.log(p + 1e-12)).sum())
            logits += self.rate * ((advantages[:, None] * (taken - p)).mean(0) + self.bonus * entropy)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max())
    found: NDArray[np.float64] = exponentials / exponentials.sum()
    return found
