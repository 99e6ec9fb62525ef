"""The headline to look at and to run: test pictures by the teacher and by the compressed network, and its ONNX file."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from gancomp_core import files
from gancomp_core.data import load_task
from gancomp_core.lab.benchmark.compressed import in_int8, onnx_files
from gancomp_core.lab.benchmark.rows import HEADLINES, TEACHER, row
from gancomp_core.lab.recording import generator_of
from gancomp_core.measure import OnnxGenerator
from gancomp_core.train.progress import tile

TASK = "edges2shoes"
COLUMNS = 16


def headline_files() -> dict[str, Path]:
    """What is shipped of the headline: its "network" in int8, an ONNX file, and the "picture" of the README."""
    folder = files.data_root() / "results"
    return {"network": folder / "headline.onnx", "picture": folder / "headline.webp"}


@torch.inference_mode()
def headline_picture() -> Image.Image:
    """Rows of test pictures, evenly spread and not chosen: edges, teacher in float32, the headline in int8, real."""
    pictures = load_task(TASK)
    batch = pictures.test.batch(torch.linspace(0, len(pictures.test) - 1, COLUMNS).long())
    teacher = generator_of(row(TASK, TEACHER).experiments[0])
    compressed = OnnxGenerator(headline_files()["network"])
    rows = [batch.source, teacher(batch.source), compressed(batch.source), batch.target]
    return tile([F.pad(row, (1, 1, 1, 1), value=1.0) for row in rows])


def write_headline() -> Path:
    """Write the shipped files anew from the first seed, which is trained again where its weights are gone (minutes).

    Returns the picture.
    """
    shipped = headline_files()
    best = row(TASK, HEADLINES[TASK])
    _, whole = onnx_files(in_int8(best, best.experiments[0]))
    with files.atomic_write(shipped["network"]) as temporary:
        shutil.copyfile(whole, temporary)
    picture = headline_picture()
    with files.atomic_write(shipped["picture"]) as temporary:
        picture.save(temporary, "webp", quality=92, method=6)
    return shipped["picture"]
