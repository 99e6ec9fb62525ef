"""Outputs of a training step, computed once for all terms: pictures, scores, features."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batch
from gancomp_core.train.progress import tile

TOGETHER = 1 << 17  # pixels of a batch that a discriminator scores in one pass with as many others
Networks = Mapping[str, nn.Module]


class PairedOutputs:
    """One step of a paired task: ``source``, ``target`` and ``fake`` are [N, C, H, W] in [-1, 1]."""

    fake: Tensor

    def __init__(self, networks: Networks, batch: Batch) -> None:
        self.networks, self.source, self.target = networks, batch.source, batch.target
        self.fake = networks["generator"](batch.source)

    @cached_property
    def feature_maps(self) -> list[tuple[Tensor, Tensor]]:
        """Feature maps of ``fake`` and, without gradient, of ``target``, in pairs."""
        features = self.networks["features"]
        with torch.no_grad():
            theirs = features(self.target)
        return list(zip(features(self.fake), theirs, strict=True))

    def discriminate(self, picture: Tensor) -> Tensor:
        """The discriminator's scores of pictures beside their sources."""
        scores: Tensor = self.networks["discriminator"](torch.cat([self.source, picture], dim=1))
        return scores

    def discriminate_both(self) -> tuple[Tensor, Tensor]:
        """Scores of the real targets and of the detached fakes."""
        real, fake = (torch.cat([self.source, picture], dim=1) for picture in (self.target, self.fake.detach()))
        return scores_of_both(self.networks["discriminator"], real, fake)


class SemanticOutputs:
    """One step of a semantic task, as in pix2pix, but the discriminator has several scales and shows its features."""

    fake: Tensor

    def __init__(self, networks: Networks, batch: Batch) -> None:
        self.networks, self.source, self.target = networks, batch.source, batch.target
        self.fake = networks["generator"](batch.source)

    def discriminate(self, picture: Tensor) -> list[Tensor]:
        """Scores of the generated pictures beside their maps, one tensor a scale."""
        assert picture is self.fake  # their scores come with the features, from one pass
        return [scores.chunk(2)[0] for scores, _ in self._view]

    def discriminate_both(self) -> tuple[list[Tensor], list[Tensor]]:
        """Scores of the real targets and of the detached fakes, one tensor a scale each, from one pass."""
        pairs = [torch.cat([self.source, picture], dim=1) for picture in (self.target, self.fake.detach())]
        real, fake = zip(*(scores.chunk(2) for scores in self.networks["discriminator"](torch.cat(pairs))), strict=True)
        return list(real), list(fake)

    @property
    def critic_features(self) -> list[tuple[Tensor, Tensor]]:
        """The discriminator's feature maps of fake and real pictures, over all layers and scales."""
        both = [features.chunk(2) for _, of_scale in self._view for features in of_scale]
        return [(fake, real.detach()) for fake, real in both]

    @cached_property
    def _view(self) -> list[tuple[Tensor, list[Tensor]]]:
        """Scores and features of fakes and reals; first asked for by the generator, after the critic has moved."""
        pairs = [torch.cat([self.source, picture], dim=1) for picture in (self.fake, self.target)]
        found: list[tuple[Tensor, list[Tensor]]] = self.networks["discriminator"](torch.cat(pairs), features=True)
        return found


def scores_of_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """A discriminator's scores of real and of fake pictures [N, C, H, W] of one shape, each by itself.

    Batches of up to ``TOGETHER`` pixels are scored in one pass, larger ones in two. Norms work on each picture alone,
    so the scores are the same; only the time differs.
    """
    if len(real) * real.shape[-2] * real.shape[-1] > TOGETHER:
        return discriminator(real), discriminator(fake)
    first, second = discriminator(torch.cat([real, fake])).chunk(2)
    return first, second


def preview(outputs: PairedOutputs) -> Image.Image:
    """The first pictures of a step as rows: source (enlarged where the target is larger), generated, target."""
    source = outputs.source[:12]
    if source.shape[-2:] != outputs.target.shape[-2:]:
        source = F.interpolate(source, size=outputs.target.shape[-2:])
    return tile([source, outputs.fake[:12], outputs.target[:12]])
