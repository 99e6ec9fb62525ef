"""Channel configurations: one short string with the width of every layer of a generator.

The grammar is that of GAN Compression (Li et al., CVPR 2020, arXiv 2003.08936): ``c0_c1_c2_c3_c4_c5_c6_c7``.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from gancomp_core.errors import GancompError

GRAMMAR = (
    "a channel config is eight numbers c0_c1_c2_c3_c4_c5_c6_c7 (stem c0, downsampling 2*c1 and 4*c2, "
    "residual blocks 4*c3, 4*c4, 4*c5 by thirds, upsampling 2*c6 and c7) or six c0_c1_c2_c3_c4_c5 "
    "(c3 for all blocks, upsampling 2*c4 and c5), every resulting channel count a multiple of 8 "
    "and every entry between 1 and 1024, for example 32_32_32_32_32_32_32_32"
)
FACTORS = {8: (1, 2, 4, 4, 4, 4, 2, 1), 6: (1, 2, 4, 4, 2, 1)}
LARGEST_ENTRY = 1024


@dataclass(frozen=True)
class ChannelConfig:
    """The widths of a generator, in units of the paper's ``ngf``.

    Attributes:
        entries: The six or eight numbers of the string.
        legacy: The block rule of the paper's own six-entry models: in each group of three residual blocks the first has
            inner width ``4*c3``, the other two ``4*c2``.

    Raises:
        GancompError: For anything outside the grammar.
    """

    entries: tuple[int, ...]
    legacy: bool = False

    def __post_init__(self) -> None:
        _validate(self.entries, self.legacy)

    @classmethod
    def parse(cls, text: str, legacy: bool = False) -> ChannelConfig:
        """Read a string such as ``"32_32_40_48_16_32"``."""
        parts = text.strip().split("_") if isinstance(text, str) else [""]
        if not all(part.isascii() and part.isdecimal() and len(part) < 6 for part in parts):
            raise GancompError(f"The channel config {text!r} is not a row of whole numbers joined by '_': {GRAMMAR}.")
        return cls(tuple(int(part) for part in parts), legacy)

    @classmethod
    def uniform(cls, width: int) -> ChannelConfig:
        """The same entry everywhere: ``uniform(64)`` is the published ResNet generator with ngf 64."""
        return cls((width,) * 8)

    def __str__(self) -> str:
        return "_".join(map(str, self.entries))

    @property
    def ends(self) -> tuple[int, int, int, int, int]:
        """Channels of stem, first and second downsampling, first and second upsampling layer."""
        return end_widths(self.entries)

    def inner_widths(self, blocks: int) -> tuple[int, ...]:
        """Inner channels of each residual block (a block's output always has ``4*c2`` channels)."""
        return inner_widths(self.entries, blocks, self.legacy)


def end_widths(c: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """:attr:`ChannelConfig.ends` of entries that may be columns of numbers."""
    return c[0], 2 * c[1], 4 * c[2], 2 * c[-2], c[-1]


def inner_widths(c: tuple[int, ...], blocks: int, legacy: bool = False) -> tuple[int, ...]:
    """:meth:`ChannelConfig.inner_widths` of entries that may be columns of numbers."""
    if legacy:
        return tuple(4 * (c[3] if block % 3 == 0 else c[2]) for block in range(blocks))
    return tuple([4 * c[3 if len(c) == 6 else 3 + third] for third in _thirds(blocks)])


def third_of(block: int, blocks: int) -> int:
    """The third (0, 1 or 2) of ``blocks`` residual blocks to which the block with this index belongs."""
    return 3 * block // blocks


def kept_blocks(blocks: int, of: int) -> list[int]:
    """The residual blocks, of ``of``, that a network with ``blocks`` of them has: the first ones of each third."""
    thirds, full = _thirds(blocks), _thirds(of)
    return [full.index(third) + block - thirds.index(third) for block, third in enumerate(thirds)]


@functools.cache
def _thirds(blocks: int) -> tuple[int, ...]:
    return tuple(third_of(block, blocks) for block in range(blocks))


def _validate(entries: tuple[int, ...], legacy: bool) -> None:
    name = "_".join(map(str, entries))
    if len(entries) not in FACTORS:
        raise GancompError(f"The channel config {name!r} has {len(entries)} numbers: {GRAMMAR}.")
    if legacy and len(entries) != 6:
        raise GancompError(
            f"The legacy block rule belongs to six-entry channel configs, and {name!r} has eight: {GRAMMAR}."
        )
    for position, (entry, factor) in enumerate(zip(entries, FACTORS[len(entries)], strict=True)):
        if not isinstance(entry, int) or not 1 <= entry <= LARGEST_ENTRY or entry * factor % 8:
            raise GancompError(
                f"Entry c{position} of the channel config {name!r} is {entry}, "
                f"which makes {entry * factor} channels: {GRAMMAR}."
            )


@dataclass(frozen=True)
class SearchSpace:
    """All channel configurations whose entry ``i`` is one of ``choices[i]``; an ordered, countable set."""

    choices: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return math.prod(map(len, self.choices))

    def __iter__(self) -> Iterator[ChannelConfig]:
        return (ChannelConfig(entries) for entries in itertools.product(*self.choices))

    def __contains__(self, config: object) -> bool:
        if not isinstance(config, ChannelConfig) or len(config.entries) != len(self.choices):
            return False
        return all(entry in choice for entry, choice in zip(config.entries, self.choices, strict=True))

    def sample(self, rng: random.Random) -> ChannelConfig:
        """One configuration, each entry drawn uniformly."""
        return ChannelConfig(tuple(rng.choice(choice) for choice in self.choices))

    @property
    def widest(self) -> ChannelConfig:
        return ChannelConfig(tuple(map(max, self.choices)))

    @property
    def narrowest(self) -> ChannelConfig:
        return ChannelConfig(tuple(map(min, self.choices)))


def _space(*groups: tuple[int, tuple[int, ...]]) -> SearchSpace:
    return SearchSpace(tuple(choice for times, choice in groups for _ in range(times)))


#: The published search spaces (GAN Compression, section 3.3 and its released configurations), and the course's own.
SEARCH_SPACES = {
    "course/channels-16": SearchSpace(((16, 8), *((16, 12, 8),) * 2, *((16, 12, 8, 4),) * 3, (16, 12, 8), (16, 8))),
    "resnet/channels-48": _space((2, (48, 32)), (4, (48, 40, 32)), (2, (48, 32, 24, 16))),
    "resnet/channels-32": _space((8, (32, 24, 16))),
    "resnet/channels-64-cycleGAN": _space((8, (64, 48, 32, 24, 16))),
    "resnet/channels-64-pix2pix": _space((8, (64, 56, 48, 40, 32, 24, 16))),
    "spade/channels-48": _space((5, (48, 40, 32)), (3, (48, 40, 32, 24))),
    "spade/channels-64": _space((5, (64, 48, 40, 32)), (3, (64, 48, 40, 32, 24))),
}


def search_space(name: str) -> SearchSpace:
    """A published search space.

    Raises:
        GancompError: For an unknown name, with the list of names.
    """
    if name not in [*SEARCH_SPACES]:
        raise GancompError(f"There is no search space {name!r}; choose one of {', '.join(SEARCH_SPACES)}.")
    return SEARCH_SPACES[name]
