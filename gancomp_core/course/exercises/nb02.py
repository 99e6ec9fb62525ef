"""Checks of notebook 02: the cycle, what a student minimises on pseudo pairs, how far it can be from the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.course.checks import Attempt, Wrong, call, compare_tensors, exercise
from gancomp_core.data import to_float

#: A plausible mistake as a function of the same arguments, and the words that point to it.
Mistake = tuple[Callable[..., Tensor], str]


def _pictures(count: int, channels: int, size: int, seed: int) -> Tensor:
    drawn = torch.randint(256, (count, channels, size, size), generator=torch.Generator().manual_seed(seed))
    return to_float(drawn)


class _Painter(nn.Module):
    """A small network of pictures in [-1, 1]; with ``remembers`` it has a BatchNorm whose statistics are not fresh."""

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
        return self.norm(2 * self.mix(x)).tanh()


# --- the cycle -------------------------------------------------------------------------------------------------------


def _cycle(x: Tensor, y: Tensor, there: nn.Module, back: nn.Module) -> Tensor:
    return F.l1_loss(back(there(x)), x) + F.l1_loss(there(back(y)), y)


_CYCLES: list[Mistake] = [
    (
        lambda x, y, there, back: F.l1_loss(back(there(x)), x),
        "Only one of the two ways is there: the sources return. The targets have to return as well, there(back(y)).",
    ),
    (
        lambda x, y, there, back: F.l1_loss(there(back(y)), y),
        "Only one of the two ways is there: the targets return. The sources have to return as well, back(there(x)).",
    ),
    (
        lambda x, y, there, back: _cycle(x, y, there, back) / 2,
        "Both ways are right, and you average them; the loss is their sum.",
    ),
    (
        lambda x, y, there, back: 10 * _cycle(x, y, there, back),
        "That is ten times the loss: the weight of 10 stands in front of it, where the objective is put together.",
    ),
    (
        lambda x, y, there, back: F.l1_loss(there(x), y) + F.l1_loss(back(y), x),
        "You compare each picture with the one beside it in the batch, and these two are strangers: nothing is paired "
        "here. Send each picture there *and back* and compare it with itself.",
    ),
    (
        lambda x, y, there, back: F.l1_loss(there(x), x) + F.l1_loss(back(y), y),
        "Your pictures never return: you compare the translation with what was translated, so that the best answer "
        "would be to change nothing. Send it back first.",
    ),
    (
        lambda x, y, there, back: F.l1_loss(there(back(x)), x) + F.l1_loss(back(there(y)), y),
        "The order is turned round: a source x goes there first, and then back, so the outer call is back(...).",
    ),
    (
        lambda x, y, there, back: F.l1_loss(there(y), y) + F.l1_loss(back(x), x),
        "That is the identity loss, what a network changes in a picture that needs no change; the cycle goes through "
        "both networks.",
    ),
    (
        lambda x, y, there, back: F.l1_loss(back(there(x)), there(x)) + F.l1_loss(there(back(y)), back(y)),
        "You compare what returned with the picture on the other side; compare it with where it started.",
    ),
    (
        lambda x, y, there, back: F.l1_loss(back(there(x)), y) + F.l1_loss(there(back(y)), x),
        "The two sides are mixed up: back(there(x)) is a source again and belongs beside x.",
    ),
    (
        lambda x, y, there, back: F.mse_loss(back(there(x)), x) + F.mse_loss(there(back(y)), y),
        "You square the differences; the cycle is measured by their absolute values, which blur less.",
    ),
    (
        lambda x, y, there, back: (back(there(x)) - x).mean() + (there(back(y)) - y).mean(),
        "Without absolute values, too bright here and too dark there cancel: take .abs() before the mean.",
    ),
    (
        lambda x, y, there, back: (back(there(x)) - x).abs().sum() + (there(back(y)) - y).abs().sum(),
        "You sum over all pixels; take the mean, or the weight of the loss would depend on the size of the pictures.",
    ),
    (
        lambda x, y, there, back: ((back(there(x)) - x).abs().sum() + (there(back(y)) - y).abs().sum()) / len(x),
        "You divide by the number of pictures alone; the mean goes over channels and pixels as well.",
    ),
]


@exercise("cycle_loss")
def cycle_loss(attempt: Attempt) -> None:
    cases = {
        f"{count} pictures a side, of {channels} channels": (
            _pictures(count, channels, 6, seed=seed),
            _pictures(count, channels, 6, seed=20 + seed),
            _Painter(channels, seed=40 + seed),
            _Painter(channels, seed=60 + seed),
        )
        for seed, (count, channels) in enumerate([(2, 1), (3, 3), (5, 2)])
    }
    compare_tensors(attempt, _cycle, cases, _CYCLES)
    x, y = _pictures(3, 3, 6, seed=1), _pictures(3, 3, 6, seed=21)
    ours, theirs = ({"there": _Painter(3, seed=41), "back": _Painter(3, seed=61)} for _ in range(2))
    _same_gradients(attempt(x, y, *ours.values()), ours, _cycle(x, y, **theirs), theirs)


def _same_gradients(got: Any, ours: Mapping[str, nn.Module], want: Tensor, theirs: Mapping[str, nn.Module]) -> None:
    for name, network in ours.items():
        right = torch.autograd.grad(want, list(theirs[name].parameters()), retain_graph=True)
        found = _gradients(got, network)
        if all(gradient is None for gradient in found):
            raise Wrong(
                f"The value is right, but no gradient reaches the network `{name}`, so it could not learn; leave "
                "`torch.no_grad()`, `.detach()` and `.item()` out."
            )
        if any(
            one is None or not torch.allclose(one, other, 1e-3, 1e-5) for one, other in zip(found, right, strict=True)
        ):
            raise Wrong(
                f"The value is right, but `{name}` gets only a part of its gradient: the picture is detached half way. "
                "Both networks learn from the whole way, there and back."
            )


def _gradients(loss: Any, network: nn.Module) -> list[Tensor | None]:
    """One for each weight; None for a weight that the loss does not reach, or that was frozen."""
    found: list[Tensor | None] = []
    for weight in network.parameters():
        reached = isinstance(loss, Tensor) and loss.requires_grad and weight.requires_grad
        found += torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True) if reached else [None]
    return found


# --- what a student minimises on pseudo pairs ------------------------------------------------------------------------


def _taught(student: nn.Module, teacher: nn.Module, source: Tensor) -> Tensor:
    return F.l1_loss(student(source), teacher.eval()(source))


_TAUGHT: list[Mistake] = [
    (
        lambda s, t, x: F.l1_loss(s(x), t.train()(x)),
        "Your teacher paints in training mode, so its BatchNorm measures this very batch instead of using what it "
        "has learned (and dropout would throw dice): call teacher.eval() first.",
    ),
    (
        lambda s, t, x: F.l1_loss(s.eval()(x), t.eval()(x)),
        "You put the *student* into eval mode as well; it is in training, and only the teacher has finished.",
    ),
    (
        lambda s, t, x: F.l1_loss(s.eval()(x), t.train()(x)),
        "The modes are exchanged: the teacher has finished and belongs into eval mode, the student is in training.",
    ),
    (
        lambda s, t, x: F.l1_loss(s(x), x),
        "You compare the student's picture with the *source*, so it would learn to copy; compare it with what the "
        "teacher makes of the source.",
    ),
    (
        lambda s, t, x: F.l1_loss(t.eval()(x), x),
        "You compare the teacher's picture with the source, and the student does not appear in it.",
    ),
    (
        lambda s, t, x: F.l1_loss(s(t.eval()(x)), x),
        "You send the teacher's picture through the student, as a way back; here both translate the same source in "
        "the same direction.",
    ),
    (
        lambda s, t, x: F.l1_loss(s(t.eval()(x)), t.eval()(x)),
        "Your student gets the teacher's picture as its input; it has to start from the source, which is all that it "
        "will have later.",
    ),
    (
        lambda s, t, x: F.mse_loss(s(x), t.eval()(x)),
        "You square the differences; wanted is L1, the mean of their absolute values.",
    ),
    (
        lambda s, t, x: F.mse_loss(s(x), t.eval()(x)).sqrt(),
        "That is the root of the mean square; wanted is L1, the mean of the absolute values.",
    ),
    (
        lambda s, t, x: (s(x) - t.eval()(x)).mean(),
        "Without absolute values, too bright here and too dark there cancel: take .abs() before the mean.",
    ),
    (
        lambda s, t, x: (s(x) - t.eval()(x)).abs().sum(),
        "You sum over all pixels; take the mean, or the weight of the loss would depend on the size of the pictures.",
    ),
    (
        lambda s, t, x: (s(x) - t.eval()(x)).abs().sum() / len(x),
        "You divide by the number of pictures alone; the mean goes over channels and pixels as well.",
    ),
    (
        lambda s, t, x: 127.5 * F.l1_loss(s(x), t.eval()(x)),
        "You compare bytes (0 to 255); both pictures are wanted in [-1, 1], so convert the teacher's back.",
    ),
    (
        lambda s, t, x: F.l1_loss(s(x), (t.eval()(x) + 1) * 127.5),
        "The teacher's picture is still in bytes (0 to 255) and the student's in [-1, 1]; convert it back first.",
    ),
    (
        lambda s, t, x: -F.l1_loss(s(x), t.eval()(x)),
        "The sign is turned round: a student that minimises this runs away from its teacher.",
    ),
]


def _lesson(seed: int, count: int = 4, channels: int = 3) -> tuple[nn.Module, nn.Module, Tensor]:
    networks = [_Painter(channels, seed=10 * seed + part, remembers=True).train() for part in (1, 2)]
    return networks[0], networks[1], _pictures(count, channels, 8, seed=10 * seed)


@exercise("pseudo_pair_loss")
def pseudo_pair_loss(attempt: Attempt) -> None:
    cases = {
        f"{count} pictures of {channels} channels": _lesson(seed, count, channels)
        for seed, (count, channels) in enumerate([(4, 3), (3, 1), (6, 2)], start=1)
    }
    compare_tensors(attempt, _taught, cases, _TAUGHT, tolerance=0.01)  # the teacher's pictures may be rounded to bytes
    student, teacher, source = _lesson(seed=5)
    loss = attempt(student, teacher, source)
    learns = {name: _reached(loss, network) for name, network in (("student", student), ("teacher", teacher))}
    if learns["teacher"] and not learns["student"]:
        raise Wrong(
            "The value is right, but the networks are exchanged: the gradient reaches the teacher, and the student "
            "gets none. torch.no_grad() belongs around the teacher's picture."
        )
    if not learns["student"]:
        raise Wrong(
            "The value is right, but no gradient reaches the student, so nothing would be learned; only the teacher's "
            "picture belongs under torch.no_grad()."
        )
    if learns["teacher"]:
        raise Wrong(
            "The value is right, but a gradient flows into the teacher too: its weights would come to meet the "
            "student, and its pass would have to be remembered. Paint its picture under torch.no_grad()."
        )
    if not student.training:
        raise Wrong("The value is right, but your function leaves the student in eval mode, in the middle of training.")


def _reached(loss: Any, network: nn.Module) -> bool:
    return any(gradient is not None for gradient in _gradients(loss, network))


# --- how far from the truth a student can be -------------------------------------------------------------------------

Range = tuple[float, float]


def _error(decibels: float, per: float = 20) -> float:
    return 10 ** (-decibels / per)


def _decibels(error: float, per: float = 20) -> float:
    return math.inf if error == 0 else -per * math.log10(error)


def _range(taught: float, teacher: float, per: float = 20) -> Range:
    ours, theirs = _error(taught, per), _error(teacher, per)
    return _decibels(ours + theirs, per), _decibels(abs(ours - theirs), per)


_LESSONS: list[Range] = [(22.0, 16.0), (16.0, 22.0), (math.inf, 16.0), (30.0, 8.6), (18.0, 17.5), (17.0, 17.0)]
_WRONG_RANGES: list[tuple[Callable[[float, float], Range], str]] = [
    (
        lambda s, t: _range(s, t)[::-1],
        "The two are exchanged: the worst case comes first, and it is the smaller number of decibels.",
    ),
    (
        lambda s, t: _range(s, t, per=10),
        "You add and subtract *squared* errors, as if the two had nothing to do with each other; it is the root of the "
        "mean square that obeys the triangle inequality: 20 decibels for a factor of 10, not 10.",
    ),
    (
        lambda s, t: (_range(s, t)[0], t),
        "Your student cannot be better than its teacher; it can: where its own errors cancel the teacher's, the "
        "difference |e_s - e_t| is what is left.",
    ),
    (
        lambda s, t: (_range(s, t)[0], max(s, t)),
        "The worst case is right; the best one is not the better of the two, because errors may cancel: |e_s - e_t|.",
    ),
    (
        lambda s, t: (min(s, t), _range(s, t)[1]),
        "The best case is right; the worst one is not the worse of the two, because errors may add up: e_s + e_t.",
    ),
    (
        lambda s, t: (min(s, t), max(s, t)),
        "You take the worse and the better of the two; errors add up in the worst case and cancel in the best.",
    ),
    (
        lambda s, t: (_decibels(math.hypot(_error(s), _error(t))), _range(s, t)[1]),
        "You add the squares in the worst case, as for errors that have nothing to do with each other; in the worst "
        "case they point the same way, e_s + e_t.",
    ),
    (
        lambda s, t: (_range(s, t)[0], _decibels(math.sqrt(abs(_error(s) ** 2 - _error(t) ** 2)))),
        "You subtract the squares in the best case; the errors themselves are subtracted, |e_s - e_t|.",
    ),
    (
        lambda s, t: (abs(s - t), s + t),
        "You add and subtract decibels, which are logarithms; turn them into errors first, 10 ** (-decibels / 20).",
    ),
    (
        lambda s, t: (t - s, t + s),
        "You add and subtract decibels, which are logarithms, and a difference may even be negative; turn them into "
        "errors first, 10 ** (-decibels / 20).",
    ),
    (
        lambda s, t: (_error(s) + _error(t), abs(_error(s) - _error(t))),
        "These are errors; turn them back into decibels at the end, -20 * log10(error).",
    ),
    (
        lambda s, t: (-_range(s, t)[0], -_range(s, t)[1]),
        "The sign: a smaller error means more decibels, -20 * log10(error).",
    ),
    (
        lambda s, t: (_range(s, t)[0] * math.log(10), _range(s, t)[1] * math.log(10)),
        "That is the natural logarithm; decibels are made with log10.",
    ),
    (
        lambda s, t: (_range(s, t)[0],) * 2,
        "Both your numbers are the worst case; in the best case the errors cancel, |e_s - e_t|.",
    ),
]


@exercise("hidden_range")
def hidden_range(attempt: Attempt) -> None:
    got = [_pair(call(attempt, *lesson), lesson) for lesson in _LESSONS]
    want = [_range(*lesson) for lesson in _LESSONS]
    bad = [place for place in range(len(want)) if not _close(got[place], want[place])]
    if not bad:
        return
    for mistake, hint in _WRONG_RANGES:
        if all(_close(ours, mistake(*lesson)) for ours, lesson in zip(got, _LESSONS, strict=True)):
            raise Wrong(hint)
    if bad == [len(_LESSONS) - 1]:
        raise Wrong(
            "Nearly: where both are equally far away, the errors may cancel altogether, and the best case is math.inf, "
            f"the PSNR of equal pictures; your function gives {got[-1][1]:.4g}."
        )
    taught, teacher = _LESSONS[bad[0]]
    ours, right = got[bad[0]], want[bad[0]]
    raise Wrong(
        f"For taught={taught:g} and teacher={teacher:g} your function says {ours[0]:.3f} to {ours[1]:.3f} dB, and "
        f"{right[0]:.3f} to {right[1]:.3f} dB is right."
    )


def _pair(value: Any, lesson: Range) -> Range:
    case = f"For taught={lesson[0]:g} and teacher={lesson[1]:g}"
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise Wrong(f"{case} two numbers are wanted, (worst, best), and your function returns {str(value):.60}.")
    try:
        worst, best = (float(number) for number in value)
    except (TypeError, ValueError) as error:
        raise Wrong(f"{case} two plain numbers are wanted, and your function returns {str(value):.60}.") from error
    if math.isnan(worst) or math.isnan(best):
        raise Wrong(
            f"{case} your function returns NaN: the logarithm of a negative number? The smaller error may be either of "
            "the two, so take the absolute value of their difference."
        )
    return worst, best


def _close(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) for a, b in zip(ours, theirs, strict=True))
