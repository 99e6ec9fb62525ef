"""Exercise checks that say what is wrong: ``check.conv_macs(your_function)``.

An exercise is a function decorated with ``@exercise("name")`` in ``gancomp_core/course/exercises/nbNN.py``. It gets the
learner's function, calls it, and raises :class:`Wrong` with one helpful sentence when something is off. :func:`compare`
does the common case: a table of cases with their answers, and a list of suspects, each a plausible mistake with the
words that point to it.
"""

from __future__ import annotations

import copy
import html
import importlib
import math
import pkgutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from IPython.display import display
from torch import Tensor

Status = Literal["passed", "not done yet", "wrong"]
Attempt = Callable[..., Any]
Diagnosis = Callable[[Attempt], None]


class Wrong(Exception):  # noqa: N818 -- a verdict, not a failure of the program
    """What is wrong with a learner's answer, in one or two sentences that help."""


class NotDoneYet(Exception):  # noqa: N818
    """The stub has not been filled in."""


@dataclass(frozen=True)
class CheckResult:
    """The verdict on one exercise; displayed once, by the check itself."""

    name: str
    status: Status
    message: str

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def __str__(self) -> str:
        mark = {"passed": "✓", "not done yet": "…", "wrong": "✗"}[self.status]
        return f"{mark} {self.name}: {self.status}. {self.message}".strip()

    def _ipython_display_(self) -> None:
        """Nothing: the check has displayed its verdict already, and a cell that ends with it must not show it twice."""


@dataclass(frozen=True)
class Exercise:
    name: str
    diagnose: Diagnosis
    notebook: str  # "00" for exercises/nb00.py


_EXERCISES: dict[str, Exercise] = {}


def exercise(name: str) -> Callable[[Diagnosis], Diagnosis]:
    """Register the decorated function as the diagnosis of the exercise ``name``."""

    def register(diagnose: Diagnosis) -> Diagnosis:
        notebook = diagnose.__module__.rpartition(".nb")[2]
        _EXERCISES[name] = Exercise(name, diagnose, notebook)
        return diagnose

    return register


def exercises() -> dict[str, Exercise]:
    """All exercises of the course by name."""
    package = importlib.import_module("gancomp_core.course.exercises")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(_EXERCISES)


class Checks:
    """``check.<exercise>(your_function)``: tells whether the function is right, and if not, what to look at."""

    def __getattr__(self, name: str) -> Callable[[Attempt], CheckResult]:
        if name.startswith("_"):  # asked by tools that look for special methods
            raise AttributeError(name)
        known = exercises()
        if name not in known:
            raise AttributeError(f"There is no exercise {name!r}; there are {', '.join(sorted(known))}.")

        def run(attempt: Attempt) -> CheckResult:
            result = judge(known[name], attempt)
            show_result(result)
            return result

        run.__name__ = name
        run.__doc__ = f"Check your answer to the exercise {name!r}."
        return run

    def __dir__(self) -> list[str]:
        return sorted(exercises())


check = Checks()


def judge(task: Exercise, attempt: Attempt) -> CheckResult:
    """The verdict on ``attempt``; whatever the learner's function does, nothing is raised."""
    if not callable(attempt):
        called = f"check.{task.name} wants the function itself, without brackets: check.{task.name}({task.name})."
        return CheckResult(task.name, "wrong", called)
    try:
        task.diagnose(attempt)
    except NotDoneYet as unfinished:
        return CheckResult(task.name, "not done yet", str(unfinished) or "Fill in the function above and run again.")
    except Wrong as fault:
        return CheckResult(task.name, "wrong", str(fault))
    return CheckResult(task.name, "passed", "Well done.")


def show_result(result: CheckResult) -> None:
    """Display a verdict as HTML, with plain text beside it for terminals."""
    border = {"passed": "#009E73", "not done yet": "#999999", "wrong": "#D55E00"}[result.status]
    head, _, _ = str(result).partition(". ")
    body = f'<div style="border-left:4px solid {border};padding:4px 12px"><b>{html.escape(head)}.</b> '
    body += f"{html.escape(result.message)}</div>"
    display({"text/html": body, "text/plain": str(result)}, raw=True)


# --- what a diagnosis is made of -----------------------------------------------------------------------------------


