"""The networks of the benchmark in int8: their files, and what becomes of their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gancomp_core import files
from gancomp_core.data import Task, load_task
from gancomp_core.measure import OnnxGenerator, cost, evaluate_generator, export_onnx
from gancomp_core.methods.benchmark.entries import Entry, Member
from gancomp_core.methods.quantization import export_int8, psnr_to_float
from gancomp_core.methods.recorded_table import RecordedTable, key_of
from gancomp_core.methods.runs import PROTOCOLS

COMPRESSED = RecordedTable("int8")
VERSION = 1  # of the way to 8 bits; a mended one bumps it
CALIBRATION = 64  # training pictures


def compressed(entry: Entry, member: Member) -> dict[str, Any]:
    """The row of one network: bytes of both ONNX files, PSNR of int8 to float, and the scores of both.

    Columns ``float_...`` and ``int8_...`` hold the scores of
    :meth:`gancomp_core.measure.Quality.as_dict` on the whole test split.
    """
    return COMPRESSED.once(compressed_key(member), lambda: _measured(entry, member))


def compressed_key(member: Member) -> str:
    return key_of(member.key, VERSION)


def onnx_files(task: Task, member: Member) -> tuple[Path, Path]:
    """The network as ONNX files in float32 and in int8, kept in the cache folder."""
    folder = files.cache_root() / "benchmark" / compressed_key(member)[:16]
    floating, whole = folder / "float32.onnx", folder / "int8.onnx"
    if not (floating.exists() and whole.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        generator = member.load()
        export_onnx(generator, floating, (1, task.source_channels, task.size, task.size))
        export_int8(generator, whole, task.calibration(CALIBRATION), floating=floating)
    return floating, whole


def _measured(entry: Entry, member: Member) -> dict[str, Any]:
    task, generator = load_task(entry.task), member.load()
    floating, whole = onnx_files(task, member)
    likeness = psnr_to_float(whole, generator, task.test.batch(slice(0, 500)).source)
    expense = cost(generator, task.size, task.size)
    row: dict[str, Any] = {
        "task": entry.task,
        "label": entry.label,
        "seed": member.seed,
        "macs": expense.macs,
        "params": expense.params,
        "bytes_float": floating.stat().st_size,
        "bytes_int8": whole.stat().st_size,
        "psnr_to_float": float(likeness.mean()),
        "psnr_to_float_worst": float(likeness.min()),
    }
    for form, network in (("float", generator), ("int8", OnnxGenerator(whole))):
        quality = evaluate_generator(network, task, seeds=PROTOCOLS[entry.task].evaluation_seeds)
        row |= {f"{form}_{name}": value for name, value in quality.as_dict().items()}
    return row
