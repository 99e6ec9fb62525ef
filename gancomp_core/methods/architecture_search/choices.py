"""Networks of a space as rows of numbers, which can be costed by the thousand.

A *choice* is a row of 16 whole numbers: which of its values each gene of the space takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gancomp_core.errors import GancompError
from gancomp_core.measure import cost
from gancomp_core.nets import ArchitectureSpace, ChannelConfig, GeneratorArchitecture

Choice = tuple[int, ...]
Choices = NDArray[np.int64]

ENUMERABLE = 200_000
"""Spaces up to this size are costed as a whole, so that what a budget admits is known exactly."""
CHANNELS = 8
"""The first genes are the entries of the channel config."""


def costs(
    space: ArchitectureSpace, architectures: Iterable[GeneratorArchitecture] | None, pixels: tuple[int, int]
) -> pd.DataFrame:
    """``macs``, ``params`` and ``bytes`` (float32) of many networks of a space, a row each, in their order.

    The numbers are those of :func:`gancomp_core.measure.cost` at ``pixels`` (height, width), some hundred times faster.
    None stands for all networks of the space in its order.
    """
    choices = every_choice(space) if architectures is None else choices_of(space, architectures)
    return cost_table(space, choices, pixels)


def every_choice(space: ArchitectureSpace) -> Choices:
    """The choices of all networks of a space, in the order in which it iterates: int64 [len(space), 16]."""
    sizes = [len(choice) for choice in space.genes.values()]
    return np.stack(np.unravel_index(np.arange(len(space)), sizes), axis=1).astype(np.int64)


def choices_of(space: ArchitectureSpace, architectures: Iterable[GeneratorArchitecture]) -> Choices:
    """The choices of these networks; raises :class:`GancompError` for one outside the space."""
    places = [{value: place for place, value in enumerate(choice)} for choice in space.genes.values()]
    rows = []
    for architecture in architectures:
        try:
            rows.append([places[i][gene] for i, gene in enumerate(space.read(architecture))])
        except (KeyError, AttributeError) as error:
            raise GancompError(
                f"{architecture} is none of the {len(space):,} networks of the space"
                f"{space.first_difference(architecture)}."
            ) from error
    return np.array(rows, dtype=np.int64).reshape(-1, len(places))


def express(space: ArchitectureSpace, choice: Sequence[int]) -> GeneratorArchitecture:
    """The network that a choice stands for."""
    return space.express(tuple(values[place] for values, place in zip(space.genes.values(), choice, strict=True)))


def structures(space: ArchitectureSpace, choices: Choices) -> list[tuple[NDArray[np.int64], GeneratorArchitecture]]:
    """The networks in groups that differ in nothing but their channels: rows, and one architecture for all of them.

    The entries of its channel config are columns, one number a network: a formula that is arithmetic of channels gives
    a column for such an architecture.
    """
    if not len(choices):
        return []
    found, group = np.unique(choices[:, CHANNELS:], axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(group.ravel(), minlength=len(found)))[:-1]
    values = [np.array(choice) for choice in space.channels.choices]
    groups = []
    for rest, rows in zip(found, np.split(order, ends), strict=True):
        architecture = express(space, (*choices[rows[0], :CHANNELS], *rest))
        columns = tuple(values[i][choices[rows, i]] for i in range(CHANNELS))
        groups.append((rows, replace(architecture, channels=_channels(columns))))
    return groups


def _channels(columns: tuple[Any, ...]) -> ChannelConfig:
    """A channel config whose entries are columns; each number of them was checked with the space."""
    config = object.__new__(ChannelConfig)
    object.__setattr__(config, "entries", columns)
    object.__setattr__(config, "legacy", False)
    return config


def cost_table(space: ArchitectureSpace, choices: Choices, pixels: tuple[int, int]) -> pd.DataFrame:
    """:func:`costs` of choices."""
    found = np.zeros((3, len(choices)), dtype=np.int64)
    for rows, architecture in structures(space, choices):
        price = cost(architecture, *pixels)
        found[0, rows], found[1, rows], found[2, rows] = price.macs, price.params, price.bytes_fp32
    return pd.DataFrame(dict(zip(("macs", "params", "bytes"), found, strict=True)))
