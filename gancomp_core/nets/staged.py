"""What ResNet and SPADE generators share: widths by a channel config, and the genes that a space may choose."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar, Self, cast

from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.nets.architecture import Architecture, Columns, Gene, StagedGenerator
from gancomp_core.nets.channel_config import ChannelConfig
from gancomp_core.nets.values import as_fraction, check_resolution, checked_kernels, working_multiple

THIRDS = range(3)


class GeneratorArchitecture(Architecture):
    """An architecture whose widths a :class:`ChannelConfig` sets, in three parts of blocks.

    Its genes are ``c0 ... c7`` (the entries of the channel config), ``depth`` (the number of blocks), ``kernel0 ...
    kernel2`` and ``separable0 ... separable2`` (by thirds of the blocks) and ``resolution``.
    """

    #: The field that holds the number of blocks.
    depth_field: ClassVar[str]
    #: Whether each third of the blocks may be separable or dense.
    separable_by_thirds: ClassVar[bool] = False
    channels: ChannelConfig
    separable: bool | tuple[bool, bool, bool]
    kernels: tuple[int, int, int]
    resolution: float

    def _check_common(self) -> None:
        """The fields that all have, in the one spelling that each has."""
        if isinstance(self.channels, str):
            object.__setattr__(self, "channels", ChannelConfig.parse(self.channels))
        if not isinstance(self.channels, ChannelConfig):
            raise GancompError(f"channels is {self.channels!r}; it must be a ChannelConfig or its string.")
        if isinstance(self.separable, list | tuple):  # one architecture has one spelling
            thirds = tuple(self.separable)
            alike = len(thirds) == 3 and all(isinstance(third, bool) and third == thirds[0] for third in thirds)
            object.__setattr__(self, "separable", thirds[0] if alike else thirds)
        object.__setattr__(self, "kernels", checked_kernels(self.kernels))
        check_resolution(self.resolution)

    @property
    def full_multiple(self) -> int:
        """What sizes are multiples of at full resolution."""
        raise NotImplementedError

    @property
    def multiple(self) -> int:
        return working_multiple(self.full_multiple, self.ratio)

    @property
    def ratio(self) -> Fraction:
        """At which share of the height and width of what goes in it works."""
        return as_fraction(self.scale) * as_fraction(self.resolution)

    @property
    def genes(self) -> dict[str, Gene]:
        separable = (self.separable,) * 3 if isinstance(self.separable, bool) else self.separable
        found: dict[str, Gene] = {f"c{i}": entry for i, entry in enumerate(self.channels.entries)}
        found["depth"] = getattr(self, self.depth_field)
        found |= {f"kernel{i}": self.kernels[i] for i in THIRDS}
        found |= {f"separable{i}": separable[i] for i in THIRDS}
        return found | {"resolution": self.resolution}

    @property
    def width_genes(self) -> tuple[str, ...]:
        return tuple(f"c{i}" for i in range(len(self.channels.entries)))

    def with_genes(self, genes: Mapping[str, Gene]) -> Self:
        chosen: Json = {
            "channels": ChannelConfig(tuple(cast(int, genes[name]) for name in self.width_genes)),
            self.depth_field: genes["depth"],
            "kernels": tuple(genes[f"kernel{i}"] for i in THIRDS),
            "separable": tuple(genes[f"separable{i}"] for i in THIRDS),
            "resolution": genes["resolution"],
        }
        made: Self = replace(cast(Any, self), **chosen)
        return made

    def check_elastic(self) -> None:
        """Raise :class:`GancompError` for what no elastic generator can be based on."""

    def is_separable(self, stage: str) -> bool:
        """Whether the convolutions of a block are separable, where that may be chosen."""
        return False

    @abstractmethod
    def network(self) -> StagedGenerator: ...

    def entries(self, columns: Columns) -> tuple[int, ...]:
        """The entries of the channel config, or the columns that stand for them."""
        return tuple(columns.get(f"c{i}", entry) for i, entry in enumerate(self.channels.entries))

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the network works on a picture; raises for sizes that it cannot take."""
        self.check_size(height, width)
        return int(height * self.ratio), int(width * self.ratio)

    @property
    def note(self) -> str:
        """What the keys of its stages end with in a latency table."""
        return "" if self.ratio == 1 else f" @{float(self.ratio):g}"
