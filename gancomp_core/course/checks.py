"""Exercise checks that say what is wrong, ``check.conv_macs(your_function)``, and the functions that passed them.

A function that passed is what later experiments run: ``yours("conv_macs")``. The exercises themselves are data, in
``gancomp_core/course/exercises/nbNN.py``; what is compared, and how a wrong answer is explained, is
:class:`gancomp_core.course.exercise.Exercise`.
"""

from __future__ import annotations

import functools
import html
import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from IPython.display import display

from gancomp_core.course.answers import NotDoneYet, Wrong
from gancomp_core.course.exercise import Attempt, Exercise
from gancomp_core.course.output import tell
from gancomp_core.course.scores import keep_score
from gancomp_core.errors import GancompError

Status = Literal["passed", "not done yet", "wrong"]


@dataclass(frozen=True)
class CheckResult:
    """The verdict on one exercise; displayed once, by the check itself."""

    name: str
    status: Status
    message: str
    score: float | None = None  # of an open challenge

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def __str__(self) -> str:
        mark = {"passed": "✓", "not done yet": "…", "wrong": "✗"}[self.status]
        return f"{mark} {self.name}: {self.status}. {self.message}".strip()

    def _ipython_display_(self) -> None:
        """Nothing: the check has displayed its verdict already, and a cell that ends with it must not show it twice."""


@functools.cache
def exercises() -> dict[str, Exercise]:
    """All exercises of the course by name."""
    package = importlib.import_module("gancomp_core.course.exercises")
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]
    return {exercise.name: exercise for module in modules for exercise in module.EXERCISES}


_passed: dict[str, Attempt] = {}  # by exercise, what passed its latest check in this session


def yours(name: str) -> Attempt:
    """The learner's function once it has passed its check, the reference solution until then; a line says which.

    Args:
        name: An exercise of the course.

    Returns:
        The function.

    Raises:
        GancompError: For an unknown exercise.
    """
    if name not in exercises():
        raise GancompError(f"There is no exercise {name!r}; there are {', '.join(sorted(exercises()))}.")
    if name in _passed:
        tell(f"*From here on, the experiments run **your** `{name}`.*")
    else:
        tell(f"*From here on, the experiments run the reference `{name}`: yours has not passed its check yet.*")
    return _passed.get(name, exercises()[name].reference)


class Checks:
    """``check.<exercise>(your_function)`` says whether the function is right, and if not, what is wrong with it."""

    def __getattr__(self, name: str) -> Callable[[Attempt], CheckResult]:
        if name.startswith("_"):  # asked by tools that look for special methods
            raise AttributeError(name)
        known = exercises()
        if name not in known:
            raise AttributeError(f"There is no exercise {name!r}; there are {', '.join(sorted(known))}.")

        def run(attempt: Attempt) -> CheckResult:
            result = judge(known[name], attempt)
            _passed.pop(name, None)
            if result.passed:
                _passed[name] = attempt
            if result.score is not None:
                result = replace(result, message=f"{result.message} Your best: {keep_score(name, result.score):.3f}.")
            show_result(result)
            return result

        run.__name__ = name
        run.__doc__ = f"Check your answer to the exercise {name!r}."
        return run

    def __dir__(self) -> list[str]:
        return sorted(exercises())


check = Checks()


def judge(exercise: Exercise, attempt: Attempt) -> CheckResult:
    """The verdict on an attempt; no error of the learner's function is raised."""
    if not callable(attempt):
        name = exercise.name
        return CheckResult(
            name, "wrong", f"check.{name} wants the function itself, without brackets: check.{name}({name})."
        )
    try:
        praise = exercise.diagnose(attempt)
    except NotDoneYet as unfinished:
        return CheckResult(
            exercise.name, "not done yet", str(unfinished) or "Fill in the function above and run again."
        )
    except Wrong as fault:
        return CheckResult(exercise.name, "wrong", str(fault))
    return CheckResult(exercise.name, "passed", praise.words, praise.score)


def show_result(result: CheckResult) -> None:
    """Display a verdict as HTML, and as plain text for terminals."""
    border = {"passed": "#009E73", "not done yet": "#999999", "wrong": "#D55E00"}[result.status]
    head, _, _ = str(result).partition(". ")
    body = f'<div style="border-left:4px solid {border};padding:4px 12px"><b>{html.escape(head)}.</b> '
    body += f"{_formatted(result.message)}</div>"
    display({"text/html": body, "text/plain": str(result)}, raw=True)


def _formatted(message: str) -> str:
    """A message as HTML: `code` and *stress* are shown as such, and nothing else of it is markup."""
    parts = re.split(r"`([^`]+)`", html.escape(message))
    parts[::2] = [
        re.sub(r"(?<![\w*])\*([^\s*](?:[^*]*[^\s*])?)\*(?![\w*])", r"<em>\1</em>", part) for part in parts[::2]
    ]
    parts[1::2] = [f"<code>{part}</code>" for part in parts[1::2]]
    return "".join(parts)
