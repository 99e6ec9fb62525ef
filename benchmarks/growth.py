"""``python -m benchmarks.growth``: what steps, evaluations, searches, results and pictures cost as they grow.

Every number is measured once and kept in ``build/growth.json``; a run that was killed goes on there. At the end the
tables of ``docs/scaling.md`` and its figure are written. Seconds are those of the processor on one thread, so that
other programs disturb them little. ``--largest 1000000`` also makes and reads a folder of a million pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psutil
import torch
from matplotlib.axes import Axes
from PIL import Image

from benchmarks.supernets import noise
from gancomp_core.course.figures import MARKERS, PALETTE, use_style
from gancomp_core.data import Batches, folder_task
from gancomp_core.files import REPOSITORY, atomic_write
from gancomp_core.full.laps import Laps
from gancomp_core.lab import results
from gancomp_core.lab.experiment import Experiment
from gancomp_core.measure import extract_features
from gancomp_core.methods.architecture_search import Budget, Evaluations, search
from gancomp_core.nets import ArchitectureSpace, ChannelConfig, ResnetArchitecture, build, search_space
from gancomp_core.train import TrainConfig, fastest_precision, train_pix2pix

KEPT, PAGE, FIGURE = REPOSITORY / "build/growth.json", REPOSITORY / "docs/scaling.md", REPOSITORY / "docs/scaling.svg"
WIDTHS, SIZES, ROWS = (8, 16, 32, 64), (32, 64, 128, 256), (1_000, 10_000, 100_000)
FILES = (1_000, 10_000, 100_000)
#: Spaces by what is free beside the widths of "resnet/channels-64-pix2pix", the last with over a billion networks.
SPACES: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet/channels-32": ("resnet/channels-32", {}),
    "resnet/channels-64-cycleGAN": ("resnet/channels-64-cycleGAN", {}),
    "resnet/channels-64-pix2pix": ("resnet/channels-64-pix2pix", {}),
    "and kernels, kinds of blocks": (
        "resnet/channels-64-pix2pix",
        {"kernels": (3, 5, 7), "separable": (False, True)},
    ),
}
RUN = 300  # seconds of a training that is recorded
Row = dict[str, float]


def training(width: int, size: int) -> Row:
    """Processor seconds of a training picture: pix2pix, 9 blocks, the whole step."""
    task, laps = noise(size, 8), Processor()
    network = ResnetArchitecture(ChannelConfig.uniform(width), 9)
    config = TrainConfig(4, 2, progress=False, discriminator_width=width)
    train_pix2pix(task, network, config, callbacks=(laps,))
    return {"seconds": laps.seconds / 2}


class Processor(Laps):
    """Laps in seconds of the processor."""

    def lap(self) -> None:
        self.times.append(time.process_time())


def evaluation(size: int) -> Row:
    """Processor seconds of a picture that is made and compared: a generator of width 16, then its features."""
    generator, pictures = (
        build(ResnetArchitecture(ChannelConfig.uniform(16), 9), 0).eval(),
        torch.rand(8, 3, size, size),
    )

    def work() -> None:
        with torch.inference_mode():
            made = generator(pictures)
        extract_features(made)

    work()
    return {"seconds": _processor(work) / 8}


def searching(name: str) -> Row:
    """Processor seconds of a search of 200 evaluations that take no time: all that grows with the space."""
    channels, free = SPACES[name]
    space = ArchitectureSpace(ResnetArchitecture(ChannelConfig.uniform(64), 9), search_space(channels), **free)
    budget = Budget(macs=0.3 * space.widest.cost(256, 256).macs)
    score = Evaluations(lambda network: float(network.cost(256, 256).params), cache=False)
    before = psutil.Process().memory_info().rss
    seconds = _processor(lambda: search(space, score, budget, pixels=(256, 256)))
    return {"networks": space.size, "seconds": seconds, "bytes": psutil.Process().memory_info().rss - before}


def store(rows: int) -> Row:
    """The table of results with so many rows, like the shipped ones: bytes; seconds to read, ask and add."""
    shipped = pd.read_parquet(results.path())
    some = pd.concat([shipped] * math.ceil(rows / len(shipped)), ignore_index=True)[:rows]
    some["key"] = [hashlib.sha256(str(place).encode()).hexdigest() for place in range(rows)]
    draw = np.random.default_rng(0)
    for name in some.select_dtypes("float"):  # no two alike, as measured ones are: repeated ones take hardly any room
        some[name] *= 1 + 0.01 * draw.random(rows)
    before = os.environ.get("GANCOMP_DATA")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANCOMP_DATA"] = folder
        try:
            results.path().parent.mkdir(parents=True)
            some.to_parquet(results.path(), index=False, compression="zstd")
            size = results.path().stat().st_size
            read, ask = _processor(lambda: results.rows("plain")), _processor(lambda: results.row(some.key.iloc[-1]))
            asked = Experiment(name="growth", kind="plain", task="edges2shoes", spec={"network": {}}, seed=rows)
            add = _processor(lambda: results.once(asked, lambda: {"fd_last": 1.0}))
        finally:
            os.environ.pop("GANCOMP_DATA") if before is None else os.environ.update(GANCOMP_DATA=before)
    return {"bytes": size, "read": read, "ask": ask, "add": add}


def pictures(files: int, folder: Path) -> Row:
    """A folder of so many pairs of 16 pixels: seconds and bytes to make a task of it and to walk through 16,000."""
    if not (folder / f"{files - 1:07}.jpg").exists():
        _make(files, folder)
    code = f"from benchmarks.growth import read_folder; read_folder({str(folder)!r})"
    words = [sys.executable, "-c", code]  # a process of its own, whose memory is that of the pictures alone
    found = subprocess.run(words, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    row: Row = json.loads(found.stdout.splitlines()[-1])
    return row


def read_folder(folder: str) -> None:
    """What :func:`pictures` measures, printed as JSON."""
    torch.set_num_threads(1)
    process = psutil.Process()
    before, began = process.memory_info().rss, time.process_time()
    task = folder_task(folder)
    seconds, bytes_made = time.process_time() - began, process.memory_info().rss - before
    batches = Batches(task.train, 16, 0, True)
    walk = _processor(lambda: [batches.at(step) for step in range(1000)])
    bytes_most = process.memory_info().rss - before
    print(json.dumps({"seconds": seconds, "bytes": bytes_made, "walked bytes": bytes_most, "walk": walk / 16_000}))


def _make(files: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for place in range(files):
        Image.fromarray(draw.integers(0, 256, (16, 32, 3), np.uint8)).save(folder / f"{place:07}.jpg")


def _processor(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def measured(largest: int, scratch: Path) -> dict[str, dict[str, Row]]:
    """All numbers, each kept as soon as it is known."""
    found: dict[str, dict[str, Row]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    work: list[tuple[str, str, Callable[[], Row]]] = []
    work += [("width", str(width), lambda w=width: training(w, 64)) for width in WIDTHS]
    work += [("size", str(size), lambda s=size: training(16, s)) for size in SIZES]
    work += [("evaluation", str(size), lambda s=size: evaluation(s)) for size in SIZES]
    work += [("space", name, lambda n=name: searching(n)) for name in SPACES]
    work += [("store", str(rows), lambda r=rows: store(r)) for rows in ROWS]
    for count in (*FILES, largest) if largest > FILES[-1] else FILES:
        work.append(("pictures", str(count), lambda c=count: pictures(c, scratch / str(c))))
    for subject, name, measure in work:
        if name not in found.setdefault(subject, {}):
            found[subject][name] = measure()
            print(subject, name, found[subject][name], flush=True)
            with atomic_write(KEPT) as temporary:
                temporary.write_text(json.dumps(found, indent=1))
    return found


# --- what is written --------------------------------------------------------------------------------------------------


def tables(found: dict[str, dict[str, Row]]) -> dict[str, str]:
    """The tables of the page by name, of what is measured so far."""
    step = [["", *map(str, SIZES)]]
    for subject, label in (("size", "training, width 16"), ("evaluation", "evaluation, width 16")):
        step.append([f"{label}, at so many pixels", *_seconds(found, subject, SIZES)])
    step += [["", *(f"width {width}" for width in WIDTHS)]]
    step.append(["training, at 64 pixels", *_seconds(found, "width", WIDTHS)])
    space = [["space", "networks", "s for 200 evaluations", "ms an evaluation"]]
    for name, row in found.get("space", {}).items():
        space.append([name, f"{row['networks']:,.0f}", f"{row['seconds']:.2f}", f"{5 * row['seconds']:.1f}"])
    rows = [["rows", "MB", "s to read", "s to ask for one", "s to add one", "hours to add all", "machines at most"]]
    for name, row in found.get("store", {}).items():
        hours = row["add"] * int(name) / 2 / 3600  # an addition takes half of this on average
        times = [f"{row[each]:.3g}" for each in ("read", "ask", "add")]
        at_most = f"{RUN / row['add']:,.0f}"
        rows.append([f"{int(name):,}", f"{row['bytes'] / 1e6:.2f}", *times, f"{hours:.2g}", at_most])
    files = [["pairs", "s to make the task", "MB", "bytes a file", "MB after 16,000 pairs", "ms a pair"]]
    for name, row in found.get("pictures", {}).items():
        count, made, most = int(name), row["bytes"], row["walked bytes"]
        cells = [f"{row['seconds']:.1f}", f"{made / 1e6:.0f}", f"{made / count:,.0f}", f"{most / 1e6:.0f}"]
        files.append([f"{count:,}", *cells, f"{1e3 * row['walk']:.2f}"])
    return {name: _table(lines) for name, lines in
            {"steps": step, "spaces": space, "results": rows, "pictures": files}.items()}  # fmt: skip


def _seconds(found: dict[str, dict[str, Row]], subject: str, places: Sequence[int]) -> list[str]:
    rows = found.get(subject, {})
    return [f"{rows[str(place)]['seconds']:.3g} s" if str(place) in rows else "" for place in places]


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def draw(found: dict[str, dict[str, Row]], path: Path) -> None:
    """Six panels, both axes logarithmic, each with the exponent of its growth."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "growth"}):
        use_style()
        figure, panels = plt.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
        spaces = {str(int(row["networks"])): row for row in found.get("space", {}).values()}
        given = {**found, "spaces": spaces}
        shown = (
            ("width", "seconds", "channels of the first layer, at 64 pixels", "training: s a picture"),
            ("size", "seconds", "pixels a side, at width 16", "training: s a picture"),
            ("evaluation", "seconds", "pixels a side, at width 16", "evaluation: s a picture"),
            ("spaces", "seconds", "networks in the space", "search: s, 200 evaluations"),
            ("store", "add", "rows in the table of results", "results: s to add a row"),
            ("pictures", "bytes", "pairs in the folder", "pictures: bytes in memory"),
        )
        for place, (axes, (subject, value, below, title)) in enumerate(zip(panels.flat, shown, strict=True)):
            _panel(axes, {int(name): row[value] for name, row in given.get(subject, {}).items()}, place)
            axes.set(xlabel=below, title=title)
        figure.savefig(path, metadata={"Date": None, "Title": "What grows how fast, measured"})
        plt.close(figure)


