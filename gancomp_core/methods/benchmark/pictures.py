"""What the headline looks like: the same test pictures by the teacher and by the compressed network."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from gancomp_core import files
from gancomp_core.data import load_task
from gancomp_core.measure import OnnxGenerator
from gancomp_core.methods.benchmark.compressed import onnx_files
from gancomp_core.methods.benchmark.entries import COMBINED, TEACHER, entry
from gancomp_core.train.progress import tile

COLUMNS = 16


def headline_path() -> Path:
    """The file that the README shows."""
    return files.data_root() / "results" / "headline.webp"


@torch.inference_mode()
def headline_picture(task: str = "edges2shoes", label: str = COMBINED) -> Image.Image:
    """Rows of test pictures, evenly spread and not chosen: source, teacher in float32, a row in int8, real.

    The first seed paints, in onnxruntime. Its network is trained again where its weights are gone (minutes).
    """
    pictures = load_task(task)
    batch = pictures.test.batch(torch.linspace(0, len(pictures.test) - 1, COLUMNS).long())
    teacher = entry(task, TEACHER).members[0].load()
    _, whole = onnx_files(pictures, entry(task, label).members[0])
    rows = [batch.source, teacher(batch.source), OnnxGenerator(whole)(batch.source), batch.target]
    return tile([F.pad(row, (1, 1, 1, 1), value=1.0) for row in rows])


def write_picture() -> Path:
    """Draw the headline for the README; returns the file."""
    path, picture = headline_path(), headline_picture()
    with files.atomic_write(path) as temporary:
        picture.save(temporary, "webp", quality=92, method=6)
    return path
