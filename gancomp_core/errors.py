"""Errors that a user can cause, each with a message of one sentence."""


class GancompError(ValueError):
    """User error with a one-sentence message: the thing, what is allowed, the way out."""


def shown(name: str) -> str:
    """A name out of a foreign file as it may stand in a message: without control characters, 80 letters at most."""
    short = name if len(name) <= 80 else f"{name[:77]}..."
    return "".join(letter if letter.isprintable() else "?" for letter in short)


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
