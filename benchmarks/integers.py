"""Whole numbers against floats: the same network in onnxruntime, int8 and float32."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.side_by_side import Block, Budget, Comparison, compare, duration, thread_counts, torch_threads
from gancomp_core.measure import export_onnx, onnx_latency
from gancomp_core.methods.quantization import export_int8
from gancomp_core.nets import ResnetArchitecture, build_generator, initialize
from gancomp_core.zoo import load

HEADER = ("network, pixels", "threads", "int8", "float32", "times as fast")


def run(budget: Budget) -> Iterator[Comparison]:
    """Shipped dense students and teachers, and a dense and a separable network of the papers' size."""
    with tempfile.TemporaryDirectory(prefix="gancomp-") as folder:
        for number, (name, generator, pixels) in enumerate(networks(256 if budget.seconds else 32)):
            shape = (1, generator.architecture.in_channels, pixels, pixels)
            files = _exported(generator, shape, Path(folder) / str(number))
            for threads in thread_counts():
                with torch_threads(threads):
                    whole, floating = (_block(file, shape, budget) for file in files)
                    yield compare(f"{name}, {pixels} px", whole, floating, budget.rounds, duration)


def networks(largest: int) -> Iterator[tuple[str, Any, int]]:
    """Name, generator and pixels a side; those without trained weights have random ones, which take as long."""
    emoji = load("flat2gloss/supernet").generator
    yield "flat2gloss/teacher", load("flat2gloss/teacher").generator, 64
    for which in ("widest", "narrowest"):
        yield f"flat2gloss/supernet, {which}", emoji.extract(getattr(emoji.space, which)).eval(), 64
    yield "edges2shoes/teacher", load("edges2shoes/teacher").generator, 32
    for kind, separable in (("dense", False), ("separable", True)):
        architecture = ResnetArchitecture("_".join(["24"] * 8), 9, separable)
        yield f"ResNet-9 n24, {kind}", initialize(build_generator(architecture.as_dict()), seed=0).eval(), largest


def _exported(generator: nn.Module, shape: tuple[int, ...], folder: Path) -> tuple[Path, Path]:
    folder.mkdir()
    pictures = torch.rand(2, *shape[1:3], shape[3], generator=torch.Generator().manual_seed(0)) * 2 - 1
    floating = export_onnx(generator, folder / "float32.onnx", shape)
    return export_int8(generator, folder / "int8.onnx", pictures[..., :64, :64], floating=floating), floating


def _block(file: Path, shape: tuple[int, ...], budget: Budget) -> Block:
    how: dict[str, Any] = {"threads": torch.get_num_threads(), "repeats": 1, "warmup": 1, "min_seconds": budget.seconds}
    return lambda: onnx_latency(file, shape, **how).median_ms / 1000
