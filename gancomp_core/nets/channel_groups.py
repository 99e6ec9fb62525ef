"""Which tensors of a generator share a channel: sorting channels by importance, and any other change of their order.

A channel is written by a convolution, scaled by a norm, read by the next layers. Whoever reorders it has to reorder all
of these; then the network's function stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.blocks import ResidualBlock
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator
from gancomp_core.nets.spade import Spade, SpadeArchitecture, SpadeBlock, SpadeGenerator

#: Tensors, each with the dimension along which the channels lie.
Axes = tuple[tuple[Tensor, int], ...]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that exist once, wherever they appear.

    ``carried`` are the tensors that make or scale the channels, ``read`` the weights of the layers that take them in,
    each with the dimension along which the channels lie.
    """

    name: str
    carried: Axes
    read: Axes

    @property
    def importance(self) -> Tensor:
        """L1 norm of what the next layers multiply each channel with, float [channels]. Source: Once-for-All."""
        return torch.stack([_l1_along(weight, dim) for weight, dim in self.read]).sum(0)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Put channel ``order[i]`` at place i, in every tensor."""
        for tensor, dim in (*self.carried, *self.read):
            tensor.copy_(tensor.index_select(dim, order))


def sort_channels(generator: nn.Module) -> None:
    """Bring the most important channels of a ResNet or SPADE generator to the front, in place; its function stays.

    Important is what the next layers multiply with large weights. Networks that keep the leading channels then start
    from the best ones.
    """
    for group in channel_groups(generator):
        group.reorder(group.importance.argsort(descending=True, stable=True))


def channel_groups(generator: nn.Module) -> list[ChannelGroup]:
    """The groups of channels whose number the channel config of a ResNet or SPADE generator sets.

    Raises :class:`GancompError` for a network of another kind.
    """
    if isinstance(generator, ResnetGenerator) and not generator.architecture.separable_ends:
        return list(_resnet_groups(generator))
    if isinstance(generator, SpadeGenerator):
        return list(_spade_groups(generator))
    raise GancompError(
        f"The channels of a {type(generator).__name__} cannot be sorted; give a ResNet generator with dense ends "
        "or a SPADE generator, before an elastic one begins as it."
    )


def group_sizes(architecture: ResnetArchitecture | SpadeArchitecture) -> dict[str, int]:
    """How many channels each group of :func:`channel_groups` has in a generator of this architecture."""
    if isinstance(architecture, ResnetArchitecture):
        inner = architecture.channels.inner_widths(architecture.blocks)
        blocks = {f"block{i + 1}": width for i, width in enumerate(inner)}
        return dict(zip(("stem", "down1", "down2", "up1", "up2"), architecture.channels.ends, strict=True)) | blocks
    sizes, before = {}, architecture.first_width
    for shape in architecture.blocks:
        sizes[f"{shape.name}.inner"] = shape.inner
        norms = ("norm_0", "norm_1", "norm_s") if shape.shortcut else ("norm_0", "norm_1")
        sizes |= {f"{shape.name}.{norm}.hidden": shape.hidden for norm in norms}
        if shape.shortcut:
            sizes[f"before {shape.name}"], before = before, shape.outputs
    return sizes | {"before tail": before}


def _l1_along(weight: Tensor, dim: int) -> Tensor:
    return weight.detach().abs().sum([d for d in range(weight.ndim) if d != dim])


def _written(*layers: nn.Module) -> Axes:
    """What layers put out: weights, biases, statistics along the first dimension (transposed weights: the second)."""
    found: list[tuple[Tensor, int]] = []
    for layer in layers:
        tensors = dict(layer.named_parameters()) | dict(layer.named_buffers())
        for name, tensor in tensors.items():
            if tensor.ndim:  # BatchNorm counts its batches
                found.append((tensor, int(isinstance(layer, nn.ConvTranspose2d) and name == "weight")))
    return tuple(found)


def _taken(*layers: Any) -> Axes:
    """The weights of layers along what they take in."""
    return tuple((layer.weight, int(not isinstance(layer, nn.ConvTranspose2d))) for layer in layers)


def _resnet_groups(generator: ResnetGenerator) -> Iterator[ChannelGroup]:
    stages: dict[str, Any] = dict(generator.stages.named_children())
    blocks = {name: stage for name, stage in stages.items() if isinstance(stage, ResidualBlock)}
    ends = {name: list(stage) for name, stage in stages.items() if name not in blocks}
    stem, down1, down2, up1, up2, tail = (ends[name] for name in ("stem", "down1", "down2", "up1", "up2", "tail"))
    for name, stage, reader in (("stem", stem, down1), ("down1", down1, down2), ("up1", up1, up2), ("up2", up2, tail)):
        yield ChannelGroup(name, _written(*stage[:2]), _taken(reader[0]))
    carried, read = _written(*down2[:2]), _taken(up1[0])
    for name, block in blocks.items():
        first, norm, _, second, last_norm = block.body
        yield ChannelGroup(name, _written(_exit(first), norm) + _passed(second), _taken(_exit(second)))
        carried += _written(_exit(second), last_norm) + _passed(first)
        read += _taken(_exit(first))
    yield ChannelGroup("down2", carried, read)


def _exit(convolution: nn.Module) -> nn.Module:
    """The layer of a dense or separable convolution that mixes channels: the only one, or the pointwise one."""
    return list(convolution)[-1] if isinstance(convolution, nn.Sequential) else convolution


def _passed(convolution: nn.Module) -> Axes:
    """What the input channels of a separable convolution pass through one by one before they are mixed."""
    return _written(*list(convolution)[:-1]) if isinstance(convolution, nn.Sequential) else ()


def _spade_groups(generator: SpadeGenerator) -> Iterator[ChannelGroup]:
    stages: Any = generator.stages
    blocks = [stages[shape.name] for shape in generator.shapes]
    for shape, block in zip(generator.shapes, blocks, strict=True):
        for name in ("norm_0", "norm_1", *(["norm_s"] if block.shortcut else [])):
            yield _hidden_group(f"{shape.name}.{name}.hidden", getattr(block, name))
        inner = _written(block.conv_0) + _modulated(block.norm_1)
        yield ChannelGroup(f"{shape.name}.inner", inner, _taken(block.conv_1))
    # the first width runs through head and middles, which add to it
    read: Axes = ()
    carried = _written(stages["fc"])
    for shape, block in zip(generator.shapes, blocks, strict=True):
        carried += _arriving(block)
        read += _taken(block.conv_0, *([block.conv_s] if block.shortcut else []))
        if block.shortcut:  # the sum gets new channels
            yield ChannelGroup(f"before {shape.name}", carried, read)
            carried, read = _written(block.conv_s), ()
        carried += _written(block.conv_1)
    yield ChannelGroup("before tail", carried, _taken(stages["tail"][1]))


def _arriving(block: SpadeBlock) -> Axes:
    """What scales the channels that enter a block."""
    return _modulated(block.norm_0) + (_modulated(block.norm_s) if block.shortcut else ())


def _modulated(spade: Spade) -> Axes:
    """What scales the channels that a SPADE layer normalises."""
    return _written(spade.norm, _exit(spade.gamma), _exit(spade.beta))


def _hidden_group(name: str, spade: Spade) -> ChannelGroup:
    carried = _written(spade.shared) + _passed(spade.gamma) + _passed(spade.beta)
    return ChannelGroup(name, carried, _taken(_exit(spade.gamma), _exit(spade.beta)))
