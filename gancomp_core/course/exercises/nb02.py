"""Exercises of notebook 02: the cycle, what a student minimizes on pseudo pairs, how far it can be from the truth."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.course.answers import Parts, number, tensor
from gancomp_core.course.exercise import Exercise, Group
from gancomp_core.data import to_float


def _pictures(count: int, channels: int, size: int, seed: int) -> Tensor:
    drawn = torch.randint(256, (count, channels, size, size), generator=torch.Generator().manual_seed(seed))
    return to_float(drawn)


class _Painter(nn.Module):
    """A small network of pictures in [-1, 1]; with ``remembers`` it has a BatchNorm whose statistics are not new."""

    def __init__(self, channels: int, seed: int, remembers: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.mix = nn.Conv2d(channels, channels, 3, padding=1)
            self.norm: nn.Module = nn.BatchNorm2d(channels) if remembers else nn.Identity()
            if isinstance(self.norm, nn.BatchNorm2d):
                self.norm.running_mean = torch.randn(channels)
                self.norm.running_var = 0.1 + torch.rand(channels)

    def forward(self, x: Tensor) -> Tensor:
        painted: Tensor = self.norm(2 * self.mix(x)).tanh()
        return painted


# --- the cycle -------------------------------------------------------------------------------------------------------


def cycle_loss(x: Tensor, y: Tensor, there: nn.Module, back: nn.Module) -> Tensor:
    return F.l1_loss(back(there(x)), x) + F.l1_loss(there(back(y)), y)


def _detached_half_way(x: Tensor, y: Tensor, there: nn.Module, back: nn.Module) -> Tensor:
    return F.l1_loss(back(there(x).detach()), x) + F.l1_loss(there(back(y).detach()), y)


CYCLE_LOSS = Exercise(
    reference=cycle_loss,
    kind=tensor,
    inputs=[
        (
            _pictures(count, channels, 6, seed=seed),
            _pictures(count, channels, 6, seed=20 + seed),
            _Painter(channels, seed=40 + seed),
            _Painter(channels, seed=60 + seed),
        )
        for seed, (count, channels) in enumerate([(2, 1), (3, 3), (5, 2)])
    ],
    gradients=("there", "back"),
    mutants={
        "That is a map of differences; a loss is one number, so take the mean of each map.": lambda x, y, there, back: (
            (back(there(x)) - x).abs() + (there(back(y)) - y).abs()
        ),
        "Only one of the two ways is there: the sources return. "
        "The targets have to return as well, there(back(y)).": lambda x, y, there, back: F.l1_loss(back(there(x)), x),
        "Only one of the two ways is there: the targets return. "
        "The sources have to return as well, back(there(x)).": lambda x, y, there, back: F.l1_loss(there(back(y)), y),
        "Both ways are right, and you average them; the loss is their sum.": lambda x, y, there, back: (
            cycle_loss(x, y, there, back) / 2
        ),
        "That is ten times the loss: the weight of 10 stands in front "
        "of it, where the objective is put together.": lambda x, y, there, back: 10 * cycle_loss(x, y, there, back),
        "You compare each picture with its neighbor in the batch, and these two are strangers: nothing is paired here. "
        "Send each picture there *and "
        "back* and compare it with itself.": lambda x, y, there, back: F.l1_loss(there(x), y) + F.l1_loss(back(y), x),
        "Your pictures never return: you compare the translation with what was translated, so that the best answer "
        "would be to "
        "change nothing. Send it back first.": lambda x, y, there, back: F.l1_loss(there(x), x) + F.l1_loss(back(y), y),
        "The order is reversed: a source x goes there first, and then back, so the outer "
        "call is back(...).": lambda x, y, there, back: F.l1_loss(there(back(x)), x) + F.l1_loss(back(there(y)), y),
        "That is the identity loss, what a network changes in a picture that needs no change; the "
        "cycle goes through both networks.": lambda x, y, there, back: F.l1_loss(there(y), y) + F.l1_loss(back(x), x),
        "You compare what returned with the picture on the other side; compare it with where it "
        "started.": lambda x, y, there, back: F.l1_loss(back(there(x)), there(x)) + F.l1_loss(there(back(y)), back(y)),
        "The two sides are mixed up: back(there(x)) is a source again and belongs with x.": lambda x, y, there, back: (
            F.l1_loss(back(there(x)), y) + F.l1_loss(there(back(y)), x)
        ),
        "You square the differences; the cycle is measured by their absolute values, "
        "which blur less.": lambda x, y, there, back: F.mse_loss(back(there(x)), x) + F.mse_loss(there(back(y)), y),
        "Without absolute values, too bright here and too dark there cancel: "
        "take .abs() before the mean.": lambda x, y, there, back: (back(there(x)) - x + there(back(y)) - y).mean(),
        "You sum over all pixels; take the mean, or the weight of the loss would "
        "depend on the size of the pictures.": lambda x, y, there, back: x.numel() * cycle_loss(x, y, there, back),
        "You divide by the number of pictures alone; the mean goes "
        "over channels and pixels as well.": lambda x, y, there, back: x[0].numel() * cycle_loss(x, y, there, back),
        "The value is right, but both networks get only a part of their gradients: "
        "the picture is detached half way. Both learn from the whole way, there and back.": _detached_half_way,
    },
)

# --- what a student minimizes on pseudo pairs ------------------------------------------------------------------------


def _paint(teacher: nn.Module, source: Tensor) -> Tensor:
    with torch.no_grad():
        painted: Tensor = teacher.eval()(source)
    return painted


def pseudo_pair_loss(student: nn.Module, teacher: nn.Module, source: Tensor) -> Tensor:
    return F.l1_loss(student(source), _paint(teacher, source))


def _exchanged(student: nn.Module, teacher: nn.Module, source: Tensor) -> Tensor:
    with torch.no_grad():
        painted = student(source)
    return F.l1_loss(painted, teacher.eval()(source))


def _leaves_eval(student: nn.Module, teacher: nn.Module, source: Tensor) -> Tensor:
    loss = pseudo_pair_loss(student, teacher, source)
    student.eval()
    return loss


PSEUDO_PAIR_LOSS = Exercise(
    reference=pseudo_pair_loss,
    kind=tensor,
    tolerance=1e-4,  # the teacher's pictures may be rounded to bytes
    inputs=[
        (
            _Painter(channels, seed=10 * seed + 1, remembers=True),
            _Painter(channels, seed=10 * seed + 2, remembers=True),
            _pictures(count, channels, 8, seed=10 * seed),
        )
        for seed, (count, channels) in enumerate([(4, 3), (3, 1), (6, 2)], start=1)
    ],
    gradients=("student", "teacher"),
    exact=False,
    mutants={
        "That is a loss for each picture; take the mean over the pictures as well.": lambda s, t, x: (
            (s(x) - _paint(t, x)).abs().mean((1, 2, 3))
        ),
        "Your teacher paints in training mode, so its BatchNorm measures this very batch instead of using what it has "
        "learned (and "
        "dropout would throw dice): call teacher.eval() first.": lambda s, t, x: F.l1_loss(s(x), t.train()(x).detach()),
        "You put the *student* into eval mode as well; "
        "it is in training, and only the teacher has finished.": lambda s, t, x: F.l1_loss(s.eval()(x), _paint(t, x)),
        "The modes are exchanged: the teacher has finished and belongs "
        "into eval mode, the student is in training.": lambda s, t, x: F.l1_loss(s.eval()(x), t.train()(x).detach()),
        "You compare the student's picture with the *source*, so it would "
        "learn to copy; compare it with what the teacher makes of the source.": lambda s, t, x: F.l1_loss(s(x), x),
        "You compare the teacher's picture with the source, and the student does not appear in it.": lambda s, t, x: (
            F.l1_loss(_paint(t, x), x)
        ),
        "You send the teacher's picture through the student, as a way back; "
        "here both translate the same source in the same direction.": lambda s, t, x: F.l1_loss(s(_paint(t, x)), x),
        "Your student gets the teacher's picture as its input; it has to start from "
        "the source, which is all that it will have later.": lambda s, t, x: F.l1_loss(s(_paint(t, x)), _paint(t, x)),
        "You square the differences; wanted is L1, the mean of their absolute values.": lambda s, t, x: F.mse_loss(
            s(x), _paint(t, x)
        ),
        "That is the root of the mean square; wanted is L1, the mean of the absolute values.": lambda s, t, x: (
            F.mse_loss(s(x), _paint(t, x)).sqrt()
        ),
        "Without absolute values, too bright "
        "here and too dark there cancel: take .abs() before the mean.": lambda s, t, x: (s(x) - _paint(t, x)).mean(),
        "You sum over all pixels; take the mean, or the weight "
        "of the loss would depend on the size of the pictures.": lambda s, t, x: x.numel() * pseudo_pair_loss(s, t, x),
        "You divide by the number of pictures alone; the mean goes over channels and pixels as well.": lambda s, t, x: (
            x[0].numel() * pseudo_pair_loss(s, t, x)
        ),
        "You compare bytes (0 to 255); both pictures "
        "are wanted in [-1, 1], so convert the teacher's back.": lambda s, t, x: 127.5 * pseudo_pair_loss(s, t, x),
        "The teacher's picture is still in bytes (0 to 255) and "
        "the student's in [-1, 1]; convert it back first.": lambda s, t, x: F.l1_loss(s(x), (_paint(t, x) + 1) * 127.5),
        "The sign is wrong: a student that minimizes this runs away from its teacher.": lambda s, t, x: (
            -pseudo_pair_loss(s, t, x)
        ),
        "The value is right, but the networks are exchanged: the gradient reaches "
        "the teacher, and the student gets none. torch.no_grad() belongs around the teacher's picture.": _exchanged,
        "The value is right, but no gradient reaches the student, so nothing would be learned; "
        "only the teacher's picture belongs under torch.no_grad().": lambda s, t, x: pseudo_pair_loss(s, t, x).detach(),
        "The value is right, but a gradient flows into the teacher too: it would change to meet the student, and its "
        "pass would "
        "have to be remembered. Paint its picture under torch.no_grad().": lambda s, t, x: F.l1_loss(s(x), t.eval()(x)),
        "The "
        "value is right, but your function leaves the student in eval mode, in the middle of training.": _leaves_eval,
    },
)

# --- how far from the truth a student can be -------------------------------------------------------------------------


def _error(decibels: float, per: float = 20) -> float:
    return 10 ** (-decibels / per)


def _decibels(error: float, per: float = 20) -> float:
    return math.inf if error == 0 else -per * math.log10(error)


def _worst(taught: float, teacher: float, per: float = 20) -> float:
    return _decibels(_error(taught, per) + _error(teacher, per), per)


def _best(taught: float, teacher: float, per: float = 20) -> float:
    return _decibels(abs(_error(taught, per) - _error(teacher, per)), per)


def hidden_range(taught: float, teacher: float) -> tuple[float, float]:
    return _worst(taught, teacher), _best(taught, teacher)


def _signed(taught: float, teacher: float) -> tuple[float, float]:
    gap = _error(teacher) - _error(taught)
    return _worst(taught, teacher), math.nan if gap < 0 else _decibels(gap)


HIDDEN_RANGE = Exercise(
    reference=hidden_range,
    kind=Parts(("worst", "best"), (number,)),
    tolerance=1e-4,
    inputs=[
        Group([(22.0, 16.0), (16.0, 22.0), (math.inf, 16.0), (30.0, 8.6), (18.0, 17.5)]),
        Group(
            [(17.0, 17.0)],
            hint="Nearly: where both are equally far away, the errors may cancel altogether, and the best case is "
            "math.inf, the PSNR of equal pictures.",
        ),
    ],
    mutants={
        "The two are exchanged: the worst case comes first, and it is the smaller number of decibels.": lambda s, t: (
            _best(s, t),
            _worst(s, t),
        ),
        "You add and subtract *squared* errors, as if the two had nothing to do with each other; it is the root of the "
        "mean square that obeys the triangle "
        "inequality: 20 decibels for a factor of 10, not 10.": lambda s, t: (_worst(s, t, 10), _best(s, t, 10)),
        "Your student cannot be better than its teacher; it can: where its "
        "own errors cancel the teacher's, the difference |e_s - e_t| is what is left.": lambda s, t: (_worst(s, t), t),
        "The worst case is right; the best one "
        "is not the better of the two, because errors may cancel: |e_s - e_t|.": lambda s, t: (_worst(s, t), max(s, t)),
        "The best case is right; the worst "
        "one is not the worse of the two, because errors may add up: e_s + e_t.": lambda s, t: (min(s, t), _best(s, t)),
        "You take the worse and the better "
        "of the two; errors add up in the worst case and cancel in the best.": lambda s, t: (min(s, t), max(s, t)),
        "You add the squares in the worst case, as for errors that have nothing to do with each other; in the worst "
        "case "
        "they point the same way, e_s + e_t.": lambda s, t: (_decibels(math.hypot(_error(s), _error(t))), _best(s, t)),
        "You subtract the squares in the best case; the errors themselves are subtracted, |e_s - e_t|.": lambda s, t: (
            _worst(s, t),
            _decibels(math.sqrt(abs(_error(s) ** 2 - _error(t) ** 2))),
        ),
        "You add and subtract decibels, "
        "which are logarithms; turn them into errors first, 10 ** (-decibels / 20).": lambda s, t: (abs(s - t), s + t),
        "You add and subtract decibels, which are logarithms, and a difference "
        "may even be negative; turn them into errors first, 10 ** (-decibels / 20).": lambda s, t: (t - s, t + s),
        "These are errors; turn them back into decibels at the end, -20 * log10(error).": lambda s, t: (
            _error(s) + _error(t),
            abs(_error(s) - _error(t)),
        ),
        "The sign: a smaller error means more decibels, -20 * log10(error).": lambda s, t: (
            -_worst(s, t),
            -_best(s, t),
        ),
        "That is the natural logarithm; decibels are made with log10.": lambda s, t: (
            _worst(s, t) * math.log(10),
            _best(s, t) * math.log(10),
        ),
        "Both your numbers are the worst case; in the best case the errors cancel, |e_s - e_t|.": lambda s, t: (
            _worst(s, t),
            _worst(s, t),
        ),
        "The smaller error may be either "
        "of the two, and a negative number has no logarithm: take the absolute value of their difference.": _signed,
    },
)

EXERCISES = [CYCLE_LOSS, PSEUDO_PAIR_LOSS, HIDDEN_RANGE]
