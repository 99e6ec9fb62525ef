"""Generators as one numbered row, written plainly with torch's own layers: what importers must agree with.

Nothing here uses the library. ``Row`` names all choices that people make; ``build`` is the network that was saved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Row:
    """A generator: stem, halvings, residual blocks, doublings, last convolution."""

    norm: str = "instance"  # instance, affine, tracked, batch, batch without affine, identity, none, group
    at_test: str = "picture"
    padding: str = "reflect"  # in blocks; "zeros" is inside the convolution
    ends: str = "reflect"
    up: str = "transposed"
    down: str = "conv"  # or 4x4, padded, cut
    halvings: int = 2
    blocks: int = 2
    width: int = 4
    dropout: bool = False
    bias: bool = True
    activation: str = "relu"
    last: str = "tanh"
    residual: bool = False
    upsample: str = "nearest"
    attribute: str = "conv_block"
    stem: int = 7
    channels: int = 3

    def build(self, seed: int = 0) -> PlainRow:
        """The network in eval mode, every tensor random."""
        network = PlainRow(self).eval()
        generator = torch.Generator().manual_seed(seed)
        for name, values in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith(("filt", "num_batches_tracked")):
                continue
            noise = torch.randn(values.shape, generator=generator)
            with torch.no_grad():
                if name.endswith("running_var"):
                    values.copy_(0.2 + noise.abs())
                elif values.ndim == 1:
                    values.copy_(0.3 * noise + float(name.endswith("weight")))
                else:
                    values.copy_(noise / values[0].numel() ** 0.5)
        return network


ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "leaky_relu_0.01": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "prelu": nn.PReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}
PADS = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "zeros": nn.ZeroPad2d}


class PlainRow(nn.Module):
    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row
        self.model = nn.Sequential(*self.layers())

    def forward(self, x: Tensor) -> Tensor:
        made = self.model(x)
        return (x + made).clamp(-1, 1) if self.row.residual else made

    def layers(self) -> list[nn.Module]:
        r, c = self.row, self.row.width
        layers = [*self.padded(r.channels, c, r.stem, r.ends), *self.behind(c)]
        for _ in range(r.halvings):
            layers += self.halving(c, 2 * c)
            c *= 2
        layers += [PlainBlock(c, r, self) for _ in range(r.blocks)]
        for _ in range(r.halvings):
            layers += self.doubling(c, c // 2)
            c //= 2
        return [*layers, *self.padded(c, r.channels, r.stem, r.ends, bias=True), ACTIVATIONS[r.last]()]

    def conv(self, c_in: int, c_out: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool | None = None):
        bias = self.row.bias if bias is None else bias
        return nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=bias)

    def padded(self, c_in: int, c_out: int, kernel: int, padding: str, bias: bool | None = None) -> list[nn.Module]:
        if padding == "inside":  # zeros, and no layer in front
            return [self.conv(c_in, c_out, kernel, padding=kernel // 2, bias=bias)]
        return [PADS[padding](kernel // 2), self.conv(c_in, c_out, kernel, bias=bias)]

    def behind(self, channels: int) -> list[nn.Module]:
        return [*self.norm(channels), ACTIVATIONS[self.row.activation]()]

    def norm(self, c: int) -> list[nn.Module]:
        r = self.row
        norms = {
            "instance": lambda: nn.InstanceNorm2d(c),
            "affine": lambda: nn.InstanceNorm2d(c, affine=True),
            "tracked": lambda: nn.InstanceNorm2d(c, track_running_stats=True),
            "tracked affine": lambda: nn.InstanceNorm2d(c, affine=True, track_running_stats=True),
            "batch": lambda: nn.BatchNorm2d(c),
            "batch without affine": lambda: nn.BatchNorm2d(c, affine=False),
            "identity": nn.Identity,
            "group": lambda: nn.GroupNorm(2, c),
            "layer": lambda: nn.GroupNorm(1, c),
        }
        if r.norm == "none":
            return []
        made = norms[r.norm]()
        if r.at_test == "picture" and r.norm.startswith(("tracked", "batch")):
            made.eval = lambda: made.train(True)  # as it is run; one picture at a time
            made.train = lambda mode=True: nn.Module.train(made, True)
        return [made]

    def halving(self, c_in: int, c_out: int) -> list[nn.Module]:
        if self.row.down == "cut":
            return [self.conv(c_in, c_out, 3, padding=1), *self.behind(c_out), Blur(c_out)]
        if self.row.down == "padded":
            return [PADS[self.row.ends](1), self.conv(c_in, c_out, 3, 2), *self.behind(c_out)]
        kernel = 4 if self.row.down == "4x4" else 3
        return [self.conv(c_in, c_out, kernel, 2, 1), *self.behind(c_out)]

    def doubling(self, c_in: int, c_out: int) -> list[nn.Module]:
        r = self.row
        if r.up in ("transposed", "transposed 4x4"):
            four = r.up == "transposed 4x4"
            up = nn.ConvTranspose2d(c_in, c_out, 4 if four else 3, 2, 1, 0 if four else 1, bias=r.bias)
            return [up, *self.behind(c_out)]
        resize = nn.Upsample(
            scale_factor=2, mode=r.upsample.partition("_")[0], align_corners=r.upsample == "bilinear_aligned" or None
        )
        if r.up == "resize":
            return [resize, self.conv(c_in, c_out, 3, padding=1), *self.behind(c_out)]
        if r.up == "resize padded":
            return [resize, *self.padded(c_in, c_out, 3, r.ends), *self.behind(c_out)]
        if r.up == "resize nested":
            return [nn.Sequential(resize, self.conv(c_in, c_out, 3, padding=1)), *self.behind(c_out)]
        if r.up == "shuffle":
            return [self.conv(c_in, 4 * c_out, 3, padding=1), nn.PixelShuffle(2), *self.behind(c_out)]
        if r.up == "shuffle nested":
            return [nn.Sequential(self.conv(c_in, 4 * c_out, 3, padding=1), nn.PixelShuffle(2)), *self.behind(c_out)]
        assert r.up == "cut"
        return [Unblur(c_in), self.conv(c_in, c_out, 3, padding=1), *self.behind(c_out)]


class PlainBlock(nn.Module):
    def __init__(self, c: int, row: Row, of: PlainRow) -> None:
        super().__init__()
        padding = "inside" if row.padding == "zeros" else row.padding
        dropout = [nn.Dropout(0.5)] if row.dropout else []
        layers = [*of.padded(c, c, 3, padding), *of.behind(c), *dropout, *of.padded(c, c, 3, padding), *of.norm(c)]
        self.attribute = row.attribute
        setattr(self, row.attribute, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        return x + getattr(self, self.attribute)(x)


class Blur(nn.Module):
    """CUT's antialiased halving."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        kernel = line[:, None] * line
        self.register_buffer("filt", (kernel / kernel.sum()).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), self.filt, stride=2, groups=x.shape[1])


class Unblur(nn.Module):
    """CUT's antialiased doubling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = line[:, None] * line
        self.register_buffer("filt", (4 * kernel / kernel.sum()).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), "replicate")
        return F.conv_transpose2d(x, self.filt, stride=2, padding=2, groups=x.shape[1])[:, :, 1:-1, 1:-1]
