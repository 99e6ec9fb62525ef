"""Networks of a space as index rows, whose costs are computed by the thousand.

An index row holds for each gene of the space the index of its choice; many rows are a matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gancomp_core.nets import Architecture, Blueprint, Space
from gancomp_core.nets.space import Row

A = TypeVar("A", bound=Architecture)
Rows = NDArray[np.int64]

ENUMERABLE = 200_000
"""Spaces up to this size are costed as a whole, so that what a budget admits is known exactly."""


def costs(space: Space[A], architectures: Iterable[A] | None, pixels: tuple[int, int]) -> pd.DataFrame:
    """``macs``, ``params`` and ``bytes`` (float32) of many networks of a space.

    The numbers are those of :func:`gancomp_core.measure.cost`, some hundred times faster.

    Args:
        space: The space.
        architectures: The networks; None takes all networks of the space in its order.
        pixels: Height and width of the pictures.

    Returns:
        A row for each network, in their order.
    """
    return cost_table(space, every_row(space) if architectures is None else rows_of(space, architectures), pixels)


def every_row(space: Space[A]) -> Rows:
    """The index rows of all networks of a space, in the order in which it iterates: int64 [len(space), genes]."""
    sizes = [len(choice) for choice in space.choices.values()]
    return np.stack(np.unravel_index(np.arange(len(space)), sizes), axis=1).astype(np.int64)


def rows_of(space: Space[A], architectures: Iterable[A]) -> Rows:
    """The index rows of these networks.

    Raises:
        GancompError: For a network outside the space.
    """
    found = [space.encode(architecture) for architecture in architectures]
    return np.array(found, dtype=np.int64).reshape(-1, len(space.choices))


def as_row(row: NDArray[np.int64]) -> Row:
    """One of many rows as a tuple."""
    return tuple(row.tolist())


def blueprints(space: Space[A], rows: Rows, pixels: tuple[int, int]) -> Iterator[tuple[NDArray[np.int64], Blueprint]]:
    """The networks in groups that differ only in their widths: indices into ``rows``, and one blueprint for all.

    The numbers of channels are columns, one number per network.
    """
    if not len(rows):
        return
    widths = set(space.base.width_genes)
    values = {name: np.array(choice) for name, choice in space.choices.items() if name in widths}
    rest = [place for place, name in enumerate(space.choices) if name not in widths]
    _, group = np.unique(rows[:, rest], axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    for places in np.split(order, np.cumsum(np.bincount(group.ravel()))[:-1]):
        columns = {
            name: cast(int, values[name][rows[places, gene]])  # arithmetic is all that becomes of it
            for gene, name in enumerate(space.choices)
            if name in widths
        }
        yield places, space.decode(rows[places[0]]).blueprint(*pixels, columns)


def cost_table(space: Space[A], rows: Rows, pixels: tuple[int, int]) -> pd.DataFrame:
    """:func:`costs` of index rows."""
    found = np.zeros((3, len(rows)), dtype=np.int64)
    for places, plan in blueprints(space, rows, pixels):
        found[:, places] = np.stack(np.broadcast_arrays(plan.cost.macs, plan.cost.params, plan.cost.bytes_fp32))
    return pd.DataFrame(dict(zip(("macs", "params", "bytes"), found, strict=True)))
