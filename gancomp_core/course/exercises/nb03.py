"""Exercises of notebook 03: logits, features through adaptors, a training to debug, channels chained through layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.course.answers import Wrong, tensor, tensors
from gancomp_core.course.exercise import Exercise, Group, noise

# --- pictures as logits ----------------------------------------------------------------------------------------------


def _soft(picture: Tensor, temperature: float, dims: tuple[int, int] = (2, 3)) -> Tensor:
    return F.log_softmax(picture.flatten(*dims) / temperature, dim=-1)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL divergence of q from p, both as logarithms, over the last axis."""
    return (p.exp() * (p - q)).sum(-1)


def _both(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return _kl(_soft(teacher, temperature), _soft(student, temperature))


def logit_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return temperature**2 * _both(student, teacher, temperature).mean()


LOGIT_LOSS = Exercise(
    reference=logit_loss,
    kind=tensor,
    inputs=[
        (noise(n, channels, 6, 4, seed=seed), noise(n, channels, 6, 4, seed=50 + seed), temperature)
        for seed, (n, channels, temperature) in enumerate([(2, 3, 1.0), (3, 2, 4.0), (2, 4, 0.5)])
    ],
    gradients=("student",),
    mutants={
        "You compare the pixels themselves; make a distribution of each channel's pixels first, by softmax, and take "
        "the KL divergence of the two.": lambda s, t, T: (s - t).abs().mean(),
        "F.kl_div wants the *logarithm* of its first argument, log_softmax; you give it the "
        "probabilities.": lambda s, t, T: (
            T**2 * F.kl_div(_soft(s, T).exp(), _soft(t, T).exp(), reduction="none").sum(-1).mean()
        ),
        "The two are exchanged: the teacher's "
        "distribution is p, in front, and the student's is q, the one to move.": lambda s, t, T: logit_loss(t, s, T),
        "The factor temperature ** 2 is missing; "
        "without it a higher temperature also means a smaller gradient.": lambda s, t, T: _both(s, t, T).mean(),
        "The factor is the temperature squared, not the temperature itself.": lambda s, t, T: T * _both(s, t, T).mean(),
        "The temperature is not in the softmax: divide the pixels by it first.": lambda s, t, T: (
            T**2 * _both(s, t, 1).mean()
        ),
        "The temperature does nothing: divide the pixels "
        "by it before the softmax, and multiply the result by its square.": lambda s, t, T: _both(s, t, 1).mean(),
        "You multiply by the temperature; "
        "it divides, so that a high one makes the distribution flat.": lambda s, t, T: T**2 * _both(s, t, 1 / T).mean(),
        "You sum over pictures and channels; "
        "take their mean, so that the loss does not grow with the batch.": lambda s, t, T: T**2 * _both(s, t, T).sum(),
        "You average over the pictures and sum over the channels "
        "(that is what 'batchmean' does); average over both.": lambda s, t, T: T**2 * _both(s, t, T).sum(1).mean(),
        "You average over the pixels as well; a KL divergence sums over "
        "them, and only pictures and channels are averaged.": lambda s, t, T: logit_loss(s, t, T) / s[0, 0].numel(),
        "Your softmax runs over the channels; here the *pixels* of each channel are the classes.": lambda s, t, T: (
            T**2 * _kl(*(F.log_softmax(x / T, 1).movedim(1, -1) for x in (t, s))).mean()
        ),
        "Your softmax runs over each row of pixels alone; flatten height and width first.": lambda s, t, T: (
            T**2 * _kl(F.log_softmax(t / T, -1), F.log_softmax(s / T, -1)).mean()
        ),
        "You put all channels into one distribution; each channel has its own.": lambda s, t, T: (
            T**2 * _kl(_soft(t, T, (1, 3)), _soft(s, T, (1, 3))).mean()
        ),
        "That is the cross-entropy: subtract the teacher's own entropy, "
        "so that equal pictures give 0.": lambda s, t, T: T**2 * -(_soft(t, T).exp() * _soft(s, T)).sum(-1).mean(),
        "The sign is wrong: p * (log p - log q), not p * (log q - log p).": lambda s, t, T: -logit_loss(s, t, T),
    },
)

# --- features through adaptors ---------------------------------------------------------------------------------------

Features = Sequence[Tensor]


def _taps(distance: Callable[[Tensor, Tensor], Tensor]) -> Callable[[nn.ModuleList, Features, Features], Tensor]:
    """The sum over taps of another distance than the right one."""

    def loss(adaptors: nn.ModuleList, ours: Features, theirs: Features) -> Tensor:
        taps = zip(adaptors, ours, theirs, strict=True)
        return torch.stack([distance(adapt(a), b.detach()) for adapt, a, b in taps]).sum()

    return loss


def feature_loss(adaptors: nn.ModuleList, ours: Features, theirs: Features) -> Tensor:
    return _taps(F.mse_loss)(adaptors, ours, theirs)


def _adaptors(widths: Sequence[tuple[int, int]], seed: int) -> nn.ModuleList:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.ModuleList(nn.Conv2d(ours, theirs, 1) for ours, theirs in widths)


FEATURE_LOSS = Exercise(
    reference=feature_loss,
    kind=tensor,
    inputs=[
        (
            _adaptors(widths, seed),
            [noise(2, ours, 4, 5, seed=10 * seed) for ours, _ in widths],
            [noise(2, theirs, 4, 5, seed=10 * seed + 1) for _, theirs in widths],
        )
        for seed, widths in enumerate([((5, 10),), ((3, 5), (6, 12), (2, 2)), ((4, 8), (4, 6))])
    ],
    gradients=("adaptors", "ours", "theirs"),
    mutants={
        "The adaptors do nothing: you compare the student's channels with the teacher's first ones, and channel 3 of "
        "one has nothing to do with channel "
        "3 of the other.": lambda w, o, t: sum(F.mse_loss(a, b[:, : a.shape[1]]) for a, b in zip(o, t, strict=True)),
        "You average over the taps; the loss is their sum.": lambda w, o, t: feature_loss(w, o, t) / len(o),
        "You take absolute values; features are compared by their squared difference.": _taps(F.l1_loss),
        "You sum the squares; take their mean, or a tap with many pixels outweighs all others.": _taps(
            lambda a, b: (a - b).square().sum()
        ),
        "You divide by the batch alone; the mean goes over channels and pixels as well.": _taps(
            lambda a, b: (a - b).square().sum() / len(a)
        ),
        "You take the root of each tap's mean square; leave it out.": _taps(lambda a, b: F.mse_loss(a, b).sqrt()),
        "Only the last tap counts in your loss; sum over all of them.": lambda w, o, t: feature_loss(
            w[-1:], o[-1:], t[-1:]
        ),
        "Only the first tap counts in your loss: is there a return inside the loop?": lambda w, o, t: feature_loss(
            w[:1], o[:1], t[:1]
        ),
        "You clip what the adaptor gives at zero; features of a residual block are negative, too.": _taps(
            lambda a, b: F.mse_loss(a.relu(), b)
        ),
        "The adaptors' biases are left out; call the adaptor as a layer, adaptor(feature).": (
            lambda w, o, t: sum(F.mse_loss(F.conv2d(a, adapt.weight), b) for adapt, a, b in zip(w, o, t, strict=True))
        ),
        "You normalize the features first; their size is part of what the student imitates.": _taps(
            lambda a, b: F.mse_loss(F.normalize(a), F.normalize(b))
        ),
        "The value is right, but no gradient reaches "
        "anything: only the teacher's features belong under no_grad().": lambda w, o, t: feature_loss(w, o, t).detach(),
        "The value is right, but no gradient reaches the student's features, so half of what should learn would not; "
        "`.detach()` belongs on the teacher's side alone.": lambda w, o, t: feature_loss(w, [a.detach() for a in o], t),
        "The value is right, but a gradient flows into the teacher's features: detach them, or a teacher whose weights "
        "are not frozen would change to "
        "meet its student.": lambda w, o, t: sum(F.mse_loss(adapt(a), b) for adapt, a, b in zip(w, o, t, strict=True)),
    },
)

# --- a training to debug ---------------------------------------------------------------------------------------------


class _Tapped(nn.Module):
    """A student of two layers, of which both features are tapped."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, drawing: Tensor) -> list[Tensor]:
        low = self.first(drawing).tanh()
        return [low, self.second(low).tanh()]


def _tapped(seed: int) -> _Tapped:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _Tapped()


@dataclass(frozen=True)
class _Training:
    """The training of the exercise with any of its faults, and some that a repair may bring."""

    student_learns: bool = True
    adaptors_learn: bool = True
    cleared: bool = True
    restarted: bool = False  # a new optimizer in every step
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam
    average: bool = False

    def __call__(
        self, student: nn.Module, adaptors: nn.ModuleList, drawing: Tensor, wanted: Features, steps: int, lr: float
    ) -> list[float]:
        learning = [*student.parameters(), *(adaptors.parameters() if self.adaptors_learn else [])]
        optimizer = self.optimizer(learning, lr=lr)  # type: ignore[call-arg]
        losses = []
        for _ in range(steps):
            found = [each if self.student_learns else each.detach() for each in student(drawing)]
            loss = feature_loss(adaptors, found, wanted) / (len(found) if self.average else 1)
            if self.restarted:
                optimizer = self.optimizer(learning, lr=lr)  # type: ignore[call-arg]
            if self.cleared:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses


def train_taps(
    student: nn.Module, adaptors: nn.ModuleList, drawing: Tensor, wanted: Features, steps: int, lr: float
) -> list[float]:
    return _Training()(student, adaptors, drawing, wanted, steps, lr)


def _curve(value: object, *arguments: object) -> Tensor:
    """The losses of all steps."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if not isinstance(value, list | tuple) or not all(isinstance(loss, float | int | Tensor) for loss in value):
        raise Wrong("a list with the loss of every step is wanted; return `losses` as the function did.")
    if value and isinstance(value[0], Tensor) and value[0].requires_grad:
        raise Wrong("each loss keeps the graph of its whole step in memory; append `loss.item()`, a plain number.")
    return torch.tensor([float(loss) for loss in value])


TRAIN_TAPS = Exercise(
    reference=train_taps,
    kind=_curve,
    inputs=[
        (
            _tapped(seed),
            _adaptors(((3, 5), (4, 6)), seed),
            noise(4, 1, 6, 6, seed=seed),
            [noise(4, width, 6, 6, seed=10 + seed) for width in (5, 6)],
            6,
            0.02,
        )
        for seed in (1, 2)
    ],
    found=(
        _Training(student_learns=False, adaptors_learn=False),
        "The loss is the same at every step, as in the training that you found: nothing moves that the loss depends "
        "on. Follow the gradient backwards: where is it cut off, and what does the optimizer hold?",
    ),
    mutants={
        "Better: the student learns now. The adaptors do not, they are missing in the optimizer; and something is left "
        "over from step to step.": _Training(adaptors_learn=False, cleared=False),
        "Better: the adaptors learn now. The student does not, its features are cut off from it; and something is left "
        "over from step to step.": _Training(student_learns=False, cleared=False),
        "One cause is left: the adaptors keep their random weights, so the student imitates a random mixture. Give "
        "their parameters to the optimizer as well.": _Training(adaptors_learn=False),
        "One cause is left: the student does not learn, the adaptors do all the work. Its features are detached, or "
        "its parameters are not in the optimizer.": _Training(student_learns=False),
        "One cause is left: the gradients of earlier steps add up, so every step repeats all the others. Clear them "
        "in each step, before backward().": _Training(cleared=False),
        "The three causes are gone, but you make a new optimizer in every step, and Adam forgets what it has measured; "
        "create it once, before the loop.": _Training(restarted=True),
        "The three causes are gone, but you have exchanged the optimizer; Adam was no cause, keep it.": _Training(
            optimizer=torch.optim.SGD
        ),
        "The three causes are gone, but you average over the taps; the loss was their sum, and no cause.": _Training(
            average=True
        ),
    },
)

# --- channels chained through the layers -----------------------------------------------------------------------------

Weights = Sequence[Tensor]
Importance = Callable[[Tensor, Tensor], Tensor]


def _l1(own: Tensor, following: Tensor) -> Tensor:
    return following.abs().sum((0, 2, 3))


def _orders(weights: Weights, widths: Sequence[int], importance: Importance) -> list[Tensor]:
    """The outputs that each layer keeps; the last layer keeps all."""
    pairs = zip(weights, weights[1:], widths, strict=False)
    kept = [importance(own, following).argsort(descending=True)[:width] for own, following, width in pairs]
    return [*kept, torch.arange(len(weights[-1]))]


def _chained(weights: Weights, widths: Sequence[int], importance: Importance = _l1) -> list[Tensor]:
    outputs = _orders(weights, widths, importance)
    inputs = [torch.arange(weights[0].shape[1]), *outputs]
    return [weight[out][:, into] for weight, out, into in zip(weights, outputs, inputs, strict=False)]


def _ranked(importance: Importance) -> Callable[[Weights, Sequence[int]], list[Tensor]]:
    return lambda weights, widths: _chained(weights, widths, importance)


def narrower_chain(weights: Weights, widths: Sequence[int]) -> list[Tensor]:
    return _chained(weights, widths)


def _leading_inputs(weights: Weights, widths: Sequence[int]) -> list[Tensor]:
    outputs = _orders(weights, widths, _l1)
    return [
        weight[out][:, : made.shape[1]]
        for weight, out, made in zip(weights, outputs, _chained(weights, widths), strict=True)
    ]


def _backwards(weights: Weights, widths: Sequence[int]) -> list[Tensor]:
    """A layer's importance counts only the outputs of the next one that stay."""
    found, kept = list(weights), torch.arange(len(weights[-1]))
    for layer in range(len(weights) - 1, -1, -1):
        outputs = found[layer][kept]
        inputs = torch.arange(outputs.shape[1])
        if layer:
            inputs = _l1(outputs, outputs).argsort(descending=True)[: widths[layer - 1]]
        found[layer], kept = outputs[:, inputs], inputs
    return found


def _chain(seed: int, channels: Sequence[int], widths: Sequence[int]) -> tuple[list[Tensor], list[int]]:
    pairs = enumerate(zip(channels, channels[1:], strict=False))
    return [noise(outputs, inputs, 3, 3, seed=100 * seed + layer) for layer, (inputs, outputs) in pairs], list(widths)


NARROWER_CHAIN = Exercise(
    reference=narrower_chain,
    kind=tensors,
    inputs=[  # the longest first: it separates most mistakes
        Group([_chain(0, (1, 8, 12, 6, 3), (4, 6, 3))]),
        Group([_chain(1, (3, 9, 7, 5), (5, 4)), _chain(2, (2, 8, 6), (4,))]),
    ],
    mutants={
        "The outputs are cut and the inputs are not: the next layer still expects the channels that are gone. Take, of "
        "its inputs, those that "
        "the layer before kept.": lambda w, n: [weight[out] for weight, out in zip(w, _orders(w, n, _l1), strict=True)],
        "Only the first layer got narrower; "
        "go on with the next one, whose inputs are the first one's outputs.": lambda w, n: [_chained(w, n)[0], *w[1:]],
        "The outputs are right, but of its inputs every layer takes the leading ones, "
        "where the layer before has kept others, in another order: index them with the same places.": _leading_inputs,
        "You rank channels by the weights that make them; behind an InstanceNorm these "
        "say nothing. Ask the weights of the next layer.": _ranked(lambda own, following: own.abs().sum((1, 2, 3))),
        "The chain is right, but the channels are the leading ones as they lie; rank them first.": _ranked(
            lambda own, following: -torch.arange(len(own))
        ),
        "The chain is right, but upside down: these are the least important channels.": _ranked(
            lambda own, following: -_l1(own, following)
        ),
        "You rank by squares, the L2 norm; the paper ranks by L1, the sum of absolute values.": _ranked(
            lambda own, following: following.square().sum((0, 2, 3))
        ),
        "Without the absolute value, positive and negative weights cancel.": _ranked(
            lambda own, following: following.sum((0, 2, 3))
        ),
        "You read the middle of the kernels only; every place counts.": _ranked(
            lambda own, following: following[:, :, 1, 1].abs().sum(0)
        ),
        "You rank by the part of the next layer that is left after its own cut; "
        "the importance counts its whole weight, which is why one sort serves networks of every width.": _backwards,
    },
)

EXERCISES = [LOGIT_LOSS, FEATURE_LOSS, TRAIN_TAPS, NARROWER_CHAIN]
