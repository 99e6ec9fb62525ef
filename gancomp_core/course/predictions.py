"""Predict first, measure second: the forms that ask, and the answers that wait for them.

``predict("00/macs", "How many ...?", unit="G MACs", low=0, high=200)`` asks, ``reveal("00/macs", 56.8)`` answers once
the learner has. What they typed lies in one local file (:mod:`gancomp_core.course.prediction_file`).
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ipywidgets as widgets

from gancomp_core.course import reveals
from gancomp_core.course.output import display_widget
from gancomp_core.course.prediction_file import (
    Answer,
    Prediction,
    forget,
    forget_all,
    now,
    predictions_file,
    read,
    recorded,
    update,
)
from gancomp_core.course.widgets import Names
from gancomp_core.errors import GancompError

__all__ = ["Prediction", "forget", "forget_all", "predict", "predictions_file", "recorded", "reveal"]


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
    form = PredictionForm(asked, None if low is None or high is None else Range(low, high, unit))
    LIVE_FORMS[id] = form
    reveals.CELLS.watch()
    display_widget(form.box, fallback=form.as_html())


def reveal(id: str, truth: Answer, *, unit: str = "") -> None:
    """Show the truth beside the learner's prediction, as soon as there is one.

    Until then the truth and everything else that the cell displays stay closed, behind a button that shows them without
    a guess. Where no kernel runs, they are folded away.

    Args:
        id: Name of the question.
        truth: One of its choices, or a number.
        unit: Unit of a number; that of the question if left out.

    Raises:
        GancompError: For a truth that is none of the question's choices.
    """
    form, before = LIVE_FORMS.get(id), read().get(id)
    asked = form.asked if form else before or Prediction(id, question="")
    if not isinstance(truth, str):
        truth = float(truth)
    elif asked.choices and truth not in asked.choices:
        raise GancompError(f"The answer {truth!r} of question {id!r} is not one of its choices {list(asked.choices)}.")
    reveals.CELLS.show(reveals.Reveal(replace(asked, unit=unit or asked.unit), truth))


@dataclass(frozen=True)
class Range:
    """The numbers that can be answered, both ends included."""

    low: float
    high: float
    unit: str

    def __str__(self) -> str:
        return f"{self.low:,.6g} to {self.high:,.6g} {self.unit}".strip()

    def read(self, text: str) -> float:
        """The number that was typed, with a point or a comma before the decimals, with or without its unit.

        Raises:
            GancompError: For anything else, and for a number out of range.
        """
        plain = re.sub(r"\s", "", text)
        for unit in ("%", re.sub(r"\s", "", self.unit)):
            plain = plain.removesuffix(unit)
        if not plain:
            raise GancompError("Type a number first.")
        if re.fullmatch(r"-?[1-9]\d{0,2}(,\d{3})+", plain):
            bare = plain.replace(",", "")
            raise GancompError(f"Is {plain} meant as {bare}? Type it without the comma, or with a decimal point.")
        try:
            value = float(plain.replace(",", "."))
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise GancompError(f"“{text.strip():.40}” is no number; type one from {self}, such as 2.5.")
        if not self.low <= value <= self.high:
            raise GancompError(f"{value:,.6g} is out of range; type a number from {self}.")
        return value


class PredictionForm:
    """The form under a question; ``LIVE_FORMS`` keeps the ones on screen."""

    def __init__(self, asked: Prediction, allowed: Range | None) -> None:
        self.asked, self.allowed = asked, allowed
        wide = widgets.Layout(width="auto", max_width="640px")
        self.answer: widgets.Widget
        if allowed is None:
            self.answer = widgets.RadioButtons(options=asked.choices, value=None, layout=wide)
        else:
            self.answer = widgets.Text(
                placeholder=str(allowed), description=f"Your number{', ' + asked.unit if asked.unit else ''}",
                style={"description_width": "initial"}, layout=wide,
            )  # fmt: skip
        sure = f"How sure are you, in percent{_of_what(asked)}?"
        self.confidence = widgets.IntSlider(value=70, min=50, max=100, step=5, tooltip=sure, layout=wide)
        self.button = widgets.Button(layout=widgets.Layout(width="auto"))
        self.again = widgets.Button(description="Answer again", layout=widgets.Layout(width="auto"))
        self.said = widgets.HTML(layout=widgets.Layout(flex="1 1 240px"))
        self.button.on_click(lambda _: self.record())
        self.again.on_click(lambda _: self.answer_again())
        self._show(read().get(asked.id))
        row = widgets.HBox([self.button, self.again, self.said], layout=widgets.Layout(flex_flow="row wrap"))
        title, label = widgets.HTML(f"<b>Predict first.</b> {html.escape(asked.question)}"), widgets.HTML(sure)
        named = {sure: self.confidence} | ({asked.question: self.answer} if allowed is None else {})
        self.box = widgets.VBox([title, self.answer, label, self.confidence, row, Names(named, {sure: "%"})])

    def record(self) -> None:
        """Write the answer to the file; the first answer stays once the truth has been shown."""
        try:
            value = self._value()
            with update() as known:
                before = known.get(self.asked.id)
                seen = before is not None and before.truth is not None
                stays = seen and before is not None and before.answer is not None
                if not stays:
                    known[self.asked.id] = replace(
                        self.asked.asked_again(before),
                        answer=value, confidence=self.confidence.value, answered_at=now(), counts=not seen,
                    )  # fmt: skip
            opened = reveals.answered(self.asked.id)
        except GancompError as error:
            self._say(str(error))
            return
        self._show(read()[self.asked.id], "The answer is open below." if opened else "")
        if stays:
            self._say(f"The answer has been shown, so your first prediction stays: {known[self.asked.id].said}.")

    def answer_again(self) -> None:
        """Remove the recorded answer and empty the form."""
        try:
            removed = forget(self.asked.id)
        except GancompError as error:
            self._say(str(error))
            return
        self.answer.value = None if self.allowed is None else ""
        self._show(read().get(self.asked.id))
        self._say(removed)

    def as_html(self) -> str:
        """What a reader of GitHub or of paper sees in place of the form."""
        options = "".join(f"<li>{html.escape(choice)}</li>" for choice in self.asked.choices)
        wanted = f"<ul>{options}</ul>" if options else f" ({html.escape(str(self.allowed))})"
        return f"<p><b>Predict first.</b> {html.escape(self.asked.question)}{wanted}</p>"

    def _value(self) -> Answer:
        if self.allowed is not None:
            return self.allowed.read(self.answer.value)
        if self.answer.value is None:
            raise GancompError("Choose an answer first.")
        return str(self.answer.value)

    def _show(self, known: Prediction | None, more: str = "") -> None:
        """The recorded answer, and the buttons that make sense with it."""
        answer = known.answer if known else None
        fits = answer in self.asked.choices if self.allowed is None else isinstance(answer, int | float)
        if known is None or answer is None or not fits:  # no answer yet, or the question was reworded since
            self.button.description = "Record my prediction"
            self.button.layout.display, self.again.layout.display = "", "none"
            return
        seen = known.truth is not None
        self.button.description = "Change my prediction"
        self.button.layout.display, self.again.layout.display = ("none", "") if seen else ("", "none")
        self.answer.value = answer if isinstance(answer, str) else f"{answer:.12g}"
        self.confidence.value = known.confidence or 50
        after = "" if known.counts else " (after the answer was shown: it does not count for your calibration)"
        self._say(f"Recorded: {known.said}, {known.confidence} % sure{after}. {more}")

    def _say(self, words: str) -> None:
        self.said.value = f'<span role="alert">{html.escape(words.strip())}</span>'  # read aloud as it appears


LIVE_FORMS: dict[str, PredictionForm] = {}


def _of_what(asked: Prediction) -> str:
    if asked.choices:
        return " (50 is a coin toss)" if len(asked.choices) == 2 else ""
    return f", to be within a factor of {asked.within:g}"
