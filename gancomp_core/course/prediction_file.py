"""The learner's predictions on disk: one local file, read and written by several notebooks at once.

Nothing leaves the machine: the file is ``notebooks/.predictions.json``, or the one that ``GANCOMP_PREDICTIONS`` names.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from filelock import FileLock, Timeout

from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, Json, atomic_write, path_from_environment

Answer = float | str
LARGEST_FILE = 10_000_000  # bytes; a course's answers take less than a hundredth of it
PATIENCE = 10  # seconds to wait for another notebook that writes
_WAY_OUT = "set GANCOMP_PREDICTIONS to the name of a new file"
_OURS = re.compile(rb'\s*\{\s*("version"\s*:\s*\d+\s*,\s*)?"predictions"\s*:')  # how a file of predictions begins


@dataclass(frozen=True)
class Prediction:
    """One question, the learner's answer and, once shown, the truth.

    ``confidence`` is the learner's probability, 50 to 100 percent, of being right: the right choice, or a number within
    a factor ``within`` of the truth. ``counts`` is False when the answer came after the truth had been shown.
    Times are ISO 8601 in UTC; ``choices`` is empty for a number.
    """

    id: str
    question: str
    choices: tuple[str, ...] = ()
    unit: str = ""
    within: float = 2.0
    answer: Answer | None = None
    confidence: int | None = None
    answered_at: str | None = None
    truth: Answer | None = None
    revealed_at: str | None = None
    counts: bool = True

    @property
    def right(self) -> bool | None:
        """Whether the answer holds; None while either side is missing."""
        if self.answer is None or self.truth is None:
            return None
        if isinstance(self.answer, str) or isinstance(self.truth, str):
            return self.answer == self.truth
        return self.answer == self.truth or self.factor_off <= self.within

    @property
    def factor_off(self) -> float:
        """How many times too large or too small a number is: 1 is exact, ``inf`` when the signs differ or one is 0."""
        answer, truth = self.answer, self.truth
        if isinstance(answer, str) or isinstance(truth, str) or answer is None or truth is None or answer * truth <= 0:
            return math.inf
        return max(answer / truth, truth / answer)

    @property
    def said(self) -> str:
        """The answer with its unit."""
        return "nothing" if self.answer is None else in_words(self.answer, self.unit)

    def asked_again(self, earlier: Prediction | None) -> Prediction:
        """This question with what is known of it from ``earlier``: its answer and whether the truth was shown."""
        if earlier is None:
            return self
        kept = ("answer", "confidence", "answered_at", "truth", "revealed_at", "counts")
        return replace(self, **{name: getattr(earlier, name) for name in kept})


def predictions_file() -> Path:
    """The file with the answers: ``GANCOMP_PREDICTIONS``, else ``notebooks/.predictions.json`` of the checkout."""
    if named := path_from_environment("GANCOMP_PREDICTIONS"):
        return named
    notebooks = REPOSITORY / "notebooks"
    return (notebooks if notebooks.is_dir() else Path.cwd()) / ".predictions.json"


def recorded() -> list[Prediction]:
    """Every question answered or shown so far, in the order asked; notebook 08 scores the calibration over them."""
    return list(read().values())


def forget(id: str) -> str:
    """Remove one answer, so that the question can be answered again.

    Where the truth has been shown already, that is remembered: a later answer does not count for the calibration.

    Args:
        id: Name of the question, such as "00/macs".

    Returns:
        A sentence that says what was removed.
    """
    with update() as known:
        before = known.get(id)
        if before is None or before.answer is None:
            return f"No prediction for {id} is recorded, so none is removed."
        if before.truth is None:
            del known[id]
            return f"Your prediction is removed: {before.said}."
        known[id] = replace(before, answer=None, confidence=None, answered_at=None, counts=False)
    return (
        f"Your prediction is removed: {before.said}. The answer has been shown, so a new one "
        "does not count for your calibration."
    )


def forget_all() -> str:
    """Begin the course's predictions again: the file with all answers is set aside under another name.

    Returns:
        A sentence that says what was removed and where it is kept.
    """
    path, known = predictions_file(), read()
    if not known:
        return f"No predictions are recorded in {path.name}, so none are removed."
    with _locked():
        backup = _set_aside(path, "before-reset")
    answered = sum(each.answer is not None for each in known.values())
    return (
        f"Removed: {answered} prediction{'s' * (answered != 1)}, to {len(known)} question{'s' * (len(known) != 1)} "
        f"answered or shown. They are kept in {backup}; give that file the name {path.name} to have them back. "
        "Questions on screen begin again when their cell is run."
    )


def in_words(value: Answer, unit: str) -> str:
    """An answer with its unit."""
    return value if isinstance(value, str) else f"{value:,.4g} {unit}".strip()


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read() -> dict[str, Prediction]:
    """The predictions by question; a damaged file of predictions is set aside, any other file is refused."""
    path = predictions_file()
    try:
        data = _content(path)
        return {entry["id"]: _from_json(entry) for entry in json.loads(data)["predictions"]} if data.strip() else {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise GancompError(f"The predictions in {path} cannot be read ({error.strerror}); {_WAY_OUT}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if path_from_environment("GANCOMP_PREDICTIONS") and not _OURS.match(data):
            raise GancompError(f"{path} is not a file of predictions and is left as it is; {_WAY_OUT}.") from error
    with contextlib.suppress(FileNotFoundError):  # another notebook was first
        backup = _set_aside(path, "damaged")
        print(f"Your predictions in {path.name} were damaged, so a new file starts; the old one is kept as {backup}.")
    return {}


@contextlib.contextmanager
def update() -> Iterator[dict[str, Prediction]]:
    """Yield the predictions by question and write what the block leaves of them; others wait meanwhile."""
    read()  # a file that is not ours is refused before a lock appears beside it
    with _locked():
        known = read()
        yield known
        stored = {"version": 1, "predictions": [asdict(prediction) for prediction in known.values()]}
        with atomic_write(predictions_file()) as temporary:
            temporary.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One writer at a time, so that two notebooks lose none of each other's answers."""
    path = predictions_file()
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=PATIENCE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise GancompError(
            f"Another notebook has been writing {path} for {PATIENCE} seconds; try again, or {_WAY_OUT}."
        ) from error
    except OSError as error:
        raise GancompError(f"The predictions in {path} cannot be written ({error.strerror}); {_WAY_OUT}.") from error
    try:
        yield
    finally:
        lock.release()


