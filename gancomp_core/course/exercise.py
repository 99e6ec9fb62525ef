"""Exercises as data: a reference, plausible wrong versions of it with their hints, and the arguments to try them on.

An answer is compared with the reference step by step: its values on each group of inputs, the gradients that pass
through it, what it leaves of its arguments, what it refuses. At the first step where the two differ, the mutant that
behaves as the answer does gives its hint; if there is none, the difference itself is put into words.
"""

from __future__ import annotations

import copy
import functools
import inspect
import random
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gancomp_core.course.answers import (
    Kind,
    NotDoneYet,
    Parts,
    Value,
    Wrong,
    difference,
    number,
    parts,
    same,
    shapes,
    shown,
)

Attempt = Callable[..., object]
Arguments = tuple[object, ...]


@dataclass(frozen=True)
class Praise:
    """What to say of a right answer, and in an open challenge its score; higher is better."""

    words: str = "Well done."
    score: float | None = None


@dataclass(frozen=True)
class Group:
    """Inputs that are tried together, before those of the next group.

    Args:
        inputs: Arguments of each call.
        note: What they have in common, for messages: "with the identity as matrix".
        hint: What to say of an answer that is wrong here and that no mutant explains.
    """

    inputs: Sequence[Arguments]
    note: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Refusal:
    """Arguments for which an answer has to raise a ValueError.

    Args:
        arguments: Arguments of the call.
        why: The start of the sentence that says so: "For warmup=2 nothing is left to measure".
        naming: A number that the error's message has to name.
    """

    arguments: Arguments
    why: str
    naming: float | None = None

    def check(self, attempt: Attempt) -> None:
        """Raise :class:`Wrong` unless ``attempt`` refuses these arguments."""
        try:
            got = call(attempt, self.arguments)
        except NotDoneYet:
            got = None
        except Wrong as stopped:
            error = stopped.__cause__
            if not isinstance(error, ValueError):
                kind = f"{type(error).__name__}: {error}"
                raise Wrong(f"{self.why}, and your function stops with {kind}; raise ValueError('...').") from stopped
            if self.naming not in (None, *map(float, re.findall(r"\d+(?:\.\d+)?", str(error)))):
                raise Wrong(
                    f"{self.why}, and your error says {str(error)!r:.80}; name what can be reached, here "
                    f"{self.naming:g}, so that the reader knows how far to go."
                ) from stopped
            return
        raise Wrong(f"{self.why}, and your function still answers {got!r:.50}; raise ValueError('...') instead.")


