"""The table of networks that a search has evaluated."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from gancomp_core import files
from gancomp_core.errors import GancompError
from gancomp_core.methods.architecture_search.budget import UNITS, Budget, amount
from gancomp_core.nets import ArchitectureSpace, ChannelConfig, GeneratorArchitecture

COLUMNS = ("architecture", "macs", "params", "bytes", "latency_ms", "score", "order")
NEEDED = {"architecture", "score", "order"}
SHOWN = 12  # rows of the table that is printed


class Frontier:
    """The evaluated networks of one search, the best (lowest score) first.

    ``table`` has a row a network: ``architecture`` (a string, see :func:`name_of`), ``macs``, ``params``, ``bytes``
    (float32), ``latency_ms`` (where a latency table was given), ``score`` (lower is better) and ``order`` (1 for the
    network that was evaluated first). All are networks of ``space``.
    """

    def __init__(self, table: pd.DataFrame, space: ArchitectureSpace) -> None:
        if missing := sorted(NEEDED - set(table.columns)):
            raise GancompError(f"The table of a frontier lacks the column '{missing[0]}'; it has {', '.join(COLUMNS)}.")
        self.space = space
        self.table = table.sort_values(["score", "order"]).reset_index(drop=True)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def architectures(self) -> list[GeneratorArchitecture]:
        """The network of each row."""
        return [architecture_of(self.space, name) for name in self.table.architecture]

    @property
    def best(self) -> GeneratorArchitecture:
        """The network of the lowest score; the first evaluated among equals."""
        return architecture_of(self.space, self.table.architecture.iloc[0])

    @property
    def best_row(self) -> pd.Series:
        """The row of :attr:`best`."""
        return self.table.iloc[0]

    def within(self, budget: Budget) -> Frontier:
        """Only the networks that another, tighter budget admits; raises :class:`GancompError` where it admits none."""
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
        """The rows that no other one beats in ``by`` and score at once, the cheapest first."""
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
    def from_csv(cls, path: Path | str, space: ArchitectureSpace) -> Frontier:
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
            f"{len(self):,} network{'s' if len(self) != 1 else ''} evaluated of a space of {len(self.space):,}{more}:"
        )

    def _readable(self) -> pd.DataFrame:
        rows, found = self.table.head(SHOWN), {}
        for name in [name for name in COLUMNS if name in self.table]:
            write: Any = {"architecture": str, "order": str, "score": "{:.4g}".format}.get(name)
            found[name.removesuffix("_ms")] = [(write or _amount(name))(value) for value in rows[name]]
        return pd.DataFrame(found)


def _amount(name: str) -> Any:
    return lambda value: amount(name, value)


def name_of(architecture: GeneratorArchitecture, space: ArchitectureSpace) -> str:
    """A network of a space as one word for each thing that the space may choose, the channels first.

    For example ``16_16_24_8_8_8_16_16 depth=6 kernels=3.5.3 kinds=dense.separable.dense resolution=0.75``.
    """
    genes, choices = space.read(architecture), space.genes
    words = [str(architecture.channels)]
    if len(choices["depth"]) > 1:
        words.append(f"depth={genes[8]}")
    if len(space.kernels) > 1:
        words.append("kernels=" + ".".join(map(str, genes[9:12])))
    if len(space.separable) > 1:
        words.append("kinds=" + ".".join("separable" if gene else "dense" for gene in genes[12:15]))
    if len(choices["resolution"]) > 1:
        words.append(f"resolution={genes[15]:g}")
    return " ".join(words)


def architecture_of(space: ArchitectureSpace, name: str) -> GeneratorArchitecture:
    """The network of a space that :func:`name_of` called so; raises :class:`GancompError` for any other name."""
    genes = list(space.read(space.widest))
    try:
        channels, *words = name.split(" ")
        genes[:8] = ChannelConfig.parse(channels).entries
        for word, text in (word.split("=") for word in words):
            if word == "depth":
                genes[8] = int(text)
            elif word == "kernels":
                genes[9:12] = map(int, text.split("."))
            elif word == "kinds":
                genes[12:15] = [kind == "separable" for kind in text.split(".")]
            elif word == "resolution":
                genes[15] = float(text)
            else:
                raise ValueError(word)
        found = space.express(tuple(genes))
        if found in space:
            return found
    except (ValueError, AttributeError) as error:
        raise _no_network(name, space) from error
    raise _no_network(name, space)


def _no_network(name: str, space: ArchitectureSpace) -> GancompError:
    return GancompError(
        f"{name!r} is no network of the space; its networks are called like '{name_of(space.widest, space)}'."
    )
