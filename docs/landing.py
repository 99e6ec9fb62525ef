"""What the landing page shows: figures from the recorded results, cards from the notebooks, pictures that ship."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from nbformat import NotebookNode
from PIL import Image, ImageChops, ImageDraw, ImageFont

from gancomp_core.course import Choice, Slider, states
from gancomp_core.course.notebook_files import choose, read_costs, read_notebook
from gancomp_core.course.pad.demo import demo_folder, demo_tasks, lines, network_file
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, Json, data_root
from gancomp_core.lab.benchmark import Headline, headline
from gancomp_core.lab.benchmark.pages import said
from gancomp_core.measure import OnnxGenerator

PHOTOS = REPOSITORY / "docs" / "compress_256.webp"  # three rows of squares: given, teacher, student
SHOES = data_root() / "results" / "headline.webp"  # four rows of 34 pixels: edges, teacher, student, real
SHOWN, CELL = 6, 64  # drawings in the figure with the budget, and pixels of the side of each
WIDEST = 1.9  # width over height of a card's picture: what is wider is cut at the right

#: The picture of each notebook's card: how its alt text begins. A notebook without it shows its first picture.
CARDS = {
    "00_start_here": "Four rows of eight shoes",
    "01_ofa_basics": "Four settings of the budget slider",
    "02_pseudo_pair_distillation": "Emoji: flat ones, made glossy",
    "03_feature_distillation": "Maps of three of the teacher's channels",
    "04_supernet_search": "Four settings: channels as bars",
    "05_agd_search": "Channels layer by layer",
    "06_wavelet_distillation": "A real shoe, the teacher's",
    "07_quantization": "Six flat emoji; below, glossy",
    "08_benchmarking": "Shoes: FD of every method",
    "09_compress_your_own": "Held-out pictures: given",
}


@dataclass(frozen=True)
class Scene:
    """A picture painted twice: ``name`` of its files, ``subject`` in words, and what the compressed network saves."""

    name: str
    subject: str
    caption: str
    small: bool = False  # pixels stay squares when enlarged


@dataclass(frozen=True)
class Card:
    """A notebook: number, file stem, title, one line, minutes in the standard profile, words for its picture."""

    number: str
    stem: str
    title: str
    line: str
    minutes: str
    alt: str


@dataclass(frozen=True)
class Figure:
    """A number with what it counts and what it was measured on."""

    value: str
    what: str
    measured: str


def context(folder: Path) -> dict[str, object]:
    """Everything that the template fills in; the pictures go into ``folder``.

    Args:
        folder: Where the site keeps pictures; made if it is not there.

    Returns:
        The template's variables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    best = headline("edges2shoes")
    fewer, faster = full_size((REPOSITORY / "docs" / "compress.md").read_text(encoding="utf-8"))
    write_preview(folder / "preview.png", fewer)
    return {
        "figures": figures(best),
        "scenes": scenes(best, f"{fewer} times fewer multiplications, {faster} times faster", folder),
        "budget": budget(),
        "cards": [card(path, folder) for path in choose([])],
        "claims": ledger_counts(),
        "seven_lines": seven_lines((REPOSITORY / "README.md").read_text(encoding="utf-8")),
    }


def figures(best: Headline) -> list[Figure]:
    """The three figures of the page, from the recorded results as the README takes them."""
    low, median, high = best.faster[1]
    distance = sum(best.distance) / len(best.distance)
    return [
        Figure(
            f"{best.fewer_macs:.1f}\N{MULTIPLICATION SIGN}",
            "fewer multiplications",
            f"Multiply-accumulates for one picture, counted; the file is {best.smaller:.0f} times smaller.",
        ),
        Figure(
            f"{median:.1f}\N{MULTIPLICATION SIGN}",
            "faster",
            f"Median over the rounds of timing on one CPU thread (quartiles {low:.1f} to {high:.1f}): "
            "8-bit integers against the teacher in float32, both in onnxruntime.",
        ),
        Figure(
            f"{distance:.2f}\N{MULTIPLICATION SIGN}",
            "the teacher's distance to real shoes",
            f"Frechet distance in the features of a shipped network, 3,000 test pictures, mean of {len(best.distance)} "
            "seeds. 1.00 would be as good as the teacher.",
        ),
    ]


