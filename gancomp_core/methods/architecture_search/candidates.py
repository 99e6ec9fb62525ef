"""The networks of a space that a budget admits: drawn at random, never one twice, or refused at once."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gancomp_core.errors import GancompError
from gancomp_core.methods.architecture_search.budget import UNITS, Budget, amount, amounts
from gancomp_core.methods.architecture_search.choices import (
    ENUMERABLE,
    Choice,
    Choices,
    choices_of,
    cost_table,
    every_choice,
)
from gancomp_core.methods.architecture_search.latency_table import LatencyTable
from gancomp_core.nets import ArchitectureSpace


class Candidates:
    """The networks of a space that a budget admits.

    Raises :class:`GancompError` with the reachable range where there are none. ``rng`` draws everything that is drawn.
    """

    def __init__(
        self,
        space: ArchitectureSpace,
        budget: Budget,
        pixels: tuple[int, int],
        latency: LatencyTable | None,
        rng: np.random.Generator,
    ) -> None:
        self.space, self.budget, self.pixels, self.latency, self.rng = space, budget, pixels, latency, rng
        self.sizes = np.array([len(choice) for choice in space.genes.values()])
        narrowest, widest = choices_of(space, [space.narrowest, space.widest])
        self._corners = {"least": narrowest, "most": widest}
        self._refuse_impossible()

    def __len__(self) -> int:
        """How many networks the budget admits; for a space too large to tell, how many it has."""
        return len(self.space) if self.all is None else len(self.all)

    @cached_property
    def all(self) -> Choices | None:
        """Every admitted choice in the order of the space, None for a space too large to list."""
        if len(self.space) > ENUMERABLE:
            return None
        choices = every_choice(self.space)
        return choices[self.admitted(choices)]

    def table(self, choices: Choices) -> pd.DataFrame:
        """What these networks cost, with ``latency_ms`` where there is a latency table."""
        found = cost_table(self.space, choices, self.pixels)
        if self.latency is not None:
            found["latency_ms"] = self.latency.of(self.space, choices)
        return found

    def admitted(self, choices: Choices) -> NDArray[np.bool_]:
        """Which of these networks the budget admits."""
        quick = {name: limit for name, limit in self.budget.limits.items() if name != "latency_ms"}
        mask = np.ones(len(choices), dtype=bool)
        if quick:
            mask = Budget(**quick).mask(cost_table(self.space, choices, self.pixels))
        if self.budget.latency_ms is not None:  # the others need no latency
            assert self.latency is not None
            mask[mask] = self.latency.of(self.space, choices[mask]) <= self.budget.latency_ms
        return mask

    def fresh(self, count: int, seen: Collection[Choice]) -> list[Choice]:
        """Admitted networks at random, none of them in ``seen``, none twice; fewer where there are no more of them."""
        if self.all is not None:
            unseen = (tuple(map(int, self.all[i])) for i in self.rng.permutation(len(self.all)))
            return list(itertools.islice((choice for choice in unseen if choice not in seen), max(0, count)))
        drawn: dict[Choice, None] = {}
        for attempt in range(40):
            rows = self.rng.integers(0, self.sizes, size=(2048, len(self.sizes)))
            drawn |= dict.fromkeys(self.usable(rows if attempt < 4 else self._moved_inside(rows), {*seen, *drawn}))
            if len(drawn) >= count:
                break
        return list(drawn)[:count]

    def usable(self, choices: Choices, seen: Collection[Choice]) -> list[Choice]:
        """Those of ``choices`` that the budget admits and that were not ``seen``, each once, in their order."""
        rows = [tuple(map(int, row)) for row in choices]
        new = list(dict.fromkeys(row for row in rows if row not in seen))
        if not new:
            return []
        mask = self.admitted(np.array(new, dtype=np.int64))
        return [choice for choice, admitted in zip(new, mask, strict=True) if admitted]

    def _moved_inside(self, rows: Choices) -> Choices:
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
            how_many = f"{len(self.space):,} network" + ("s" if len(self.space) != 1 else "")
            raise GancompError(
                f"No network of the space has at most {amount(name, limit)}: the {how_many} reach from "
                f"{amount(name, least)} to {amount(name, self._dearest(name)[name])}; raise the limit to the least of "
                "these or more."
            )

    def _limited(self, choices: Choices) -> pd.DataFrame:
        """Costs without latencies that nobody limits: they may have to be measured."""
        return self.table(choices) if self.budget.latency_ms else cost_table(self.space, choices, self.pixels)

    def _worst_share(self, choices: Choices) -> NDArray[np.float64]:
        """How much of its limit the quantity nearest to (or furthest over) it takes."""
        table = self._limited(choices)
        return np.max([table[name].to_numpy() / limit for name, limit in self.budget.limits.items()], axis=0)

    def _cheapest(self, name: str) -> dict[str, float]:
        return self._extreme("least", name, lambda choices: self._limited(choices)[name].to_numpy())

    def _dearest(self, name: str) -> dict[str, float]:
        return self._extreme("most", name, lambda choices: -self._limited(choices)[name].to_numpy())

    def _extreme(self, corner: str, name: str, value: Any) -> dict[str, float]:
        if name == "latency_ms" and len(self.space) <= ENUMERABLE:
            choices = every_choice(self.space)
            best = choices[int(np.argmin(value(choices)))]
        else:
            best = self._descended(self._corners[corner], value)
        return {str(name): float(number) for name, number in self._limited(best[None]).iloc[0].items()}

    def _descended(self, start: NDArray[np.int64], value: Any) -> NDArray[np.int64]:
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
