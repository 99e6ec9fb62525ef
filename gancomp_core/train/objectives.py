"""Objectives: weighted sums of terms, written as in a paper: ``gan() + 50 * reconstruction()``.

A term reads what it needs from the *scene* of a training step (the batch, the generated picture, a way to ask the
discriminator; see :mod:`gancomp_core.train.pix2pix`), so the loop, the networks and the objective do not know each
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.measure import PerceptualDistance
from gancomp_core.train.feature_maps import FeatureMaps

TOGETHER = 1 << 17  # pixels of a batch that a discriminator judges in one pass with as many others


@dataclass(frozen=True)
class Objective:
    """A weighted sum of named terms; each term maps a scene to a scalar tensor.

    Add objectives, multiply them by numbers.
    """

    terms: tuple[tuple[float, str, Callable[[Any], Tensor]], ...]

    def __call__(self, scene: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and every term's own unweighted value by name."""
        values = {name: function(scene) for _, name, function in self.terms}
        total = sum(weight * values[name] for weight, name, _ in self.terms)
        return total, values  # type: ignore[return-value]

    def __post_init__(self) -> None:
        names = [name for _, name, _ in self.terms]
        if len(set(names)) < len(names):
            raise GancompError(
                f"The objective '{self}' has two terms of one name; give each its own, so that both can be told apart."
            )

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.terms + other.terms)

    def __mul__(self, weight: float) -> Objective:
        return Objective(tuple((weight * w, name, function) for w, name, function in self.terms))

    __rmul__ = __mul__

    def __str__(self) -> str:
        return " + ".join(name if weight == 1 else f"{weight:g} * {name}" for weight, name, _ in self.terms)


@dataclass(frozen=True)
class GanLoss:
    """One adversarial game: what the critic minimises on real and on fake scores, and what the generator minimises."""

    name: str
    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


#: Least squares (Mao et al., ICCV 2017): real scores towards 1, fake ones towards 0.
LSGAN = GanLoss(
    "lsgan",
    real=lambda scores: (scores - 1).square().mean(),
    fake=lambda scores: scores.square().mean(),
    generator=lambda scores: (scores - 1).square().mean(),
)

#: Hinge (Lim and Ye 2017): real scores above 1, fake ones below -1, and no reward for more.
HINGE = GanLoss(
    "hinge",
    real=lambda scores: F.relu(1 - scores).mean(),
    fake=lambda scores: F.relu(1 + scores).mean(),
    generator=lambda scores: -scores.mean(),
)


def gan(loss: GanLoss = LSGAN) -> Objective:
    """The generator's side of the game. Reads ``scene.fake`` and ``scene.judge``."""
    return Objective(((1.0, f"gan_{loss.name}", lambda scene: _each(loss.generator, scene.judge(scene.fake))),))


def critic(loss: GanLoss = LSGAN) -> Objective:
    """The discriminator's side: half the loss on real pictures plus half on fakes, which are detached.

    Reads ``scene.judge_both``, which scores real and fake pictures.
    """

    def term(scene: Any) -> Tensor:
        real, fake = scene.judge_both()
        return 0.5 * (_each(loss.real, real) + _each(loss.fake, fake))

    return Objective(((1.0, f"critic_{loss.name}", term),))


def scores_of_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """What a discriminator makes of real and of fake pictures [N, C, H, W] of one shape, each by itself.

    Batches of up to ``TOGETHER`` pixels go through it in one pass, larger ones in two. Norms look at each picture
    alone, so the scores are the same; only the time differs.
    """
    if len(real) * real.shape[-2] * real.shape[-1] > TOGETHER:
        return discriminator(real), discriminator(fake)
    first, second = discriminator(torch.cat([real, fake])).chunk(2)
    return first, second


