"""Progress of a training: a bar and a live picture in a notebook, plain log lines elsewhere."""

from __future__ import annotations

import base64
import html
import io
import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

log = logging.getLogger("gancomp")


def tile(rows: list[Tensor], scale: int = 2) -> Image.Image:
    """Pictures as one image: each item of ``rows`` is a float32 [N, C, H, W] tensor in [-1, 1] and becomes one row."""
    strips = [row.detach().float().clamp(-1, 1).cpu() for row in rows]
    channels = max(strip.shape[1] for strip in strips)
    joined = [strip.expand(-1, channels, -1, -1).permute(1, 2, 0, 3).flatten(2) for strip in strips]
    array = ((torch.cat(joined, dim=1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(array[..., 0] if channels == 1 else array)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def paint(maps: Tensor, palette: Sequence[tuple[int, int, int]]) -> Tensor:
    """Semantic maps [N, C, H, W] (the largest channel is the class) as pictures [N, 3, H, W] in [-1, 1]."""
    colors = torch.tensor(palette, dtype=torch.float32, device=maps.device) / 127.5 - 1
    return colors[maps.argmax(1)].permute(0, 3, 1, 2)


def html_image(encoded: str, alt: str, width: int | None = None) -> str:
    """An ``<img>`` that contains its PNG.

    Args:
        encoded: The PNG in base64.
        alt: Its content in words.
        width: Width on the page in pixels; None keeps its own.

    Returns:
        HTML.
    """
    wide = "" if width is None else f' width="{width}"'
    source = f"data:image/png;base64,{encoded.strip()}"
    return f'<img src="{source}" alt="{html.escape(alt, quote=True)}"{wide} style="max-width:100%">'


def in_notebook() -> bool:
    """Whether this code runs in a Jupyter kernel."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def say(line: str) -> None:
    """A line to the log where somebody set one up, else to the terminal."""
    if log.hasHandlers():
        log.info(line)
    else:
        print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A time in words: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """Reports steps and losses; ``picture`` is asked for a fresh image only when one is about to be shown."""

    def __init__(self, done: int, steps: int, seconds: float = 10.0, unit: str = "step") -> None:
        self.steps, self.start, self.seconds, self.unit = steps, done, 3.0 if in_notebook() else seconds, unit
        self.last = done
        self.began = self.shown = time.monotonic()
        self.bar: Any = None
        self.picture: Any = None
        if in_notebook():
            from tqdm.auto import tqdm

            self.bar = tqdm(total=steps, initial=done, unit=unit, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, step: int, values: dict[str, float], picture: Callable[[], Image.Image] | None = None) -> None:
        now, self.last = time.monotonic(), step
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
        if now - self.shown < self.seconds and step < self.steps:
            return
        self.shown = now
        losses = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        if self.bar is None:
            speed = (step - self.start) / max(now - self.began, 1e-9)
            left = duration((self.steps - step) / speed) if speed else "unknown"
            what = f"{self.unit} {step} of {self.steps}, {speed:.1f} {self.unit}s/s, {left} left"
            say(f"{what}: {losses}" if losses else what)
            return
        self.bar.set_postfix_str(losses)
        if picture is not None:
            self._show(picture(), f"Pictures of the training at step {step}: {losses}")

    def advance(self) -> None:
        """One more is done."""
        self.update(self.last + 1, {})

    def _show(self, image: Image.Image, alt: str) -> None:
        from IPython.display import display

        buffer = io.BytesIO()
        image.save(buffer, format="png")
        encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
        # JupyterLab shows the HTML, for PNG outputs have no alt text there; committed notebooks keep the PNG
        bundle = {"image/png": encoded, "text/html": html_image(encoded, alt), "text/plain": alt}
        how = {"raw": True, "metadata": {"image/png": {"alt": alt}}}
        if self.picture is None:
            self.picture = display(bundle, display_id=True, **how)
        else:
            self.picture.update(bundle, **how)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
