"""Patch relations: a student learns how the parts of its teacher's picture relate to each other.

You et al., 2022 (content relationship distillation, arXiv 2212.11091), with the relations of Park et al., CVPR 2019
(relational knowledge distillation, arXiv 1904.05068): a picture is cut into rows, into columns and into square patches.
How far any two parts are from each other, and the angle that a third part sees between them, say what is uniform, what
repeats and where edges are. A student may match them without matching each pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.errors import GancompError, at_least
from gancomp_core.methods.feature_distillation import DistillationOutputs
from gancomp_core.train.objectives import term

#: Parts closer together than this share of the mean distance have no direction, such as two rows of plain background.
CLOSE = 0.01


def _check(patch: int, strip: int, angle: float) -> None:
    at_least(1, patch, "patch", "8 cuts pictures of 32 pixels into 16")
    at_least(1, strip, "strip", "1 compares single rows and columns")
    if angle < 0:
        raise GancompError(f"The weight of the angles is at least 0, not {angle:g}; 2 is the published one.")


@term(check=_check)
def patch_relation_kd(outputs: DistillationOutputs, patch: int = 8, strip: int = 1, angle: float = 2.0) -> Tensor:
    """Difference between the relations of the parts of the student's and of the teacher's picture.

    For rows, for columns and for patches: the smooth L1 distance of the two tables of distances, each divided by its
    mean, plus ``angle`` times that of the cosines; the three are added. The paper relates patches; its released code
    relates the three color channels of one patch. Memory grows with the square of the number of parts times
    their pixels, and with its cube: pictures of 256 pixels want a ``strip`` of 8 and a ``patch`` of 32.

    Args:
        outputs: ``fake`` and ``teacher_picture`` of a step.
        patch: Side of the patches in pixels; divides the sides of the picture.
        strip: Pixels across a row or a column; divides the sides of the picture.
        angle: Weight of the angles beside the distances, at least 0.

    Returns:
        A scalar of at least 0.

    Raises:
        GancompError: For other values, and for pictures that cannot be cut like that.
    """
    cuts = _cuts(outputs.fake.shape, patch, strip)
    with torch.autocast(outputs.fake.device.type, enabled=False):
        found = [_difference(parts(outputs.fake, *cut), parts(outputs.teacher_picture, *cut), angle) for cut in cuts]
    return torch.stack(found).sum()


def parts(pictures: Tensor, height: int, width: int) -> Tensor:
    """Pictures [N, C, H, W] cut into parts of a height and width: float [N, number of parts, C * height * width]."""
    return F.unfold(pictures.float(), (height, width), stride=(height, width)).transpose(1, 2)


def relations(cut: Tensor) -> tuple[Tensor, Tensor]:
    """How the parts of each picture relate to each other.

    Args:
        cut: [N, M, D], M parts of D values.

    Returns:
        Distances [N, M, M], divided by their mean over pairs of different parts; and cosines [N, M, M, M], at
        [n, j, i, k] of the angle between the ways from part j to i and to k.
    """
    ways = cut[:, None] - cut[:, :, None]
    lengths = (ways.square().sum(-1) + 1e-12).sqrt()
    count = cut.shape[1]
    mean = (lengths.sum((1, 2), keepdim=True) / max(1, count * (count - 1))).clamp_min(1e-4)
    directions = ways / torch.maximum(lengths, CLOSE * mean)[..., None]
    return lengths / mean, directions @ directions.transpose(-1, -2)


def _difference(ours: Tensor, theirs: Tensor, angle: float) -> Tensor:
    (our_lengths, our_cosines), (lengths, cosines) = relations(ours), relations(theirs.detach())
    return F.smooth_l1_loss(our_lengths, lengths) + angle * F.smooth_l1_loss(our_cosines, cosines)


def _cuts(shape: torch.Size, patch: int, strip: int) -> list[tuple[int, int]]:
    """Height and width of rows, columns and patches."""
    height, width = shape[2:]
    if any(side % part for side in (height, width) for part in (patch, strip)):
        raise GancompError(
            f"Pictures of {height} x {width} pixels cannot be cut into patches of {patch} and strips of {strip}; "
            "choose divisors of both sides."
        )
    return [(strip, width), (height, strip), (patch, patch)]