def call(attempt: Attempt, /, *args: Any, **kwargs: Any) -> Any:
    """Call the learner's function with copies of the arguments, so that it cannot spoil them.

    Raises :class:`NotDoneYet` for a stub (``NotImplementedError``, ``...`` or nothing returned) and :class:`Wrong`
    when the function stops with an error.
    """
    try:
        value = attempt(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    except NotImplementedError as unfinished:
        raise NotDoneYet from unfinished
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f" at the line `{where.line}`" if where.line else ""
        shown = f"{called_with(args, kwargs)} your function stopped{line} with {type(error).__name__}: {error}"
        raise Wrong(shown if shown.endswith(".") else f"{shown}.") from error
    if value is None or value is ...:
        raise NotDoneYet("Your function returns nothing yet: fill it in, and end it with `return`.")
    return value


def number(value: Any, args: Sequence[Any] = (), names: Sequence[str] = ()) -> float:
    """``value`` as a float; :class:`Wrong` when it is not one finite real number."""
    asked = called_with(args, {}, names) if args else "Here"
    if hasattr(value, "shape") and getattr(value, "shape", ()) != ():
        raise Wrong(f"{asked} one number is wanted, and your function returns an array of shape {tuple(value.shape)}.")
    if isinstance(value, (str, bytes, bool, list, tuple, dict, set)):
        raise Wrong(f"{asked} one number is wanted, and your function returns {value!r}, a {type(value).__name__}.")
    try:
        plain = float(value)
    except (TypeError, ValueError) as error:
        raise Wrong(f"{asked} one number is wanted, and your function returns a {type(value).__name__}.") from error
    if not math.isfinite(plain):
        raise Wrong(f"{asked} your function returns {plain}; look for a division by zero or a logarithm of zero.")
    return plain


@dataclass(frozen=True)
class Suspect:
    """A plausible mistake: the formula somebody would write by mistake, and the words that point to it."""

    formula: Callable[..., float]
    hint: str


@dataclass(frozen=True)
class Cases:
    """Arguments with their answers: ``rows`` of ``(arguments, answer)``, and the ``names`` of the arguments."""

    names: tuple[str, ...]
    rows: Sequence[tuple[tuple[Any, ...], float]] = field(default_factory=tuple)


def compare(attempt: Attempt, cases: Cases, suspects: Sequence[Suspect] = (), relative: float = 1e-6) -> None:
    """Hold the learner's function against every case; a wrong answer that a suspect explains gets its hint."""
    got = [number(call(attempt, *arguments), arguments, cases.names) for arguments, _ in cases.rows]
    want = [answer for _, answer in cases.rows]
    bad = [row for row in range(len(want)) if not _close(got[row], want[row], relative)]
    if not bad:
        return
    for suspect in suspects:
        guesses = [_guess(suspect, arguments) for arguments, _ in cases.rows]
        if all(_close(value, guess, relative) for value, guess in zip(got, guesses, strict=True)):
            raise Wrong(suspect.hint)
    arguments, first = cases.rows[bad[0]][0], bad[0]
    raise Wrong(f"{called_with(arguments, {}, cases.names)} {_off(got[first], want[first])}")


def compare_tensors(
    attempt: Attempt,
    right: Callable[..., Tensor],
    cases: Mapping[str, tuple[Any, ...]],
    mistakes: Sequence[tuple[Callable[..., Tensor], str]] = (),
    tolerance: float = 1e-4,
) -> None:
    """Hold the learner's function against ``right`` on every case, whose name completes "For ...".

    Each mistake is a function of the same arguments and the words that point to it.
    """
    got = {case: _tensor(call(attempt, *given), case) for case, given in cases.items()}
    want = {case: right(*copy.deepcopy(given)).detach() for case, given in cases.items()}
    bad = [case for case in cases if not _alike(got[case], want[case], tolerance)]
    if not bad:
        return
    for mistake, hint in mistakes:
        if all(_alike(got[case], _made(mistake, given), tolerance) for case, given in cases.items()):
            raise Wrong(hint)
    case = bad[0]
    if got[case].shape != want[case].shape:
        shapes = [list(tensor.shape) for tensor in (got[case], want[case])]
        raise Wrong(f"For {case} your function returns the shape {shapes[0]}, and {shapes[1]} is right.")
    if want[case].numel() == 1:
        raise Wrong(f"For {case} {_off(float(got[case]), float(want[case]))}")
    difference = (got[case].double() - want[case].double()).abs().max()
    raise Wrong(f"For {case} the shape is right, and the numbers are up to {difference:.3g} off.")


def _tensor(value: Any, case: str) -> Tensor:
    if isinstance(value, int | float):
        value = torch.tensor(float(value))
    if not isinstance(value, Tensor):
        raise Wrong(f"For {case} a tensor is wanted, and your function returns a {type(value).__name__}.")
    if not value.isfinite().all():
        raise Wrong(f"For {case} your function returns NaN or infinite numbers; look for a division or logarithm of 0.")
    return value.detach()


def _made(mistake: Callable[..., Tensor], given: tuple[Any, ...]) -> Tensor:
    try:
        return mistake(*copy.deepcopy(given)).detach()
    except (RuntimeError, IndexError):  # a mistake need not fit the shapes of every case
        return torch.tensor(math.nan)


def _alike(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    same: bool = ours.shape == theirs.shape and torch.allclose(
        ours.double(), theirs.double(), tolerance, tolerance / 10
    )
    return same


def called_with(args: Sequence[Any], kwargs: dict[str, Any], names: Sequence[str] = ()) -> str:
    """Which call is spoken of: "For c_in=3, kernel=7"."""
    named = [f"{name}={_short(value)}" for name, value in zip(names, args, strict=False)] if names else []
    if not names:
        named = [_short(value) for value in args]
    return f"For {', '.join(named + [f'{key}={_short(value)}' for key, value in kwargs.items()])}"


def _off(got: float, want: float) -> str:
    said = f"your function returns {got:,.6g}, and {want:,.6g} is right"
    if got == -want:
        return f"{said}: only the sign differs."
    if got * want > 0:
        factor = max(got / want, want / got)
        if factor > 1.0005:
            return f"{said}: too {'large' if abs(got) > abs(want) else 'small'} by a factor of {factor:,.4g}."
    return f"{said}: {abs(got - want):,.4g} too {'large' if got > want else 'small'}."


def _close(got: float, want: float, relative: float) -> bool:
    return math.isclose(got, want, rel_tol=relative, abs_tol=relative * 1e-3)


def _guess(suspect: Suspect, arguments: tuple[Any, ...]) -> float:
    try:
        return float(suspect.formula(*copy.deepcopy(arguments)))
    except (ArithmeticError, ValueError, IndexError):  # a wrong formula may well divide by zero
        return math.nan


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}…"
