"""Pictures with controls, and their static versions, from one drawing function.

::

    def draw(budget: int, kind: str) -> Figure: ...

    explore(draw, alt="Picture at {budget} million MACs with {kind} blocks",
            budget=Slider("Budget", 1, 100, 5, unit="million MACs"), kind=Choice("Block kind", ["dense", "separable"]))
    small_multiples(draw, [{"budget": 1, "kind": "dense"}, ...], alt="...")
"""

from __future__ import annotations

import base64
import html
import io
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from unittest import mock

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from gancomp_core.course.output import html_image, render, show, widget_bundle
from gancomp_core.errors import GancompError

Draw = Callable[..., Figure]
Value = float | str | bool  #: of a control
AIM_MS = 150  # what a move of a control may take when the arrays are there already

_BOX = ipywidgets.Layout(width="340px")
_WIDE = {"description_width": "160px"}


@dataclass(frozen=True)
class Slider:
    """A number between ``low`` and ``high`` (both included), shown as a number box and a slider.

    Whole numbers when ``low``, ``high``, ``value`` and ``step`` are.

    Attributes:
        label: Words.
        low: Smallest value.
        high: Largest value.
        value: First value.
        step: Distance between values.
        unit: Unit, shown after the label.
        log: Whether the slider is logarithmic (``low`` above 0).
    """

    label: str
    low: float
    high: float
    value: float
    step: float | None = None
    unit: str = ""
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or not self.low <= self.value <= self.high:
            raise GancompError(
                f"The slider {self.label!r} starts at {self.value:g}, outside {self.low:g} to {self.high:g}; "
                "give low < high and a value between them."
            )
        if self.log and self.low <= 0:
            raise GancompError(f"The slider {self.label!r} is logarithmic, so low must be above 0, not {self.low:g}.")

    def build(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        """The widget that holds the value, and the row shown: the number box carries the label for screen readers."""
        whole = not self.log and all(float(v).is_integer() for v in (self.low, self.high, self.value, self.step or 1))
        whole = whole and not any(isinstance(v, float) for v in (self.low, self.high, self.value))
        about = {"tooltip": self.named, "continuous_update": False, "layout": ipywidgets.Layout(width="300px")}
        limits = {"min": self.low, "max": self.high}
        if self.log:
            bar = ipywidgets.FloatLogSlider(
                value=self.value, min=math.log10(self.low), max=math.log10(self.high), readout=False, **about
            )
        else:
            kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
            step = self.step or (1 if whole else (self.high - self.low) / 100)
            bar = kind(value=self.value, step=step, readout=False, **limits, **about)
        number = (ipywidgets.BoundedIntText if whole else ipywidgets.BoundedFloatText)(
            value=self.value, description=self.named, style=_WIDE, layout=_BOX, **limits,
            step=None if self.log else bar.step,
        )  # fmt: skip
        ipywidgets.link((bar, "value"), (number, "value"))
        return bar, ipywidgets.HBox([number, bar])

    @property
    def named(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def say(self, value: Value) -> str:
        return f"{self.label} {_plain(value)} {self.unit}".strip()

    def tour(self) -> list[Value]:
        """Both ends and the middle."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return [self.low, self.high, type(self.value)(middle)]


@dataclass(frozen=True)
class Choice:
    """One of several words; ``value`` defaults to the first."""

    label: str
    options: Sequence[str]
    value: str | None = None

    def __post_init__(self) -> None:
        if not self.options or (self.value is not None and self.value not in self.options):
            raise GancompError(
                f"The choice {self.label!r} needs options, and its value among them; got {self.value!r}."
            )

    def build(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        menu = ipywidgets.Dropdown(
            options=list(self.options), value=self.value or self.options[0], description=self.label, style=_WIDE,
            layout=ipywidgets.Layout(width="460px"),
        )  # fmt: skip
        return menu, menu

    def say(self, value: Value) -> str:
        return f"{self.label} {value}"

    def tour(self) -> list[Value]:
        options = list(self.options)
        return [options[0], options[-1], options[len(options) // 2]]


@dataclass(frozen=True)
class Switch:
    """On or off, as a labeled check box."""

    label: str
    value: bool = False

    def build(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        box = ipywidgets.Checkbox(
            value=self.value,
            description=self.label,
            indent=False,
            layout=ipywidgets.Layout(width="460px", margin="0 0 0 168px"),
        )
        return box, box

    def say(self, value: Value) -> str:
        return f"{self.label} {'on' if value else 'off'}"

    def tour(self) -> list[Value]:
        return [not self.value, self.value]


Control = Slider | Choice | Switch


class Explorer(ipywidgets.VBox):  # type: ignore[misc]
    """Controls above a picture of fixed height, an error line and a status line; made by :func:`explore`."""

    def __init__(self, draw: Draw, alt: str, title: str, height: int, controls: Mapping[str, Control]) -> None:
        self.draw, self.alt, self.title, self.controls = draw, alt, title, dict(controls)
        built = {name: control.build() for name, control in controls.items()}
        self.inputs = {name: widget for name, (widget, _) in built.items()}
        self.picture = ipywidgets.HTML(layout=ipywidgets.Layout(height=f"{height}px", overflow="auto"))
        self.error = ipywidgets.HTML()
        self.status = ipywidgets.Label()
        self.status.add_class("gancomp-status")  # what a browser test waits for
        self.drawn, self.last_ms = 0, 0.0
        for widget in self.inputs.values():
            widget.observe(lambda _: self.redraw(), names="value")
        super().__init__([*[row for _, row in built.values()], self.picture, self.error, self.status])
        self.add_class("gancomp-explorer")
        self.redraw()

    @property
    def values(self) -> dict[str, Value]:
        """What the controls say now, by the name of the drawing function's argument."""
        return {name: widget.value for name, widget in self.inputs.items()}

    def redraw(self) -> None:
        """Draw for the present values; an error is shown in the widget and, with GANCOMP_STRICT_WIDGETS=1, raised."""
        values, start, open_before = self.values, time.perf_counter(), set(plt.get_fignums())
        said = self.say(values)
        try:
            self.picture.value = _img(render(_figure(self.draw(**values))), self.alt.format(**values))
        except Exception as error:
            for number in set(plt.get_fignums()) - open_before:
                plt.close(number)
            words = html.escape(f"{said}: {type(error).__name__}: {error}")
            self.error.value = f'<p role="alert"><b>This setting could not be drawn.</b> {words}</p>'
            self.status.value = f"not drawn: {said}"
            if os.environ.get("GANCOMP_STRICT_WIDGETS") == "1":
                raise
            return
        self.error.value = ""
        self.drawn, self.last_ms = self.drawn + 1, (time.perf_counter() - start) * 1000
        self.status.value = f"drawn: {said} (picture {self.drawn}, {self.last_ms:.0f} ms)"

    def say(self, values: Mapping[str, Value]) -> str:
        return "; ".join(self.controls[name].say(value) for name, value in values.items())

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        words = ", ".join(control.label.lower() for control in self.controls.values())
        fallback = f"<p><i>{html.escape(self.title)}: an interactive picture (controls: {html.escape(words)}). Run the "
        return widget_bundle(self, f"{fallback}notebook to move them; the pictures below show a few settings.</i></p>")


_LIVE: dict[str, Explorer] = {}


def explore(draw: Draw, *, alt: str, title: str = "", height: int = 420, **controls: Control) -> Explorer:
    """A picture linked to controls. Put the result last in its cell, and follow it by :func:`small_multiples`.

    Args:
        draw: Called with the values of the controls; returns a Figure.
        alt: A sentence for readers who cannot see the picture; ``{names}`` of controls are filled in.
        title: Name of the picture; the function's name if empty.
        height: Height in pixels, which stays the same so that the page does not jump.
        controls: The controls by the names of the function's arguments.

    Returns:
        The widget.

    Raises:
        GancompError: Without controls.
    """
    if not controls:
        raise GancompError(
            "explore() needs at least one control, e.g. budget=Slider('Budget', 1, 100, 5, unit='million MACs')."
        )
    name = title or draw.__name__.removeprefix("draw_").replace("_", " ").capitalize()
    _LIVE[name] = Explorer(draw, alt, name, height, controls)  # running a cell again replaces its explorer
    return _LIVE[name]


def small_multiples(
    draw: Draw,
    settings: Sequence[Mapping[str, Value]],
    *,
    alt: str,
    columns: int = 3,
    titles: Sequence[str] | None = None,
) -> None:
    """The static version of an explorer: several settings side by side in one picture.

    Args:
        draw: The drawing function.
        settings: Its arguments for each picture.
        alt: The content of the whole picture in words.
        columns: Pictures in a row.
        titles: A title for each setting; the values ("budget 5, kind dense") if left out.

    Raises:
        GancompError: For no settings, and another number of titles.
    """
    if not settings:
        raise GancompError("small_multiples() needs at least one setting, e.g. [{'budget': 5}, {'budget': 50}].")
    if titles is not None and len(titles) != len(settings):
        raise GancompError(
            f"small_multiples() got {len(titles)} titles for {len(settings)} settings; give one for each."
        )
    captions = titles or [", ".join(f"{key} {_plain(value)}" for key, value in setting.items()) for setting in settings]
    pictures = [_pixels(render(_figure(draw(**setting)), dpi=80)) for setting in settings]
    show(_contact_sheet(pictures, list(captions), min(columns, len(pictures))), alt=alt)


@dataclass(frozen=True)
class Timing:
    """One redraw of a test drive."""

    title: str
    control: str
    value: Value
    ms: float


def drive_all_widgets() -> list[Timing]:
    """Move every control of every explorer to both ends and the middle, for tests; any error is raised.

    Returns:
        The time of each redraw, in milliseconds; how they compare with the aim is printed.
    """
    with mock.patch.dict(os.environ, GANCOMP_STRICT_WIDGETS="1"):
        timings = [timing for explorer in list(_LIVE.values()) for timing in _drive(explorer)]
    if timings:
        middle = statistics.median(timing.ms for timing in timings)
        slowest = max(timings, key=lambda timing: timing.ms)
        print(
            f"{len(timings)} redraws of {len(_LIVE)} explorers: median {middle:.0f} ms, "
            f"slowest {slowest.ms:.0f} ms ({slowest.title}: {slowest.control} {slowest.value}); aim {AIM_MS} ms"
        )
    return timings


def _drive(explorer: Explorer) -> list[Timing]:
    timings = []
    for name, control in explorer.controls.items():
        before = explorer.inputs[name].value
        for value in [*control.tour(), before]:
            drawn = explorer.drawn
            explorer.inputs[name].value = value
            if explorer.drawn > drawn:  # else the control stood there already
                timings.append(Timing(explorer.title, control.label, value, explorer.last_ms))
    return timings


def _figure(drawn: object) -> Figure:
    if not isinstance(drawn, Figure):
        raise GancompError(
            f"A drawing function must return a matplotlib Figure; this one returned {type(drawn).__name__}."
        )
    return drawn


def _img(png: bytes, alt: str) -> str:
    return html_image(base64.b64encode(png).decode("ascii"), alt)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int) -> Figure:
    """Pictures pasted pixel for pixel, each under its caption."""
    gap, band, dpi = 12, 26, 100
    rows = [range(start, min(start + columns, len(pictures))) for start in range(0, len(pictures), columns)]
    heights = [band + max(pictures[index].shape[0] for index in row) for row in rows]
    wide = max(picture.shape[1] for picture in pictures)
    width, height = columns * (wide + gap) - gap, sum(heights)
    figure = plt.figure(figsize=(width / dpi, height / dpi), dpi=dpi, layout="none")
    for place, row in enumerate(rows):
        top = height - sum(heights[:place])
        for column, index in enumerate(row):
            left, middle = column * (wide + gap), (top - band / 2) / height
            figure.figimage(pictures[index], left, top - band - pictures[index].shape[0], origin="upper")
            figure.text((left + wide / 2) / width, middle, captions[index], ha="center", va="center", fontsize=11)
    return figure


def _plain(value: Value) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
