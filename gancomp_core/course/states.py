"""An explorer where no kernel runs: its pictures drawn ahead, packed into one, and moved by ``static/explorer.js``."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from gancomp_core.course.output import UNSEEN, distance
from gancomp_core.files import Json

STATES = "application/vnd.gancomp.states+json"  #: MIME type of an output that holds the pictures of an explorer
STATIC = Path(__file__).parent / "static"  #: explorer.js and explorer.css
MOST_STATES = 60  # pictures of an explorer
MOST_STOPS = 13  # positions of a slider that names none
LARGEST = 600_000  # characters of base64 that an explorer may take
_WIDEST = 16_383  # pixels a WebP may be wide
_MOVED = ("title", "controls", "frames", "alts", "columns", "rows", "width", "height")  # what explorer.js reads
_LOSSY = ((1.0, 90), (1.0, 75), (1.0, 60), (1.0, 40), (0.8, 45), (0.65, 50), (0.5, 50), (0.35, 50))  # scale, quality

Value = float | str | bool  #: of a control


class Control(Protocol):
    """What is needed of a control to draw ahead."""

    @property
    def label(self) -> str: ...
    @property
    def start(self) -> Value: ...
    def stops(self, most: int) -> list[Value]: ...
    def words(self, value: Value) -> str: ...


def wanted() -> bool:
    """Whether notebooks are being executed for readers without a kernel (``GANCOMP_STATES=1``)."""
    return os.environ.get("GANCOMP_STATES") == "1"


def positions(controls: Mapping[str, Control]) -> dict[str, list[Value]]:
    """The positions to draw, by control, so few that at most 60 pictures are left.

    Sliders that name no positions get fewer of them; where that is not enough, controls stand still from the last on.

    Args:
        controls: By the names of the drawing function's arguments.

    Returns:
        At least one position for each control, its first value among them.
    """
    for most in range(MOST_STOPS, 1, -1):
        chosen = {name: control.stops(most) for name, control in controls.items()}
        if math.prod(map(len, chosen.values())) <= MOST_STATES:
            return chosen
    for name in reversed(chosen):
        if math.prod(map(len, chosen.values())) > MOST_STATES:
            chosen[name] = [controls[name].start]
    return chosen


def drawn_ahead(
    title: str, alt: Callable[[dict[str, Value]], str], draw: Callable[[dict[str, Value]], bytes],
    controls: Mapping[str, Control],
) -> Json:  # fmt: skip
    """Every setting that matters, drawn: what a cell's output keeps under the MIME type :data:`STATES`.

    Args:
        title: Name of the explorer.
        alt: The words for a setting.
        draw: A PNG for a setting.
        controls: By the names of the drawing function's arguments.

    Returns:
        title; controls: name, label, kind ("slider", "choice", "switch"), words of each position, start (a position);
        frames: for each setting (the last control changes fastest) the place of its picture; alts: its words;
        columns and rows of the sprite, width and height of a picture in pixels, and the sprite (WebP, base64).
    """
    chosen = positions(controls)
    settings = [dict(zip(chosen, values, strict=True)) for values in itertools.product(*chosen.values())]
    pictures = [Image.open(io.BytesIO(draw(setting))).convert("RGB") for setting in settings]
    size = (max(each.width for each in pictures), max(each.height for each in pictures))
    places: dict[bytes, int] = {}  # settings that look the same share a picture
    frames = [places.setdefault(_placed(each, size).tobytes(), len(places)) for each in pictures]
    kept = [Image.frombytes("RGB", size, pixels) for pixels in places]
    described = [
        {
            "name": name, "label": control.label, "kind": type(control).__name__.lower(),
            "words": [control.words(value) for value in chosen[name]], "start": chosen[name].index(control.start),
        }
        for name, control in controls.items()
    ]  # fmt: skip
    columns = math.ceil(len(kept) / math.ceil(len(kept) / (_WIDEST // size[0])))
    return {
        "title": title, "controls": described, "frames": frames, "alts": [alt(setting) for setting in settings],
        "columns": columns, "rows": math.ceil(len(kept) / columns), "width": size[0], "height": size[1],
        "sprite": _packed(kept, columns),
    }  # fmt: skip


def figure(stored: Json) -> str:
    """The HTML of an explorer without a kernel: its first picture, which ``explorer.js`` gives controls.

    Args:
        stored: What :func:`drawn_ahead` returned.

    Returns:
        A ``<figure>`` that contains all it needs except :func:`assets`.
    """
    place = 0
    for control in stored["controls"]:
        place = place * len(control["words"]) + control["start"]
    column, row = divmod(stored["frames"][place], stored["rows"])
    wide, high = stored["width"], stored["height"]
    window = f"max-width:{wide}px;min-width:min({wide}px,34rem);aspect-ratio:{wide}/{high}"
    cut = f"width:{stored['columns']}00%;left:-{column}00%;top:-{row}00%"
    moved = json.dumps({name: stored[name] for name in _MOVED}).replace("<", "\\u003c")
    return (
        f'<figure class="gancomp-moving"><figcaption>{html.escape(stored["title"])}</figcaption>'
        f'<div class="gancomp-window" style="{window}"><img alt="{html.escape(stored["alts"][place])}" '
        f'src="data:image/webp;base64,{stored["sprite"]}" style="{cut}"></div>'
        f'<script type="application/json">{moved}</script></figure>'
    )


def assets() -> str:
    """The style and the script of :func:`figure`, for a web page that stands alone: put it once before ``</body>``."""
    style, script = ((STATIC / name).read_text(encoding="utf-8") for name in ("explorer.css", "explorer.js"))
    return f"<style>{style}</style><script>{script}</script>"


def _placed(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    canvas = Image.new("RGB", size, "white")
    canvas.paste(picture, ((size[0] - picture.width) // 2, 0))
    return canvas


def _packed(pictures: Sequence[Image.Image], columns: int) -> str:
    """The pictures as one WebP in base64: lossless where that fits, else as good and as large as fits."""
    sprite = _sprite(pictures, columns)
    few = sprite.quantize(256)
    if distance(sprite, few) <= UNSEEN:
        packed = _webp(few.convert("RGB"), lossless=True, quality=80, method=3)
        if len(packed) <= LARGEST:
            return packed
    for scale, quality in _LOSSY:
        packed = _webp(_sprite(pictures, columns, scale), quality=quality, method=4)
        if len(packed) <= LARGEST:
            break
    return packed


def _sprite(pictures: Sequence[Image.Image], columns: int, scale: float = 1.0) -> Image.Image:
    """Side by side: a lossless WebP refers to what is near on the left, and so pays only for what differs there."""
    rows = math.ceil(len(pictures) / columns)
    width, height = (max(round(side * scale), 1) for side in pictures[0].size)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for place, picture in enumerate(pictures):
        scaled = picture if scale == 1 else picture.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(scaled, (place // rows * width, place % rows * height))
    return sheet


def _webp(picture: Image.Image, **how: float | bool) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", **how)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