def full_size(page: str) -> tuple[str, str]:
    """How many times fewer multiplications and less time the compression at 256 pixels reached, as its page says.

    Args:
        page: The text of ``docs/compress.md``.

    Returns:
        Both numbers as printed there.

    Raises:
        GancompError: Where the sentence is gone.
    """
    found = re.search(r"So ([\d.]+) times fewer multiplications and ([\d.]+) times less time than the float", page)
    if not found:
        raise GancompError("docs/compress.md no longer says 'So ... times fewer multiplications'; correct landing.py.")
    return found[1], found[2]


def scenes(best: Headline, at_full_size: str, folder: Path) -> list[Scene]:
    """The pictures to swipe between, written into ``folder``: NAME_given, NAME_teacher and NAME_student.webp."""
    photos = Scene(
        "photos",
        "six photographs, drawn as comics",
        f"{at_full_size}. Squares of 256 pixels, held out from training, not chosen.",
    )
    shoes = Scene(
        "shoes",
        "fifteen shoes, from drawings",
        f"{best.fewer_macs:.1f} times fewer multiplications, {best.faster[1][1]:.1f} times faster. "
        "Test pictures of 32 pixels, enlarged, not chosen.",
        small=True,
    )
    for scene, cells, across in ((photos, squares(PHOTOS, 3), 3), (shoes, squares(SHOES, 4), 5)):
        for part, row in zip(("given", "teacher", "student"), cells, strict=False):
            picture = mosaic(row[: 3 * across if scene.small else None], across)
            picture.save(folder / f"{scene.name}_{part}.webp", "webp", quality=92, lossless=scene.small, method=6)
    return [photos, shoes]


def squares(path: Path, rows: int) -> list[list[Image.Image]]:
    """The squares of a picture that holds so many rows of them, row by row."""
    whole = Image.open(path).convert("RGB")
    side = whole.height // rows
    return [
        [whole.crop((left, top, left + side, top + side)) for left in range(0, whole.width, side)]
        for top in range(0, whole.height, side)
    ]


