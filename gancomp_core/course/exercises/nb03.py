"""Checks of notebook 03: pictures as logits, features through adaptors, channels chained through the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.course.checks import Attempt, Wrong, call, compare_tensors, exercise

#: A plausible mistake as a function of the same arguments, and the words that point to it.
Mistake = tuple[Callable[..., Tensor], str]


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- pictures as logits ----------------------------------------------------------------------------------------------


def _soft(picture: Tensor, temperature: float, dims: tuple[int, int] = (2, 3)) -> Tensor:
    return F.log_softmax(picture.flatten(*dims) / temperature, dim=-1)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL divergence of q from p, both as logarithms, over the last axis."""
    return (p.exp() * (p - q)).sum(-1)


def _logit_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return temperature**2 * _kl(_soft(teacher, temperature), _soft(student, temperature)).mean()


_LOGITS: list[Mistake] = [
    (
        lambda s, t, T: T**2 * _kl(_soft(s, T), _soft(t, T)).mean(),
        "The two are exchanged: the teacher's distribution is p, in front, and the student's is q, the one to move.",
    ),
    (
        lambda s, t, T: _kl(_soft(t, T), _soft(s, T)).mean(),
        "The factor temperature ** 2 is missing; without it a higher temperature also means a smaller gradient.",
    ),
    (
        lambda s, t, T: T * _kl(_soft(t, T), _soft(s, T)).mean(),
        "The factor is the temperature squared, not the temperature itself.",
    ),
    (
        lambda s, t, T: T**2 * _kl(_soft(t, 1), _soft(s, 1)).mean(),
        "The temperature is not in the softmax: divide the pixels by it first.",
    ),
    (
        lambda s, t, T: _kl(_soft(t, 1), _soft(s, 1)).mean(),
        "The temperature does nothing: divide the pixels by it before the softmax, and multiply the result by its "
        "square.",
    ),
    (
        lambda s, t, T: T**2 * _kl(_soft(t, 1 / T), _soft(s, 1 / T)).mean(),
        "You multiply by the temperature; it divides, so that a high one makes the distribution flat.",
    ),
    (
        lambda s, t, T: T**2 * _kl(_soft(t, T), _soft(s, T)).sum(),
        "You sum over pictures and channels; take their mean, so that the loss does not grow with the batch.",
    ),
    (
        lambda s, t, T: T**2 * _kl(_soft(t, T), _soft(s, T)).sum(1).mean(),
        "You average over the pictures and sum over the channels (that is what 'batchmean' does); average over both.",
    ),
    (
        lambda s, t, T: T**2 * _kl(_soft(t, T), _soft(s, T)).mean() / s[0, 0].numel(),
        "You average over the pixels as well; a KL divergence sums over them, and only pictures and channels are "
        "averaged.",
    ),
    (
        lambda s, t, T: T**2 * _kl(*(F.log_softmax(x / T, 1).movedim(1, -1) for x in (t, s))).mean(),
        "Your softmax runs over the channels; here the *pixels* of each channel are the classes.",
    ),
    (
        lambda s, t, T: T**2 * _kl(F.log_softmax(t / T, -1), F.log_softmax(s / T, -1)).mean(),
        "Your softmax runs over each row of pixels alone; flatten height and width first.",
    ),
    (
        lambda s, t, T: T**2 * _kl(_soft(t, T, (1, 3)), _soft(s, T, (1, 3))).mean(),
        "You put all channels into one distribution; each channel has its own.",
    ),
    (
        lambda s, t, T: T**2 * -(_soft(t, T).exp() * _soft(s, T)).sum(-1).mean(),
        "That is the cross-entropy: subtract the teacher's own entropy, so that equal pictures give 0.",
    ),
    (
        lambda s, t, T: -(T**2) * _kl(_soft(t, T), _soft(s, T)).mean(),
        "The sign is turned round: p * (log p - log q), not p * (log q - log p).",
    ),
]


