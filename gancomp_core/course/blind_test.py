"""A blind test: which pictures are real, and who made the others?"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping

import ipywidgets as widgets
import torch
from torch import Tensor

from gancomp_core.course.output import display_widget, html_image
from gancomp_core.errors import GancompError
from gancomp_core.train.progress import tile

UNANSWERED = "choose"
SCALE = 4  # of pixels on the screen
GRID = {"grid_template_columns": "repeat(auto-fill, minmax(160px, 1fr))", "grid_gap": "12px"}  # as many as fit


class BlindTest:
    """Numbered pictures in random order, a menu under each, and a button that scores the answers.

    ``answers[i]`` is the maker of picture i + 1. Made by :func:`blind_test`.
    """

    def __init__(self, pictures: list[Tensor], answers: list[str]) -> None:
        self.answers = answers
        self.pictures = [
            html_image(_png(picture), f"picture {i}, maker hidden", 128) for i, picture in enumerate(pictures, start=1)
        ]
        options = [UNANSWERED, *sorted(set(answers))]
        wide, style = widgets.Layout(width="auto"), {"description_width": "initial"}
        self.menus = [
            widgets.Dropdown(options=options, description=f"No. {i}", layout=wide, style=style)
            for i in range(1, len(answers) + 1)
        ]
        self.button = widgets.Button(description="How did I do?", button_style="primary")
        self.verdict, self.verdicts = widgets.HTML(), [widgets.HTML() for _ in answers]
        self.button.on_click(lambda _: self.reveal())
        cards = [
            widgets.VBox([widgets.HTML(picture), menu, verdict])
            for picture, menu, verdict in zip(self.pictures, self.menus, self.verdicts, strict=True)
        ]
        self.box = widgets.VBox([widgets.GridBox(cards, layout=widgets.Layout(**GRID)), self.button, self.verdict])

    @property
    def score(self) -> int:
        """How many menus name the right maker."""
        return sum(menu.value == answer for menu, answer in zip(self.menus, self.answers, strict=True))

    def reveal(self) -> None:
        """Say under each picture who made it, and for each maker how often its pictures were recognized."""
        if all(menu.value == UNANSWERED for menu in self.menus):
            self.verdict.value = '<p role="alert">Choose a maker under at least one picture first.</p>'
            return
        for verdict, menu, answer in zip(self.verdicts, self.menus, self.answers, strict=True):
            said = {answer: "✓ Right", UNANSWERED: "No answer"}.get(menu.value, "✗ Wrong")
            verdict.value = f"<b>{said}</b>: {html.escape(answer)}"
        makers = sorted(set(self.answers))
        lines = [
            f"<b>{self.score} of {len(self.answers)} right</b>; guessing gets {len(self.answers) / len(makers):g}."
        ]
        for maker in makers:
            mine = [menu.value for menu, answer in zip(self.menus, self.answers, strict=True) if answer == maker]
            lines.append(f"{html.escape(maker)}: recognized {mine.count(maker)} of {len(mine)} times")
        self.verdict.value = f'<p role="alert">{"<br>".join(lines)}</p>'

    def as_html(self) -> str:
        """What readers without a kernel see: the pictures, with the answers folded away."""
        pictures = " ".join(
            f'<span style="display:inline-block;margin:4px;text-align:center">{i}<br>{picture}</span>'
            for i, picture in enumerate(self.pictures, start=1)
        )
        answers = ", ".join(f"{i} {html.escape(answer)}" for i, answer in enumerate(self.answers, start=1))
        return (
            "<p><i>A blind test: who made which picture? Run the notebook to have your answers scored.</i></p>"
            f"<div>{pictures}</div><details><summary>Show the answers</summary>{answers}</details>"
        )


def blind_test(makers: Mapping[str, Tensor], seed: int = 0) -> BlindTest:
    """Show pictures without saying who made them.

    Each subject is shown once, by a maker drawn at random so that every maker gets an equal share.

    Args:
        makers: Pictures [N, C, H, W] in [-1, 1] by the name of their maker, all of the same N subjects.
        seed: Seed of the draw.

    Returns:
        The test.

    Raises:
        GancompError: When the makers have different numbers of pictures.
    """
    counts = {name: len(pictures) for name, pictures in makers.items()}
    if len(makers) < 2 or len(set(counts.values())) > 1 or not all(counts.values()):
        raise GancompError(f"A blind test needs two or more makers with equally many pictures, not {counts}.")
    count = next(iter(counts.values()))
    names = (list(makers) * count)[:count]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    answers = [names[i] for i in order]
    test = BlindTest([makers[name][i] for i, name in enumerate(answers)], answers)
    display_widget(test.box, fallback=test.as_html())
    return test


def _png(picture: Tensor) -> str:
    buffer = io.BytesIO()
    tile([picture[None]], SCALE).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