def mosaic(cells: list[Image.Image], across: int) -> Image.Image:
    """Squares as a picture of so many columns."""
    side = cells[0].width
    whole = Image.new("RGB", (across * side, -(-len(cells) // across) * side), "white")
    for i, cell in enumerate(cells):
        whole.paste(cell, (i % across * side, i // across * side))
    return whole


def budget() -> str:
    """Drawings, what the drawing page's teacher paints, what the largest network that fits does."""
    tasks = {task["title"]: networks(task) for task in demo_tasks()}
    within = {math.ceil(10 * each["percent"]) / 10 for task in tasks.values() for each in task}
    lowest = max(min(each["percent"] for each in task) for task in tasks.values())

    def chosen(at: dict[str, states.Value]) -> Json:
        return max(
            (each for each in tasks[at["paint"]] if each["percent"] <= at["budget"]), key=lambda each: each["macs"]
        )

    def words(at: dict[str, states.Value]) -> str:
        this = chosen(at)
        less = f", {100 / this['percent']:.0f} times fewer than the teacher's" if this["kind"] == "student" else ""
        cost = f"{this['macs'] / 1e6:.1f} million multiplications a picture{less}"
        return f"{this['title']}: {cost}; a file of {this['bytes'] / 1000:,.0f} kB."

    def draw(at: dict[str, states.Value]) -> bytes:
        buffer = io.BytesIO()
        teacher = tasks[at["paint"]][0]
        mosaic([*teacher["given"], *teacher["painted"], *chosen(at)["painted"]], SHOWN).save(buffer, "png")
        return buffer.getvalue()

    positions = sorted(each for each in within if each >= lowest)
    controls = {
        "budget": Slider("Budget", positions[0], 100.0, positions[0], unit="% of the teacher", positions=positions),
        "paint": Choice("Paint", list(tasks)),
    }
    return states.figure(states.drawn_ahead("Drawings, the teacher, and the network that fits", words, draw, controls))


def networks(task: Json) -> list[Json]:
    """The teacher and the 8-bit students of a drawing task with what they paint, and percent of the teacher's MACs."""
    drawings = [lines(demo_folder() / each["file"]) for each in task["examples"][:SHOWN]]
    given = 1 - 2 * np.stack(drawings)[:, None].astype(np.float32)
    found = [each for each in task["networks"] if each["kind"] == "teacher" or each["precision"] == "int8"]
    for each in found:
        painted = OnnxGenerator(network_file(each), threads=1)(given).numpy()
        each |= {
            "percent": 100 * each["macs"] / found[0]["macs"],
            "given": [cell(pixels) for pixels in given],
            "painted": [cell(pixels) for pixels in painted],
        }
    return found


def cell(pixels: np.ndarray) -> Image.Image:
    """A picture [C, H, W] in [-1, 1] as a square of the figure."""
    levels = np.broadcast_to((pixels.clip(-1, 1) + 1) * 127.5, (3, *pixels.shape[1:]))
    picture = Image.fromarray(levels.transpose(1, 2, 0).round().astype(np.uint8))
    return picture.resize((CELL, CELL), Image.Resampling.NEAREST)


def card(path: Path, folder: Path) -> Card:
    """The card of a notebook, whose picture is written into ``folder``."""
    notebook = read_notebook(path)
    title, line = opening(notebook)
    picture, alt = card_picture(notebook, CARDS.get(path.stem, ""))
    picture = framed(picture)
    picture.thumbnail((720, 720))
    picture.save(folder / f"card_{path.stem[:2]}.webp", "webp", quality=88, method=6)
    cost = read_costs().get(path.stem, {}).get("standard")
    minutes = f"{max(round(cost.minutes), 1)} min" if cost else "not timed yet"
    return Card(path.stem[:2], path.stem, title, line, minutes, alt)


def opening(notebook: NotebookNode) -> tuple[str, str]:
    """The title of a notebook and the paragraph below it, without emphasis."""
    title, line = notebook.cells[0].source.split("\n\n")[:2]
    return title.removeprefix("# "), line.replace("*", "")


def card_picture(notebook: NotebookNode, begins: str) -> tuple[Image.Image, str]:
    """The picture whose alt text begins so, else the first one, with its alt text.

    Raises:
        GancompError: For a notebook without pictures.
    """
    found = [
        picture for cell in notebook.cells for output in cell.get("outputs", []) for picture in pictures_of(output)
    ]
    if not found:
        raise GancompError("A notebook holds no picture for its card; execute it with 'make run ARGS=--write'.")
    data, alt = next((each for each in found if each[1].startswith(begins)), found[0])
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), alt


def pictures_of(output: NotebookNode) -> Iterator[tuple[str, str]]:
    """The pictures of a cell's output, those behind an answer too: PNG in base64, and alt text."""
    data = output.get("data", {})
    if "image/png" in data:
        yield data["image/png"], output.metadata.get("image/png", {}).get("alt", "")
    for tag in re.findall(r"<img [^>]*>", data.get("text/html", "")):
        png = re.search(r'src="data:image/png;base64,([^"]+)"', tag)
        alt = re.search(r'alt="([^"]*)"', tag)
        if png and alt:
            yield png[1], html.unescape(alt[1])


def framed(picture: Image.Image) -> Image.Image:
    """A figure without its white margins, and not wider than a card shows well."""
    inside = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox() or (0, 0, *picture.size)
    picture = picture.crop(inside)
    return picture.crop((0, 0, min(picture.width, round(WIDEST * picture.height)), picture.height))


def ledger_counts() -> list[tuple[str, str]]:
    """How many claims have each status: ("4", "shown") and so on, those with none left out."""
    counts = [re.match(r"- \*\*(\d+) ([^*]+)\*\*", line) for line in said()]
    return [(found[1], found[2]) for found in counts if found and found[1] != "0"]


def seven_lines(readme: str) -> str:
    """The code of the README that goes the whole way, without its comments."""
    block = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "train_supernet" in block)
    return "\n".join(line.split("  # ")[0].rstrip() for line in block.strip().splitlines())


def write_preview(path: Path, fewer: str) -> None:
    """The picture that other pages show beside a link: 1200 x 630 pixels, six pictures by both networks."""
    rows = Image.open(PHOTOS).convert("RGB")
    painted = rows.crop((0, rows.height // 3, rows.width, rows.height)).resize((1200, 400), Image.Resampling.LANCZOS)
    preview = Image.new("RGB", (1200, 630), "#1b1613")
    preview.paste(painted, (0, 230))
    draw, fonts = ImageDraw.Draw(preview), Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    draw.text((48, 44), "gancomp", "#ff9a62", ImageFont.truetype(fonts / "DejaVuSans-Bold.ttf", 72))
    words = f"Above: the teacher. Below: {fewer} times fewer multiplications."
    draw.text((50, 150), words, "#efe6de", ImageFont.truetype(fonts / "DejaVuSans.ttf", 34))
    preview.save(path, optimize=True)