@exercise("logit_loss")
def logit_loss(attempt: Attempt) -> None:
    cases = {
        f"{n} pictures of {channels} channels at temperature {temperature:g}": (
            _random(n, channels, 6, 4, seed=seed), _random(n, channels, 6, 4, seed=50 + seed), temperature
        )
        for seed, (n, channels, temperature) in enumerate([(2, 3, 1.0), (3, 2, 4.0), (2, 4, 0.5)])
    }  # fmt: skip
    compare_tensors(attempt, _logit_loss, cases, _LOGITS)


# --- features through adaptors ---------------------------------------------------------------------------------------


def _pairs(adaptors: Any, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(adapt(a), b) for adapt, a, b in zip(adaptors, ours, theirs, strict=True)]


def _feature_loss(adaptors: Any, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    return torch.stack([F.mse_loss(a, b.detach()) for a, b in _pairs(adaptors, ours, theirs)]).sum()


def _each(distance: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda adaptors, ours, theirs: torch.stack([distance(a, b) for a, b in _pairs(adaptors, ours, theirs)]).sum()


_FEATURES: list[Mistake] = [
    (
        lambda w, o, t: torch.stack([F.mse_loss(a, b[:, : a.shape[1]]) for a, b in zip(o, t, strict=True)]).sum(),
        "The adaptors do nothing: you compare the student's channels with the teacher's first ones, and channel 3 of "
        "one has nothing to do with channel 3 of the other.",
    ),
    (
        lambda w, o, t: _feature_loss(w, o, t) / len(o),
        "You average over the taps; the loss is their sum.",
    ),
    (_each(F.l1_loss), "You take absolute values; features are compared by their squared difference."),
    (
        _each(lambda a, b: (a - b).square().sum()),
        "You sum the squares; take their mean, or a tap with many pixels outweighs all others.",
    ),
    (
        _each(lambda a, b: (a - b).square().sum() / len(a)),
        "You divide by the batch alone; the mean goes over channels and pixels as well.",
    ),
    (
        _each(lambda a, b: F.mse_loss(a, b).sqrt()),
        "You take the root of each tap's mean square; leave it out.",
    ),
    (
        lambda w, o, t: F.mse_loss(w[-1](o[-1]), t[-1]),
        "Only the last tap counts in your loss; sum over all of them.",
    ),
    (
        lambda w, o, t: F.mse_loss(w[0](o[0]), t[0]),
        "Only the first tap counts in your loss: is there a return inside the loop?",
    ),
    (
        _each(lambda a, b: F.mse_loss(a.relu(), b)),
        "You clip what the adaptor gives at zero; features of a residual block are negative, too.",
    ),
    (
        lambda w, o, t: torch.stack(
            [F.mse_loss(F.conv2d(a, adapt.weight), b) for adapt, a, b in zip(w, o, t, strict=True)]
        ).sum(),
        "The adaptors' biases are left out; call the adaptor as a layer, adaptor(feature).",
    ),
    (
        _each(lambda a, b: F.mse_loss(F.normalize(a), F.normalize(b))),
        "You normalise the features first; their size is part of what the student imitates.",
    ),
]


@exercise("feature_loss")
def feature_loss(attempt: Attempt) -> None:
    cases = {
        f"{len(widths)} taps of {', '.join(str(ours) for ours, _ in widths)} channels": _taps(widths, seed)
        for seed, widths in enumerate([((4, 8), (4, 6)), ((3, 5), (6, 12), (2, 2)), ((5, 10),)])
    }
    compare_tensors(attempt, _feature_loss, cases, _FEATURES)
    _gradients(attempt)


def _taps(widths: Sequence[tuple[int, int]], seed: int) -> tuple[nn.ModuleList, list[Tensor], list[Tensor]]:
    """Adaptors, student's and teacher's features of these numbers of channels."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adaptors = nn.ModuleList(nn.Conv2d(ours, theirs, 1) for ours, theirs in widths)
    sides = [[_random(2, pair[side], 4, 5, seed=10 * seed + side) for pair in widths] for side in (0, 1)]
    return adaptors, sides[0], sides[1]


def _gradients(attempt: Attempt) -> None:
    """Gradients reach the student and the adaptors, and not the teacher."""
    adaptors, ours, theirs = _taps(((4, 8), (4, 6)), seed=7)
    for feature in (*ours, *theirs):
        feature.requires_grad_()
    loss = attempt(adaptors, ours, theirs)
    if not isinstance(loss, Tensor):
        raise Wrong("The value is right, but it is a plain number, which nothing can be trained through: no `.item()`.")
    weight: Any = adaptors[0].weight
    wanted: dict[str, Tensor] = {"student's features": ours[0], "adaptors": weight, "teacher's features": theirs[0]}
    if not loss.requires_grad:
        raise Wrong("The value is right, but no gradient reaches anything: only the teacher belongs under no_grad().")
    found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    reached = dict(zip(wanted, (gradient is not None for gradient in found), strict=True))
    for name in ("student's features", "adaptors"):
        if not reached[name]:
            raise Wrong(
                f"The value is right, but no gradient reaches the {name}, so half of what should learn would not; "
                "`.detach()` belongs on the teacher's side alone."
            )
    if reached["teacher's features"]:
        raise Wrong(
            "The value is right, but a gradient flows into the teacher's features: detach them, or a teacher whose "
            "weights are not frozen would come to meet its student."
        )


# --- channels chained through the layers -----------------------------------------------------------------------------


def _chain(
    weights: Sequence[Tensor],
    widths: Sequence[int],
    rank: Callable[[Tensor, Tensor], Tensor] = lambda own, following: following.abs().sum((0, 2, 3)),
) -> list[Tensor]:
    """Each layer keeps its most important outputs and, of its inputs, those that the layer before kept."""
    found, kept = [], torch.arange(weights[0].shape[1])
    for layer, weight in enumerate(weights):
        outputs = torch.arange(len(weight))
        if layer < len(widths):
            importance = rank(weight, weights[layer + 1])
            outputs = importance.argsort(descending=True)[: widths[layer]]
        found.append(weight[outputs][:, kept])
        kept = outputs
    return found


def _own(own: Tensor, following: Tensor) -> Tensor:
    return own.abs().sum((1, 2, 3))


def _as_they_lie(own: Tensor, following: Tensor) -> Tensor:
    return -torch.arange(len(own), dtype=torch.float32)


def _inputs_as_they_lie(weights: Sequence[Tensor], widths: Sequence[int]) -> list[Tensor]:
    right = _chain(weights, widths)
    orders = [weight.abs().sum((0, 2, 3)).argsort(descending=True) for weight in weights[1:]]
    found = []
    for layer, (weight, made) in enumerate(zip(weights, right, strict=True)):
        outputs = orders[layer][: made.shape[0]] if layer < len(widths) else torch.arange(len(weight))
        found.append(weight[outputs][:, : made.shape[1]])
    return found


def _inputs_stay(weights: Sequence[Tensor], widths: Sequence[int]) -> list[Tensor]:
    orders = [weight.abs().sum((0, 2, 3)).argsort(descending=True) for weight in weights[1:]]
    cut = [weight[order[:width]] for weight, order, width in zip(weights, orders, widths, strict=False)]
    return [*cut, weights[-1]]


def _greedy(weights: Sequence[Tensor], widths: Sequence[int]) -> list[Tensor]:
    """Backwards: a layer's importance counts only the outputs of the next one that stay."""
    found, kept = list(weights), torch.arange(len(weights[-1]))
    for layer in range(len(weights) - 1, -1, -1):
        outputs = found[layer][kept]
        inputs = torch.arange(outputs.shape[1])
        if layer:
            inputs = outputs.abs().sum((0, 2, 3)).argsort(descending=True)[: widths[layer - 1]]
        found[layer], kept = outputs[:, inputs], inputs
    return found


_CHAINS: list[tuple[Callable[..., list[Tensor]], str]] = [
    (
        _inputs_stay,
        "The outputs are cut and the inputs are not: the next layer still expects the channels that are gone. Take, "
        "of its inputs, those that the layer before kept.",
    ),
    (
        lambda w, n: [_chain(w, n)[0], *w[1:]],
        "Only the first layer got narrower; go on with the next one, whose inputs are the first one's outputs.",
    ),
    (
        _inputs_as_they_lie,
        "The outputs are right, but of its inputs every layer takes the leading ones, where the layer before has kept "
        "others, in another order: index them with the same places.",
    ),
    (
        lambda w, n: _chain(w, n, _own),
        "You rank channels by the weights that make them; behind an InstanceNorm these say nothing. Ask the weights of "
        "the next layer.",
    ),
    (
        lambda w, n: _chain(w, n, _as_they_lie),
        "The chain is right, but the channels are the leading ones as they lie; rank them first.",
    ),
    (
        lambda w, n: _chain(w, n, lambda own, following: -following.abs().sum((0, 2, 3))),
        "The chain is right, but upside down: these are the least important channels.",
    ),
    (
        lambda w, n: _chain(w, n, lambda own, following: following.square().sum((0, 2, 3))),
        "You rank by squares, the L2 norm; the paper ranks by L1, the sum of absolute values.",
    ),
    (
        lambda w, n: _chain(w, n, lambda own, following: following.sum((0, 2, 3))),
        "Without the absolute value, positive and negative weights cancel.",
    ),
    (
        lambda w, n: _chain(w, n, lambda own, following: following[:, :, 1, 1].abs().sum(0)),
        "You look at the middle of the kernels only; every place counts.",
    ),
    (
        _greedy,
        "You rank by the part of the next layer that is left after its own cut; the importance counts its whole "
        "weight, which is why one sort serves networks of every width.",
    ),
]


@exercise("narrower_chain")
def narrower_chain(attempt: Attempt) -> None:
    # the longest first: it tells most mistakes apart
    chains = [((1, 8, 12, 6, 3), (4, 6, 3)), ((3, 9, 7, 5), (5, 4)), ((2, 8, 6), (4,))]
    for seed, (channels, widths) in enumerate(chains):
        weights = [
            _random(outputs, inputs, 3, 3, seed=100 * seed + layer)
            for layer, (inputs, outputs) in enumerate(zip(channels, channels[1:], strict=False))
        ]
        _one_chain(attempt, weights, widths)


def _one_chain(attempt: Attempt, weights: list[Tensor], widths: tuple[int, ...]) -> None:
    got, want = call(attempt, weights, widths), _chain(weights, widths)
    case = f"For layers of shapes {[list(weight.shape[:2]) for weight in weights]} and widths {list(widths)}"
    if not isinstance(got, list | tuple) or not all(isinstance(weight, Tensor) for weight in got):
        raise Wrong(f"{case} a list of weights is wanted, one tensor for each layer.")
    if _same(got, want):
        return
    for mistake, hint in _CHAINS:
        if _same(got, mistake(weights, widths)):
            raise Wrong(hint)
    if len(got) != len(want):
        raise Wrong(
            f"{case} your function returns {len(got)} weights, and every one of the {len(want)} layers has one."
        )
    bad = next(place for place in range(len(want)) if not _same(got[place : place + 1], want[place : place + 1]))
    if got[bad].shape != want[bad].shape:
        raise Wrong(
            f"{case} your weight {bad + 1} has the shape {list(got[bad].shape)}, and {list(want[bad].shape)} is right."
        )
    if _same([t.flatten().sort().values for t in got], [t.flatten().sort().values for t in want]):
        raise Wrong(f"{case} the right numbers are there in another order: the most important channel comes first.")
    raise Wrong(f"{case} your weight {bad + 1} has the right shape and wrong entries.")


def _same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return len(ours) == len(theirs) and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)
    )
