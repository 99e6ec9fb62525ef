"""The networks of a space that a budget admits: drawn at random without repetition, or refused at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gancomp_core.errors import GancompError
from gancomp_core.methods.architecture_search.budget import UNITS, Budget, amount, amounts
from gancomp_core.methods.architecture_search.latency_table import LatencyTable
from gancomp_core.methods.architecture_search.rows import ENUMERABLE, Rows, as_row, cost_table, every_row, rows_of
from gancomp_core.nets import Space
from gancomp_core.nets.space import Row

Value = Callable[[Rows], NDArray[np.float64]]


class Candidates:
    """The networks of a space that a budget admits.

    Args:
        space: The space.
        budget: The limits.
        pixels: Height and width of the pictures.
        latency: A latency table, for a limit on milliseconds.
        rng: The source of every random draw.

    Raises:
        GancompError: Where no network is admitted, with the reachable range.
    """

    def __init__(
        self,
        space: Space[Any],
        budget: Budget,
        pixels: tuple[int, int],
        latency: LatencyTable | None,
        rng: np.random.Generator,
    ) -> None:
        self.space, self.budget, self.pixels, self.latency, self.rng = space, budget, pixels, latency, rng
        self.sizes = np.array([len(choice) for choice in space.choices.values()])
        narrowest, widest = rows_of(space, [space.narrowest, space.widest])
        self._corners = {"least": narrowest, "most": widest}
        self._refuse_impossible()

    def __len__(self) -> int:
        """Number of networks that the budget admits; for a space too large to count, the size of the space."""
        return self.space.size if self.all is None else len(self.all)

    @cached_property
    def all(self) -> Rows | None:
        """Every admitted row in the order of the space; None for a space too large to list."""
        if self.space.size > ENUMERABLE:
            return None
        rows = every_row(self.space)
        return rows[self.admitted(rows)]

    def table(self, rows: Rows) -> pd.DataFrame:
        """The costs of these networks, with ``latency_ms`` where there is a latency table."""
        found = cost_table(self.space, rows, self.pixels)
        if self.latency is not None:
            found["latency_ms"] = self.latency.of(self.space, rows)
        return found

    def admitted(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of these networks the budget admits."""
        quick: dict[str, Any] = {name: limit for name, limit in self.budget.limits.items() if name != "latency_ms"}
        mask = np.ones(len(rows), dtype=bool)
        if quick:
            mask = Budget(**quick).mask(cost_table(self.space, rows, self.pixels))
        if self.budget.latency_ms is not None:  # the others need no latency
            assert self.latency is not None
            mask[mask] = self.latency.of(self.space, rows[mask]) <= self.budget.latency_ms
        return mask

    def fresh(self, count: int, seen: Collection[Row]) -> list[Row]:
        """Admitted networks at random, without repetition and none of them in ``seen``; fewer where no more exist."""
        if self.all is not None:
            unseen = (as_row(self.all[i]) for i in self.rng.permutation(len(self.all)))
            return list(itertools.islice((row for row in unseen if row not in seen), max(0, count)))
        drawn: dict[Row, None] = {}
        for attempt in range(40):
            rows = self.rng.integers(0, self.sizes, size=(2048, len(self.sizes)))
            drawn |= dict.fromkeys(self.usable(rows if attempt < 4 else self._moved_inside(rows), {*seen, *drawn}))
            if len(drawn) >= count:
                break
        return list(drawn)[:count]

    def usable(self, rows: Rows, seen: Collection[Row]) -> list[Row]:
        """Those of ``rows`` that the budget admits and that are not in ``seen``, each once, in their order."""
        new = list(dict.fromkeys(row for row in map(as_row, rows) if row not in seen))
        if not new:
            return []
        mask = self.admitted(np.array(new, dtype=np.int64))
        return [row for row, admitted in zip(new, mask, strict=True) if admitted]

    def _moved_inside(self, rows: Rows) -> Rows:
        """Networks over the budget take genes of one within it, in random order, until they are within, too."""
        rows = rows.copy()
        order = np.argsort(self.rng.random(rows.shape), axis=1)
        for step in range(rows.shape[1]):
            over = np.flatnonzero(~self.admitted(rows))
            if not len(over):
                break
            genes = order[over, step]
            rows[over, genes] = self._inside[genes]
        return rows

    # --- what can be reached -----------------------------------------------------------------------------------------

    def _refuse_impossible(self) -> None:
        limited = list(self.budget.limits)
        for name in (name for name in limited if name != "latency_ms"):
            self._refuse_alone(name)  # known at once, without the costs of all networks
        if self.all is None:
            self._inside = self._descended(self._corners["least"], self._worst_share)
            possible = bool(self.admitted(self._inside[None])[0])
        else:
            possible = len(self.all) > 0
        if possible:
            return
        if "latency_ms" in limited:
            self._refuse_alone("latency_ms")
        cheapest = {name: self._cheapest(name) for name in limited}
        found = "; ".join(
            f"the one with the least {UNITS[name]} has {amounts(row, limited)}" for name, row in cheapest.items()
        )
        raise GancompError(
            f"No network of the space has {self.budget}, though each limit can be kept alone: {found}; raise one limit."
        )

    def _refuse_alone(self, name: str) -> None:
        limit, least = self.budget.limits[name], self._cheapest(name)[name]
        if least > limit:
            how_many = f"{self.space.size:,} network" + ("s" if self.space.size != 1 else "")
            raise GancompError(
                f"No network of the space has at most {amount(name, limit)}: the {how_many} reach from "
                f"{amount(name, least)} to {amount(name, self._dearest(name)[name])}; raise the limit to the least of "
                "these or more."
            )

    def _limited(self, rows: Rows) -> pd.DataFrame:
        """Costs without latencies that nobody limits: they may have to be measured."""
        return self.table(rows) if self.budget.latency_ms else cost_table(self.space, rows, self.pixels)

    def _worst_share(self, rows: Rows) -> NDArray[np.float64]:
        """How much of its limit the quantity nearest to (or furthest over) it takes."""
        table = self._limited(rows)
        shares = [table[name].to_numpy() / limit for name, limit in self.budget.limits.items()]
        return np.asarray(np.max(shares, axis=0))

    def _cheapest(self, name: str) -> dict[str, float]:
        return self._extreme("least", name, lambda rows: self._limited(rows)[name].to_numpy())

    def _dearest(self, name: str) -> dict[str, float]:
        return self._extreme("most", name, lambda rows: -self._limited(rows)[name].to_numpy())

    def _extreme(self, corner: str, name: str, value: Value) -> dict[str, float]:
        if name == "latency_ms" and self.space.size <= ENUMERABLE:
            rows = every_row(self.space)
            best = rows[int(np.argmin(value(rows)))]
        else:
            best = self._descended(self._corners[corner], value)
        return {str(name): float(number) for name, number in self._limited(best[None]).iloc[0].items()}

    def _descended(self, start: NDArray[np.int64], value: Value) -> NDArray[np.int64]:
        """From ``start``, one gene after the other to its best choice, until none gets better.

        Exact for MACs, parameters and bytes, which grow with every gene.
        """
        best, least = start, float(value(start[None])[0])
        while True:
            before = least
            for gene, size in enumerate(self.sizes):
                tried = np.repeat(best[None], size, axis=0)
                tried[:, gene] = np.arange(size)
                values = value(tried)
                if values.min() < least:
                    best, least = tried[int(values.argmin())], float(values.min())
            if least >= before:
                return best
