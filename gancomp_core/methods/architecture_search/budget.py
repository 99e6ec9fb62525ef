"""Limits on the cost of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gancomp_core.errors import GancompError, one_of
from gancomp_core.measure import RUNTIMES

UNITS = {"macs": "MACs", "params": "parameters", "latency_ms": "ms", "bytes": "bytes"}


@dataclass(frozen=True)
class Budget:
    """Limits on the cost of a network for one picture; a network exactly at a limit is admitted.

    Attributes:
        macs: True multiply-accumulates; None, here and below, sets no limit.
        params: Trainable numbers.
        latency_ms: Milliseconds, as a :class:`LatencyTable` predicts them.
        bytes: Bytes of the weights in float32.
        runtime: What the milliseconds are of, one of :data:`gancomp_core.measure.RUNTIMES`; "eager" is PyTorch.

    Raises:
        GancompError: For no limit at all, and for limits that are not positive.
    """

    macs: float | None = None
    params: float | None = None
    latency_ms: float | None = None
    bytes: float | None = None
    runtime: str = "eager"

    def __post_init__(self) -> None:
        one_of(self.runtime, RUNTIMES, "runtime of a budget")
        if not self.limits:
            raise GancompError("A budget needs at least one limit, for example Budget(macs=5e6).")
        for name, limit in self.limits.items():
            if isinstance(limit, bool) or not isinstance(limit, int | float | np.number) or not 0 < limit < math.inf:
                raise GancompError(
                    f"The limit {name} of a budget is {limit!r}; give a positive number or leave it out."
                )

    @property
    def limits(self) -> dict[str, float]:
        """The limits that bind, by name."""
        found = {name: getattr(self, name) for name in UNITS}
        return {name: limit for name, limit in found.items() if limit is not None}

    def admits(self, row: Mapping[str, float]) -> bool:
        """Whether a network with these costs keeps every limit; ``row`` is a row of a frontier or a dict."""
        return bool(self.mask(row))

    def mask(self, columns: Mapping[str, float] | Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
        """:meth:`admits` for many networks: ``columns`` holds an array for each limit."""
        if missing := [name for name in self.limits if name not in columns]:
            raise GancompError(
                f"The budget limits {missing[0]}, which is not known of these networks; "
                f"give their {missing[0]}, or a budget without that limit."
            )
        found = [np.asarray(columns[name]) <= limit for name, limit in self.limits.items()]
        return np.asarray(np.logical_and.reduce(found))

    def __str__(self) -> str:
        said = " and ".join(f"at most {amount(name, limit)}" for name, limit in self.limits.items())
        return said if self.latency_ms is None or self.runtime == "eager" else f"{said} ({self.runtime})"


def amount(name: str, value: float) -> str:
    """A cost in words: 2.31 M MACs, 1.2 ms."""
    if name == "latency_ms":
        return f"{value:.3g} ms"
    for size, prefix in ((1e9, "G "), (1e6, "M "), (1e3, "k ")):
        if abs(value) >= size:
            return (
                f"{value / size:.4g} {prefix}{UNITS[name]}" if name != "bytes" else f"{value / size:.4g} {prefix[0]}B"
            )
    return f"{value:.4g} {UNITS[name]}"


def amounts(row: Mapping[str, float], names: Iterable[str]) -> str:
    """Several costs of one network in words."""
    return " and ".join(amount(name, row[name]) for name in names)
