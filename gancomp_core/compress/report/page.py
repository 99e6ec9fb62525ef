"""The report as one HTML file: everything is inside of it, every text that comes from outside is escaped."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from gancomp_core.compress.pictures import visible
from gancomp_core.compress.report.chart import front
from gancomp_core.compress.report.numbers import Network, Numbers, Quality
from gancomp_core.compress.report.verdicts import size, than
from gancomp_core.data import to_float
from gancomp_core.files import Json
from gancomp_core.measure import OnnxGenerator
from gancomp_core.measure.similarity import PERCEPTUAL_NAME
from gancomp_core.measure.statistics import significant
from gancomp_core.methods.architecture_search.budget import amount

if TYPE_CHECKING:
    from gancomp_core.compress.plan import Finished

SHOWN, WORST = 6, 10
AMPLIFIED = 4
MOST_BYTES = 3_600_000  # of all pictures, before base64
STORED = ((512, None), (512, 95), (512, 90), (512, 80), (512, 60), (256, 60), (128, 60))  # most pixels, WebP's quality
NONE = "–"
SMALL = 160  # pixels up to which a picture is enlarged without blurring it
CLASSES = {"good": "good", "not good": "bad", "note": "note"}
SCORES = {"psnr": ("PSNR (dB)", 1), "ssim": ("SSIM", 3), "perceptual": (PERCEPTUAL_NAME, 4)}


def html_page(finished: Finished, numbers: Numbers, facts: Json) -> str:
    """The whole page.

    Args:
        finished: What is reported.
        numbers: What was measured.
        facts: The content of ``report.json``.
    """
    shown = torch.linspace(0, len(numbers.indices) - 1, min(SHOWN, len(numbers.indices))).long()
    worst = torch.tensor(facts["worst"])
    pictures = _Pictures(finished, numbers.indices[torch.cat([shown, worst])])
    networks = numbers.networks
    parts = {
        "css": _asset("report.css"),
        "js": _asset("report.js"),
        "title": _e(f"{finished.teacher.name}, compressed"),
        "version": _e(facts["versions"]["gancomp"]),
        "made": _e(facts["made"][:10]),
        "headline": _e(facts["headline"]),
        "tiles": _tiles(networks),
        "verdicts": "".join(
            f'<li class="{CLASSES[each["kind"]]}"><b>{_e(each["kind"])}</b><span>{_e(each["text"])}</span></li>'
            for each in facts["verdicts"]
        ),
        "shown_pictures": f"{len(shown)} of the {numbers.held_out:,} held-out pictures, evenly spread and not chosen.",
        "encoding": _e(pictures.words),
        "swipes": "".join(pictures.swipe(place, numbers) for place in range(len(shown))),
        "worst_count": str(len(worst)),
        "worst": "".join(pictures.row(len(shown) + rank, place, numbers) for rank, place in enumerate(facts["worst"])),
        "costs": _costs(numbers),
        "machine": _e(facts["machine"]),
        "quality": _quality(networks, "to_teacher"),
        "scored": f"{len(numbers.indices):,}",
        "perceptual": PERCEPTUAL_NAME,
        "times": str(AMPLIFIED),
        "real": "",
        "chart": front(
            finished.frontier,
            facts["student_macs"],
            finished.plan.limits.macs,
            "mean perceptual distance to the teacher",
        ),
        "searched": f"{len(finished.frontier):,}",
        "python": _e("\n".join(facts["code"]["python"])),
        "javascript": _e("\n".join(facts["code"]["javascript"])),
        "use_notes": _e(facts["code"]["notes"]),
        "understood": _list(facts["understood"]),
        "stages": _stages(finished),
        "facts": _facts(facts),
        "rights": _e(facts["rights"]),
    }
    if networks["student"].to_real is not None:
        parts["real"] = (
            '<section aria-labelledby="real"><h2 id="real">Closeness to real pictures</h2>'
            f"{_quality(networks, 'to_real')}</section>"
        )
    return Template(_asset("report.html")).substitute(parts)


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _e(text: object) -> str:
    return html.escape(str(text))


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_e(sentence)}</li>' for sentence in sentences)}</ul>"


def _tiles(networks: Mapping[str, Network]) -> str:
    teacher, plain, small = (networks[key] for key in ("teacher", "student", "student_int8"))
    ratios = [(teacher.macs or math.nan, plain.macs or math.nan, "fewer multiplications", "more multiplications")]
    ratios.append((teacher.ms, small.ms, "faster, one thread", "slower, one thread"))
    tiles = []
    for before, after, less, more in ratios:
        if math.isfinite(before / after):
            number, _, words = than(before, after, less, more).partition(" times ")
            tiles.append((f"{number} ×", words))
    tiles.append((size(small.bytes), f"file, the teacher has {size(teacher.bytes)}"))
    tiles.append((f"{small.mean('psnr'):.1f} dB", "PSNR to the teacher"))
    return "".join(f"<li><strong>{_e(big)}</strong><span>{_e(words)}</span></li>" for big, words in tiles)


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(caption: str, head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], kind: str = "") -> str:
    """A table that scrolls on narrow screens; cells are HTML, the heads of columns and rows are text."""
    body = "".join(
        f'<tr{" class=student" if name.startswith("student,") else ""}><th scope="row">{_e(name)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    columns = "".join(f'<th scope="col">{_e(column)}</th>' for column in head)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{_e(caption)}"><table class="{kind}">'
        f"<caption>{_e(caption)}</caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _with(value: str, below: str) -> str:
    return f"{_e(value)}<small>{_e(below)}</small>"


def _costs(numbers: Numbers) -> str:
    teacher, free = numbers.networks["teacher"], numbers.best_free
    timed = [network for network in numbers.networks.values() if network.bytes is not None]
    clocks = dict.fromkeys((each.runtime, each.threads) for network in timed for each in network.times)
    head = ["network", "MACs; by PyTorch", "parameters", "file"]
    head += [f"ms, {runtime}, {threads} thread{'s' if threads > 1 else ''}" for runtime, threads in clocks]
    head += ["against the teacher", "against the best free one"]
    rows = []
    for each in timed:
        times = {(found.runtime, found.threads): found for found in each.times}
        cells = [_with(_macs(each.macs), _macs(each.macs_by_torch)), f"{each.params or 0:,}", _e(size(each.bytes))]
        for clock in clocks:
            found = times.get(clock)
            quartiles = " to ".join(f"{value:.3g}" for value in found.quartiles_ms) if found else ""
            cells.append(_with(f"{found.median_ms:.3g}", quartiles) if found else NONE)
        cells += [_against(each, teacher), _against(each, free) if free else ""]
        rows.append((each.name, cells))
    return _table("For one picture on this machine; below each median, its quartiles", head, rows)


def _against(one: Network, other: Network) -> str:
    """How one network compares with another in MACs and in time."""
    if one is other:
        return "1"
    if not (one.times and other.times):
        return NONE
    macs = than(other.macs, one.macs, "fewer MACs", "more MACs") if one.macs and other.macs else ""
    macs = "the same MACs" if one.macs == other.macs else macs
    return _with(than(other.ms, one.ms, "faster", "slower"), macs).replace(" times ", " × ")


def _macs(value: int | None) -> str:
    return NONE if value is None else amount("macs", value).removesuffix(" MACs")


def _quality(networks: Mapping[str, Network], side: str) -> str:
    head = ["network", *(title for title, _ in SCORES.values()), "KID", "Frechet distance"]
    rows = [(each.name, _cells(found)) for each in networks.values() if (found := getattr(each, side)) is not None]
    kept = [place for place in range(len(head) - 1) if any(cells[place] != NONE for _, cells in rows)]
    caption = "Means over the held-out pictures; below each, its 95 % bootstrap interval"
    trimmed = [(name, [cells[place] for place in kept]) for name, cells in rows]
    return _table(caption, [head[0], *(head[place + 1] for place in kept)], trimmed)


def _cells(quality: Quality) -> list[str]:
    """Scores with their intervals, then distances with their floors."""
    cells = []
    for score, (_, digits) in SCORES.items():
        found = quality.scores.get(score)
        known = found is not None and not math.isnan(found.low)
        interval = f"{found.low:.{digits}f} to {found.high:.{digits}f}" if found and known else ""
        cells.append(_with(f"{found.mean:.{digits}f}", interval) if found else NONE)
    for distance in (quality.kid, quality.frechet):
        known = distance is not None and not math.isnan(distance.half_width)
        spread = f" ± {significant(distance.half_width, 2)}" if distance and known else ""
        floor = f"floor {significant(distance.floor)}" if distance else ""
        cells.append(_with(significant(distance.value) + spread, floor) if distance else NONE)
    return cells


def _stages(finished: Finished) -> str:
    real = {name: f"{minutes:.1f}" for name, minutes in finished.minutes.items()}
    rows = [
        (stage.name, [_e(stage.what), f"{stage.minutes:.1f}", real.get(stage.name, "")])
        for stage in finished.plan.stages
    ]
    return _table("Stages, in minutes", ["stage", "what", "planned", "real"], rows, "words")


def _facts(facts: Json) -> str:
    rows = [(str(name), [_e(value)]) for name, value in facts["provenance"].items()]
    return _table("Facts", ["", ""], rows, "words")


# --- pictures ---------------------------------------------------------------------------------------------------------


class _Pictures:
    """What goes in and what comes out of the networks for some held-out pictures, as data URIs."""

    def __init__(self, finished: Finished, indices: Tensor) -> None:
        self.indices, test = indices, finished.task.test
        sources = to_float(test.sources[indices])
        rows = {
            "input": sources,
            "teacher": to_float((test.targets if test.teacher is None else test.teacher)[indices]),
        }
        for key, name in (("float32", "student, float32"), ("int8", "student, int8")):
            run = OnnxGenerator(finished.files[key])
            rows[name] = torch.cat([run(source) for source in sources.split(1)]).clamp(-1, 1)
        rows["difference"] = (rows["student, int8"] - rows["teacher"]).abs() * AMPLIFIED - 1
        self.edges = {name: row.shape[-1] for name, row in rows.items()}
        self.uris, edge, quality = _encoded({name: visible(row) for name, row in rows.items()})
        stored = "without loss" if quality is None else f"as WebP of quality {quality}"
        reduced = f", reduced to {edge} pixels" if max(self.edges.values()) > edge else ""
        self.words = f"Pictures are stored {stored}{reduced}."

    def swipe(self, place: int, numbers: Numbers) -> str:
        """Teacher and student on top of each other, and what else there is below."""
        number = int(self.indices[place])
        sides = "".join(
            f'<div class="side">{self._image(place, name)}<span class="tag">{tag}</span></div>'
            for name, tag in (("teacher", "teacher"), ("student, int8", "student"))
        )
        label = f"Picture {number}: swipe between teacher and student"
        at = int((numbers.indices == number).nonzero()[0])
        return (
            f'<figure class="swipe" style="--at:50%"><div class="pair">{sides}<span class="handle"></span>'
            f'<input type="range" min="0" max="100" value="50" aria-label="{label}"></div>'
            f"{self._strip(place, ('input', 'student, float32', 'student, int8', 'difference'))}"
            f"<figcaption>Picture {number}: {_scores_of(numbers, at)}</figcaption></figure>"
        )

    def row(self, place: int, at: int, numbers: Numbers) -> str:
        """One of the worst pictures with its numbers; ``at`` is its place among the scored ones."""
        strip = self._strip(place, ("input", "teacher", "student, int8", "difference"))
        words = f"Picture {int(self.indices[place])}: {_scores_of(numbers, at)}"
        return f'<figure class="plain">{strip}<figcaption>{words}</figcaption></figure>'

    def _strip(self, place: int, names: Sequence[str]) -> str:
        edge = self.edges["input"]
        told = {"input": "input" if edge == self.edges["teacher"] else f"input, {edge} px"}
        cells = "".join(f"<div>{self._image(place, name)}<span>{told.get(name, name)}</span></div>" for name in names)
        return f'<div class="strip">{cells}</div>'

    def _image(self, place: int, name: str) -> str:
        what = {"input": "input", "difference": f"difference of student and teacher, times {AMPLIFIED}"}
        alt = f"Picture {int(self.indices[place])}, {what.get(name, f'made by the {name}')}"
        edge = self.edges[name]
        small = ' class="small"' if edge <= SMALL else ""
        return f'<img src="{self.uris[name][place]}" alt="{alt}" width="{edge}" height="{edge}"{small}>'


def _scores_of(numbers: Numbers, at: int) -> str:
    quality = numbers.networks["student_int8"].to_teacher
    assert quality is not None
    psnr, perceptual = (quality.scores[score].each[at] for score in ("psnr", "perceptual"))
    return f"PSNR {psnr:.1f} dB, perceptual distance {perceptual:.3f}"


def _encoded(rows: Mapping[str, Tensor]) -> tuple[dict[str, list[str]], int, int | None]:
    """Data URIs of all pictures in the best form in which they fit on the page: their most pixels, WebP's quality."""
    for edge, quality in STORED:
        stored = {name: [_webp(_image(picture, edge), quality) for picture in row] for name, row in rows.items()}
        if sum(len(data) for row in stored.values() for data in row) <= MOST_BYTES:
            break
    return {name: [_uri(data) for data in row] for name, row in stored.items()}, edge, quality


def _image(picture: Tensor, edge: int) -> Image.Image:
    if max(picture.shape[1:]) > edge:
        picture = F.interpolate(picture[None], size=(edge, edge), mode="bilinear", antialias=True)[0]
    array = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def _webp(image: Image.Image, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "webp", lossless=quality is None, quality=quality or 80)
    return buffer.getvalue()


def _uri(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"
