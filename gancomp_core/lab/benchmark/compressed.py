"""The networks of the benchmark in int8, and their teachers in lighter weights: files, and what becomes of pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gancomp_core import files
from gancomp_core.data import Task, load_task
from gancomp_core.lab.benchmark.entries import Entry, Member
from gancomp_core.lab.recorded_table import RecordedTable, key_of
from gancomp_core.lab.runs import PROTOCOLS
from gancomp_core.measure import OnnxGenerator, cost, evaluate_generator, export_onnx
from gancomp_core.methods.quantization import (
    SmallWeights,
    export_int8,
    half_weights,
    magnitude_pruned,
    psnr_to_float,
    weight_only_int8,
)

COMPRESSED = RecordedTable("int8")
LIGHTER = RecordedTable("lighter_weights")
VERSION = 1  # of the way to 8 bits; a mended one bumps it
CALIBRATION = 64  # training pictures
COMPARED = 500  # test pictures, with those of the float network

#: Smaller files whose arithmetic stays in float32, by name: what a teacher is tried in.
LIGHTER_FORMS: dict[str, Callable[[nn.Module], SmallWeights]] = {
    "weights in float16": half_weights,
    "weights in bfloat16": partial(half_weights, dtype=torch.bfloat16),
    "weight-only int8": weight_only_int8,
    "50% zeros": partial(magnitude_pruned, share=0.5),
    "90% zeros": partial(magnitude_pruned, share=0.9),
}


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
    row = _about(entry, member, generator)
    row |= {"bytes_float": floating.stat().st_size, "bytes_int8": whole.stat().st_size}
    likeness = psnr_to_float(whole, generator, task.test.batch(slice(0, COMPARED)).source)
    row |= {"psnr_to_float": float(likeness.mean()), "psnr_to_float_worst": float(likeness.min())}
    for form, network in (("float", generator), ("int8", OnnxGenerator(whole))):
        row |= {f"{form}_{name}": value for name, value in _quality(network, task).items()}
    return row


def lighter(entry: Entry, member: Member, form: str) -> dict[str, Any]:
    """The row of one network in one of :data:`LIGHTER_FORMS`: bytes of its weights (``bytes_xz`` after packing),
    PSNR to float, and its scores on the whole test split."""
    return LIGHTER.once(lighter_key(member, form), lambda: _measured_lighter(entry, member, form))


def lighter_key(member: Member, form: str) -> str:
    return key_of(member.key, form, VERSION)


def _measured_lighter(entry: Entry, member: Member, form: str) -> dict[str, Any]:
    task, generator = load_task(entry.task), member.load()
    small = LIGHTER_FORMS[form](generator)
    found = small.report(generator, task.test.batch(slice(0, COMPARED)).source)
    row = _about(entry, member, generator) | {"form": form, "bytes": found.bytes, "bytes_xz": found.bytes_xz}
    likeness = {"psnr_to_float": found.psnr_mean, "psnr_to_float_worst": found.psnr_worst}
    return row | likeness | _quality(small.generator, task)


def _about(entry: Entry, member: Member, generator: nn.Module) -> dict[str, Any]:
    expense = cost(generator, load_task(entry.task).size, load_task(entry.task).size)
    network = {"macs": expense.macs, "params": expense.params}
    return {"task": entry.task, "label": entry.label, "seed": member.seed, **network}


def _quality(network: nn.Module | OnnxGenerator, task: Task) -> dict[str, Any]:
    return evaluate_generator(network, task, seeds=PROTOCOLS[task.name].evaluation_seeds).as_dict()
