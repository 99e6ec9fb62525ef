"""U-Nets: pix2pix's, whose blocks are nested, and PyTorch-GAN's, whose blocks are numbered."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gancomp_core.importers.assumptions import Assumptions, Value
from gancomp_core.importers.layouts.base import Built
from gancomp_core.importers.layouts.reading import AT_TEST, Reading
from gancomp_core.nets.architecture import check_picture
from gancomp_core.nets.unet import UnetArchitecture, UnetGenerator

FIXED: dict[str, Value] = {"padding": "zeros", "last": "tanh", "residual": False, "eps": 1e-5}


def _open(stored: bool, affine: bool, norms: tuple[Value, ...]) -> dict[str, tuple[Value, ...]]:
    """What the norms leave open: which statistics where some are stored, which norm where it left no tensor."""
    return {"norm_at_test": AT_TEST} if stored else {} if affine else {"norm": norms}


def _norm(settled: Mapping[str, Value]) -> str:
    """BatchNorm of one picture by its own statistics is InstanceNorm."""
    return "batch" if settled.get("norm_at_test") == "running" else str(settled.get("norm", "instance"))


class NestedUnet:
    """The U-Net of pix2pix: each block holds the next one as ``model.3``, down to the innermost one.

    The test script of pix2pix normalizes by the picture's own statistics, because it does not call ``eval()``; this is
    the default. It leaves its dropout on, too, which no import does.
    """

    name = "U-Net of pix2pix"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        kernels = [tensors.get(name) for name in ("0.weight", "1.model.1.weight", "3.weight")]
        return all(kernel is not None and kernel.shape[2:] == (4, 4) for kernel in kernels)

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        reading = Reading(tensors, source, "a U-Net of pix2pix")
        depth = 2 + max(name.count("3.model.") for name in tensors)
        affine = any(re.search(r"model\.[246]\.weight$", name) for name in tensors)
        biased, stored = "0.bias" in tensors, reading.statistics()
        fixed = FIXED | {"norm": "batch" if stored and (affine or not biased) else "instance"}
        # pix2pix gives convolutions biases where an InstanceNorm follows
        settled = reading.settled(assume, _open(stored, affine, ("instance", "none")[:: 1 if biased else -1]), fixed)
        width = reading.side("0.weight")
        channels = reading.side("0.weight", 1), reading.side("3.weight", 1)
        with torch.device("meta"):
            network = UnetGenerator(UnetArchitecture(width, depth, *channels, _norm(settled), affine, biased))
        skipped = reading.fill(network, lambda ours: _nested(ours, depth))
        return Built(network, f"{self.name}, {depth} halvings, width {width}", settled, skipped)


def _nested(ours: str, depth: int) -> str:
    """The name in pix2pix of ``downs.LEVEL.PLACE.PART`` or ``ups.NUMBER.PLACE.PART``."""
    side, number, place, part = ours.split(".")
    down = side == "downs"
    level = int(number) if down else depth - 1 - int(number)
    if level == 0:
        return f"{0 if down else 3}.{part}"
    first = 1 if down else 3 if level == depth - 1 else 5
    return f"1.model.{'3.model.' * (level - 1)}{first - 1 + int(place)}.{part}"


class NumberedUnet:
    """The U-Net of PyTorch-GAN: ``down1.model.0``, ``up1.model.0``, ``final.2``.

    Its first version convolved and resized with 3x3 kernels and had BatchNorm after the activation (``final.1``).
    """

    name = "U-Net of PyTorch-GAN"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        first = tensors.get("down1.model.0.weight")
        return (
            first is not None and first.ndim == 4 and any(re.match(r"final\.[12]\.weight$", name) for name in tensors)
        )

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        reading = Reading(tensors, source, "a U-Net of PyTorch-GAN")
        depth, early = reading.count(r"down(\d+)\.model\.0\.weight"), "final.1.weight" in tensors
        stored, affine = reading.statistics(), any(re.match(r"down\d+\.model\.[12]\.weight", name) for name in tensors)
        fixed = FIXED | {"norm": "batch" if stored else "instance", "eps": 0.8 if early else 1e-5}
        settled = reading.settled(assume, _open(stored, affine, ("instance", "none")), fixed)
        kernel, place = (3, 1) if early else (4, 0)
        downs = [reading.side(f"down{i}.model.0.weight", 0, kernel) for i in range(1, depth + 1)]
        ups = [reading.side(f"up{i}.model.{place}.weight", 1 - place, kernel) for i in range(1, depth)]
        ends = (reading.side("down1.model.0.weight", 1), reading.side(f"final.{2 - place}.weight"))
        with torch.device("meta"):
            network = _Numbered(
                downs, ups, ends, early, _norm(settled), affine, f"down{depth}.model.2.weight" in tensors
            )
        return Built(network, f"{self.name}, {depth} halvings", settled, reading.fill(network))


class _Numbered(nn.Module):
    """The module of :class:`NumberedUnet`, with its names; ``innermost``: whether the last down block has a norm."""

    def __init__(
        self,
        downs: list[int],
        ups: list[int],
        ends: tuple[int, int],
        early: bool,
        norm: str,
        affine: bool,
        innermost: bool,
    ) -> None:
        super().__init__()
        self.depth, self.in_channels, self.early = len(downs), ends[0], early

        def normalized(channels: int) -> list[nn.Module]:
            kind = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}.get(norm)
            return [kind(channels, 0.8 if early else 1e-5, affine=affine)] if kind else []

        for i, (c_in, c_out) in enumerate(zip([ends[0], *downs], downs, strict=False), start=1):
            found = normalized(c_out) if 1 < i < len(downs) or (i > 1 and innermost) else []
            conv = nn.Conv2d(c_in, c_out, 3 if early else 4, 2, 1, bias=early)
            active = nn.LeakyReLU(0.2)
            self.add_module(f"down{i}", _block(conv, active, *found) if early else _block(conv, *found, active))
        reads = downs[-1]
        for i, (c_out, skip) in enumerate(zip(ups, reversed(downs[:-1]), strict=True), start=1):
            if early:
                resized = nn.Conv2d(reads, c_out, 3, 1, 1)
                block = _block(nn.Upsample(scale_factor=2), resized, nn.LeakyReLU(0.2), *normalized(c_out))
            else:
                enlarged = nn.ConvTranspose2d(reads, c_out, 4, 2, 1, bias=False)
                block = _block(enlarged, *normalized(c_out), nn.ReLU())
            self.add_module(f"up{i}", block)
            reads = c_out + skip
        last = (
            [nn.Conv2d(reads, ends[1], 3, 1, 1)]
            if early
            else [nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(reads, ends[1], 4, 1, 1)]
        )
        self.final = nn.Sequential(nn.Upsample(scale_factor=2), *last, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        multiple = 2**self.depth
        check_picture(x, self.in_channels, multiple, multiple * (1 + self.early), "U-Net of PyTorch-GAN")
        skips = []
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"down{i}")(x)
            skips.append(x)
        skips.pop()
        for i in range(1, self.depth):
            x = torch.cat([self.get_submodule(f"up{i}")(x), skips.pop()], dim=1)
        made: Tensor = self.final(x)
        return made


def _block(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(model=nn.Sequential(*layers)))
