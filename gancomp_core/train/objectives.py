"""Objectives: weighted sums of terms, written as in a paper: ``gan() + 50 * reconstruction()``.

A term reads what it needs from the *outputs* of a training step (the batch, the generated picture, a way to ask the
discriminator; see :mod:`gancomp_core.train.outputs`), so the loop, the networks and the objective do not know each
other. :func:`term` makes one of a function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.measure import PerceptualDistance
from gancomp_core.train.feature_maps import FeatureMaps
from gancomp_core.train.processes import mean_of_all

if TYPE_CHECKING:
    from gancomp_core.train.outputs import PairedOutputs, SemanticOutputs

P = ParamSpec("P")
Auxiliary = Mapping[str, Callable[[], nn.Module]]


@dataclass(frozen=True)
class Term:
    """One term: ``weight`` times ``function(outputs, **arguments)``, a scalar tensor.

    ``arguments`` holds all of them, defaults included, so that a term is completely known. ``auxiliary`` makes the
    frozen networks that the function finds under these names in ``outputs.networks``.
    """

    name: str
    function: Callable[..., Tensor]
    arguments: Mapping[str, object] = field(default_factory=dict)
    weight: float = 1.0
    auxiliary: Auxiliary = field(default_factory=dict, repr=False)

    def __call__(self, outputs: object) -> Tensor:
        return self.function(outputs, **self.arguments)

    def __str__(self) -> str:
        inner = self.inner
        defaults = {name: p.default for name, p in inspect.signature(inner.function).parameters.items()}
        changed = {name: value for name, value in inner.arguments.items() if value != defaults.get(name)}
        told = ", ".join(f"{n}={v!r}" for n, v in changed.items() if not isinstance(v, GanLoss))
        text = f"{self.name}({told})" if told else self.name
        return text if self.weight == 1 else f"{self.weight:g} * {text}"

    @property
    def inner(self) -> Term:
        """The term itself, without the parts of the outputs that it was moved to."""
        within = self.arguments.get("term")
        return within.inner if isinstance(within, Term) else self


@dataclass(frozen=True)
class Objective:
    """A weighted sum of named terms. Add objectives, multiply them by numbers."""

    terms: tuple[Term, ...]

    def __call__(self, outputs: object) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and every term's own unweighted value by name."""
        values = {term.name: term(outputs) for term in self.terms}
        total = sum(term.weight * values[term.name] for term in self.terms)
        return total, values  # type: ignore[return-value]

    def __post_init__(self) -> None:
        if len({term.name for term in self.terms}) < len(self.terms):
            raise GancompError(
                f"The objective '{self}' has two terms of one name; give each its own, so that both can be told apart."
            )

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.terms + other.terms)

    def __mul__(self, weight: float) -> Objective:
        return Objective(tuple(replace(term, weight=weight * term.weight) for term in self.terms))

    __rmul__ = __mul__

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))

    def find(self, *names: str) -> Term | None:
        """The first term of one of these names, or None."""
        return next((term for term in self.terms if term.name in names), None)

    def at(self, part: str, prefix: str = "") -> Objective:
        """The same objective of one part of the outputs, an attribute of theirs; names of terms get the ``prefix``."""
        return self._moved(_of_part, prefix, part=part)

    def over(self, parts: str, how: Literal["mean", "sum"]) -> Objective:
        """The mean or sum of every term over several parts of the outputs: what the attribute ``parts`` lists."""
        return self._moved(_over_parts, "", parts=parts, how=how)

    def _moved(self, function: Callable[..., Tensor], prefix: str, **arguments: object) -> Objective:
        return Objective(
            tuple(
                replace(term, name=prefix + term.name, function=function, arguments={**arguments, "term": term})
                for term in self.terms
            )
        )

    def auxiliary_networks(self) -> dict[str, nn.Module]:
        """The frozen networks that the terms ask for, by name."""
        makers = {name: make for term in self.terms for name, make in term.auxiliary.items()}
        with torch.random.fork_rng():  # their layers draw numbers before the weights are read
            return {name: make() for name, make in makers.items()}

    def game(self, usual: GanLoss) -> GanLoss:
        """The adversarial loss that the objective's ``gan`` terms play, ``usual`` where it has none.

        Raises:
            GancompError: For two different ones; a discriminator plays one game.
        """
        found = [loss for term in self.terms if isinstance(loss := term.inner.arguments.get("loss"), GanLoss)]
        if any(loss != found[0] for loss in found):
            names = " and ".join(dict.fromkeys(loss.name for loss in found))
            raise GancompError(f"The objective '{self}' plays two games, {names}; use one loss in all its gan terms.")
        return found[0] if found else usual


def _of_part(outputs: object, part: str, term: Term) -> Tensor:
    return term(getattr(outputs, part))


def _over_parts(outputs: object, parts: str, how: str, term: Term) -> Tensor:
    values = torch.stack([term(part) for part in getattr(outputs, parts)])
    return values.mean() if how == "mean" else values.sum()


