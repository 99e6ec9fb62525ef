"""Networks that cost what a search of AGD found: what the search has to beat at equal MACs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import lru_cache

from gancomp_core.measure import cost
from gancomp_core.methods.agd import MacTable, random_architectures
from gancomp_core.nets import AgdArchitecture
from gancomp_core.nets.agd import SUPER_RESOLUTION, TRANSLATION

SIDE = 32  # pixels each way: the MACs of two networks have one ratio at any size
WITHIN = 0.03  # by what share the MACs of a random network may differ
#: The operator of all cells of a uniform network: CycleGAN's blocks, ESRGAN's convolutions.
PLAIN = {TRANSLATION: "residual", SUPER_RESOLUTION: "conv3x3"}


@lru_cache(maxsize=64)
def uniform(found: AgdArchitecture, space: AgdArchitecture) -> AgdArchitecture:
    """The network of one operator and one share of all widths whose MACs are closest to those of another network.

    Cells are residual blocks in translation and convolutions in super-resolution. Every width that the space leaves
    open is the same share of its largest, rounded up or down; layers with the same largest width keep the same width.

    Args:
        found: The network to compare with.
        space: The space that it was chosen from.

    Returns:
        The uniform network.
    """
    macs = cost(found, SIDE, SIDE).macs
    return min(_uniform_networks(space), key=lambda each: abs(cost(each, SIDE, SIDE).macs - macs))


def _uniform_networks(space: AgdArchitecture) -> Iterator[AgdArchitecture]:
    """The networks of one operator and one share of all widths, each width rounded up and down."""
    largest = sorted({layer.widths[-1] for layer in space.layers if len(layer.widths) > 1})
    for width in range(1, largest[-1] + 1):
        shares = [full * width / largest[-1] for full in largest]
        rounded = [sorted({max(1, int(share)), -int(-share // 1)}) for share in shares]
        for widths in itertools.product(*rounded):
            yield _with_widths(space, dict(zip(largest, widths, strict=True)))


def _with_widths(space: AgdArchitecture, widths: Mapping[int, int]) -> AgdArchitecture:
    """The network with the plain operator in its cells and these widths, by the largest width of a layer."""
    genes = dict(space.chosen([0] * len(space.layers), [0] * len(space.layers)).genes)
    for layer in space.layers:
        if len(layer.widths) > 1:
            genes[f"{layer.name}.width"] = widths[layer.widths[-1]]
        if layer.name.startswith("cell"):
            genes[f"{layer.name}.operator"] = PLAIN[space.kind]
    return space.with_genes(genes)


@lru_cache(maxsize=64)
def at_random(found: AgdArchitecture, space: AgdArchitecture, seed: int) -> AgdArchitecture:
    """The first network drawn at random whose MACs differ by at most 3 % from those of another network.

    Args:
        found: The network to compare with.
        space: The space that it was chosen from.
        seed: Seed of the draws.

    Returns:
        The random network.

    Raises:
        GancompError: When no draw has such MACs.
    """
    macs = cost(found, SIDE, SIDE).macs
    bounds = (1 - WITHIN) * macs, (1 + WITHIN) * macs
    return random_architectures(MacTable(space, SIDE, SIDE), *bounds, count=1, seed=seed)[0]
