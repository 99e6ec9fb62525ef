"""What may be claimed from a few seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from gancomp_core.errors import GancompError

ENOUGH_SEEDS = 5  # three seeds explore, five may decide


@dataclass(frozen=True)
class PairedInterval:
    """Mean of paired differences with the half-width of its 95 % Student interval, over ``seeds`` pairs."""

    mean: float
    half_width: float
    seeds: int

    @property
    def shown(self) -> bool:
        """Whether the difference counts as shown: enough seeds, and an interval that excludes zero."""
        return self.seeds >= ENOUGH_SEEDS and abs(self.mean) > self.half_width

    def __str__(self) -> str:
        verdict = "excludes zero" if abs(self.mean) > self.half_width else "includes zero"
        return f"{self.mean:.3g} ± {self.half_width:.2g} (95 % over {self.seeds} paired seeds, {verdict})"


def paired_interval(differences: Sequence[float]) -> PairedInterval:
    """The 95 % interval of the mean of differences between two methods, one difference a seed.

    Student's t with n - 1 degrees of freedom. Raises :class:`GancompError` for fewer than two seeds or missing values.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < 2 or not np.isfinite(values).all():
        raise GancompError(
            f"A paired interval needs at least two seeds that both methods have, not {np.isfinite(values).sum()}; "
            "record more seeds."
        )
    half_width = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return PairedInterval(float(values.mean()), float(half_width), len(values))
