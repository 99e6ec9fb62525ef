"""Predict first, measure second: the learner's guesses, stored in one local file.

``predict("00/macs", "How many ...?", unit="G MACs", low=0, high=200)`` asks, ``reveal("00/macs", 56.8)`` answers.
Nothing leaves the machine: the file is ``notebooks/.predictions.json``, or the one that ``GANCOMP_PREDICTIONS`` names.
"""

from __future__ import annotations

import datetime
import errno
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import ipywidgets as widgets
from IPython.display import HTML, display

from gancomp_core.course.output import display_widget
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, Json, atomic_write, path_from_environment

Answer = float | str
LARGEST_FILE = 10_000_000  # bytes; a course's answers take less than a hundredth of it
_WAY_OUT = "set GANCOMP_PREDICTIONS to the name of a new file"
_OURS = re.compile(rb'\s*\{\s*("version"\s*:\s*\d+\s*,\s*)?"predictions"\s*:')  # how a file of predictions begins


@dataclass(frozen=True)
class Prediction:
    """One question, the learner's answer and, once revealed, the truth.

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


def predictions_file() -> Path:
    """The file with the answers: ``GANCOMP_PREDICTIONS``, else ``notebooks/.predictions.json`` of the checkout."""
    if named := path_from_environment("GANCOMP_PREDICTIONS"):
        return named
    notebooks = REPOSITORY / "notebooks"
    return (notebooks if notebooks.is_dir() else Path.cwd()) / ".predictions.json"


def recorded() -> list[Prediction]:
    """Every question seen so far, in the order asked; notebook 08 scores the calibration over them."""
    return list(_read().values())


def forget(id: str) -> None:
    """Remove one answer, so that the question can be answered again."""
    known = _read()
    if id in known:
        del known[id]
        _write(known)


def predict(
    id: str,
    question: str,
    choices: Sequence[str] = (),
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    within: float = 2.0,
) -> None:
    """Ask before the result is shown.

    Nothing is recorded until the learner presses the button, and an unanswered question stops nothing.

    Args:
        id: Name of the question, such as "00/macs".
        question: The question.
        choices: The possible answers; empty for a number.
        unit: Unit of a number.
        low: Smallest number that can be answered.
        high: Largest one.
        within: A number counts as right within this factor of the truth.

    Raises:
        GancompError: For fewer than two choices, and for a number without a range.
    """
    if choices and (len(set(choices)) < 2 or len(set(choices)) < len(choices)):
        raise GancompError(f"The question {id!r} needs at least two different choices, or none to ask for a number.")
    if not choices and (low is None or high is None or not low < high):
        raise GancompError(f"The question {id!r} asks for a number: give low= and high= (low below high), or choices=.")
    asked = Prediction(id, question, tuple(choices), unit, within)
    form = PredictionForm(asked, low, high)
    LIVE_FORMS[id] = form
    display_widget(form.box, fallback=_static_question(asked, low, high))


def reveal(id: str, truth: Answer) -> None:
    """Show the truth and what the learner predicted; without a prediction only the truth."""
    known = _read()
    before = known.get(id) or Prediction(id, question="")
    if not isinstance(truth, str):
        truth = float(truth)
    elif before.choices and truth not in before.choices:
        raise GancompError(f"The answer {truth!r} of question {id!r} is not one of its choices {list(before.choices)}.")
    after = replace(before, truth=truth, revealed_at=before.revealed_at or _now())
    _write(known | {id: after})
    display(HTML(_comparison(after)))


class PredictionForm:
    """The form under a question; ``LIVE_FORMS`` keeps the ones on screen."""

    def __init__(self, asked: Prediction, low: float | None, high: float | None) -> None:
        self.asked = asked
        before = _read().get(asked.id)
        wide = widgets.Layout(width="auto", max_width="640px")
        self.answer: widgets.Widget
        if asked.choices:
            self.answer = widgets.RadioButtons(options=asked.choices, value=None, description="", layout=wide)
        else:
            assert low is not None
            assert high is not None
            self.answer = widgets.BoundedFloatText(
                value=low, min=low, max=high, description=f"Your number{', ' + asked.unit if asked.unit else ''}",
                style={"description_width": "initial"}, layout=wide,
            )  # fmt: skip
        self.confidence = widgets.IntSlider(
            value=70, min=50, max=100, step=5, description=f"How sure are you, in % {_of_what(asked)}",
            continuous_update=False, style={"description_width": "initial"}, layout=wide,
        )  # fmt: skip
        self.button = widgets.Button(description="Record my prediction", layout=widgets.Layout(width="auto"))
        self.said = widgets.Label()
        self.button.on_click(lambda _: self.record())
        if before is not None and before.answer is not None:
            self._show(before)
        title = widgets.HTML(f"<b>Predict first.</b> {html.escape(asked.question)}")
        self.box = widgets.VBox([title, self.answer, self.confidence, widgets.HBox([self.button, self.said])])

    def record(self) -> None:
        """Write the answer to the file; the first answer stays once the truth has been shown."""
        if self.answer.value is None:
            self.said.value = "Choose an answer first."
            return
        known = _read()
        before = known.get(self.asked.id)
        if before is not None and before.answer is not None and before.truth is not None:
            self._show(before)
            self.said.value = (
                f"The answer has been shown, so your first prediction stays: {_words(before.answer, before.unit)}."
            )
            return
        seen = before is not None and before.truth is not None
        answered = replace(
            self.asked, answer=self.answer.value, confidence=self.confidence.value, answered_at=_now(), counts=not seen,
            truth=before.truth if before else None, revealed_at=before.revealed_at if before else None,
        )  # fmt: skip
        try:
            _write(known | {self.asked.id: answered})
        except GancompError as error:
            self.said.value = str(error)
            return
        self._show(answered)

    def _show(self, prediction: Prediction) -> None:
        answer = prediction.answer
        fits = answer in self.asked.choices if self.asked.choices else not isinstance(answer, str)
        if not fits:  # the question was reworded since: ask again
            return
        self.answer.value = answer
        self.confidence.value = prediction.confidence or 50
        after = "" if prediction.counts else " (after the answer was shown: it does not count for your calibration)"
        assert answer is not None
        self.said.value = f"Recorded: {_words(answer, prediction.unit)}, {prediction.confidence} % sure{after}."


LIVE_FORMS: dict[str, PredictionForm] = {}


def _of_what(asked: Prediction) -> str:
    return "(50 = a coin toss)" if asked.choices else f"(to be within a factor of {asked.within:g})"


def _static_question(asked: Prediction, low: float | None, high: float | None) -> str:
    """What a reader of GitHub or of paper sees in place of the form."""
    options = "".join(f"<li>{html.escape(choice)}</li>" for choice in asked.choices)
    wanted = f"<ul>{options}</ul>" if options else f" ({low:g} to {high:g} {html.escape(asked.unit)})"
    return f"<p><b>Predict first.</b> {html.escape(asked.question)}{wanted}</p>"


def _comparison(after: Prediction) -> str:
    assert after.truth is not None
    truth = _words(after.truth, after.unit)
    if after.answer is None:
        return f"<p>No prediction recorded; the answer is <b>{html.escape(truth)}</b>.</p>"
    late = "" if after.counts else " (Recorded after the answer was shown, so it does not count for your calibration.)"
    rows = [("Your prediction", after.answer), ("The answer", after.truth)]
    if isinstance(after.answer, str) or isinstance(after.truth, str):
        bars = ["", ""]
        verdict = "Right." if after.right else "Not this time."
    else:
        largest = max(abs(after.answer), abs(after.truth)) or 1.0
        bars = ["█" * max(round(24 * abs(float(value)) / largest), 1) for _, value in rows]
        verdict = _how_far(after)
    cell = '<td style="text-align:left">'
    body = "".join(
        f"<tr>{cell}{name}</td>{cell}<b>{html.escape(_words(value, after.unit))}</b></td>"
        f'{cell}<span aria-hidden="true">{bar}</span></td></tr>'
        for (name, value), bar in zip(rows, bars, strict=True)
    )
    words = html.escape(f"{verdict} You were {after.confidence} % sure.{late}")
    return f"<table>{body}</table><p>{words}</p>"


def _how_far(after: Prediction) -> str:
    assert isinstance(after.answer, (int, float))
    assert isinstance(after.truth, (int, float))
    factor = after.factor_off
    if math.isinf(factor):
        if after.answer == after.truth:
            return "Exactly right."
        return f"Off by {abs(after.answer - after.truth):.3g} {after.unit}."
    if factor < 1.05:
        return "Right, within 5 %."
    side = "high" if abs(after.answer) > abs(after.truth) else "low"
    judged = f"which is within the factor of {after.within:g} asked for" if after.right else "not this time"
    return f"Too {side} by a factor of {factor:.3g}, {judged}."


def _words(value: Answer, unit: str) -> str:
    return value if isinstance(value, str) else f"{value:.4g} {unit}".strip()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _read() -> dict[str, Prediction]:
    """The answers by question; a damaged file of predictions is set aside, any other file is refused."""
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
    backup = path.with_name(f"{path.name}.damaged-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")
    path.replace(backup)
    print(f"Your predictions in {path.name} were damaged, so a new file starts; the old one is kept as {backup.name}.")
    return {}


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
    if not all(isinstance(text, str) for text in texts) or not all(math.isfinite(number) for number in numbers):
        raise ValueError("it is no prediction")
    return made


def _write(known: dict[str, Prediction]) -> None:
    stored = {"version": 1, "predictions": [asdict(prediction) for prediction in known.values()]}
    with atomic_write(predictions_file()) as temporary:
        temporary.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
