"""SPADE generators of GauGAN by NVlabs' names, and those of GAN Compression, whose SPADE layers may be separable."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.importers.assumptions import Assumptions, Value
from gancomp_core.importers.layouts.base import Built
from gancomp_core.importers.layouts.reading import Reading
from gancomp_core.nets.architecture import check_picture
from gancomp_core.nets.blocks import OnePixelInstanceNorm
from gancomp_core.nets.channel_config import FACTORS, LARGEST_ENTRY, ChannelConfig
from gancomp_core.nets.ranges import OtherRange
from gancomp_core.nets.spade import SLOPE, SpadeArchitecture, SpadeGenerator

FIXED: dict[str, Value] = {
    **{"padding": "zeros", "activation": "leaky_relu", "last": "tanh", "residual": False, "upsample": "nearest"},
    "eps": 1e-5,
}
BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
LAST = "up_4"  # of the generators that NVlabs made with num_upsampling_layers=most
MULTIPLES = (16, 16, 16, 16, 8, 4, 2, 1)  # of the entries of a channel config
CITYSCAPES = 36  # label channels


class SpadeBlocks:
    """SPADE generators for labels of zeros and ones.

    No tensor shows how small the first map is. NVlabs' default is 32 times smaller than the picture; those of
    Cityscapes and of GAN Compression begin 64 times smaller.
    """

    name = "SPADE generator"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return {"fc.weight", "conv_img.weight", *(f"{block}.conv_0.weight" for block in BLOCKS)} <= set(tensors)

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        reading = Reading(_shortened(tensors), source, "a SPADE generator")
        labels, separable = reading.side("fc.weight", 1, 3), f"{BLOCKS[0]}.norm_0.mlp_gamma.conv.0.weight" in tensors
        stored, most = reading.statistics(), f"{LAST}.conv_0.weight" in tensors
        left_open: dict[str, tuple[Value, ...]] = {"norm_at_test": ("running", "picture")} if stored else {}
        if not most:
            left_open["shrink"] = (64, 32) if separable or labels == CITYSCAPES else (32, 64)
        fixed = FIXED | {"norm": "batch" if stored else "instance", "shrink": 128}
        settled = reading.settled(assume, left_open, fixed)
        shrink, running = int(settled.get("shrink", 128)), settled.get("norm_at_test") == "running"
        ours = _ours(reading, labels, separable, shrink) if running and not most else None
        if ours is not None:
            skipped = reading.fill(ours, _theirs)
        else:
            with torch.device("meta"):
                plain = _Spades(reading, (*BLOCKS, LAST)[: len(BLOCKS) + most], shrink, running)
            skipped = reading.fill(plain)
        said = f"{self.name}, {labels} label channels" + (", separable" if separable else "")
        return Built(OtherRange(plain if ours is None else ours, "[0, 1]", "[-1, 1]"), said, settled, skipped)


def _shortened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compressed generators of GAN Compression keep the statistics of all channels; the first ones are theirs."""
    found = dict(tensors)
    for name, values in tensors.items():
        if match := re.fullmatch(r"(.+)\.param_free_norm\.running_(mean|var)", name):
            gammas = [tensors.get(f"{match[1]}.mlp_gamma.{part}weight") for part in ("", "conv.2.")]
            widths = [gamma.shape[0] for gamma in gammas if gamma is not None]
            found[name] = values[: widths[0]] if widths else values
    return found


