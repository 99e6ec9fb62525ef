"""EfficientNet-Lite0: the network in whose features distances between sets of pictures are measured.

Tan and Le's EfficientNet-B0 without squeeze-and-excitation and with ReLU6 for swish, trained on ImageNet. It is never
trained here, so batch normalization is folded into the convolutions once, when the shipped weights are built
(``data/features/build.py``); the remaining network consists of convolutions, ReLU6 and additions.
"""

from __future__ import annotations

import functools
import json
import lzma
from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core import files
from gancomp_core.errors import GancompError

FEATURES = 1280
"""Width of the pooled features."""
WEIGHTS = "efficientnet_lite0_fp16.safetensors.xz"
"""File name of the shipped weights, in ``data/features``."""

STEM_CHANNELS = 32
# repeats, kernel, stride of the first repeat, expansion, output channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

TAPS = (0, 2, 4, 10, 15)
"""The last block at each resolution: 2, 4, 8, 16 and 32 times smaller than the picture."""


class SameConv(nn.Conv2d):
    """A convolution padded like TensorFlow's "SAME": ``ceil(size / stride)`` outputs, an odd zero right and below.

    PyTorch pads both sides equally, which at stride 2 would shift every feature by a pixel.
    """

    def forward(self, x: Tensor) -> Tensor:
        wanted = [-(-x.shape[axis + 2] // self.stride[axis]) for axis in (0, 1)]
        zeros = [max((wanted[a] - 1) * self.stride[a] + self.kernel_size[a] - x.shape[a + 2], 0) for a in (0, 1)]
        # An odd number of zeros has one more at the far side. Padding both sides by a whole stride more and dropping
        # the first output is the same, and much faster than copying the picture into a larger one.
        odd = [count % 2 for count in zeros]
        padding = (zeros[0] // 2 + odd[0] * self.stride[0], zeros[1] // 2 + odd[1] * self.stride[1])
        y = F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return y[:, :, odd[0] : odd[0] + wanted[0], odd[1] : odd[1] + wanted[1]] if any(odd) else y


class InvertedResidual(nn.Module):
    """Expand with a 1x1 convolution, filter each channel separately, project back; add the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = SameConv(inputs, inner, 1) if expansion != 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = SameConv(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        made: Tensor = self.project(F.relu6(self.depthwise(y), inplace=True))
        return made.add_(x) if self.residual else made


class EfficientNetLite0(nn.Module):
    """Pictures to features: float32 [N, 3, H, W], values ``(v - 127) / 128`` of v in [0, 255], to [N, 1280].

    Features are averaged over the picture. Any height and width from 1 pixel; the classifier is left out. There are no
    normalization layers to train it with, but gradients reach the pictures: no in-place operation overwrites what they
    need. A new object has random weights, see :func:`load_efficientnet_lite0`.
    """

    num_features = FEATURES  # torchmetrics reads this name

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        blocks, channels = [], STEM_CHANNELS
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(channels, outputs, kernel, 1 if repeat else stride, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(channels, FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu6(self.stem(x), inplace=True))
        return F.relu6(self.head(x), inplace=True).mean((2, 3))

    def maps(self, x: Tensor, after: Sequence[int] = TAPS) -> list[Tensor]:
        """The outputs of the blocks with these indices (0-15), each once, in the order in which they run.

        Takes what calling the network takes. The maps are [N, channels, h, w] and differentiable in ``x``; what follows
        the last of them is not computed.
        """
        if not after or any(index not in range(len(self.blocks)) for index in after):
            raise GancompError(
                f"Feature maps are taken after blocks 0 to {len(self.blocks) - 1}, not {list(after)}; "
                f"{', '.join(map(str, TAPS))} are the last at each resolution."
            )
        x, found = F.relu6(self.stem(x), inplace=True), []
        for index in range(max(after) + 1):
            x = self.blocks[index](x)
            if index in after:
                found.append(x)
        return found


def weights_path() -> Path:
    """The path of the shipped weights."""
    return files.data_root() / "features" / WEIGHTS


@functools.lru_cache(maxsize=2)
def weights_hash(path: Path | None = None) -> str:
    """SHA-256 of the shipped weights, checked against ``manifest.json`` next to them (once per process and path).

    Raises:
        GancompError: When the file is missing or is not the one in the manifest.
    """
    path = path or weights_path()
    manifest = path.parent / "manifest.json"
    try:
        expected = json.loads(manifest.read_text(encoding="utf-8"))["outputs"][path.name]["sha256"]
        found = files.sha256(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GancompError(
            f"The feature network's weights {path}, or manifest.json beside them, cannot be read; "
            f"'git checkout -- {_shown(path)} {_shown(manifest)}' restores both."
        ) from error
    if found != expected:
        raise GancompError(
            f"The feature network's weights {path} are damaged (their SHA-256 is not the manifest's); "
            f"'git checkout -- {_shown(path)}' restores them."
        )
    return found


def load_efficientnet_lite0(path: Path | None = None) -> EfficientNetLite0:
    """The trained network, float32, frozen, in eval mode and channels-last memory format.

    Raises:
        GancompError: When the weights are missing, damaged or of another network.
    """
    path = path or weights_path()
    weights_hash(path)
    network = EfficientNetLite0()
    try:
        weights = safetensors.torch.load(lzma.decompress(path.read_bytes()))
        network.load_state_dict({name: value.float() for name, value in weights.items()})
    except (RuntimeError, lzma.LZMAError, safetensors.SafetensorError) as error:
        raise GancompError(
            f"{path} does not hold the weights of EfficientNet-Lite0; 'git checkout -- {_shown(path)}' restores them."
        ) from error
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own types forget it
    return network.eval().requires_grad_(False)


def _shown(path: Path) -> str:
    try:
        return path.resolve().relative_to(files.REPOSITORY).as_posix()
    except ValueError:
        return str(path)
