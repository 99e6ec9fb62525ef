"""The public checkpoint formats, written down once more and plainly: what the importers must agree with.

Nothing here uses the library. The generators are rows of torch's own layers, as the papers and the files describe them;
ncnn models are interpreted line by line from their graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Plain:
    """A generator of the CycleGAN layout; ``ends`` are the widths of stem, two downs, two ups."""

    ends: tuple[int, int, int, int, int] = (8, 16, 32, 16, 8)
    inner: tuple[int, ...] = (32, 32, 32)
    in_channels: int = 3
    out_channels: int = 3
    affine: bool = False
    dropout: bool = False
    bias: bool = True
    separable: bool = False
    norm: str = "instance"
    padding: str = "reflect"

    def build(self, seed: int = 0) -> nn.Module:
        """The network in eval mode, every parameter random, norms' scales and shifts included."""
        network = PlainGenerator(self).eval()
        generator = torch.Generator().manual_seed(seed)
        for name, values in network.named_parameters():
            noise = torch.randn(values.shape, generator=generator)
            fan_in = values[0].numel()
            with torch.no_grad():
                is_scale = values.ndim == 1 and name.endswith("weight")
                values.copy_(1 + 0.3 * noise if is_scale else 0.3 * noise if values.ndim == 1 else noise / fan_in**0.5)
        return network

    def norm_layer(self, channels: int) -> nn.Module:
        if self.norm == "batch":
            return nn.BatchNorm2d(channels)
        return nn.InstanceNorm2d(channels, affine=self.affine, track_running_stats=False)