def _ours(reading: Reading, labels: int, separable: bool, shrink: int) -> SpadeGenerator | None:
    """Our generator on the device "meta", where it has the layers of the file."""
    places = ("fc", *(f"{block}.conv_0" for block in BLOCKS[:3]), *(f"{block}.conv_1" for block in BLOCKS[3:]))
    widths = [reading.side(f"{name}.weight") for name in places]
    entries = tuple(width // multiple for width, multiple in zip(widths, MULTIPLES, strict=True))
    exact = all(width % multiple == 0 for width, multiple in zip(widths, MULTIPLES, strict=True))
    even = all(entry * factor % 8 == 0 for entry, factor in zip(entries, FACTORS[8], strict=True))
    if not exact or not even or min(entries) < 1 or max(entries) > LARGEST_ENTRY:
        return None  # no channel config has these widths
    upsampling, outputs = "more" if shrink == 64 else "normal", reading.side("conv_img.weight")
    with torch.device("meta"):
        architecture = SpadeArchitecture(ChannelConfig(entries), separable, upsampling, labels, outputs)
        network = SpadeGenerator(architecture)
    state = {_theirs(name): values.shape for name, values in network.state_dict().items()}
    same = all(reading.tensors[name].shape == shape for name, shape in state.items() if name in reading.tensors)
    return network if same else None


def _theirs(ours: str) -> str:
    """The name in NVlabs' files of a tensor of :class:`SpadeGenerator`."""
    name = ours.removeprefix("stages.").replace("tail.1.", "conv_img.").replace("head.", "head_0.")
    name = re.sub(r"^middle_", "G_middle_", name)
    name = re.sub(r"(norm_[01s])\.norm\.", r"\1.param_free_norm.", name).replace(".shared.", ".mlp_shared.0.")
    return re.sub(r"\.(gamma|beta)\.(\d\.)?", lambda m: f".mlp_{m[1]}.{'conv.' + m[2] if m[2] else ''}", name)


class _Spades(nn.Module):
    """A SPADE generator with NVlabs' names and whatever widths the file has."""

    def __init__(self, reading: Reading, blocks: tuple[str, ...], shrink: int, running: bool) -> None:
        super().__init__()
        self.blocks, self.shrink, self.labels = blocks, shrink, reading.side("fc.weight", 1)
        self.fc = _convolution(reading, "fc")
        for block in blocks:
            self.add_module(block, _Block(reading, block, running))
        self.conv_img = _convolution(reading, "conv_img")

    def forward(self, labels: Tensor) -> Tensor:
        check_picture(labels, self.labels, self.shrink, self.shrink, "SPADE generator")
        height, width = labels.shape[2:]
        x = self.fc(F.interpolate(labels, size=(height // self.shrink, width // self.shrink), mode="nearest"))
        for block in self.blocks:
            if block != "head_0" and not (block == "G_middle_1" and self.shrink == 32):
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.get_submodule(block)(x, labels)
        made: Tensor = torch.tanh(self.conv_img(F.leaky_relu(x, SLOPE)))
        return made


class _Block(nn.Module):
    def __init__(self, reading: Reading, name: str, running: bool) -> None:
        super().__init__()
        self.pairs = ["0", "1", "s"][: 3 if f"{name}.conv_s.weight" in reading.tensors else 2]
        for part in self.pairs:
            self.add_module(f"conv_{part}", _convolution(reading, f"{name}.conv_{part}"))
            self.add_module(f"norm_{part}", _Spade(reading, f"{name}.norm_{part}", running))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        labels = F.interpolate(labels, size=x.shape[2:], mode="nearest")
        part = self.get_submodule
        y = part("conv_0")(F.leaky_relu(part("norm_0")(x, labels), SLOPE))
        y = part("conv_1")(F.leaky_relu(part("norm_1")(y, labels), SLOPE))
        made: Tensor = y + (part("conv_s")(part("norm_s")(x, labels)) if len(self.pairs) == 3 else x)
        return made


class _Spade(nn.Module):
    def __init__(self, reading: Reading, name: str, running: bool) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(_convolution(reading, f"{name}.mlp_shared.0"), nn.ReLU())
        for part in ("mlp_gamma", "mlp_beta"):
            self.add_module(part, _dense_or_separable(reading, f"{name}.{part}"))
        separable = f"{name}.mlp_gamma.conv.2.weight" in reading.tensors
        channels = reading.side(f"{name}.mlp_gamma.{'conv.2.' if separable else ''}weight")
        self.param_free_norm = nn.BatchNorm2d(channels, affine=False) if running else OnePixelInstanceNorm(channels)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        hidden = self.mlp_shared(labels)
        gamma, beta = self.get_submodule("mlp_gamma")(hidden), self.get_submodule("mlp_beta")(hidden)
        made: Tensor = self.param_free_norm(x) * (1 + gamma) + beta
        return made


def _dense_or_separable(reading: Reading, name: str) -> nn.Module:
    if f"{name}.conv.0.weight" not in reading.tensors:
        return _convolution(reading, name)
    depthwise, pointwise = (_convolution(reading, f"{name}.conv.{place}") for place in (0, 2))
    found = nn.Sequential()
    found.conv = nn.Sequential(depthwise, OnePixelInstanceNorm(depthwise.out_channels), pointwise)
    return found


def _convolution(reading: Reading, name: str) -> nn.Conv2d:
    """A convolution of the sizes that the file has, padded with zeros; of one input channel, depthwise."""
    outputs, inputs, kernel, _ = reading.get(f"{name}.weight").shape
    groups = outputs if name.endswith("conv.0") and inputs == 1 else 1
    biased = f"{name}.bias" in reading.tensors
    return nn.Conv2d(groups if groups > 1 else inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=biased)
