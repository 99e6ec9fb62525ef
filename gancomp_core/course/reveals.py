"""Answers that stay closed until the learner has predicted them, and the rest of their cells with them.

A cell that calls ``reveal`` shows its result in figures and sentences too. So everything that such a cell displays is
held back until all its questions are answered, or the reader asks for the answers. Nothing waits for that: the cell
ends at once, and where no kernel runs (GitHub, print, a notebook run without a browser) the answer is folded away.
"""

from __future__ import annotations

import contextlib
import html
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display

from gancomp_core.course.output import WIDGET_VIEW, as_html, display_widget
from gancomp_core.course.prediction_file import Answer, Prediction, in_words, now, read, update
from gancomp_core.errors import GancompError

_CALLS = re.compile(r"\breveal\(\s*[\"']([^\"']+)")  # the questions that a cell's code reveals


class Reveal:
    """The truth of one question on screen; ``WAITING`` keeps the latest of each question."""

    def __init__(self, asked: Prediction, truth: Answer) -> None:
        self.asked, self.truth = asked, truth
        self.when_opened: Callable[[], None] = lambda: None
        self.note = widgets.HTML(f"<p>{_invitation(asked)}</p>")
        self.button = widgets.Button(
            description="Show it without a guess", layout=widgets.Layout(width="auto", align_self="flex-start")
        )
        self.button.on_click(lambda _: self.skip())
        self.answer = widgets.HTML()
        self.box = widgets.VBox([self.note, self.button, self.answer])
        self.opened = False
        if ready(asked.id):
            self.open()

    def skip(self) -> None:
        """Open without a prediction."""
        try:
            self.open()
        except GancompError as error:
            self.note.value = f'<p role="alert">{html.escape(str(error))}</p>'

    def open(self) -> None:
        """Write that the truth is shown, and show it; called again, show a later prediction beside it."""
        with update() as known:
            before = self.asked.asked_again(known.get(self.asked.id))
            known[self.asked.id] = replace(before, truth=self.truth, revealed_at=before.revealed_at or now())
        self.opened = True
        self.answer.value = f'<div role="alert">{comparison(known[self.asked.id])}</div>'  # read aloud as it appears
        for widget in (self.note, self.button):
            widget.layout.display = "none"
        self.when_opened()

    def as_html(self) -> str:
        """The truth, and beside it the prediction where there is one."""
        if not self.opened:
            return f"<p>The answer is <b>{html.escape(in_words(self.truth, self.asked.unit))}</b>.</p>"
        return comparison(read()[self.asked.id])


WAITING: dict[str, Reveal] = {}


def ready(id: str) -> bool:
    """Whether the truth may be shown: the question is answered, or its truth has been seen."""
    known = read().get(id)
    return known is not None and (known.answer is not None or known.truth is not None)


def answered(id: str) -> bool:
    """Open what waits for this question, or show the new prediction where it is open; False where nothing waits."""
    if id in WAITING:
        WAITING[id].open()
    return id in WAITING


class Curtain:
    """What one cell displays, held back from the moment it is known that the cell reveals an answer.

    Widgets and pictures that change (a training's progress) are not held back.
    """

    def __init__(self, publisher: Any = None) -> None:
        self.publisher = publisher
        self.reveals: list[Reveal] = []
        self.held: list[dict[str, Any]] = []
        if publisher is not None:
            publisher.register_hook(self._keep)

    def _keep(self, message: dict[str, Any]) -> dict[str, Any] | None:
        content = message["content"]
        if message["msg_type"] != "display_data" or content["transient"] or WIDGET_VIEW in content["data"]:
            return message
        self.held.append({key: content[key] for key in ("data", "metadata")} | {"output_type": "display_data"})
        return None

    def publish(self) -> None:
        """Display the reveals, and below them what was held back: as a box that opens, or plainly where all is open."""
        if self.publisher is not None:
            self.publisher.unregister_hook(self._keep)
        words = [reveal.as_html() for reveal in self.reveals]
        if self.open:
            for text in words:
                display({"text/html": text, "text/plain": "the answer"}, raw=True)
            for each in self.held:
                display(each["data"], raw=True, metadata=each["metadata"])
            return
        rest = widgets.Output()

        def lift() -> None:
            if self.open:
                rest.outputs = tuple(self.held)

        for reveal in self.reveals:
            WAITING[reveal.asked.id] = reveal
            reveal.when_opened = lift
        folded = "".join([*words, *(as_html(each["data"]) for each in self.held)])
        fallback = f"<details><summary>Show the answer</summary>{folded}</details>"
        display_widget(widgets.VBox([*(reveal.box for reveal in self.reveals), rest]), fallback)

    @property
    def open(self) -> bool:
        return all(reveal.opened for reveal in self.reveals)


