"""The errors a user can cause, each told in one sentence."""


class GancompError(ValueError):
    """A mistake that one sentence explains: the thing, what is allowed, the way out."""


class TrainingDiverged(GancompError):
    """A loss became NaN, infinite or absurdly large.

    Attributes: ``step`` (first bad step), ``term`` (name of the loss term), ``value``, and
    ``checkpoint`` (path of the last good checkpoint, or None).
    """

    def __init__(self, step: int, term: str, value: float, checkpoint: object = None) -> None:
        self.step, self.term, self.value, self.checkpoint = step, term, value, checkpoint
        last = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written yet"
        super().__init__(
            f"Training stopped at step {step}: the term '{term}' became {value:g}; {last}; "
            "lower the learning rate or that term's weight and train again with another checkpoint file."
        )
