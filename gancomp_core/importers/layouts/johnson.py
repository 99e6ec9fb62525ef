"""The style transfer network of Johnson et al., as PyTorch's examples have it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.importers.assumptions import Assumptions, Value
from gancomp_core.importers.layouts.base import Built
from gancomp_core.importers.layouts.reading import AT_TEST, Reading
from gancomp_core.nets.architecture import check_picture
from gancomp_core.nets.ranges import OtherRange

FIXED: dict[str, Value] = {
    **{"padding": "reflect", "activation": "relu", "last": "none", "norm": "instance", "residual": False, "eps": 1e-5},
    "upsample": "nearest",
}
ENDS = (("conv1", "in1", 9, 1), ("conv2", "in2", 3, 2), ("conv3", "in3", 3, 2))
UPS = (("deconv1", "in4"), ("deconv2", "in5"))


class TransformerNet:
    """The transformer network of PyTorch's fast_neural_style example, for pictures in 0..255.

    Statistics that an InstanceNorm of old torch stored are left out, as the example does.
    """

    name = "style transfer network of PyTorch's examples"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return {"conv1.conv2d.weight", "in1.weight", "res1.conv1.conv2d.weight", "deconv3.conv2d.weight"} <= set(
            tensors
        )

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        reading = Reading(tensors, source, "a style transfer network of PyTorch's examples")
        reading.settled(assume, {}, FIXED | {"norm_at_test": AT_TEST[0]})
        blocks = reading.count(r"res(\d+)\.conv1\.conv2d\.weight")
        widths = [reading.side(f"{name}.conv2d.weight", 0, kernel) for name, _, kernel, _ in ENDS]
        ups = [reading.side(f"{name}.conv2d.weight", 0, 3) for name, _ in UPS]
        channels = reading.side("conv1.conv2d.weight", 1), reading.side("deconv3.conv2d.weight", 0, 9)
        with torch.device("meta"):
            network = _Transformer(widths, blocks, ups, channels)
        skipped = reading.fill(network)
        return Built(
            OtherRange(network, "[0, 255]"), f"{self.name}, {blocks} blocks, for pictures in 0..255", {}, skipped
        )


class _Transformer(nn.Module):
    """The module of :class:`TransformerNet`, with its names; what it makes is unbounded."""

    def __init__(self, widths: list[int], blocks: int, ups: list[int], channels: tuple[int, int]) -> None:
        super().__init__()
        self.in_channels, self.blocks = channels[0], blocks
        for (name, norm, kernel, stride), c_in, c_out in zip(ENDS, [channels[0], *widths], widths, strict=False):
            self.add_module(name, _padded(c_in, c_out, kernel, stride))
            self.add_module(norm, nn.InstanceNorm2d(c_out, affine=True))
        for block in range(1, blocks + 1):
            parts: dict[str, nn.Module] = {f"conv{i}": _padded(widths[-1], widths[-1], 3) for i in (1, 2)}
            parts |= {f"in{i}": nn.InstanceNorm2d(widths[-1], affine=True) for i in (1, 2)}
            self.add_module(f"res{block}", nn.ModuleDict(parts))
        for (name, norm), c_in, c_out in zip(UPS, [widths[-1], *ups], ups, strict=False):
            self.add_module(name, _padded(c_in, c_out, 3))
            self.add_module(norm, nn.InstanceNorm2d(c_out, affine=True))
        self.deconv3 = _padded(ups[-1], channels[1], 9)

    def forward(self, x: Tensor) -> Tensor:
        check_picture(x, self.in_channels, 4, 16, "style transfer network")
        part = self.get_submodule
        for name, norm, *_ in ENDS:
            x = F.relu(part(norm)(part(name)(x)))
        for block in range(1, self.blocks + 1):
            made = F.relu(part(f"res{block}.in1")(part(f"res{block}.conv1")(x)))
            x = x + part(f"res{block}.in2")(part(f"res{block}.conv2")(made))
        for name, norm in UPS:
            x = F.relu(part(norm)(part(name)(F.interpolate(x, scale_factor=2.0, mode="nearest"))))
        x = self.deconv3(x)
        return x


def _padded(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that sees reflections beyond the edge, by the name that the example gives it."""
    found = nn.Sequential()
    found.conv2d = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, padding_mode="reflect")
    return found
