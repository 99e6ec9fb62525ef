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
from typing import NamedTuple
from unittest import mock

import anywidget
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import traitlets
from matplotlib.figure import Figure
from PIL import Image

from gancomp_core.course import states
from gancomp_core.course.output import render, show, widget_bundle
from gancomp_core.course.states import Value
from gancomp_core.errors import GancompError

Draw = Callable[..., Figure]
AIM_MS = 150  # what a move of a control may take when the arrays are there already
AIM_FIRST_MS = 400  # the same for the first picture
KEPT_BYTES = 20_000_000  # of pictures that an explorer keeps, so that a setting seen before comes at once
WIDEST = 830  # pixels of a row of small multiples: a page has room for about 700, and letters shrink with the picture
GAP = 12  # pixels between them

_ROOM = {"width": "auto", "max_width": "380px"}  # of the labels and what stands beside them; explorer.css has the rest
_WIDE = {"description_width": "auto"}


@dataclass(frozen=True)
class Built:
    """The widgets of a control: the one to move, the one that says the exact value (often the same), what is shown."""

    moved: ipywidgets.Widget
    read: ipywidgets.Widget
    row: ipywidgets.Widget


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
        log: Whether the slider is logarithmic (``low`` above 0); its values have three digits.
        positions: The values drawn ahead for readers without a kernel, the first value among them; None: up to 13,
            evenly spaced (by ratio where ``log``).
    """

    label: str
    low: float
    high: float
    value: float
    step: float | None = None
    unit: str = ""
    log: bool = False
    positions: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high or not self.low <= self.value <= self.high:
            raise GancompError(
                f"The slider {self.label!r} starts at {self.value:g}, outside {self.low:g} to {self.high:g}; "
                "give low < high and a value between them."
            )
        if self.log and self.low <= 0:
            raise GancompError(f"The slider {self.label!r} is logarithmic, so low must be above 0, not {self.low:g}.")
        outside = [each for each in self.positions or () if not self.low <= each <= self.high]
        if outside:
            raise GancompError(
                f"The slider {self.label!r} has the position {outside[0]:g}, outside {self.low:g} to {self.high:g}."
            )

    @property
    def whole(self) -> bool:
        given = (self.low, self.high, self.value, self.step or 1)
        return not self.log and not any(isinstance(each, float) for each in given)

    @property
    def pace(self) -> float:
        """The distance of its positions; of their logarithms to base 10 where ``log``."""
        if self.log:  # about a hundredth of the way, and the first value is a position
            to_value, to_high = math.log10(self.value / self.low), math.log10(self.high / self.low)
            return to_value / round(100 * to_value / to_high) if to_value > 0.005 * to_high else to_high / 100
        return self.step or (1 if self.whole else (self.high - self.low) / 100)

    def build(self) -> Built:
        limits, about = {"min": self.low, "max": self.high}, {"value": self.value, "step": self.pace}
        layout = ipywidgets.Layout(width="auto", flex="1 1 180px", min_width="160px")
        if self.log:
            ends = {name: math.log10(end) for name, end in limits.items()}
            bar = ipywidgets.FloatLogSlider(readout=False, layout=layout, **ends, **about)
        else:
            kind = ipywidgets.IntSlider if self.whole else ipywidgets.FloatSlider
            bar = kind(readout=False, layout=layout, **limits, **about)
        number = (ipywidgets.BoundedIntText if self.whole else ipywidgets.BoundedFloatText)(
            value=self.value, step=None if self.log else self.pace, description=self.named, style=_WIDE,
            layout=ipywidgets.Layout(**_ROOM, flex="0 1 380px"), **limits,
        )  # fmt: skip
        # a slider adds steps up in binary: 1.4100000000000001
        shown = self.snapped if self.log else lambda value: value if self.whole else float(f"{value:.10g}")
        ipywidgets.link((bar, "value"), (number, "value"), transform=(shown, lambda value: value))
        row = ipywidgets.Box([number, bar], layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
        return Built(bar, number, row)

    @property
    def named(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def start(self) -> Value:
        return self.value

    def words(self, value: Value) -> str:
        return f"{_plain(value)} {self.unit}".strip()

    def stops(self, most: int) -> list[Value]:
        """The positions to draw ahead: those named, else at most ``most``, both ends and the first value included."""
        if self.positions is not None:
            return sorted({*self.positions, self.value})
        spaced = np.geomspace if self.log else np.linspace
        found = {self.low, self.high, self.value, *(self.snapped(x) for x in spaced(self.low, self.high, most)[1:-1])}
        inner = found - {self.low, self.high, self.value}
        if inner and len(found) > most:  # the first value takes the place of its neighbor
            ratio = math.log if self.log else float
            found.remove(min(inner, key=lambda x: abs(ratio(x) - ratio(self.value))))
        return sorted(found)

    def snapped(self, value: float) -> float:
        """The value that the slider can take nearest to this one."""
        if self.log:
            return float(f"{value:.3g}")
        stepped = min(self.low + round((value - self.low) / self.pace) * self.pace, self.high)
        return int(stepped) if self.whole else float(f"{stepped:.10g}")

    def tour(self) -> list[Value]:
        """Both ends and the middle."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return [self.low, self.high, int(middle) if self.whole else middle]


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

    def build(self) -> Built:
        menu = ipywidgets.Dropdown(
            options=list(self.options), value=self.start, description=self.label, style=_WIDE,
            layout=ipywidgets.Layout(**_ROOM),
        )  # fmt: skip
        return Built(menu, menu, menu)

    @property
    def start(self) -> Value:
        return self.value or self.options[0]

    def words(self, value: Value) -> str:
        return str(value)

    def stops(self, most: int) -> list[Value]:
        return list(self.options)

    def tour(self) -> list[Value]:
        options = list(self.options)
        return [options[0], options[-1], options[len(options) // 2]]


@dataclass(frozen=True)
class Switch:
    """On or off, as a labeled check box."""

    label: str
    value: bool = False

    def build(self) -> Built:
        box = ipywidgets.Checkbox(
            value=self.value, description=self.label, indent=False, layout=ipywidgets.Layout(width="auto")
        )
        return Built(box, box, box)

    @property
    def start(self) -> Value:
        return self.value

    def words(self, value: Value) -> str:
        return "on" if value else "off"

    def stops(self, most: int) -> list[Value]:
        return [False, True]

    def tour(self) -> list[Value]:
        return [not self.value, self.value]


Control = Slider | Choice | Switch


class Names(anywidget.AnyWidget):
    """Gives the widgets around it what ipywidgets leaves out: names and units for screen readers, a sign while busy.

    It takes no room; put it into the same box.
    """

    _esm = states.STATIC / "names.js"
    _css = states.STATIC / "explorer.css"
    said = traitlets.Dict().tag(sync=True)  # id of the widget -> name, unit, whether it is logarithmic
    busy = traitlets.Bool(False).tag(sync=True)

    def __init__(self, named: Mapping[str, ipywidgets.DOMWidget], units: Mapping[str, str] | None = None) -> None:
        """
        Args:
            named: Sliders and radio buttons by the name to be read aloud.
            units: By the same names, what follows the number of a slider.
        """
        super().__init__()
        said = {}
        for name, widget in named.items():
            widget.add_class(f"gancomp-named-{widget.model_id}")
            log = isinstance(widget, ipywidgets.FloatLogSlider)
            said[widget.model_id] = {"name": name, "unit": (units or {}).get(name, ""), "log": log}
        self.said = said


class Spent(NamedTuple):
    """Milliseconds on the clock, and of this process alone: what else the machine does hardly lengthens the latter."""

    ms: float
    cpu_ms: float

    @classmethod
    def until_now(cls, start: tuple[float, float] = (0.0, 0.0)) -> Spent:
        return cls(time.perf_counter() * 1000 - start[0], time.process_time() * 1000 - start[1])

    def __str__(self) -> str:
        return f"{self.ms:.0f} ms ({self.cpu_ms:.0f} ms CPU)"


class Explorer(ipywidgets.VBox):  # type: ignore[misc]
    """Controls above a picture, an error line and a status line; made by :func:`explore`."""

    def __init__(self, draw: Draw, alt: str, title: str, height: int, controls: Mapping[str, Control]) -> None:
        self.draw, self.alt, self.title, self.height, self.controls = draw, alt, title, height, dict(controls)
        self.built = {name: control.build() for name, control in controls.items()}
        self.inputs = {name: built.moved for name, built in self.built.items()}
        self.picture, self.error, self.status = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.Label()
        self.picture.add_class("gancomp-picture")
        self.status.add_class("gancomp-status")  # what a browser test waits for
        sliders = {name: control for name, control in controls.items() if isinstance(control, Slider)}
        self.names = Names(
            {control.label: self.inputs[name] for name, control in sliders.items()},
            {control.label: control.unit for control in sliders.values()},
        )
        self.drawn, self.last = 0, Spent(0.0, 0.0)
        self.kept: dict[tuple[Value, ...], str] = {}  # pictures by setting, the latest last
        for built in self.built.values():
            built.read.observe(lambda _: self.redraw(), names="value")
        rows = [built.row for built in self.built.values()]
        super().__init__([*rows, self.picture, self.error, self.status, self.names])
        self.add_class("gancomp-explorer")
        self.redraw()
        self.first = self.last
        self.states = states.drawn_ahead(title, self.words, self.rendered, controls) if states.wanted() else None

    @property
    def values(self) -> dict[str, Value]:
        """What the controls say now, by the name of the drawing function's argument."""
        return {name: built.read.value for name, built in self.built.items()}

    def rendered(self, values: Mapping[str, Value]) -> bytes:
        """The picture of a setting, as PNG."""
        return render(_figure(self.draw(**values)))

    def words(self, values: Mapping[str, Value]) -> str:
        """The picture of a setting in words."""
        return self.alt.format(**{name: _plain(value) for name, value in values.items()})

    def redraw(self) -> None:
        """Show the present values; an error is shown in the widget and, with GANCOMP_STRICT_WIDGETS=1, raised."""
        values, start, open_before = self.values, Spent.until_now(), set(plt.get_fignums())
        said = self.say(values)
        try:
            self.picture.value = self._picture(values)
        except Exception as error:
            for number in set(plt.get_fignums()) - open_before:
                plt.close(number)
            words = html.escape(f"{said}: {type(error).__name__}: {error}")
            self.error.value = f'<p role="alert"><b>This setting could not be drawn.</b> {words}</p>'
            self.status.value = f"not drawn: {said}"
            if os.environ.get("GANCOMP_STRICT_WIDGETS") == "1":
                raise
            return
        finally:
            self.names.busy = False
        self.error.value = ""
        self.drawn, self.last = self.drawn + 1, Spent.until_now(start)
        self.status.value = f"drawn: {said} (picture {self.drawn}, {self.last.ms:.0f} ms)"

    def _picture(self, values: Mapping[str, Value]) -> str:
        setting = tuple(values.values())
        if setting in self.kept:
            self.kept[setting] = self.kept.pop(setting)
        else:
            self.names.busy = True  # in the browser before the drawing begins
            self.kept[setting] = _img(self.rendered(values), self.words(values), self.height)
            while len(self.kept) > 1 and sum(map(len, self.kept.values())) > KEPT_BYTES:
                del self.kept[next(iter(self.kept))]
        return self.kept[setting]

    def say(self, values: Mapping[str, Value]) -> str:
        return "; ".join(
            f"{self.controls[name].label} {self.controls[name].words(value)}" for name, value in values.items()
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        words = ", ".join(control.label.lower() for control in self.controls.values())
        fallback = f"<p><i>{html.escape(self.title)}: an interactive picture (controls: {html.escape(words)}). Run the "
        bundle = widget_bundle(
            self, f"{fallback}notebook to move them; the pictures below show a few settings.</i></p>"
        )
        return bundle | ({states.STATES: self.states} if self.states else {})


_LIVE: dict[str, Explorer] = {}


def explore(draw: Draw, *, alt: str, title: str = "", height: int = 0, **controls: Control) -> Explorer:
    """A picture linked to controls. Put the result last in its cell, or into ``display(...)``; small multiples follow.

    Limits of axes that hold for every setting belong into the drawing function (``axes.set_xlim(0, most)``): else they
    follow what is drawn, and the picture seems to stand still while its numbers change. Pictures are kept by setting;
    running the cell again forgets them.

    Args:
        draw: Called with the values of the controls; returns a Figure.
        alt: A sentence for readers who cannot see the picture; ``{names}`` of controls are filled in.
        title: Name of the picture; the function's name if empty.
        height: Room in pixels kept where pictures differ in height, so that the page does not jump; at least their own.
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
        columns: Pictures in a row, at most; fewer where the row would be wider than a page (:data:`WIDEST`), which
            would shrink the letters with it.
        titles: A title for each setting; the values ("budget 5, kind dense") if left out. Empty ones take no room.

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
    fit = (WIDEST + GAP) // (max(picture.shape[1] for picture in pictures) + GAP)
    show(_contact_sheet(pictures, list(captions), max(1, min(columns, len(pictures), fit))), alt=alt)


@dataclass(frozen=True)
class Timing:
    """One redraw of a test drive."""

    title: str
    control: str
    value: Value
    spent: Spent


def drive_all_widgets() -> list[Timing]:
    """Move every control of every explorer to both ends and the middle, for tests; any error is raised.

    Returns:
        The time of each redraw; how they compare with the aim is printed, explorer by explorer.
    """
    with mock.patch.dict(os.environ, GANCOMP_STRICT_WIDGETS="1"):
        timings = [timing for explorer in list(_LIVE.values()) for timing in _drive(explorer)]
    for title, explorer in _LIVE.items():
        mine = [timing for timing in timings if timing.title == title]
        middle = Spent(*map(statistics.median, zip(*(timing.spent for timing in mine), strict=True)))
        slowest = max(mine, key=lambda timing: timing.spent.ms)
        print(
            f"{title}: first picture {explorer.first}, {len(mine)} redraws: median {middle}, "
            f"slowest {slowest.spent.ms:.0f} ms at {slowest.control} {_plain(slowest.value)}"
        )
    print(f"{len(timings)} redraws of {len(_LIVE)} explorers; aim {AIM_MS} ms, first pictures {AIM_FIRST_MS} ms")
    return timings


def _drive(explorer: Explorer) -> list[Timing]:
    timings = []
    for name, control in explorer.controls.items():
        before = explorer.inputs[name].value
        for value in [*control.tour(), before]:
            drawn = explorer.drawn
            explorer.kept.clear()  # what is timed is drawing
            explorer.inputs[name].value = value
            if explorer.drawn > drawn:  # else the control stood there already
                timings.append(Timing(explorer.title, control.label, value, explorer.last))
    return timings


def _figure(drawn: object) -> Figure:
    if not isinstance(drawn, Figure):
        raise GancompError(
            f"A drawing function must return a matplotlib Figure; this one returned {type(drawn).__name__}."
        )
    return drawn


def _img(png: bytes, alt: str, height: int) -> str:
    """The picture, shrunk with the page, in a frame that keeps room for ``height`` pixels of its own size."""
    wide, high = Image.open(io.BytesIO(png)).size
    encoded, words = base64.b64encode(png).decode("ascii"), html.escape(alt, quote=True)
    return (
        f'<div style="max-width:{wide}px;aspect-ratio:{wide}/{max(high, height)}"><img width="{wide}" height="{high}" '
        f'src="data:image/png;base64,{encoded}" alt="{words}" style="max-width:100%;height:auto"></div>'
    )


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int) -> Figure:
    """Pictures pasted pixel for pixel, each under its caption."""
    gap, band, dpi = GAP, 26 * any(captions), 100
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
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