class Cells:
    """Hangs a curtain before each cell that reveals an answer too early, and displays it when the cell ends."""

    def __init__(self) -> None:
        self.curtain: Curtain | None = None
        self.shell: Any = None

    def watch(self) -> None:
        """Follow the kernel's cells from now on; without a kernel, nothing."""
        shell = get_ipython()
        if shell is self.shell or not hasattr(getattr(shell, "display_pub", None), "register_hook"):
            return
        self.shell = shell
        shell.events.register("pre_run_cell", self.begin)
        shell.events.register("post_run_cell", self.end)

    def begin(self, info: Any) -> None:
        self.curtain = None
        with contextlib.suppress(GancompError):  # reveal() itself will say what is wrong with the file
            self._hang(_CALLS.findall(info.raw_cell or ""))

    def end(self, result: Any) -> None:
        if self.curtain is not None:
            curtain, self.curtain = self.curtain, None
            curtain.publish()

    def show(self, reveal: Reveal) -> None:
        """Display a reveal: with what its cell held back, or at once where nothing is held back."""
        self.watch()
        if self.shell is not None:
            self._hang([reveal.asked.id])
        curtain = self.curtain or Curtain()
        curtain.reveals.append(reveal)
        if curtain is not self.curtain:
            curtain.publish()

    def _hang(self, ids: Iterable[str]) -> None:
        if self.curtain is None and not all(map(ready, ids)):
            self.curtain = Curtain(self.shell.display_pub)


CELLS = Cells()


def _invitation(asked: Prediction) -> str:
    question = f" to “{html.escape(asked.question)}”" if asked.question else ""
    return f"The answer{question} opens here as soon as you record your prediction above."


def comparison(after: Prediction) -> str:
    """The truth beside the prediction, as HTML."""
    assert after.truth is not None
    truth = in_words(after.truth, after.unit)
    if after.answer is None:
        return f"<p>No prediction recorded; the answer is <b>{html.escape(truth)}</b>.</p>"
    late = "" if after.counts else " (Recorded after the answer was shown, so it does not count for your calibration.)"
    rows = [("Your prediction", after.answer), ("The answer", after.truth)]
    if isinstance(after.answer, str) or isinstance(after.truth, str):
        bars = ["", ""]
        verdict = "Right." if after.right else "Not this time."
    else:
        largest = max(abs(after.answer), abs(after.truth)) or 1.0
        bars = [_bar(abs(float(value)) / largest) for _, value in rows]
        verdict = _how_far(after)
    body = "".join(
        f'<p style="margin:4px 0">{name}: <b>{html.escape(in_words(value, after.unit))}</b></p>{bar}'
        for (name, value), bar in zip(rows, bars, strict=True)
    )
    return f"{body}<p>{html.escape(f'{verdict} You were {after.confidence} % sure.{late}')}</p>"


def _bar(part: float) -> str:
    wide = f"width:{max(100 * part, 1):.0f}%;max-width:{480 * part:.0f}px"
    return f'<div style="{wide};height:10px;background:#0072b2"></div>'


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
