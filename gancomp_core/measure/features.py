"""The feature space in which pictures are compared: EfficientNet-Lite0, trained on ImageNet, with one protocol.

Pictures are float32 NCHW in [-1, 1], gray or color. The protocol: clamp to [-1, 1], repeat gray to RGB, resize to 96 x
96 pixels (bilinear, no antialiasing), normalize to ``(v - 127) / 128`` for v in [0, 255], compute in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError, at_least
from gancomp_core.nets.efficientnet_lite import FEATURES, EfficientNetLite0, load_efficientnet_lite0

PROTOCOL = "96px-bilinear-fp32-1"
"""Part of every cached feature's key; changes with the protocol above."""

Pictures = Tensor | Iterable[Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")


class PictureFeatures(nn.Module):
    """Features [N, 1280] of pictures [N, 1 or 3, H, W] in [-1, 1], by the protocol; a ``feature`` for torchmetrics."""

    num_features = FEATURES

    def __init__(self, network: EfficientNetLite0 | None = None) -> None:
        super().__init__()
        self.network = network or load_efficientnet_lite0()

    def forward(self, pictures: Tensor) -> Tensor:
        check_pictures(pictures)
        features: Tensor = self.network(protocol_input(pictures))
        return features


def protocol_input(pictures: Tensor) -> Tensor:
    """The network's input for pictures [N, 1 or 3, H, W] in [-1, 1]: [N, 3, 96, 96], by the protocol."""
    x = F.interpolate(pictures.float().clamp(-1, 1), size=(96, 96), mode="bilinear", align_corners=False)
    x = (x + 1) * (127.5 / 128) - 127 / 128
    return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def extract_features(pictures: Pictures, batch_size: int = 32, device: torch.device | str = "cpu") -> Tensor:
    """EfficientNet-Lite0 features of pictures.

    On a CPU, each batch is handled by one thread, as many batches at once as PyTorch has threads. That was measured to
    be faster than sharing each batch among the threads, and the numbers do not depend on the thread count.

    Args:
        pictures: A tensor [N, 1 or 3, H, W] in [-1, 1], or an iterable of such tensors, each of any length and size.
        batch_size: Pictures in a batch, at least 1.
        device: Where the network runs.

    Returns:
        float32 [N, 1280] on the CPU.

    Raises:
        GancompError: For no pictures, other shapes, and values that are not finite.
    """
    at_least(1, batch_size, "batch_size", "32 is fast on a CPU")
    device = torch.device(device)
    frozen(PictureFeatures, str(device))  # before several threads ask for it
    extract = functools.partial(in_full_precision, PictureFeatures, device)
    batches = batches_of(pictures, batch_size)
    found = list(map(extract, batches) if device.type != "cpu" else in_threads(extract, batches))
    if not found:
        raise GancompError(
            "There are no pictures to take features of; pass at least one tensor of shape [N, 1 or 3, H, W]."
        )
    return torch.cat(found)


@functools.lru_cache(maxsize=4)
def frozen(kind: Callable[[], nn.Module], device: str) -> nn.Module:
    """A measure with frozen weights on a device, loaded once."""
    return kind().to(device).eval()


def in_full_precision(kind: Callable[[], nn.Module], device: torch.device, *pictures: Tensor) -> Tensor:
    """What a measure gives for one batch, on the CPU: in full float32 under any autocast or GPU setting.

    Numbers of different machines can be compared then.

    Raises:
        GancompError: For pictures that are not finite.
    """
    module = frozen(kind, str(device))
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(allow_tf32=False),
        torch.autocast(device.type, enabled=False),
    ):
        found: Tensor = module(*(side.to(device, torch.float32) for side in pictures))
    if not found.isfinite().all():
        raise GancompError(
            "The pictures hold NaN or infinite values, so there is nothing to measure; check the generator that made "
            "them."
        )
    return found.cpu().clone()  # a clone outside inference mode is an ordinary tensor


def batches_of(pictures: Pictures, batch_size: int) -> Iterator[Tensor]:
    """Pictures, checked, in batches of at most ``batch_size``."""
    for group in [pictures] if isinstance(pictures, Tensor) else pictures:
        check_pictures(group)
        yield from group.split(batch_size)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) for item in items]``, as many at once as PyTorch may use threads, each on one thread."""
    threads = torch.get_num_threads()
    if threads == 1:
        return [function(item) for item in items]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(threads)


def check_pictures(pictures: Tensor) -> None:
    """Check that pictures are a float tensor [N, 1 or 3, H, W].

    Raises:
        GancompError: For anything else.
    """
    if (
        pictures.ndim != 4
        or pictures.shape[1] not in (1, 3)
        or not pictures.is_floating_point()
        or 0 in pictures.shape[2:]
    ):
        raise GancompError(
            "Pictures are float tensors of shape [N, 1 or 3, H, W] with values in [-1, 1], not "
            f"{list(pictures.shape)} of {pictures.dtype}; convert 8-bit pictures by v / 127.5 - 1."
        )