def _set_aside(path: Path, why: str) -> str:
    """Give the file another name, which is returned."""
    backup = path.with_name(f"{path.name}.{why}-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")
    path.replace(backup)
    return backup.name


def _content(path: Path) -> bytes:
    """The first bytes of a plain file: a pipe or device would be waited for."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no plain file")
    with path.open("rb") as file:
        return file.read(LARGEST_FILE)


def _from_json(entry: Mapping[str, object]) -> Prediction:
    """One stored prediction; raises ``ValueError`` for values that this module never writes."""
    known = {field.name for field in fields(Prediction)}
    values: Json = {key: value for key, value in entry.items() if key in known}
    made = Prediction(**values | {"choices": tuple(values.get("choices", ()))})
    texts = (made.id, made.question, made.unit, made.answered_at or "", made.revealed_at or "", *made.choices)
    words_allowed = [value for value in (made.answer, made.truth) if not isinstance(value, str)]
    numbers = [number for number in (made.within, made.confidence, *words_allowed) if number is not None]
    finite = made.within is not None and all(math.isfinite(number) for number in numbers)
    if not finite or not all(isinstance(text, str) for text in texts):
        raise ValueError("it is no prediction")
    "".join(texts).encode()  # raises UnicodeEncodeError, a ValueError, for what no file can hold
    return made
