"""``python -m benchmarks.full_size PHOTOS OUT``: a teacher of full size, such as a reader of `gancomp compress` has.

It cuts 256-pixel squares from a folder of photographs, draws a comic of each by classical filters (total variation,
steps of brightness, dark lines), and trains CycleGAN's ResNet generator (9 blocks, 64 channels, 11.4 million
parameters) to do the same. ``OUT`` then holds ``photos/`` and ``latest_net_G.pth``, named as CycleGAN's code names it.
Started again, it goes on at its last checkpoint. Needs scikit-image (``pip install -e ".[build]"``).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import color, filters, restoration
from torch import Tensor, nn

from gancomp_core.files import atomic_write
from gancomp_core.train.config import fastest_precision

SIDE, CROP, BATCH, STEPS = 256, 128, 2, 1800
#: The shorter side that a photograph is scaled to, and how many squares are then cut from it.
SQUARES = ((288, 6), (420, 14), (640, 24))
LEAST_SPREAD, LEAST_EDGES = 28, 6  # gray levels: squares of sky or blur are left out
RATE, WARM_UP, EVERY = 3e-4, 100, 200
Pixels = NDArray[np.uint8]


def squares(photos: Path, out: Path) -> list[Path]:
    """Cut squares from photographs, the same ones every time, and save them."""
    draw = np.random.default_rng(0)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(each for each in photos.iterdir() if each.suffix.lower() in (".jpg", ".jpeg", ".png")):
        photo = Image.open(path).convert("RGB")
        for side, wanted in SQUARES:
            if side > photo.height:
                continue
            scale = side / min(photo.size)
            width, height = (max(SIDE, round(edge * scale)) for edge in photo.size)
            scaled = photo.resize((width, height), Image.Resampling.LANCZOS)
            for i in range(3 * wanted):
                x, y = draw.integers(0, width - SIDE + 1), draw.integers(0, height - SIDE + 1)
                square = scaled.crop((x, y, x + SIDE, y + SIDE))
                if wanted and _is_detailed(square):
                    square.save(out / f"{path.stem}_{side}_{i}.jpg", quality=95)
                    wanted -= 1
    return sorted(out.glob("*.jpg"))


def _is_detailed(square: Image.Image) -> bool:
    gray = np.asarray(square.convert("L"), dtype=float)
    edges = sum(np.abs(np.diff(gray, axis=axis)).mean() for axis in (0, 1))
    return bool(gray.std() >= LEAST_SPREAD and edges >= LEAST_EDGES)


def comic(photo: Pixels) -> Pixels:
    """A photograph [H, W, 3] as a comic: flat colors in six steps of brightness, dark lines along edges."""
    x = photo.astype(np.float32) / 255
    flat = restoration.denoise_tv_chambolle(x, weight=0.16, channel_axis=2, max_num_iter=60)
    hsv = color.rgb2hsv(flat.clip(0, 1))
    hsv[..., 1] = (1.45 * hsv[..., 1] + 0.03).clip(0, 1)
    steps = 6 * hsv[..., 2]
    hsv[..., 2] = ((np.floor(steps) + 1 / (1 + np.exp(-14 * (steps % 1 - 0.5)))) / 6).clip(0, 1)
    smooth = color.rgb2gray(restoration.denoise_tv_chambolle(x, weight=0.06, channel_axis=2, max_num_iter=40))
    contrast = filters.gaussian(smooth, 1.0) - 0.98 * filters.gaussian(smooth, 1.8)
    lines = np.where(contrast < 0.004, 1 + np.tanh(90 * (contrast - 0.004)), 1).clip(0, 1)
    drawn = color.hsv2rgb(hsv) * lines[..., None] ** 0.9
    return (255 * drawn).round().clip(0, 255).astype(np.uint8)


class Block(nn.Module):
    """A residual block, its layers named and numbered as in CycleGAN's code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), _norm(channels)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), _norm(channels)]
        self.conv_block = nn.Sequential(*layers, nn.ReLU(), *again)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.conv_block(x)
        return found


class Generator(nn.Module):
    """CycleGAN's ``resnet_9blocks``, [N, 3, H, W] in [-1, 1] to the same."""

    def __init__(self, ngf: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), _norm(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), _norm(2 * width), nn.ReLU()]
        layers += [Block(4 * ngf) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1), _norm(width // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh())
        for name, values in self.named_parameters():
            nn.init.normal_(values, 0.0, 0.02) if name.endswith("weight") else nn.init.zeros_(values)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.model(x)
        return found


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels, channels, affine=False)  # InstanceNorm2d, and faster


def train(photos: list[Pixels], comics: list[Pixels], out: Path, steps: int = STEPS) -> None:
    """Train on random squares with L1; the step's number alone decides what is drawn, so a killed run goes on."""
    torch.manual_seed(0)
    network = Generator()
    optimizer = torch.optim.Adam(network.parameters(), RATE, (0.5, 0.999), fused=True)
    learned, begun = [i for i in range(len(photos)) if i % 13], 0
    if (checkpoint := out / "checkpoint.pt").exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        begun = saved["step"]
    for step in range(begun, steps):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / WARM_UP, 2 * (1 - step / steps))
        given, wanted = _batch(photos, comics, learned, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=fastest_precision("cpu") == "bf16-mixed"):
            made = network(given)
        loss = (made.float() - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            print(f"step {step + 1} of {steps}, L1 {loss.item():.3f}", flush=True)
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            for path, content in ((checkpoint, state), (out / "latest_net_G.pth", network.state_dict())):
                with atomic_write(path) as temporary:
                    torch.save(content, temporary)


def _batch(photos: list[Pixels], comics: list[Pixels], learned: list[int], step: int) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(step)
    pairs = []
    for _ in range(BATCH):
        i, (y, x) = draw.choice(learned), draw.integers(0, SIDE - CROP + 1, 2)
        pair = np.stack([each[i][y : y + CROP, x : x + CROP] for each in (photos, comics)])
        pairs.append(pair[:, :, ::-1].copy() if draw.random() < 0.5 else pair)
    both = torch.from_numpy(np.stack(pairs)).permute(1, 0, 4, 2, 3).float() / 127.5 - 1
    return both[0], both[1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_size", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos", type=Path, help="a folder of photographs, at least 288 pixels high")
    parser.add_argument("out", type=Path, help="where to write the squares and the teacher")
    options = parser.parse_args(arguments)
    found = [np.asarray(Image.open(path)) for path in squares(options.photos, options.out / "photos")]
    print(f"{len(found)} squares", flush=True)
    train(found, [comic(each) for each in found], options.out)


if __name__ == "__main__":
    main()
