"""The rule that turns the paired differences of a claim into a status; docs/decisions/verdicts.md gives the reasons.

Each claim asks two questions of the same 95 % interval: is the effect beyond the bound (zero, or what the claim names)?
Is it no larger than d? All claims of the ledger are asked at once, so each question has Holm's correction for all of
them. An interval that answers neither is undecided, and :func:`seeds_to_show` and :func:`seeds_to_equal` say how many
seeds it would take.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gancomp_core.errors import GancompError
from gancomp_core.measure.statistics import ENOUGH_SEEDS, PairedInterval

SHOWN, CONTRADICTED, NO_EFFECT = "shown", "contradicted", "no effect larger than d"
UNDECIDED, COUNTED, PAPER_ONLY = "undecided", "reproduced by counting", "paper only"
STATUSES = (SHOWN, CONTRADICTED, NO_EFFECT, UNDECIDED, COUNTED, PAPER_ONLY)
LEVEL = 0.05
POWER = 0.8
MARGIN = 3.0  # d in percent, where a claim has none of its own


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What the runs that count measured for a claim, in percent.

    Attributes:
        interval: Of the paired differences.
        claimed: "lower" or "higher".
        than: The bound that the differences are claimed to be lower or higher than.
        margin: d, the largest effect that counts as none; None where the claim itself names a bound.
        obstacle: Why these runs do not test the claim, in words; empty where they do.
    """

    interval: PairedInterval
    claimed: str
    than: float = 0.0
    margin: float | None = MARGIN
    obstacle: str = ""

    def __post_init__(self) -> None:
        if self.claimed not in ("lower", "higher"):
            raise GancompError(f"A claim says 'lower' or 'higher', not '{self.claimed}'.")

    @property
    def tested(self) -> bool:
        """Whether there are enough pairs, of what the claim speaks of."""
        return self.interval.seeds >= ENOUGH_SEEDS and not self.obstacle

    @property
    def spread(self) -> float:
        """Standard deviation of the difference of one seed, as the interval implies it."""
        return self._error * math.sqrt(self.interval.seeds)

    @property
    def p_difference(self) -> float:
        """Two-sided p-value of "the mean is the bound"; at most 5 % where the 95 % interval excludes the bound."""
        return 2 * self._tail(abs(self.interval.mean - self.than))

    @property
    def p_equivalence(self) -> float:
        """Twice the larger p-value of two one-sided tests; at most 5 % where the 95 % interval lies within ±d."""
        return 1.0 if self.margin is None else min(1.0, 2 * self._tail(self.margin - abs(self.interval.mean)))

    @property
    def aim(self) -> float:
        """The size of a true effect that the runs should tell from the bound: d, or none at all from a bound."""
        return abs(self.than) if self.margin is None else self.margin

    def needed(self, level: float) -> tuple[int, ...]:
        """Seeds that show an effect of :attr:`aim` and, where there is a d, those that show that there is none."""
        shown = seeds_to_show(self.spread, self.aim, level)
        return (shown,) if self.margin is None else (shown, seeds_to_equal(self.spread, self.margin, level))

    def missing(self, level: float) -> int:
        """Seeds that it takes beside those of today; 0 where today's would do, and the effect is close to a bound."""
        return max(0, max(self.needed(level)) - self.interval.seeds)

    def status(self, p_difference: float, p_equivalence: float) -> str:
        """The status that these p-values give."""
        if not self.tested:
            return UNDECIDED
        if p_difference <= LEVEL:
            agrees = (self.interval.mean < self.than) == (self.claimed == "lower")
            return SHOWN if agrees else CONTRADICTED
        return NO_EFFECT if p_equivalence <= LEVEL else UNDECIDED

    @property
    def _error(self) -> float:
        return self.interval.half_width / float(stats.t.ppf(0.975, self.interval.seeds - 1))

    def _tail(self, distance: float) -> float:
        """The chance of a t at least this far out; a distance in percent."""
        beyond = distance / self._error if self._error else math.copysign(math.inf, distance) if distance else 0.0
        return float(stats.t.sf(beyond, self.interval.seeds - 1))


def alone(effect: Effect) -> str:
    """The status of a claim as if it were the only one."""
    return effect.status(effect.p_difference, effect.p_equivalence)


def together(effects: Sequence[Effect]) -> list[str]:
    """The statuses of claims that are tested at once, in their order."""
    tested = [each for each in effects if each.tested]
    differ, equal = holm([each.p_difference for each in tested]), holm([each.p_equivalence for each in tested])
    corrected = iter(zip(differ, equal, strict=True))
    return [each.status(*(next(corrected) if each.tested else (1.0, 1.0))) for each in effects]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): with it, one wrong rejection among all has a chance of at most the level.

    Args:
        p_values: One p-value for each hypothesis.

    Returns:
        Corrected p-values in the same order.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def seeds_to_show(spread: float, effect: float, level: float = LEVEL) -> int:
    """Seeds with which a true effect of this size is shown with a chance of 80 %.

    Args:
        spread: Standard deviation of the difference of one seed.
        effect: The true distance from the bound, above 0, in the same unit.
        level: Of the two-sided test.

    Returns:
        At least :data:`ENOUGH_SEEDS`.
    """

    def power(seeds: int) -> float:
        critical = stats.t.ppf(1 - level / 2, seeds - 1)
        return float(stats.nct.sf(critical, seeds - 1, effect / spread * math.sqrt(seeds)))

    return _fewest(power)


def seeds_to_equal(spread: float, margin: float, level: float = LEVEL) -> int:
    """Seeds with which no effect at all is found to be no larger than ``margin`` with a chance of 80 %.

    Args:
        spread: Standard deviation of the difference of one seed.
        margin: d, above 0, in the same unit.
        level: Twice that of each of the two one-sided tests.

    Returns:
        At least :data:`ENOUGH_SEEDS`.
    """
    quantiles = (np.arange(400) + 0.5) / 400  # of the standard deviation that is found

    def power(seeds: int) -> float:
        root = math.sqrt(seeds)
        found = spread * np.sqrt(stats.chi2.ppf(quantiles, seeds - 1) / (seeds - 1))
        room = margin - stats.t.ppf(1 - level / 2, seeds - 1) * found / root
        return float(np.mean(2 * stats.norm.cdf(np.maximum(room, 0) * root / spread) - 1))

    return _fewest(power)


def _fewest(power: Callable[[int], float]) -> int:
    """The least number of seeds, from :data:`ENOUGH_SEEDS` on, with a power of :data:`POWER`; power grows with it."""
    most = ENOUGH_SEEDS
    while power(most) < POWER:
        most *= 2
    least = max(ENOUGH_SEEDS, most // 2)
    while least < most:
        middle = (least + most) // 2
        least, most = (least, middle) if power(middle) >= POWER else (middle + 1, most)
    return most
