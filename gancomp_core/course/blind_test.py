"""A blind test: which pictures are real, and who made the others?"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping

import ipywidgets as widgets
import torch
from IPython.display import HTML, display
from torch import Tensor

from gancomp_core.course.output import display_widget, html_image
from gancomp_core.errors import GancompError
from gancomp_core.train.progress import tile

UNANSWERED = "choose"
COLUMNS = 4  # pictures in a row
SCALE = 4  # of pixels on the screen


class BlindTest:
    """Numbered pictures in random order, a menu under each, and a button that scores the answers.

    ``answers[i]`` is the maker of picture i + 1. Made by :func:`blind_test`.
    """

    def __init__(self, pictures: list[Tensor], answers: list[str]) -> None:
        self.answers = answers
        self.images = [_png(picture) for picture in pictures]
        options = [UNANSWERED, *sorted(set(answers))]
        self.menus = [
            widgets.Dropdown(options=options, description=f"Picture {i}", layout=widgets.Layout(width="220px"))
            for i in range(1, len(answers) + 1)
        ]
        self.button = widgets.Button(description="How did I do?", button_style="primary")
        self.verdict = widgets.HTML()
        self.button.on_click(lambda _: self.reveal())
        cards = [
            widgets.VBox([widgets.HTML(html_image(image, f"picture {i}, maker hidden", 128)), menu])
            for i, (image, menu) in enumerate(zip(self.images, self.menus, strict=True), start=1)
        ]
        grid = widgets.GridBox(cards, layout=widgets.Layout(grid_template_columns=f"repeat({COLUMNS}, 240px)"))
        self.box = widgets.VBox([grid, self.button, self.verdict])

    @property
    def score(self) -> int:
        """How many menus name the right maker."""
        return sum(menu.value == answer for menu, answer in zip(self.menus, self.answers, strict=True))

    def reveal(self) -> None:
        """Show the score, and for each maker how often its pictures were recognized."""
        if all(menu.value == UNANSWERED for menu in self.menus):
            self.verdict.value = "<p>Choose a maker under at least one picture first.</p>"
            return
        makers = sorted(set(self.answers))
        lines = [
            f"<b>{self.score} of {len(self.answers)} right</b>; guessing gets {len(self.answers) / len(makers):g}."
        ]
        for maker in makers:
            mine = [menu.value for menu, answer in zip(self.menus, self.answers, strict=True) if answer == maker]
            lines.append(f"{html.escape(maker)}: recognized {mine.count(maker)} of {len(mine)} times")
        self.verdict.value = "<br>".join(lines)

    def static_twin(self) -> None:
        """Display the same pictures for readers without a kernel, the answers folded away."""
        display(HTML(self.static_html()))

    def static_html(self) -> str:
        cells = [
            f'<td style="text-align:center">{html_image(image, f"picture {i}, maker hidden", 128)}<br>{i}</td>'
            for i, image in enumerate(self.images, start=1)
        ]
        rows = "".join(f"<tr>{''.join(cells[i : i + COLUMNS])}</tr>" for i in range(0, len(cells), COLUMNS))
        answers = ", ".join(f"{i} {html.escape(answer)}" for i, answer in enumerate(self.answers, start=1))
        return f"<table>{rows}</table><details><summary>Answers</summary>{answers}</details>"


def blind_test(makers: Mapping[str, Tensor], seed: int = 0) -> BlindTest:
    """Show pictures without saying who made them.

    Each subject is shown once, by a maker drawn at random so that every maker gets an equal share.

    Args:
        makers: Pictures [N, C, H, W] in [-1, 1] by the name of their maker, all of the same N subjects.
        seed: Seed of the draw.

    Returns:
        The test; its ``static_twin()`` shows the same pictures on paper.

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
    display_widget(
        test.box, fallback="<p><i>A blind test. Run the notebook to take it; its pictures stand below.</i></p>"
    )
    return test


def _png(picture: Tensor) -> str:
    buffer = io.BytesIO()
    tile([picture[None]], SCALE).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
