"""Errors that a user can cause, each with a message of one sentence."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

LONGEST = 700  # letters of a message; a name in it may be as long as a file


class GancompError(ValueError):
    """User error with a one-sentence message: the thing, what is allowed, the way out.

    What is printed is one line, whatever names stand in it. A second argument follows it as it is: a table of ours.
    """

    def __str__(self) -> str:
        said, *table = map(str, self.args or ("",))
        return "".join([shown(said, LONGEST), *table])


def one_of(value: str, allowed: Iterable[str], what: str) -> str:
    """``value``, when it is allowed.

    Args:
        value: A name that a user gave.
        allowed: The names there are.
        what: What they are names of, such as "search" or "border mode".

    Raises:
        GancompError: It is none of them.
    """
    names = list(allowed)
    if value not in names:
        raise GancompError(f"There is no {what} {value!r}; choose one of {', '.join(map(repr, names))}.")
    return value


def at_least(least: int, value: int, what: str, hint: str) -> int:
    """``value``, when it is not below ``least``.

    Args:
        least: The smallest number allowed.
        value: A number that a user gave.
        what: Its name, such as "batch_size".
        hint: The way out: what is usual, or what leaving it out does.

    Raises:
        GancompError: It is below ``least``.
    """
    if value < least:
        raise GancompError(f"{what} is a whole number from {least}, not {value}; {hint}.")
    return value


def shown(name: str, most: int = 80) -> str:
    """A foreign name as it may stand in a message: without control characters, its middle cut where it is too long."""
    short = name if len(name) <= most else f"{name[: most - most // 4 - 3]}...{name[-(most // 4) :]}"
    return "".join(letter if letter.isprintable() else "?" for letter in short)


@contextmanager
def explaining(sentence: Callable[[str], str], *kinds: type[Exception]) -> Iterator[None]:
    """Say in one sentence what goes wrong inside; errors of ours pass as they are.

    Args:
        sentence: Makes the message from the kind and the text of the exception, such as "KeyError: 'steps'".
        kinds: Exceptions to explain; others pass.

    Raises:
        GancompError: One of ``kinds`` was raised inside.
    """
    try:
        yield
    except GancompError:
        raise
    except kinds as error:
        raise GancompError(sentence(f"{type(error).__name__}: {error}")) from error


class TrainingDiverged(GancompError):
    """A loss became NaN, infinite or absurdly large.

    Attributes:
        step: The first bad step.
        term: Name of the loss term.
        value: What the term became.
        checkpoint: Path of the last good checkpoint, or None.
    """

    def __init__(self, step: int, term: str, value: float, checkpoint: object = None) -> None:
        self.step, self.term, self.value, self.checkpoint = step, term, value, checkpoint
        last = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written yet"
        super().__init__(
            f"Training stopped at step {step}: the term '{term}' became {value:g}; {last}; "
            "lower the learning rate or that term's weight and train again with another checkpoint file."
        )

    def __reduce__(self) -> tuple[type, tuple[int, str, float, object]]:
        return type(self), (self.step, self.term, self.value, self.checkpoint)  # as it was made: workers send it back
