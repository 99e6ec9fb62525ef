"""A row as our :class:`ResnetGenerator`, where one of them is the same function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gancomp_core.importers.assumptions import Value
from gancomp_core.importers.layouts.row_reading import Reading, Step
from gancomp_core.nets.channel_config import LARGEST_ENTRY, ChannelConfig, third_of
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator

#: What our network does and no tensor of the file shows.
PUBLISHED: dict[str, Value] = {
    "padding": "reflect",
    "padding_ends": "reflect",
    "activation": "relu",
    "last": "tanh",
    "norm": "instance",
    "norm_at_test": "picture",
    "residual": False,
    "eps": 1e-5,
}


def as_ours(reading: Reading, assumed: Mapping[str, Value]) -> ResnetGenerator | None:
    """Our network with the weights of this row.

    A convolution without a bias gets a bias of zero, and a norm without scale and shift beside others with them gets
    ones and zeros.

    Args:
        reading: The row.
        assumed: What holds for it, by field of :class:`Assumptions`.

    Returns:
        The network; None where none of ours is the same function.
    """
    if any(PUBLISHED.get(name, value) != value for name, value in assumed.items()):
        return None
    if len(reading.steps) < 7:
        return None
    stem, down1, down2, *blocks, up1, up2, tail = reading.steps
    if not _same_layers(reading, [down1, down2], blocks, [up1, up2]):
        return None
    channels = _channel_config(
        [stem.width, down1.width, down2.width], [block.inside[0].width for block in blocks], [up1.width, up2.width]
    )
    if channels is None:
        return None
    affine = any(step.leg.norm and "weight" in step.leg.norm.tensors for step in reading.all_steps())
    architecture = ResnetArchitecture(
        channels,
        blocks=len(blocks),
        separable=blocks[0].inside[0].does == "separable",
        in_channels=reading.in_channels,
        out_channels=tail.width,
        affine=affine,
    )
    with torch.device("meta"):
        network = ResnetGenerator(architecture)
    theirs = dict(_by_our_names(reading.steps))
    state = {}
    for name, ours in network.state_dict().items():
        missing = torch.full(ours.shape, float(name.endswith("weight")))
        state[name] = theirs[name].contiguous().clone() if name in theirs else missing
    network.load_state_dict(state, assign=True)
    return network


def _same_layers(reading: Reading, downs: list[Step], blocks: list[Step], ups: list[Step]) -> bool:
    ends = (reading.steps[0], reading.steps[-1])
    kernels = [(step, 7) for step in ends] + [(step, 3) for step in (*downs, *ups)]
    kernels += [(inner, 3) for block in blocks for inner in block.inside]
    return (
        reading.halvings == 2
        and all(step.does == "block" for step in blocks)
        and 1 <= len(blocks) <= 32
        and all(step.does == "conv" and step.pads and not step.shuffle and not step.resize for step in ends)
        and all(step.does == "conv" and step.stride == 2 and not step.pads for step in downs)
        and all(step.does == "transposed" for step in ups)
        and all(block.pads and all(s.does == blocks[0].inside[0].does for s in block.inside) for block in blocks)
        and all(_kernel(step) == (side, side) and step.groups == 1 for step, side in kernels)
        and all(step.leg.prelu is None for step in reading.all_steps())
        and all(step.active and (step.hidden or step.leg.norm) for step in (ends[0], *downs, *ups))
        and all(s.hidden or s.leg.norm for block in blocks for s in block.inside)
        and all(block.inside[0].active for block in blocks)
        and ends[1].leg.norm is None
    )


def _kernel(step: Step) -> tuple[int, ...]:
    return tuple(step.conv.tensors["conv.0.weight" if step.does == "separable" else "weight"].shape[2:])


def _by_our_names(steps: list[Step]) -> Iterator[tuple[str, Tensor]]:
    stem, down1, down2, *blocks, up1, up2, tail = steps
    named = [("stem", stem), ("down1", down1), ("down2", down2), ("up1", up1), ("up2", up2), ("tail", tail)]
    places = [(f"stages.{name}.0", f"stages.{name}.1", step) for name, step in named]
    for number, block in enumerate(blocks, 1):
        body = f"stages.block{number}.body"
        places += [(f"{body}.0", f"{body}.1", block.inside[0]), (f"{body}.3", f"{body}.4", block.inside[1])]
    for conv, norm, step in places:
        for name, tensor in step.conv.tensors.items():
            yield f"{conv}.{name.removeprefix('conv.')}", tensor
        for name, tensor in (step.leg.norm.tensors if step.leg.norm else {}).items():
            yield f"{norm}.{name}", tensor


def _channel_config(down: list[int], inner: list[int], up: list[int]) -> ChannelConfig | None:
    """Eight entries, or six under the legacy rule, whichever gives the blocks these inner widths."""
    widths = [*zip(down, (1, 2, 4), strict=True), *((w, 4) for w in inner), *zip(up, (2, 1), strict=True)]
    if any(width % 8 or width > factor * LARGEST_ENTRY for width, factor in widths):
        return None
    ends, entries, tops = [down[0], down[1] // 2, down[2] // 4], [w // 4 for w in inner], [up[0] // 2, up[1]]
    blocks = len(inner)
    thirds = {third_of(block, blocks): entries[block] for block in reversed(range(blocks))}  # first of each third
    thirds = {third: thirds.get(third, thirds[max(thirds)]) for third in range(3)}  # fewer than three blocks
    candidates = [
        ChannelConfig((*ends, *thirds.values(), *tops)),
        ChannelConfig((*ends, entries[0], *tops), legacy=True),
    ]
    return next((config for config in candidates if config.inner_widths(blocks) == tuple(inner)), None)
