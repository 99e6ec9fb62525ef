"""Statistics for a few seeds, or a few pictures."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from gancomp_core.errors import GancompError

ENOUGH_SEEDS = 5  # three seeds explore, five may decide


@dataclass(frozen=True)
class PairedInterval:
    """Mean of paired differences with the half-width of its 95 % Student interval.

    Attributes:
        mean: Mean difference, in the unit of the differences.
        half_width: Half of the interval's width.
        seeds: Number of independent pairs: seeds, or photos where those are what differs.
    """

    mean: float
    half_width: float
    seeds: int

    @property
    def shown(self) -> bool:
        """Whether the difference counts as shown: enough pairs, and an interval that excludes zero."""
        return self.seeds >= ENOUGH_SEEDS and abs(self.mean) > self.half_width

    def __str__(self) -> str:
        verdict = "excludes zero" if abs(self.mean) > self.half_width else "includes zero"
        interval = f"{significant(self.mean)} ± {significant(self.half_width, 2)}"
        return f"{interval} (95 % over {self.seeds} independent pairs, {verdict})"


def significant(value: float, digits: int = 3) -> str:
    """A number with this many significant digits, and all of its whole ones, in plain digits: 1234, 12.3, 0.0123."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{decimals}f}"


def paired_interval(differences: Sequence[float], groups: Sequence[Hashable] | None = None) -> PairedInterval:
    """The 95 % interval of the mean of differences between two methods.

    Student's t with n - 1 degrees of freedom.

    Args:
        differences: One difference for each seed or picture.
        groups: What each difference belongs to, where several are not independent, such as crops of one photo. Then
            groups are counted, not differences (the cluster-robust standard error of a mean).

    Returns:
        The interval.

    Raises:
        GancompError: For fewer than two pairs or groups, and for missing values.
    """
    values = np.asarray(differences, dtype=float)
    finite = int(np.isfinite(values).sum())
    independent = finite if groups is None else len(set(groups))
    if finite < len(values) or independent < 2:
        raise GancompError(
            "A paired interval needs at least two independent pairs, such as seeds or photos, and no missing value; "
            f"there are {independent} with {len(values) - finite} missing: record more of them."
        )
    error = values.std(ddof=1) / math.sqrt(len(values)) if groups is None else _clustered_error(values, groups)
    half_width = t.ppf(0.975, independent - 1) * error
    return PairedInterval(float(values.mean()), float(half_width), independent)


def bootstrap_interval(values: Sequence[float], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a mean over pictures, by drawing as many of them with replacement again and again.

    Args:
        values: One value for each independent picture, at least two.
        draws: How often.
        seed: Of the draws.

    Returns:
        The 2.5th and the 97.5th percentile of the means.

    Raises:
        GancompError: For fewer than two values, and for missing ones.
    """
    found = np.asarray(values, dtype=float)
    if len(found) < 2 or not np.isfinite(found).all():
        raise GancompError(f"A bootstrap interval needs at least two finite values, not {len(found)} of any kind.")
    draw = np.random.default_rng(seed)
    parts = np.array_split(np.empty(draws), max(1, draws * len(found) // 1_000_000))  # for the memory's sake
    means = [found[draw.integers(len(found), size=(len(part), len(found)))].mean(1) for part in parts]
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return float(low), float(high)


def _clustered_error(values: np.ndarray, groups: Sequence[Hashable]) -> float:
    deviations = values - values.mean()
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    sums = np.bincount([numbers[group] for group in groups], weights=deviations)
    return float(np.sqrt(np.square(sums).sum() * len(sums) / (len(sums) - 1)) / len(values))
