"""Output of cells: widgets with text for readers without a kernel, pictures with alt text."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping

import ipywidgets as widgets
import matplotlib.pyplot as plt
import mistune
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageChops, ImageStat

from gancomp_core.errors import GancompError
from gancomp_core.train.progress import html_image as html_image

LARGEST_PICTURE = 150_000  # bytes a committed picture may take
COLORS = (16, 32, 64, 128, 256)
UNSEEN = 1.5  # of 255 levels: what fewer colors may change a picture by, on the average (root mean square)
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def display_widget(widget: widgets.DOMWidget, fallback: str) -> None:
    """Display a widget; where no kernel runs (GitHub, print), the HTML of ``fallback`` takes its place."""
    display(widget_bundle(widget, fallback), raw=True)


def widget_bundle(widget: widgets.DOMWidget, fallback: str) -> dict[str, object]:
    """The MIME bundle of a live widget with an HTML fallback; front ends choose the richest they can show."""
    return {
        WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id},
        "text/html": fallback,
        "text/plain": "an interactive control",
    }


def as_html(data: Mapping[str, str]) -> str:
    """One output of a cell as HTML: the richest of its forms that HTML can hold."""
    if "text/html" in data:
        return data["text/html"]
    if "text/markdown" in data:
        return str(mistune.html(data["text/markdown"]))
    words = data.get("text/plain", "")
    if "image/png" in data:
        return html_image(data["image/png"], words)
    return f"<pre>{html.escape(words)}</pre>"


def tell(text: str) -> None:
    """Display a sentence of markdown with what a cell measured, so that prose and numbers agree."""
    display({"text/markdown": text, "text/plain": text.replace("**", "")}, raw=True)


def show_table(frame: pd.DataFrame, digits: int = 2) -> None:
    """Display a table with numbers rounded to ``digits`` and empty cells where there is no value."""
    rounded = frame.round(digits)
    html_table = rounded.to_html(na_rep="", float_format=lambda value: f"{value:,.{digits}f}", border=0)
    html_table = html_table.replace("<th></th>", "<td></td>")  # a header says something
    display({"text/html": html_table, "text/plain": rounded.to_string(na_rep="")}, raw=True)


def show(figure: Figure, alt: str) -> None:
    """Display a figure as a PNG of at most 150 kB, and close it.

    JupyterLab ignores the alt text of PNG outputs, so an HTML image is added; committed notebooks keep the PNG.

    Args:
        figure: The figure.
        alt: Its content in words.
    """
    if not alt.strip():
        raise GancompError(
            "Every figure needs alt text: call show(figure, alt=...) with a sentence that says what it shows."
        )
    png = small_png(render(figure))
    encoded = base64.b64encode(png).decode("ascii")
    width = min(Image.open(io.BytesIO(png)).width, 1000)
    bundle = {"image/png": encoded, "text/html": html_image(encoded, alt, width), "text/plain": alt}
    display(bundle, raw=True, metadata={"image/png": {"alt": alt, "width": width}})


def render(figure: Figure, dpi: int = 100) -> bytes:
    """PNG bytes of a figure, which is closed, so that the inline backend does not draw it a second time."""
    canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
    try:
        figure.set_dpi(dpi)
        # savefig would draw twice where a layout is computed: once for the layout, once for the picture
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
        Image.fromarray(pixels).save(buffer, format="png", compress_level=1)
    finally:
        plt.close(figure)
    return buffer.getvalue()


def small_png(png: bytes, limit: int = LARGEST_PICTURE) -> bytes:
    """The same picture in few bytes: with fewer colors where that is not visible, and smaller where necessary.

    At most ``limit`` bytes, reached by fewer colors first and fewer pixels second.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    fewer = (picture.quantize(colors) for colors in COLORS)
    few = next((each for each in fewer if distance(picture, each) <= UNSEEN), None)
    if few is None and len(png) <= limit:
        return png
    for scale in (1.0, 0.85, 0.7, 0.55, 0.4, 0.3):
        size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
        buffer = io.BytesIO()
        scaled = few if few and scale == 1 else picture.resize(size, Image.Resampling.LANCZOS).quantize(COLORS[-1])
        scaled.save(buffer, format="png", optimize=True)
        if buffer.tell() <= limit:
            break
    return buffer.getvalue()


def distance(picture: Image.Image, few: Image.Image) -> float:
    """Root mean square difference of two pictures, in levels of the color where it is largest."""
    return max(ImageStat.Stat(ImageChops.difference(picture, few.convert("RGB"))).rms)
