"""Distillation in the discriminator's space: the teacher's discriminator judges where student and teacher differ.

A discriminator learned which differences show, so its feature maps weigh them better than pixels do. Li et al.,
NeurIPS 2021 (GCC, arXiv 2110.14439) compare the pictures of both generators there, Hu et al., CVPR 2023 (DCD, arXiv
2212.14169) their intermediate features.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.methods.feature_distillation import JUDGE, DistillationOutputs, Taps
from gancomp_core.nets import PatchDiscriminator
from gancomp_core.train.objectives import Objective, Term
from gancomp_core.train.processes import share, whole


def discriminator_kd(discriminator: nn.Module) -> Objective:
    """Mean absolute difference of the discriminator's feature maps of the student's and of the teacher's picture.

    All maps weigh alike. A discriminator that takes sources gets them beside the pictures.

    Args:
        discriminator: The one that came with the teacher; a frozen copy of it is used.

    Returns:
        The term.

    Raises:
        GancompError: For a discriminator that is no PatchGAN.
    """
    return Objective((Term("discriminator_kd", _of_pictures, auxiliary=_judge(discriminator)),))


def cooperated_kd(discriminator: nn.Module, taps: Taps | None = None) -> Objective:
    """The same of features: at each tap, 1x1 convolutions turn those of either generator into an input of the judge.

    The inputs are standardized by channel over the batch, as by the published connectors. Those have a learned scale
    and a ReLU behind it as well, through which both sides could agree by vanishing. Features are enlarged to the size
    of the pictures.

    Args:
        discriminator: As for :func:`discriminator_kd`.
        taps: As for :func:`gancomp_core.methods.feature_distillation.feature_kd`.

    Returns:
        The term; the mean over the maps, summed over the taps.

    Raises:
        GancompError: For a discriminator that is no PatchGAN.
    """
    return Objective((Term("cooperated_kd", _of_features, {"taps": taps}, auxiliary=_judge(discriminator)),))


def _judge(discriminator: nn.Module) -> dict[str, Any]:
    inner = getattr(discriminator, "module", discriminator)
    if not isinstance(inner, PatchDiscriminator):
        raise GancompError(
            f"Features are compared in a PatchGAN, not in a {type(inner).__name__}; take the discriminator of a paired "
            "or unpaired model."
        )
    return {JUDGE: partial(_frozen_copy, inner)}


def _frozen_copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).eval().requires_grad_(False)


def _of_pictures(outputs: DistillationOutputs) -> Tensor:
    judge = cast(PatchDiscriminator, outputs.networks[JUDGE])
    both = [outputs.fake, outputs.teacher_picture.to(outputs.fake.dtype)]
    if judge.in_channels > outputs.fake.shape[1]:
        both = [torch.cat([outputs.source.to(picture.dtype), picture], dim=1) for picture in both]
    return _difference(judge, *both)


def _of_features(outputs: DistillationOutputs, taps: Taps | None) -> Tensor:
    networks, size = outputs.networks, outputs.source.shape[-2:]
    ours = networks["student_connectors"](outputs.features)
    theirs = networks["teacher_connectors"](outputs.teacher_features)
    shown = [torch.cat([_as_picture(each, size) for each in side]) for side in (ours, theirs)]
    return len(ours) * _difference(networks[JUDGE], *shown)


def _as_picture(features: Tensor, size: torch.Size) -> Tensor:
    """Features [N, C, h, w] at a size, each channel of mean 0 and variance 1 over the batch, in float32."""
    with torch.autocast(features.device.type, enabled=False):
        enlarged = whole(F.interpolate(features.float(), size, mode="bilinear"))
        return share(F.batch_norm(enlarged, None, None, training=True))


def _difference(judge: nn.Module, ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean absolute difference of the judge's feature maps of two batches, averaged over the maps."""
    (_, our_maps), (_, their_maps) = (judge(seen, features=True) for seen in (ours, theirs))
    return torch.stack([F.l1_loss(a, b) for a, b in zip(our_maps, their_maps, strict=True)]).mean()
