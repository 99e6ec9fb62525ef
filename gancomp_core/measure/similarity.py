"""Distances between a picture and its target: PSNR, SSIM, and a perceptual distance in EfficientNet-Lite0's features.

The perceptual distance is built like LPIPS (Zhang et al. 2018, arXiv 1801.03924), but with another network and without
LPIPS' weights learned from human judgments. It is called PD-EfficientNet-Lite0; its values cannot be compared with
LPIPS.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from gancomp_core.errors import GancompError, at_least
from gancomp_core.measure.features import (
    check_pictures,
    frozen,
    in_full_precision,
    in_threads,
    protocol_input,
)
from gancomp_core.nets.efficientnet_lite import TAPS, EfficientNetLite0, load_efficientnet_lite0

PERCEPTUAL_NAME = "PD-EfficientNet-Lite0"


def psnr(generated: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture.

    Args:
        generated: float [N, C, H, W] in [-1, 1].
        target: The same shape and range.

    Returns:
        dB, float32 [N], infinite where the two are equal. The peak is the whole range, 2.

    Raises:
        GancompError: For pictures and targets of different shapes.
    """
    check_pair(generated, target)
    return peak_signal_noise_ratio(generated.float(), target.float(), data_range=2.0, reduction="none", dim=(1, 2, 3))


def ssim(generated: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each picture (Gaussian window, sigma 1.5).

    The mean over all pixels, with pictures mirrored at their borders, as torchmetrics computes it. Wang et al. 2004 and
    scikit-image leave a border of 5 pixels out, which changes small pictures by some hundredths: compare values only
    with values of this function.

    Args:
        generated: float [N, C, H, W] in [-1, 1], at least 11 pixels high and wide.
        target: The same shape and range.

    Returns:
        float32 [N], 1 where the two are equal.

    Raises:
        GancompError: For different shapes, and for pictures smaller than the window.
    """
    check_pair(generated, target)
    if min(generated.shape[2:]) < 11:
        raise GancompError(
            "SSIM needs pictures of at least 11 x 11 pixels, the size of its window, "
            f"not {list(generated.shape[2:])}; use psnr instead."
        )
    # torchmetrics returns no batch axis for a single picture
    found = structural_similarity_index_measure(generated.float(), target.float(), data_range=2.0, reduction="none")
    assert isinstance(found, Tensor)
    return found.reshape(len(generated))


def check_pair(generated: Tensor, target: Tensor) -> None:
    """Check that pictures and targets have one shape [N, C, H, W], with at least one picture.

    Raises:
        GancompError: For anything else.
    """
    if generated.shape != target.shape or generated.ndim != 4 or len(generated) == 0:
        raise GancompError(
            "Picture and target must have the same shape [N, C, H, W] with N of at least 1, "
            f"not {list(generated.shape)} and {list(target.shape)}; compare pictures with their own targets."
        )


class PerceptualDistance(nn.Module):
    """PD-EfficientNet-Lite0 of each picture from its target, differentiable in both: a measure, or a loss.

    Pictures enter the feature network as for the Frechet distance (clamped, 96 x 96 pixels, see
    :mod:`gancomp_core.measure.features`). After the last block at each resolution (48, 24, 12, 6 and 3 pixels) the
    channels at every position are scaled to length 1; the squared difference is summed over channels and averaged over
    positions and blocks, all with equal weight. Values lie in [0, 4], 0 for equal pictures. The weights are frozen.
    Under autocast the network runs in the lower precision, the comparison in float32.
    """

    def __init__(self, network: EfficientNetLite0 | None = None) -> None:
        super().__init__()
        self.network = (network or load_efficientnet_lite0()).eval().requires_grad_(False)

    def forward(self, generated: Tensor, target: Tensor) -> Tensor:
        """Distances of pictures from their targets.

        Args:
            generated: float [N, 1 or 3, H, W] in [-1, 1].
            target: The same shape and range.

        Returns:
            float32 [N].
        """
        check_pair(generated, target)
        check_pictures(generated)
        pairs = zip(self._maps(generated), self._maps(target), strict=True)
        found = [(a - b).square().sum(1).mean((1, 2)) for a, b in pairs]
        return torch.stack(found).mean(0)

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        """Feature maps after each tap, with channels scaled to length 1."""
        maps = [found.float() for found in self.network.maps(protocol_input(pictures), TAPS)]
        # LPIPS' epsilon: a position where nothing is active has no direction, and no gradient of its length
        return [x * x.square().sum(1, keepdim=True).add(1e-10).rsqrt() for x in maps]


def perceptual_distance(
    generated: Tensor, target: Tensor, device: torch.device | str = "cpu", batch_size: int = 32
) -> Tensor:
    """PD-EfficientNet-Lite0 of each picture from its target; :class:`PerceptualDistance` is the differentiable form.

    Args:
        generated: float [N, 1 or 3, H, W] in [-1, 1].
        target: The same shape and range.
        device: Where the network runs.
        batch_size: Pictures in a batch, at least 1.

    Returns:
        float32 [N] on the CPU, 0 where the two are equal.

    Raises:
        GancompError: For other shapes, a batch size below 1, and values that are not finite.
    """
    check_pair(generated, target)
    check_pictures(generated)
    at_least(1, batch_size, "batch_size", "32 is fast on a CPU")
    device = torch.device(device)
    frozen(PerceptualDistance, str(device))  # before several threads ask for it
    batches = zip(generated.split(batch_size), target.split(batch_size), strict=True)
    return torch.cat(in_threads(lambda pair: in_full_precision(PerceptualDistance, device, *pair), batches))