def term(
    name: str = "", auxiliary: Auxiliary | None = None, check: Callable[..., None] | None = None
) -> Callable[[Callable[Concatenate[Any, P], Tensor]], Callable[P, Objective]]:
    """Make an objective's term of a function of the step's outputs: ``@term()`` above ``def mine(outputs, k=1)``.

    Calling ``mine(k=2)`` then gives an :class:`Objective` of that term with these arguments.

    Args:
        name: The term's name in objectives and tables of losses (default: that of the function).
        auxiliary: Makers of the frozen networks that the function reads from ``outputs.networks``, by name.
        check: Called with all arguments, by name, when the term is made; raises for wrong ones.
    """

    def decorate(function: Callable[Concatenate[Any, P], Tensor]) -> Callable[P, Objective]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def make(*args: P.args, **kwargs: P.kwargs) -> Objective:
            bound = signature.bind(None, *args, **kwargs)
            bound.apply_defaults()
            arguments = dict(list(bound.arguments.items())[1:])
            if check:
                check(**arguments)
            return Objective((Term(name or function.__name__, function, arguments, auxiliary=auxiliary or {}),))

        shown = list(signature.parameters.values())[1:]
        make.__signature__ = signature.replace(parameters=shown, return_annotation=Objective)  # type: ignore[attr-defined]
        return make

    return decorate


@dataclass(frozen=True)
class GanLoss:
    """One adversarial game: what the critic minimizes on real and on fake scores, and what the generator minimizes."""

    name: str
    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


#: Least squares (Mao et al., ICCV 2017): real scores toward 1, fake ones toward 0.
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
    """The generator's side of the game, which the discriminator then plays too.

    Reads ``outputs.fake`` and ``outputs.discriminate``.
    """
    return Objective((Term(f"gan_{loss.name}", _generator_loss, {"loss": loss}),))


def critic(loss: GanLoss = LSGAN) -> Objective:
    """The discriminator's side: half the loss on real pictures plus half on fakes, which are detached.

    Reads ``outputs.discriminate_both``, which scores real and fake pictures.
    """
    return Objective((Term(f"critic_{loss.name}", _critic_loss, {"loss": loss}),))


def _generator_loss(outputs: PairedOutputs, loss: GanLoss) -> Tensor:
    return _each(loss.generator, outputs.discriminate(outputs.fake))


def _critic_loss(outputs: PairedOutputs, loss: GanLoss) -> Tensor:
    real, fake = outputs.discriminate_both()
    return 0.5 * (_each(loss.real, real) + _each(loss.fake, fake))


def _each(loss: Callable[[Tensor], Tensor], scores: Tensor | Sequence[Tensor]) -> Tensor:
    """The loss of scores; a discriminator of several scales has as many, and their losses are averaged."""
    if isinstance(scores, Tensor):
        return loss(scores)
    return torch.stack([loss(of_one_scale) for of_one_scale in scores]).mean()


@term()
def reconstruction(outputs: PairedOutputs) -> Tensor:
    """Mean absolute error between ``outputs.fake`` and ``outputs.target``."""
    return F.l1_loss(outputs.fake, outputs.target)


@term()
def feature_matching(outputs: SemanticOutputs) -> Tensor:
    """Mean absolute difference of the discriminator's features of fake and real pictures (Wang et al., CVPR 2018).

    Reads ``outputs.critic_features``: pairs (fake, real) of feature maps, the real ones without gradient.
    """
    return torch.stack([F.l1_loss(fake, real) for fake, real in outputs.critic_features]).mean()


@term(auxiliary={"perceptual": PerceptualDistance})
def perceptual(outputs: PairedOutputs) -> Tensor:
    """PD-EfficientNet-Lite0 between ``outputs.fake`` and ``outputs.target``; its network is "perceptual"."""
    distance: Tensor = outputs.networks["perceptual"](outputs.fake, outputs.target)
    return distance.mean()


@term(auxiliary={"features": FeatureMaps})
def content(outputs: PairedOutputs) -> Tensor:
    """Squared difference of the feature maps of ``outputs.fake`` and ``outputs.target``, as a share of the target's.

    Averaged over the maps that ``outputs.feature_maps`` holds in pairs (Johnson et al., ECCV 2016, arXiv 1603.08155; in
    their loss each map counts as it is, here all weigh alike).
    """
    return torch.stack([_relative_error(ours, theirs) for ours, theirs in outputs.feature_maps]).mean()


@term(auxiliary={"features": FeatureMaps})
def style(outputs: PairedOutputs) -> Tensor:
    """The same of Gram matrices: which features occur together, wherever they occur (Gatys et al., CVPR 2016).

    The Gram matrix of a map [C, h, w] is [C, C]: products of two channels, averaged over positions.
    """
    return torch.stack([_relative_error(gram(ours), gram(theirs)) for ours, theirs in outputs.feature_maps]).mean()


def gram(maps: Tensor) -> Tensor:
    """The Gram matrices [N, C, C] of feature maps [N, C, h, w], in float32."""
    with torch.autocast(maps.device.type, enabled=False):
        flat = maps.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def _relative_error(ours: Tensor, theirs: Tensor) -> Tensor:
    ours, theirs = ours.float(), theirs.float()
    return (ours - theirs).square().mean() / mean_of_all(theirs.square().mean()).clamp_min(1e-8)


@term()
def total_variation(outputs: PairedOutputs) -> Tensor:
    """Mean absolute difference of neighboring pixels of ``outputs.fake``, down and across: a penalty on noise."""
    x = outputs.fake
    return (x[..., 1:, :] - x[..., :-1, :]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean()
