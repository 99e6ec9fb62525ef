"""Spaces of architectures: what a search may choose, and what an elastic network holds."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from gancomp_core.errors import GancompError
from gancomp_core.nets.channel_config import ChannelConfig, SearchSpace
from gancomp_core.nets.resnet import ResnetArchitecture
from gancomp_core.nets.spade import SpadeArchitecture

GeneratorArchitecture = ResnetArchitecture | SpadeArchitecture
Genes = tuple[Any, ...]


@dataclass(frozen=True)
class ArchitectureSpace:
    """All architectures that differ from ``base`` in what may be chosen; an ordered, countable set.

    ``channels`` gives the choices for each entry of the channel config (:func:`gancomp_core.nets.search_space`);
    ``depths`` those for the number of blocks (of a ResNet generator) or middle blocks (of a SPADE generator),
    ``kernels`` those for the size of the kernels in each third of the blocks, ``separable`` whether each third may be
    dense (False), separable (True) or either, ``resolutions`` the shares of the picture's size. An empty choice
    keeps what ``base`` has. A network of the space is a point: one gene for each thing that can be chosen.
    """

    base: GeneratorArchitecture
    channels: SearchSpace
    depths: tuple[int, ...] = ()
    kernels: tuple[int, ...] = ()
    separable: tuple[bool, ...] = ()
    resolutions: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("depths", "kernels", "separable", "resolutions"):  # what is named twice is one choice
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        channels = tuple(tuple(dict.fromkeys(choice)) for choice in self.channels.choices)
        object.__setattr__(self, "channels", SearchSpace(channels))
        if len(channels) != 8:
            raise GancompError(
                f"A space of architectures has choices for eight entries of the channel config, not {len(channels)}; "
                "repeat c3 for c4 and c5 to write a space of six entries."
            )
        if () in channels:
            raise GancompError(f"Entry c{channels.index(())} has nothing to choose from; give it at least one number.")
        if isinstance(self.base, ResnetArchitecture) and self.base.separable_ends:
            raise GancompError("Elastic generators have dense ends; leave separable_ends out of the base.")
        if self.separable and isinstance(self.base, SpadeArchitecture):
            raise GancompError("A SPADE generator is dense or separable as a whole; leave separable out of its space.")
        first = tuple(choice[0] for choice in self.genes.values())
        for place, choice in enumerate(self.genes.values()):  # raises for what no architecture may have
            for gene in choice:
                self.express((*first[:place], gene, *first[place + 1 :]))

    @cached_property
    def genes(self) -> dict[str, tuple[Any, ...]]:
        """The choices by name of gene: c0 ... c7, depth, kernel0 ... kernel2, separable0 ..., resolution."""
        found: dict[str, tuple[Any, ...]] = {f"c{i}": choice for i, choice in enumerate(self.channels.choices)}
        found["depth"] = self.depths or (_depth(self.base),)
        base_kernels, base_separable = self.base.kernels, _thirds(self.base.separable)
        found |= {f"kernel{i}": self.kernels or (base_kernels[i],) for i in range(3)}
        found |= {f"separable{i}": self.separable or (base_separable[i],) for i in range(3)}
        found["resolution"] = self.resolutions or (self.base.resolution,)
        return found

    @property
    def in_channels(self) -> int:
        """Of the pictures or maps that every network of the space takes."""
        return self.base.in_channels

    def __len__(self) -> int:
        return math.prod(len(choice) for choice in self.genes.values())

    def __iter__(self) -> Iterator[GeneratorArchitecture]:
        return (self.express(genes) for genes in itertools.product(*self.genes.values()))

    def __contains__(self, architecture: object) -> bool:
        if type(architecture) is not type(self.base):
            return False
        assert isinstance(architecture, ResnetArchitecture | SpadeArchitecture)
        genes = self.read(architecture)
        within = all(gene in choice for gene, choice in zip(genes, self.genes.values(), strict=True))
        return within and self.express(genes) == architecture

    def express(self, genes: Genes) -> GeneratorArchitecture:
        """The architecture with these genes, in the order of :attr:`genes`."""
        channels, depth, kernels, separable, resolution = genes[:8], genes[8], genes[9:12], genes[12:15], genes[15]
        chosen: dict[str, Any] = {"channels": ChannelConfig(channels), "kernels": kernels, "resolution": resolution}
        if isinstance(self.base, ResnetArchitecture):
            return replace(self.base, blocks=depth, separable=separable, **chosen)
        return replace(self.base, middles=depth, **chosen)

    def read(self, architecture: GeneratorArchitecture) -> Genes:
        """The genes of an architecture, whether or not they lie in the space."""
        a = architecture
        return (*a.channels.entries, _depth(a), *a.kernels, *_thirds(a.separable), a.resolution)

    def first_difference(self, architecture: object) -> str:
        """What keeps an architecture out of the space, as the end of a sentence: the first gene it may not have."""
        if type(architecture) is type(self.base):
            genes = self.read(architecture)  # type: ignore[arg-type]
            for gene, (name, choice) in zip(genes, self.genes.items(), strict=True):
                if gene not in choice:
                    return f": its {name} is {gene}, and may be {' or '.join(map(str, choice))}"
        return f", which differ from {self.base} in their genes alone"

    def sample(self, rng: random.Random) -> GeneratorArchitecture:
        """One architecture, each gene drawn uniformly."""
        return self.express(tuple(rng.choice(choice) for choice in self.genes.values()))

    @property
    def widest(self) -> GeneratorArchitecture:
        """The largest choice everywhere; dense where both kinds may be chosen."""
        return self.express(tuple(_largest(name, choice) for name, choice in self.genes.items()))

    @property
    def narrowest(self) -> GeneratorArchitecture:
        """The smallest choice everywhere; separable where both kinds may be chosen."""
        return self.express(
            tuple(max(choice) if name.startswith("separable") else min(choice) for name, choice in self.genes.items())
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        choices = {
            field.name: list(getattr(self, field.name)) for field in fields(self)[2:] if getattr(self, field.name)
        }
        return {
            "family": "elastic",
            "base": self.base.as_dict(),
            "channels": [list(c) for c in self.channels.choices],
            **choices,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ArchitectureSpace:
        kind = SpadeArchitecture if values["base"].get("family") == "spade" else ResnetArchitecture
        rest = {name: tuple(choice) for name, choice in values.items() if name not in ("base", "channels", "family")}
        channels = SearchSpace(tuple(tuple(choice) for choice in values["channels"]))
        return cls(kind.from_dict(values["base"]), channels, **rest)


def _depth(architecture: GeneratorArchitecture) -> int:
    return architecture.blocks if isinstance(architecture, ResnetArchitecture) else architecture.middles


def _thirds(separable: bool | tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
    return (separable,) * 3 if isinstance(separable, bool) else separable


def _largest(name: str, choice: tuple[Any, ...]) -> Any:
    return min(choice) if name.startswith("separable") else max(choice)
