"""Kernel alignment: features are compared by how alike they find the pictures of a batch, without adaptors.

Jin et al., CVPR 2021 (CAT, arXiv 2103.03467): a student and a teacher of different widths have no channels in common,
but both say of any two pictures of a batch how similar their features are. The term compares these two tables of
similarities, so that nothing has to be learned beside the student.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gancomp_core.errors import GancompError
from gancomp_core.methods.feature_distillation import DistillationOutputs, Taps
from gancomp_core.train.objectives import term
from gancomp_core.train.processes import whole


@term()
def kernel_alignment_kd(outputs: DistillationOutputs, taps: Taps | None = None) -> Tensor:
    """Sum over the taps of 1 minus the kernel alignment of the student's and the teacher's features.

    The released code maximizes the alignment, which has the same gradient.

    Args:
        outputs: ``features`` and ``teacher_features`` of a step; channels and sizes may differ.
        taps: As for :func:`gancomp_core.methods.feature_distillation.feature_kd`.

    Returns:
        A scalar, from 0 to the number of taps.

    Raises:
        GancompError: For a batch of one picture, which has nothing to be similar to.
    """
    pairs = zip(outputs.features, outputs.teacher_features, strict=True)
    return torch.stack([1 - kernel_alignment(whole(ours), whole(theirs)) for ours, theirs in pairs]).sum()


def kernel_alignment(ours: Tensor, theirs: Tensor) -> Tensor:
    """The alignment of two tables of similarities, ``KA(X, Y) = <XX', YY'> / (|XX'| |YY'|)`` with Frobenius norms.

    X and Y hold the features of one picture in each row. Scale and rotation of the features do not change it.

    Args:
        ours: [N, ...] with N of at least 2.
        theirs: [N, ...], any other shape behind N.

    Returns:
        A scalar from 0 to 1, in float32; 1 where the tables are proportional.

    Raises:
        GancompError: For a single picture, and for batches of different lengths.
    """
    if len(ours) != len(theirs) or len(ours) < 2:
        raise GancompError(
            f"Kernel alignment compares the same pictures, at least 2 of them, not {len(ours)} with {len(theirs)}; "
            "take a larger batch."
        )
    with torch.autocast(ours.device.type, enabled=False):
        first, second = (_similarities(features) for features in (ours, theirs))
        alignment: Tensor = (first * second).sum() / (first.norm() * second.norm()).clamp_min(1e-12)
    return alignment


def _similarities(features: Tensor) -> Tensor:
    rows = features.float().flatten(1)
    return rows @ rows.T
