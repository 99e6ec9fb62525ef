"""Networks of the benchmark in int8, and their teachers in compressed weights: files, and what happens to pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import nn

from gancomp_core.data import Task, load_task
from gancomp_core.files import Json
from gancomp_core.lab.benchmark.rows import TEACHER, Row, member
from gancomp_core.lab.experiment import JSON, Experiment, kind
from gancomp_core.lab.recording import generator_of
from gancomp_core.measure import OnnxGenerator, cost, evaluate_generator, export_onnx
from gancomp_core.methods.quantization import (
    SmallWeights,
    export_int8,
    half_weights,
    magnitude_pruned,
    psnr_to_float,
    weight_only_int8,
)

CALIBRATION = 64  # training pictures
COMPARED = 500  # test pictures, with those of the float network

#: Smaller files whose arithmetic stays in float32, by name: what a teacher is tried in.
WEIGHT_FORMS: dict[str, Callable[[nn.Module], SmallWeights]] = {
    "weights in float16": half_weights,
    "weights in bfloat16": partial(half_weights, dtype=torch.bfloat16),
    "weight-only int8": weight_only_int8,
    "50% zeros": partial(magnitude_pruned, share=0.5),
    "90% zeros": partial(magnitude_pruned, share=0.9),
}


def in_int8(row: Row, network: Experiment) -> Experiment:
    """The experiment that rounds one network of a row to int8."""
    return Experiment(name=row.label, kind="int8", task=row.task, spec={"of": network.key}, seed=network.seed)


def in_forms(row: Row) -> list[Experiment]:
    """The experiments that compress the weights of a row; only teachers are tried so."""
    return [
        Experiment(
            name=row.label,
            kind="compressed weights",
            task=row.task,
            spec={"of": network.key, "form": form},
            seed=network.seed,
        )
        for network in row.experiments
        for form in WEIGHT_FORMS
        if row.label == TEACHER
    ]


@kind("int8", version=1)
def int8(experiment: Experiment, *, of: str) -> Mapping[str, JSON]:
    """Bytes of both ONNX files, PSNR of int8 to float, and the scores of both on the whole test split.

    ``of`` is the key of the network's experiment. Metrics ``float_...`` and ``int8_...`` hold the scores of
    :meth:`gancomp_core.measure.Quality.as_dict`.
    """
    task, generator = load_task(experiment.task), generator_of(member(of))
    floating, rounded = onnx_files(experiment, generator)
    metrics = _costs(generator, task)
    metrics |= {"bytes_float": floating.stat().st_size, "bytes_int8": rounded.stat().st_size}
    likeness = psnr_to_float(rounded, generator, task.test.batch(slice(0, COMPARED)).source)
    metrics |= {"psnr_to_float": float(likeness.mean()), "psnr_to_float_worst": float(likeness.min())}
    for form, network in (("float", generator), ("int8", OnnxGenerator(rounded))):
        metrics |= {f"{form}_{name}": value for name, value in _quality(network, experiment).items()}
    return metrics


def onnx_files(experiment: Experiment, generator: nn.Module | None = None) -> tuple[Path, Path]:
    """The network of an experiment in int8 as ONNX files, in float32 and in int8, kept in the cache folder."""
    floating, rounded = (experiment.folder / f"{form}.onnx" for form in ("float32", "int8"))
    if not (floating.exists() and rounded.exists()):
        experiment.folder.mkdir(parents=True, exist_ok=True)
        task, generator = load_task(experiment.task), generator or generator_of(member(str(experiment["of"])))
        export_onnx(generator, floating, (1, task.source_channels, task.size, task.size))
        export_int8(generator, rounded, task.calibration(CALIBRATION), floating=floating)
    return floating, rounded


@kind("compressed weights", version=1)
def compressed_weights(experiment: Experiment, *, of: str, form: str) -> Mapping[str, JSON]:
    """One network in one of :data:`WEIGHT_FORMS`: bytes of its weights, PSNR to float, scores on the whole test split.

    ``bytes_xz`` is the size after packing.
    """
    task, generator = load_task(experiment.task), generator_of(member(of))
    small = WEIGHT_FORMS[form](generator)
    found = small.report(generator, task.test.batch(slice(0, COMPARED)).source)
    metrics = _costs(generator, task) | {"form": form, "bytes": found.bytes, "bytes_xz": found.bytes_xz}
    metrics |= {"psnr_to_float": found.psnr_mean, "psnr_to_float_worst": found.psnr_worst}
    return metrics | _quality(small.generator, experiment)


def _costs(generator: nn.Module, task: Task) -> Json:
    spent = cost(generator, task.size, task.size)
    return {"macs": spent.macs, "params": spent.params}


def _quality(network: nn.Module | OnnxGenerator, experiment: Experiment) -> Json:
    seeds = experiment.protocol.evaluation_seeds
    return evaluate_generator(network, load_task(experiment.task), seeds=seeds).as_dict()
