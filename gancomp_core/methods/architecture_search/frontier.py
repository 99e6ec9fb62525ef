"""The table of networks that a search has evaluated."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Generic, TypeVar

import pandas as pd

from gancomp_core import files
from gancomp_core.errors import GancompError
from gancomp_core.methods.architecture_search.budget import UNITS, Budget, amount
from gancomp_core.nets import Architecture, Space

A = TypeVar("A", bound=Architecture)
COLUMNS = ("architecture", "macs", "params", "bytes", "latency_ms", "score", "order")
NEEDED = {"architecture", "score", "order"}
SHOWN = 12  # rows of the table that is printed


class Frontier(Generic[A]):
    """The evaluated networks of one search, the best (lowest score) first.

    ``table`` has a row for each network: ``architecture`` (its :meth:`Space.name`), ``macs``, ``params``, ``bytes``
    (float32), ``latency_ms`` (where a latency table was given), ``score`` (lower is better) and ``order`` (1 for the
    network that was evaluated first). All are networks of ``space``.
    """

    def __init__(self, table: pd.DataFrame, space: Space[A]) -> None:
        if missing := sorted(NEEDED - set(table.columns)):
            raise GancompError(f"The table of a frontier lacks the column '{missing[0]}'; it has {', '.join(COLUMNS)}.")
        self.space = space
        self.table = table.sort_values(["score", "order"]).reset_index(drop=True)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def architectures(self) -> list[A]:
        """The network of each row."""
        return [self.space.named(name) for name in self.table.architecture]

    @property
    def best(self) -> A:
        """The network of the lowest score; the first evaluated among equals."""
        return self.space.named(self.table.architecture.iloc[0])

    @property
    def best_row(self) -> pd.Series:
        """The row of :attr:`best`."""
        return self.table.iloc[0]

    def within(self, budget: Budget) -> Frontier[A]:
        """Only the networks that another, tighter budget admits.

        Raises:
            GancompError: Where it admits none.
        """
        mask = budget.mask(self.table)
        if not mask.any():
            reach = ", ".join(
                f"from {amount(name, self.table[name].min())} to {amount(name, self.table[name].max())}"
                for name in budget.limits
            )
            raise GancompError(
                f"None of the {len(self)} evaluated networks has {budget}, they reach {reach}; raise the limit or "
                "search with this budget."
            )
        return Frontier(self.table[mask], self.space)

    def pareto(self, by: str = "macs") -> pd.DataFrame:
        """The rows that no other row beats in both ``by`` and score, the cheapest first."""
        if by not in UNITS or by not in self.table:
            known = ", ".join(name for name in UNITS if name in self.table)
            raise GancompError(f"There is no cost '{by}' in this frontier; choose one of {known}.")
        rows = self.table.sort_values([by, "score", "order"])
        return rows[rows.score < rows.score.cummin().shift(fill_value=float("inf"))].reset_index(drop=True)

    def to_csv(self, path: Path | str) -> None:
        """Write the table; :meth:`from_csv` reads it back with its space."""
        with files.atomic_write(path) as temporary:
            self.table.to_csv(temporary, index=False)

    @classmethod
    def from_csv(cls, path: Path | str, space: Space[A]) -> Frontier[A]:
        """A frontier that :meth:`to_csv` wrote, of a search in ``space``."""
        try:
            table = pd.read_csv(path, dtype=str)
            for name in table.columns.intersection(COLUMNS[1:]):  # Python reads the very number that was written
                table[name] = table[name].map(float if name in ("latency_ms", "score") else int)
            found = cls(table, space)
            _ = found.architectures
            return found
        except (OSError, ValueError) as error:
            raise GancompError(
                f"{path} is not the frontier of a search in this space ({error}); Frontier.to_csv writes one."
            ) from error

    def __str__(self) -> str:
        text = io.StringIO()
        text.write(f"{self._heading()}\n")
        self._readable().to_string(text, index=False)
        return text.getvalue()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{self._heading()}</p>{self._readable().to_html(index=False)}"

    def _heading(self) -> str:
        more = f", the best {SHOWN}" if len(self) > SHOWN else ""
        return (
            f"{len(self):,} network{'s' if len(self) != 1 else ''} evaluated of a space of {self.space.size:,}{more}:"
        )

    def _readable(self) -> pd.DataFrame:
        rows, found = self.table.head(SHOWN), {}
        for name in [name for name in COLUMNS if name in self.table]:
            found[name.removesuffix("_ms")] = [_shown(name, value) for value in rows[name]]
        return pd.DataFrame(found)


def _shown(name: str, value: float) -> str:
    if name in UNITS:
        return amount(name, value)
    return f"{value:.4g}" if name == "score" else str(value)