def _panel(axes: Axes, points: dict[int, float], place: int) -> None:
    x, y = np.array(sorted(points)), np.array([max(points[each], 1e-9) for each in sorted(points)])
    if len(points) < 2:
        axes.annotate("not measured yet", (0.05, 0.9), xycoords="axes fraction")
        return
    axes.loglog(x, y, marker=MARKERS[0], color=PALETTE[0])
    slope = math.log(y[-1] / y[-2]) / math.log(x[-1] / x[-2])
    axes.annotate(f"grows as x^{slope:.1f}", (0.05, 0.9), xycoords="axes fraction")
    if place < 3:
        axes.set_xticks(x, [str(each) for each in x])
        axes.minorticks_off()


def write(found: dict[str, dict[str, Row]]) -> None:
    """Put the tables between their markers in the page, and draw the figure."""
    text = PAGE.read_text(encoding="utf-8")
    for name, content in tables(found).items():
        pattern = rf"(<!-- {name}: written by the command -->\n).*?(<!-- end of {name} -->)"
        text = re.sub(pattern, lambda match, c=content: f"{match[1]}\n{c}\n\n{match[2]}", text, flags=re.DOTALL)
    with atomic_write(PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    draw(found, FIGURE)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--largest", type=int, default=0, help="also a folder of so many pairs, such as 1000000")
    parser.add_argument("--scratch", type=Path, help="where folders of pictures go; default: a temporary folder")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"one thread, {fastest_precision()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write(measured(options.largest, options.scratch or Path(folder)))


if __name__ == "__main__":
    main()
