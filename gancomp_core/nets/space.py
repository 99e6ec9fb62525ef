"""Spaces of architectures: what a search may choose, and what an elastic network contains.

A space is a base architecture and the choices for each named gene. A network of it can be written in three ways: as the
architecture, as its plain values (``as_dict``), and as an *index row*, the index of the choice for each gene in order.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from gancomp_core.errors import GancompError
from gancomp_core.nets.architecture import Architecture, Gene

A = TypeVar("A", bound=Architecture)
Row = tuple[int, ...]
Choices = Mapping[str, tuple[Gene, ...]]
#: How genes are called in the name of a network where they are not called as they are; "" stands for no word.
WORDS = {"c": "", "kernel": "kernels", "separable": "kinds"}


class Space(ABC, Generic[A]):
    """Architectures that differ from ``base`` in their genes alone: an ordered, countable set."""

    base: A

    @property
    @abstractmethod
    def choices(self) -> Choices:
        """What each gene may be, by name."""

    @property
    def size(self) -> int:
        """How many architectures there are; ``len`` cannot say more than 2^63."""
        return math.prod(map(len, self.choices.values()))

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[A]:
        return map(self.decode, itertools.product(*(range(len(choice)) for choice in self.choices.values())))

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, Architecture) and self._row(architecture) is not None

    def decode(self, row: Sequence[int]) -> A:
        """The architecture of an index row."""
        genes = {name: choice[i] for (name, choice), i in zip(self.choices.items(), row, strict=True)}
        return self.base.with_genes(genes)

    def encode(self, architecture: A) -> Row:
        """The index row of an architecture.

        Raises:
            GancompError: For an architecture outside the space.
        """
        row = self._row(architecture)
        if row is None:
            raise GancompError(
                f"{architecture} is none of the {self.size:,} networks of the space{self.difference(architecture)}."
            )
        return row

    def _row(self, architecture: Architecture) -> Row | None:
        if type(architecture) is not type(self.base):
            return None
        genes = architecture.genes
        if genes.keys() != self.choices.keys() or any(gene not in self._places[name] for name, gene in genes.items()):
            return None
        row = tuple(self._places[name][genes[name]] for name in self.choices)
        return row if self.decode(row) == architecture else None

    @cached_property
    def _places(self) -> dict[str, dict[Gene, int]]:
        return {name: {gene: place for place, gene in enumerate(choice)} for name, choice in self.choices.items()}

    def difference(self, architecture: object) -> str:
        """What keeps an architecture out of the space, as the end of a sentence: the first gene it may not have."""
        if isinstance(architecture, Architecture) and type(architecture) is type(self.base):
            for name, choice in self.choices.items():
                if (gene := architecture.genes.get(name)) not in choice:
                    return f": its {name} is {gene}, and may be {' or '.join(map(str, choice))}"
        return f", which differ from {self.base} in their genes alone"

    def sample(self, rng: random.Random) -> A:
        """One architecture, each gene drawn uniformly."""
        return self.base.with_genes({name: rng.choice(choice) for name, choice in self.choices.items()})

    @property
    def widest(self) -> A:
        """The largest choice everywhere, of names the last one; dense where both kinds may be chosen."""
        return self.base.with_genes({name: max(choice, key=_rank(choice)) for name, choice in self.choices.items()})

    @property
    def narrowest(self) -> A:
        """The smallest choice everywhere, of names the first one; separable where both kinds may be chosen."""
        return self.base.with_genes({name: min(choice, key=_rank(choice)) for name, choice in self.choices.items()})

    # --- names of networks -------------------------------------------------------------------------------------------

    def name(self, architecture: A) -> str:
        """A network as one word for each thing that may be chosen, the channels of a channel config always and first.

        For example ``16_16_24_8_8_8_16_16 depth=6 kernels=3.5.3 kinds=dense.separable.dense resolution=0.75``.
        """
        genes = architecture.genes
        return " ".join(f"{word}{join.join(_text(genes[name]) for name in names)}" for word, join, names in self._words)

    def named(self, name: str) -> A:
        """The network that :meth:`name` called so; raises :class:`GancompError` for any other name."""
        genes = {gene: choice[0] for gene, choice in self.choices.items()}
        words = name.split(" ")
        try:
            for text, (word, join, names) in zip(words, self._words, strict=True):
                if not text.startswith(word):
                    raise ValueError(text)
                rest = text.removeprefix(word)
                for gene, part in zip(names, rest.split(join) if len(names) > 1 else [rest], strict=True):
                    genes[gene] = next(value for value in self.choices[gene] if _text(value) == part)
            return self.base.with_genes(genes)
        except (ValueError, StopIteration, AttributeError) as error:
            raise GancompError(
                f"{name!r} is no network of the space; its networks are called like '{self.name(self.widest)}'."
            ) from error

    @cached_property
    def _words(self) -> list[tuple[str, str, list[str]]]:
        """For each word of a name: how it begins, what joins its genes, and these."""
        kinds: dict[str, list[str]] = {}
        for gene in self.choices:
            kinds.setdefault(re.sub(r"\d+$", "", gene), []).append(gene)
        return [
            (f"{word}=" if (word := WORDS.get(kind, kind)) else "", "." if word else "_", genes)
            for kind, genes in kinds.items()
            if kind == "c" or any(len(self.choices[gene]) > 1 for gene in genes)
        ]


@dataclass(frozen=True)
class GeneSpace(Space[A]):
    """A space of any architecture: what each of its genes may be; genes that are left out keep what ``base`` has."""

    base: A
    genes: Choices

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.genes) - set(self.base.genes)):
            raise GancompError(f"A {self.base.title} has no gene '{unknown[0]}'; it has {', '.join(self.base.genes)}.")

    @cached_property
    def choices(self) -> Choices:  # a property, computed once
        return {name: tuple(self.genes.get(name, (gene,))) for name, gene in self.base.genes.items()}


def _rank(choice: Sequence[Gene]) -> Callable[[Gene], float]:
    """What "larger" means for a gene."""

    def rank(gene: Gene) -> float:
        if isinstance(gene, bool):
            return not gene  # dense ones cost more
        return choice.index(gene) if isinstance(gene, str) else gene

    return rank


def _text(gene: Gene) -> str:
    """A gene in the name of a network."""
    if isinstance(gene, bool):
        return "separable" if gene else "dense"
    return f"{gene:g}" if isinstance(gene, float) else str(gene)
