"""Wavelet distillation: a student imitates the high frequencies of its teacher's pictures (Zhang et al., CVPR 2022).

Small generators get shapes right and lack fine detail (arXiv 2203.06321); so the term compares the details of both
pictures, level by level, and leaves the low frequencies to the other terms.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.errors import GancompError
from gancomp_core.measure.wavelets import Pyramid, wavelet_transform
from gancomp_core.methods.feature_distillation import DistillationOutputs
from gancomp_core.train.objectives import term

BANDS = ("high", "low", "all")
WEIGHTINGS = ("levels", "coefficients")
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}


def _check(wavelet: str, levels: int, distance: str, bands: str, weighting: str, mode: str) -> None:
    choices = {"bands": (bands, BANDS), "distance": (distance, DISTANCES), "weighting": (weighting, WEIGHTINGS)}
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise GancompError(f"Wavelet distillation knows the {name} {', '.join(allowed)}, not '{value}'.")
    wavelet_transform(torch.zeros(2, 2), wavelet, levels, mode)  # a wrong choice is refused here, not in the first step


@term(check=_check)
def wavelet_kd(
    outputs: DistillationOutputs,
    wavelet: str = "haar",
    levels: int = 3,
    distance: str = "l1",
    bands: str = "high",
    weighting: str = "levels",
    mode: str = "symmetric",
) -> Tensor:
    """Distance between the wavelet bands of the student's and the teacher's picture, summed over the levels.

    The paper's formula has L1 over 3 levels. Its code, options and script disagree: Haar, L1 and 4 levels; db3 and 3
    levels with weight 0.1; Haar, MSE and 4 levels with weight 0.4.

    Args:
        outputs: ``fake`` and ``teacher_picture`` of a step.
        wavelet: As for :func:`gancomp_core.measure.wavelet_transform`.
        levels: Number of levels, at least 1.
        distance: "l1" or "mse".
        bands: "high" (the details of all levels, as published), "low" (what is left at the coarsest level) or "all".
        weighting: With "levels" every level counts as the mean over its coefficients, so that each of the few
            coefficients of a coarse level weighs more; with "coefficients" all coefficients weigh the same, divided by
            the number of pixels.
        mode: Border mode.

    Returns:
        A scalar.

    Raises:
        GancompError: For other choices, and as :func:`gancomp_core.measure.wavelet_transform` does.
    """
    pictures = (outputs.fake, outputs.teacher_picture)
    ours, theirs = (_chosen(wavelet_transform(picture, wavelet, levels, mode), bands) for picture in pictures)
    counts = [1.0 if weighting == "levels" else band.numel() / outputs.fake.numel() for band in ours]
    found = [DISTANCES[distance](a, b) * count for a, b, count in zip(ours, theirs, counts, strict=True)]
    return torch.stack(found).sum()


def _chosen(pyramid: Pyramid, bands: str) -> list[Tensor]:
    """One tensor a level: its three detail bands, stacked; and the low band."""
    found = [torch.stack(details) for details in pyramid.details] if bands != "low" else []
    return found if bands == "high" else [*found, pyramid.low]