def companions(objective: Objective | None) -> dict[str, nn.Module]:
    """Frozen networks that the terms of an objective ask for, by the name under which a scene's models hold them."""
    terms = {name for _, name, _ in objective.terms} if objective else set()
    with torch.random.fork_rng():  # their layers draw numbers before the weights are read
        found: dict[str, nn.Module] = {"perceptual": PerceptualDistance()} if "perceptual" in terms else {}
        return found | ({"features": FeatureMaps()} if terms & {"content", "style"} else {})


def checked_game(objective: Objective | None, loss: GanLoss) -> Objective | None:
    """The same objective; raises :class:`GancompError` when its adversarial terms play another game than the critic."""
    for _, name, _ in objective.terms if objective else ():
        game = name.rpartition("gan_")[2] if "gan_" in name else loss.name
        if game != loss.name:
            raise GancompError(
                f"The objective's term '{name}' and the critic's '{loss.name}' are two games; "
                f"pass loss={game.upper()}, or use gan({loss.name.upper()}) in the objective."
            )
    return objective


def _each(loss: Callable[[Tensor], Tensor], scores: Tensor | Sequence[Tensor]) -> Tensor:
    """The loss of scores; a discriminator of several scales has as many, and their losses are averaged."""
    if isinstance(scores, Tensor):
        return loss(scores)
    return torch.stack([loss(of_one_scale) for of_one_scale in scores]).mean()


def reconstruction() -> Objective:
    """Mean absolute error between ``scene.fake`` and ``scene.target``."""
    return Objective(((1.0, "reconstruction", lambda scene: F.l1_loss(scene.fake, scene.target)),))


def feature_matching() -> Objective:
    """Mean absolute difference of the discriminator's features of fake and real pictures (Wang et al., CVPR 2018).

    Reads ``scene.critic_features``: pairs (fake, real) of feature maps, the real ones without gradient.
    """

    def term(scene: Any) -> Tensor:
        return torch.stack([F.l1_loss(fake, real) for fake, real in scene.critic_features]).mean()

    return Objective(((1.0, "feature_matching", term),))


def perceptual() -> Objective:
    """PD-EfficientNet-Lite0 between ``scene.fake`` and ``scene.target``; the scene's models hold it as "perceptual"."""
    return Objective(((1.0, "perceptual", lambda scene: scene.models["perceptual"](scene.fake, scene.target).mean()),))


def content() -> Objective:
    """Squared difference of the feature maps of ``scene.fake`` and ``scene.target``, as a share of the target's.

    Averaged over the maps that ``scene.feature_maps`` holds in pairs (Johnson et al., ECCV 2016, arXiv 1603.08155; in
    their loss each map counts as it is, here all weigh alike).
    """

    def term(scene: Any) -> Tensor:
        return torch.stack([_relative_error(ours, theirs) for ours, theirs in scene.feature_maps]).mean()

    return Objective(((1.0, "content", term),))


def style() -> Objective:
    """The same of Gram matrices: which features occur together, wherever they occur (Gatys et al., CVPR 2016).

    The Gram matrix of a map [C, h, w] is [C, C]: products of two channels, averaged over positions.
    """

    def term(scene: Any) -> Tensor:
        return torch.stack([_relative_error(gram(ours), gram(theirs)) for ours, theirs in scene.feature_maps]).mean()

    return Objective(((1.0, "style", term),))


def gram(maps: Tensor) -> Tensor:
    """The Gram matrices [N, C, C] of feature maps [N, C, h, w], in float32."""
    with torch.autocast(maps.device.type, enabled=False):
        flat = maps.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def _relative_error(ours: Tensor, theirs: Tensor) -> Tensor:
    ours, theirs = ours.float(), theirs.float()
    return (ours - theirs).square().mean() / theirs.square().mean().clamp_min(1e-8)


def total_variation() -> Objective:
    """Mean absolute difference of neighbouring pixels of ``scene.fake``, down and across: a price on noise."""

    def term(scene: Any) -> Tensor:
        x = scene.fake
        return (x[..., 1:, :] - x[..., :-1, :]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean()

    return Objective(((1.0, "total_variation", term),))