@dataclass(frozen=True)
class Step:
    """One thing that is compared: what is seen of a function, and how a difference is put into words."""

    observe: Callable[[Attempt], list[Value]]
    describe: Callable[[list[Value], list[Value]], str]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What ``check.<name>`` compares an answer with.

    Args:
        reference: A right answer; its name and its arguments' names are those of the exercise.
        inputs: Groups of inputs that are tried one after the other, or the inputs of a single group.
        mutants: Plausible wrong answers, complete as learners write them, by the hints that point to their mistakes.
        kind: Reads an answer into a value that can be compared, or raises :class:`Wrong`.
        tolerance: Relative, for numbers; for tensors of float32 it is 100 times as large.
        gradients: Names of the arguments whose gradients are compared too: tensors, lists of them, or modules.
        exact: Whether their values are compared, or only which arguments they reach.
        refusals: Calls that have to be refused.
        also: Anything else, as a function that raises :class:`Wrong`; it may return the praise of a right answer.
        found: For a training to debug: the function as the learner finds it, and what to say as long as it is that.
    """

    reference: Attempt
    inputs: Sequence[Group] | Sequence[Arguments] = ()
    mutants: Mapping[str, Attempt] = field(default_factory=dict)
    kind: Kind = number
    tolerance: float = 1e-6
    gradients: Sequence[str] = ()
    exact: bool = True
    refusals: Sequence[Refusal] = ()
    also: Callable[[Attempt], Praise | None] | None = None
    found: tuple[Attempt, str] | None = None

    @property
    def name(self) -> str:
        return self.reference.__name__

    @property
    def notebook(self) -> str:
        """ "00" for an exercise of exercises/nb00.py."""
        return self.reference.__module__.rpartition(".nb")[2]

    @property
    def groups(self) -> list[Group]:
        plain = [each for each in self.inputs if isinstance(each, tuple)]
        return [Group(plain)] if plain else [each for each in self.inputs if isinstance(each, Group)]

    def diagnose(self, attempt: Attempt) -> Praise:
        """The praise of a right answer.

        Raises:
            NotDoneYet: The answer is a stub.
            Wrong: It is wrong; the message says in what.
        """
        passed: list[tuple[Step, list[Value]]] = []
        for step in self._steps:
            got, want = step.observe(attempt), step.observe(self.reference)
            if not self._same(got, want):
                if self.found and self._same(got, _seen(step, self.found[0]) or ()):
                    raise NotDoneYet(self.found[1])
                hint = self._hint(step, passed, got, want)
                if hint is None and not self._same(step.observe(attempt), got):
                    hint = (
                        "Two calls with the same arguments give different answers: use what is given, and draw nothing."
                    )
                raise Wrong(hint or step.describe(got, want))
            passed.append((step, want))
        for refusal in self.refusals:
            refusal.check(attempt)
        return (self.also(attempt) if self.also else None) or Praise()

    # --- what is compared --------------------------------------------------------------------------------------------

    @functools.cached_property
    def _steps(self) -> list[Step]:
        steps = [self._values(group) for group in self.groups]
        if self.gradients:
            steps.append(Step(self._gradients, self._gradient_difference))
        return [*steps, Step(self._left_alone, self._spoilt)] if steps else []

    def _values(self, group: Group) -> Step:
        def observe(function: Attempt) -> list[Value]:
            return [self._answer(function, given, group.note) for given in group.inputs]

        def describe(got: list[Value], want: list[Value]) -> str:
            bad = next(place for place in range(len(want)) if not self._same(got[place : place + 1], [want[place]]))
            names = self.kind.order if isinstance(self.kind, Parts) else ()
            said = difference(got[bad], want[bad], names, self.tolerance)
            return group.hint or f"{self._case(group.inputs[bad], group.note)}, {said}"

        return Step(observe, describe)

    def _answer(self, function: Attempt, given: Arguments, note: str) -> Value:
        value = call(function, given, self._case(given, note))
        try:
            return self.kind(value, *given)
        except Wrong as fault:
            raise Wrong(f"{self._case(given, note)}, {fault}") from fault

    def _gradients(self, function: Attempt) -> list[Value]:
        """For each call the gradients of ``self.gradients``, by a random pull on every number of the answer."""
        found: list[Value] = []
        for given in self.groups[-1].inputs:
            copies = copy.deepcopy(given)
            weights = [_learnable(copies[self._names.index(name)]) for name in self.gradients]
            try:
                value = function(*copies)
            except Exception as error:
                kind = f"{type(error).__name__}: {error}"
                raise Wrong(f"The values are right, but with gradients your function stops with {kind}") from error
            if not _tensors(value):
                raise Wrong(
                    "The values are right, but as plain numbers, which nothing can be trained through; leave "
                    "`.item()`, `float()` and `.tolist()` out."
                )
            pulls = [(out * _pull(out)).sum() for out in _tensors(value) if out.requires_grad]
            slopes = [_gradient(pulls, tensors) for tensors in weights]
            found.append(tuple(slope if slope is None or self.exact else torch.zeros(()) for slope in slopes))
        return found

    def _gradient_difference(self, got: list[Value], want: list[Value]) -> str:
        ours, theirs = next((parts(a), parts(b)) for a, b in zip(got, want, strict=True) if not self._same([a], [b]))
        bad = next(place for place in range(len(theirs)) if not self._same([ours[place]], [theirs[place]]))
        name = self.gradients[bad]
        if ours[bad] is None:
            return (
                f"The values are right, but no gradient reaches `{name}`, so nothing could be learned from them; leave "
                "`.detach()`, `.item()`, `.tolist()`, `.numpy()` and `torch.no_grad()` out."
            )
        if theirs[bad] is None:
            return f"The values are right, but a gradient flows into `{name}`, which does not learn; detach its part."
        said = difference(ours[bad], theirs[bad], (), self.tolerance).removeprefix("your function returns ")
        return f"The values are right, but not the gradient of `{name}` (is a part of it detached?): it has {said}"

    def _left_alone(self, function: Attempt) -> list[Value]:
        """For each argument of the last call, whether the call leaves it as it was; of the reference always true."""
        given, spoilt = self.groups[-1].inputs[-1], []
        for each in (function, self.reference):
            copies = copy.deepcopy(given)
            each(*copies)
            spoilt.append([_state(before) != _state(after) for before, after in zip(given, copies, strict=True)])
        return [tuple(theirs or not ours for ours, theirs in zip(*spoilt, strict=True))]

    def _spoilt(self, got: list[Value], want: list[Value]) -> str:
        name = self._names[parts(got[0]).index(False)]
        return f"The answer is right, but your function changes the caller's `{name}`; work on a copy of it."

    # --- how a difference is explained -------------------------------------------------------------------------------

    def _same(self, got: Sequence[Value], want: Sequence[Value]) -> bool:
        return same(tuple(got), tuple(want), self.tolerance)

    def _hint(
        self, step: Step, passed: Sequence[tuple[Step, list[Value]]], got: list[Value], want: list[Value]
    ) -> str | None:
        """The hint of the mutant that answers as we do: in everything, in the first wrong part, or in shape."""
        guesses: list[tuple[list[Value], str]] = []
        for hint, mutant in self.mutants.items():
            if all(self._same(_seen(before, mutant) or (), right) for before, right in passed):
                guess = _seen(step, mutant)
                if guess and self._same(guess, got):
                    return hint
                if guess and not self._same(guess, want):
                    guesses.append((guess, hint))
        wrong = [i for i in range(len(parts(want[0]))) if not self._same(_part(got, i), _part(want, i))]
        for guess, hint in guesses:
            if wrong and self._same(_part(guess, wrong[0]), _part(got, wrong[0])):
                return hint
        for guess, hint in guesses:
            if shapes(guess) == shapes(got) != shapes(want):
                return hint
        return None

    @property
    def _names(self) -> list[str]:
        return list(inspect.signature(self.reference).parameters)

    def _case(self, given: Arguments, note: str = "") -> str:
        """Which call is spoken of: "For c_in=3, kernel=7"."""
        said = [_described(name, argument) for name, argument in zip(self._names, given, strict=False)]
        return "For " + ", ".join([*filter(None, said), *filter(None, [note])])


def call(attempt: Attempt, given: Arguments, case: str = "For these arguments") -> object:
    """Call the learner's function with copies of the arguments, so that it cannot spoil them.

    Raises:
        NotDoneYet: It is a stub: ``NotImplementedError``, ``...`` or nothing returned.
        Wrong: It stops with an error, which becomes the cause.
    """
    try:
        value = attempt(*copy.deepcopy(given))
    except NotImplementedError as unfinished:
        raise NotDoneYet from unfinished
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f" at the line `{where.line}`" if where.line and where.filename != __file__ else ""
        said = f"{case}, your function stopped{line} with {type(error).__name__}: {error}"
        raise Wrong(said if said.endswith(".") else f"{said}.") from error
    if value is None or value is ...:
        raise NotDoneYet("Your function returns nothing yet: fill it in, and end it with `return`.")
    return value


def noise(*shape: int, seed: int) -> Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@functools.cache
def _seen(step: Step, mutant: Attempt) -> list[Value] | None:
    """What ``step`` sees of a mutant, remembered; None where it cannot be tried."""
    try:
        return step.observe(mutant)
    except (Wrong, NotDoneYet):  # a mutant need not fit every input
        return None


def _part(values: Sequence[Value], place: int) -> list[Value]:
    return [parts(value)[place] if place < len(parts(value)) else None for value in values]


def _described(name: str, argument: object) -> str:
    if isinstance(argument, Tensor):
        return f"{name} of shape {list(argument.shape)}"
    if _tensors(argument):
        return f"{name} of shapes {shown([list(found.shape) for found in _tensors(argument)])}"
    if isinstance(argument, nn.Module | random.Random):
        return ""
    return f"{name}={shown(argument)}"


def _state(argument: object) -> object:
    """What a function could spoil of an argument, as something that compares with ``==``."""
    if isinstance(argument, nn.Module):
        return [module.training for module in argument.modules()]
    if isinstance(argument, Tensor):
        return argument.tolist()
    if isinstance(argument, list | tuple):
        return [_state(entry) for entry in argument]
    return argument if isinstance(argument, Mapping) else None


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [found for part in value for found in _tensors(part)] if isinstance(value, list | tuple) else []


def _learnable(argument: object) -> list[Tensor]:
    """The tensors of an argument that could learn, from now on with gradients unless they are a module's."""
    if isinstance(argument, nn.Module):
        return list(argument.parameters())
    return [found.requires_grad_() for found in _tensors(argument)]


def _pull(output: Tensor) -> Tensor:
    return noise(*output.shape, seed=7).to(output.dtype) if output.ndim else torch.ones_like(output)


def _gradient(pulls: Sequence[Tensor], tensors: Sequence[Tensor]) -> Tensor | None:
    """The gradient of the sum of ``pulls``, as one vector; None where it reaches none of the tensors."""
    known = [each for each in tensors if each.requires_grad]
    if not pulls or not known:
        return None
    total = torch.stack([pull.double() for pull in pulls]).sum()
    found = torch.autograd.grad(total, known, retain_graph=True, allow_unused=True)
    if all(each is None for each in found):
        return None
    return torch.cat([torch.zeros_like(w).flatten() if g is None else g.flatten()
                      for w, g in zip(known, found, strict=True)])  # fmt: skip
