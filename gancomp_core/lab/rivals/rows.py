"""The rivals of a task: free forms of its teacher, what is trained as long as our network, and their scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from gancomp_core import files, zoo
from gancomp_core.data import load_task
from gancomp_core.lab.benchmark.compressed import COMPARED, in_int8
from gancomp_core.lab.benchmark.rows import HEADLINES, TEACHER, Row, row
from gancomp_core.lab.catalogue import names, planned
from gancomp_core.lab.experiment import JSON, Experiment, key_of, kind, weights_of
from gancomp_core.lab.recording import record
from gancomp_core.lab.rivals.forms import CALIBRATION, FORMS
from gancomp_core.measure import OnnxGenerator, cost, evaluate_generator, psnr
from gancomp_core.measure.openvino_runtime import OpenvinoGenerator

log = logging.getLogger("gancomp")

#: The row of the benchmark that stands for us on each task.
OURS = {**HEADLINES, "edges2shoes_unpaired": "pseudo pairs, begun with the teacher's channels"}
TOOLS = ("onnxruntime", "openvino", "nncf")
#: What runs a file, by the names that forms use.
PAINTS: dict[str, Callable[[Path], Callable[[Tensor], Tensor]]] = {
    "onnxruntime": lambda file: OnnxGenerator(file, threads=1),
    "openvino": lambda file: OpenvinoGenerator(file, threads=1),
    "openvino default": lambda file: OpenvinoGenerator(file, threads=1, precision="default"),
}


@kind("free form", version=1)
def free_form(experiment: Experiment, *, model: str, form: str) -> Mapping[str, JSON]:
    """A model of the zoo in one of :data:`FORMS`: bytes, PSNR to float, scores on the whole test split.

    ``minutes`` is what making the file took, ``packages`` names what made it.
    """
    task, generator, began = load_task(experiment.task), zoo.load(model).generator, time.monotonic()
    file = FORMS[form].write(generator, folder_of(model), task.calibration(CALIBRATION))
    minutes, paints = (time.monotonic() - began) / 60, PAINTS[FORMS[form].runtime](file)
    test = task.test.batch(slice(0, COMPARED)).source
    likeness = psnr(paints(test), generator(test))
    side = task.size // 2 if FORMS[form].half else task.size
    quality = evaluate_generator(paints, task, seeds=experiment.protocol.evaluation_seeds)
    return {
        "form": form,
        "macs": cost(generator, side, side).macs,
        "bytes": sum(each.stat().st_size for each in {file, file.with_suffix(".bin")} if each.exists()),
        "minutes": minutes,
        "psnr_to_float": float(likeness.mean()),
        "psnr_to_float_worst": float(likeness.min()),
        "packages": ", ".join(f"{name} {version(name)}" for name in TOOLS if find_spec(name)),
        **quality.as_dict(),
    }


def folder_of(model: str) -> Path:
    """Where the files of a model's forms are kept; other weights have another folder."""
    return files.cache_root() / "rivals" / key_of(weights_of(model))[:16]


def free_forms(task: str) -> list[Experiment]:
    """The free forms of a task's teacher."""
    model = str(row(task, TEACHER).experiments[0]["model"])
    return [Experiment(name=form, kind="free form", task=task, spec={"model": model, "form": form}) for form in FORMS]


def trained(task: str) -> list[Row]:
    """What is trained as long as our network, as rows like those of the benchmark."""
    mine = [name for name in names("rivals") if name.startswith(f"{task}/")]
    return [Row(task, name.partition("/")[2], tuple(planned(name, "rivals")), int8=1) for name in mine]


def do(task: str, train: bool = True) -> None:
    """Record what is missing of a task's rivals, their times aside; what was killed goes on where it was.

    Args:
        task: The task.
        train: Whether to train those that need it, too: minutes to half an hour each.
    """
    wanted = free_forms(task)
    for each in trained(task) if train else ():
        wanted += [*each.experiments, *(in_int8(each, network) for network in each.experiments[: each.int8])]
    for number, experiment in enumerate(wanted, start=1):
        log.info("%d of %d: %s", number, len(wanted), experiment)
        record(experiment)
