"""The drawings that test the networks of the drawing page: what a person might draw, from ``strokes.yml``.

Run ``python data/demo/draw.py`` to draw them again (for maintainers). No network was trained with them or chosen by
them. A third of them is drawn in a browser: a mouse follows the strokes with a hand's shake, and every move that the
page hears of becomes a line; that needs Playwright and Chromium.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parent / "drawings"
SIZES = {"shoes": 32, "emoji": 64}
PENS = {"shoes": 1, "emoji": 3}
PAGE = """<canvas width=%d height=%d style="position:absolute;left:0;top:0"></canvas><script>
const canvas = document.querySelector("canvas");
window.strokes = [];
canvas.onpointerdown = event => strokes.push([[event.offsetX, event.offsetY]]);
canvas.onpointermove = event => { if (event.buttons) strokes.at(-1).push([event.offsetX, event.offsetY]); };
</script>"""
SCALE = 12  # of the page's canvas


def main() -> None:
    written = yaml.safe_load((FOLDER.parent / "strokes.yml").read_text(encoding="utf-8"))
    for task, size in SIZES.items():
        for number, (name, strokes) in enumerate(written[task].items(), start=1):
            lines = [points(stroke) * size / 100 for stroke in strokes]
            if name in written["by_mouse"][task]:
                lines = by_mouse(lines, size, number)
            drawn(lines, size, PENS[task]).save(FOLDER / f"{task}_{number:02}_{name}.png", optimize=True)


def points(stroke: str) -> np.ndarray:
    """Points of a stroke, close to each other where it is curved."""
    found: list[np.ndarray] = []
    smooth = False
    for part in stroke.replace("~", " ~ ").split("~"):
        corners = np.array(part.split(), dtype=float).reshape(-1, 2)
        if len(corners):
            found.append(curve(corners) if smooth and len(corners) > 2 else corners)
        smooth = True
    return np.concatenate(found)


def curve(corners: np.ndarray) -> np.ndarray:
    """A Catmull-Rom curve through corners."""
    closed = bool((corners[0] == corners[-1]).all())
    before, after = (corners[-2], corners[1]) if closed else (corners[0], corners[-1])
    p, t = np.concatenate([[before], corners, [after]]), np.linspace(0, 1, 8, endpoint=False)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.concatenate([*parts, corners[-1:]])


def by_mouse(lines: list[np.ndarray], size: int, seed: int) -> list[np.ndarray]:
    """What a page hears of a mouse that follows lines with a shake and a drift."""
    from playwright.sync_api import sync_playwright

    rng = np.random.default_rng(seed)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": size * SCALE, "height": size * SCALE})
        page.set_content(PAGE % (size * SCALE, size * SCALE))
        for line in lines:
            drift, shaken = rng.normal(0, size / 80, 2), []
            for place in line:
                drift = 0.8 * drift + rng.normal(0, size / 160, 2)
                shaken.append((place + drift).clip(0, size - 1) * SCALE)
            page.mouse.move(*shaken[0])
            page.mouse.down()
            for place in shaken[1:]:
                page.mouse.move(*place, steps=int(rng.integers(2, 5)))
            page.mouse.up()
        heard = page.evaluate("strokes")
        browser.close()
    return [np.array(stroke) / SCALE for stroke in heard]


def drawn(lines: list[np.ndarray], size: int, pen: int) -> Image.Image:
    """Black lines on white: a picture of one bit a pixel."""
    picture = Image.new("1", (size, size), 1)
    draw = ImageDraw.Draw(picture)
    for line in lines:
        draw.line([tuple(map(int, point)) for point in line], fill=0, width=pen, joint="curve" if pen > 2 else None)
    return picture


if __name__ == "__main__":
    main()
