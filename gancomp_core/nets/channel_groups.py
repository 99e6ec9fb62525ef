"""Which tensors of a generator share a channel: for sorting channels by importance, and any other reordering.

A channel is written by a convolution, scaled by a norm, read by the next layers. Reordering it means reordering all of
these; then the network's function stays the same. The blueprint of a network names the channels that layers share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.architecture import StagedGenerator

#: Tensors, each with the dimension along which the channels lie.
Axes = tuple[tuple[Tensor, int], ...]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that exist once, wherever they appear.

    Attributes:
        name: Their name in the blueprint.
        carried: Tensors that make or scale the channels, each with the dimension of the channels.
        read: Weights of the layers that read the channels, likewise.
    """

    name: str
    carried: Axes
    read: Axes

    @property
    def importance(self) -> Tensor:
        """L1 norm of the weights by which the next layers multiply each channel, float [channels].

        Source: Once-for-All.
        """
        return torch.stack([_l1_along(weight, dim) for weight, dim in self.read]).sum(0)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Put channel ``order[i]`` at place i, in every tensor."""
        for tensor, dim in (*self.carried, *self.read):
            tensor.copy_(tensor.index_select(dim, order))


def sort_channels(generator: nn.Module) -> None:
    """Move the most important channels of a ResNet or SPADE generator to the front, in place.

    The network's function stays the same. Channels are important if the next layers multiply them with large weights.
    Networks that keep the leading channels then start from the best ones.
    """
    for group in channel_groups(generator):
        group.reorder(group.importance.argsort(descending=True, stable=True))


def channel_groups(generator: nn.Module) -> list[ChannelGroup]:
    """The groups of channels whose number may differ between networks of a space, as the blueprint names them.

    Raises:
        GancompError: For a network without any.
    """
    carried: dict[str, list[tuple[Tensor, int]]] = {}
    read: dict[str, list[tuple[Tensor, int]]] = {}
    if isinstance(generator, StagedGenerator):
        a, tensors = generator.architecture, generator.state_dict(keep_vars=True)
        for layer in a.blueprint(a.smallest, a.smallest).layers:
            for tensor, axes in layer.axes.items():
                for axis in axes:
                    groups = read if axis.read else carried
                    groups.setdefault(axis.group, []).append((tensors[f"{layer.name}.{tensor}"], axis.dim))
    if not carried:
        raise GancompError(
            f"The channels of a {type(generator).__name__} cannot be sorted; give a ResNet or a SPADE generator, "
            "before an elastic one begins as it."
        )
    return [ChannelGroup(name, tuple(tensors), tuple(read[name])) for name, tensors in carried.items()]


def _l1_along(weight: Tensor, dim: int) -> Tensor:
    return weight.detach().abs().sum([d for d in range(weight.ndim) if d != dim])