class PlainGenerator(nn.Module):
    def __init__(self, p: Plain) -> None:
        super().__init__()
        stem, down1, down2, up1, up2 = p.ends
        up = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "bias": p.bias}
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(p.in_channels, stem, 7, bias=p.bias), p.norm_layer(stem), nn.ReLU()]
        for c_in, c_out in ((stem, down1), (down1, down2)):
            layers += [nn.Conv2d(c_in, c_out, 3, 2, 1, bias=p.bias), p.norm_layer(c_out), nn.ReLU()]
        layers += [PlainBlock(down2, width, p) for width in p.inner]
        for c_in, c_out in ((down2, up1), (up1, up2)):
            layers += [nn.ConvTranspose2d(c_in, c_out, **up), p.norm_layer(c_out), nn.ReLU()]
        tail_bias = p.bias or p.norm == "batch"
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(up2, p.out_channels, 7, bias=tail_bias), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PlainBlock(nn.Module):
    def __init__(self, outer: int, inner: int, p: Plain) -> None:
        super().__init__()
        pad = [nn.ReflectionPad2d(1)] if p.padding == "reflect" else []
        dropout = [nn.Dropout(0.5)] if p.dropout else []
        first = [*pad, _block_conv(outer, inner, p), p.norm_layer(inner), nn.ReLU(), *dropout]
        layers = [*first, *pad, _block_conv(inner, outer, p), p.norm_layer(outer)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def _block_conv(c_in: int, c_out: int, p: Plain) -> nn.Module:
    if p.separable:
        return PlainSeparable(c_in, c_out)
    return nn.Conv2d(c_in, c_out, 3, padding=0 if p.padding == "reflect" else 1, bias=p.bias)


class PlainSeparable(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(c_in, c_in, 3, groups=c_in), nn.InstanceNorm2d(c_in), nn.Conv2d(c_in, c_out, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def config_widths(text: str, blocks: int, legacy: bool = False) -> dict[str, tuple[int, ...]]:
    """``ends`` and ``inner`` of a channel config, straight from the grammar."""
    c = [int(entry) for entry in text.split("_")]
    if legacy:
        inner = [4 * c[3] if block % 3 == 0 else 4 * c[2] for block in range(blocks)]
    elif len(c) == 6:
        inner = [4 * c[3]] * blocks
    else:
        inner = [4 * c[3 + 3 * block // blocks] for block in range(blocks)]
    return {"ends": (c[0], 2 * c[1], 4 * c[2], 2 * c[-2], c[-1]), "inner": tuple(inner)}


# --- ncnn


def write_ncnn(folder: Path, name: str, blocks: int, width: int, growth: int, half: bool = True, seed: int = 0) -> None:
    """A random RRDBNet x4 as a pair of ncnn files."""
    rows, data = ["Input in 0 1 data"], bytearray()
    rng = np.random.default_rng(seed)

    def conv(source: str, out: str, c_in: int, c_out: int, leaky: bool = False) -> str:
        activation = " 9=2 -23310=1,2.000000e-01" if leaky else ""
        size = 9 * c_in * c_out
        rows.append(f"Convolution c{len(rows)} 1 1 {source} {out} 0={c_out} 1=3 4=1 5=1 6={size}{activation}")
        kernel = rng.normal(0, (9 * c_in) ** -0.5, size).astype("<f2" if half else "<f4").tobytes()
        data.extend((0x01306B47 if half else 0).to_bytes(4, "little") + kernel + b"\0" * (-len(kernel) % 4))
        data.extend(rng.normal(0, 0.1, c_out).astype("<f4").tobytes())
        return out

    def scaled_sum(a: str, b: str, out: str) -> str:
        rows.append(f"Eltwise e{len(rows)} 2 1 {a} {b} {out} 0=1 -23301=2,2.000000e-01,1.000000e+00")
        return out

    x = first = conv("data", "first", 3, width)
    for block in range(blocks):
        entered = x
        for dense in range(3):
            seen = [x]
            for i in range(5):
                out = f"b{block}.{dense}.{i}"
                source = seen[0]
                if i:
                    source = f"{out}.cat"
                    rows.append(f"Concat k{len(rows)} {len(seen)} 1 {' '.join(seen)} {source}")
                seen.append(conv(source, out, width + growth * i, growth if i < 4 else width, leaky=i < 4))
            x = scaled_sum(seen[-1], x, f"b{block}.{dense}")
        x = scaled_sum(x, entered, f"b{block}")
    conv(x, "trunk", width, width)
    rows.append(f"BinaryOp add 2 1 {first} trunk sum 0=0")
    x = "sum"
    for step in range(2):
        rows.append(f"Interp i{step} 1 1 {x} large{step} 0=1 1=2.000000e+00 2=2.000000e+00")
        x = conv(f"large{step}", f"up{step}", width, width, leaky=True)
    conv(conv(x, "hr", width, width, leaky=True), "output", width, 3)
    (folder / f"{name}.param").write_text("\n".join(["7767517", f"{len(rows)} {len(rows)}", *rows]) + "\n")
    (folder / f"{name}.bin").write_bytes(data)


def run_ncnn(folder: Path, name: str, x: Tensor) -> Tensor:
    """What an ncnn model makes of a picture in its own range, layer by layer."""
    data, blobs = memoryview((folder / f"{name}.bin").read_bytes()), {"data": x}
    for line in (folder / f"{name}.param").read_text().splitlines()[2:]:
        kind, _, n_in, n_out, *rest = line.split()
        inputs, outputs = rest[: int(n_in)], rest[int(n_in) : int(n_in) + int(n_out)]
        values = dict(value.split("=") for value in rest[int(n_in) + int(n_out) :])
        ins = [blobs[blob] for blob in inputs]
        if kind == "Convolution":
            result, data = _convolve(ins[0], values, data)
        elif kind == "Eltwise":
            factors = [float(v) for v in values["-23301"].split(",")[1:]]
            result = sum(factor * value for factor, value in zip(factors, ins, strict=True))
        elif kind == "BinaryOp":
            result = ins[0] + ins[1]
        elif kind == "Interp":
            result = F.interpolate(ins[0], scale_factor=float(values["1"]), mode="nearest")
        elif kind == "Concat":
            result = torch.cat(ins, 1)
        else:
            result = ins[0] if ins else x
        blobs |= dict.fromkeys(outputs, result)
    assert not data.nbytes
    return blobs["output"]


def _convolve(x: Tensor, values: dict[str, str], data: memoryview) -> tuple[Tensor, memoryview]:
    c_out, size = int(values["0"]), int(values["6"])
    kind, bytes_each = ("<f2", 2) if int.from_bytes(data[:4], "little") == 0x01306B47 else ("<f4", 4)
    end = 4 + (size * bytes_each + 3) // 4 * 4
    kernel = np.frombuffer(data, kind, size, 4).astype(np.float32)
    bias = np.frombuffer(data, "<f4", c_out, end).copy()
    y = F.conv2d(x, torch.from_numpy(kernel).view(c_out, -1, 3, 3), torch.from_numpy(bias), padding=1)
    return (F.leaky_relu(y, 0.2) if values.get("9") == "2" else y), data[end + 4 * c_out :]
