"""Carrying out an experiment once, and its row in the table of results."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import pandas as pd
import torch
from torch import nn

from gancomp_core import files, zoo
from gancomp_core.data import Task, load_task, more_photos, whole_photos
from gancomp_core.errors import GancompError
from gancomp_core.executors import Executor, executor_of
from gancomp_core.files import Json
from gancomp_core.lab import results
from gancomp_core.lab.catalogue import is_searched, names, planned, size_of
from gancomp_core.lab.experiment import JSON, KINDS, Experiment, Spec, kind
from gancomp_core.lab.kinds import Job
from gancomp_core.lab.networks import architecture_of
from gancomp_core.measure import (
    band_errors,
    cost,
    evaluate_generator,
    evaluate_super_resolution,
    likeness,
    set_distance,
)
from gancomp_core.methods.pseudo_pairs import pseudo_pairs
from gancomp_core.nets import Architecture, ElasticGenerator
from gancomp_core.train import Callback, Checkpoint, Evaluate

log = logging.getLogger("gancomp")


def record(experiment: Experiment) -> Json:
    """The row of an experiment: from the table when it was done before, else by doing it now and recording it."""
    [row] = record_all([experiment])
    return row


def record_all(experiments: Sequence[Experiment], executor: Executor | None = None) -> list[Json]:
    """The rows of many experiments, those that were not done before by an executor.

    Workers train, measure and write checkpoints. The table is written here alone, a row as soon as it is made. A search
    stays here, and workers get its networks.

    Args:
        experiments: The experiments, of which none may need the result of another.
        executor: Does them; None does one after the other in this process.

    Returns:
        Their rows, in their order.
    """
    executor = executor_of(executor)
    missing = {each.key: each for each in experiments if results.row(each.key) is None}
    spread = [each for each in missing.values() if KINDS[each.kind].spreads]
    whole = [each for each in missing.values() if not KINDS[each.kind].spreads]
    new = {each.key: results.once(each, partial(_done, each, executor)) for each in spread}
    for place, row in executor.map_unordered(make_row, whole):
        new[whole[place].key] = results.add(whole[place], row)
        log.info("experiment %d of %d is recorded: %s", len(new), len(missing), whole[place])
    return [new.get(each.key) or results.row(each.key) or {} for each in experiments]


def make_row(experiment: Experiment) -> Json:
    """What a worker does for :func:`record_all`: the row of an experiment, which is not yet in the table."""
    return results.made(experiment, partial(_done, experiment))


def _done(experiment: Experiment, executor: Executor | None = None) -> Mapping[str, JSON]:
    log.info("%s", experiment)
    known = KINDS[experiment.kind]
    if known.trains:
        return _trained(experiment)
    given = (experiment, executor_of(executor)) if known.spreads else (experiment,)
    found: Mapping[str, JSON] = known.function(*given, **experiment.spec)
    return found


@kind("shipped")
def shipped(experiment: Experiment, *, model: str, network: Spec | None = None) -> Mapping[str, JSON]:
    """A generator of the zoo as it is, or a ``network`` cut from an elastic one; nothing is left to do."""
    raise GancompError(f"'{model}' is shipped, and its card has its scores; 'gancomp zoo train {model}' trains it.")


def generator_of(experiment: Experiment) -> nn.Module:
    """The averaged generator of an experiment after its last step, in eval mode.

    It comes from the zoo, from the cache folder where it was trained, or is trained again: on one class of machine the
    same weights to the bit.
    """
    if experiment.kind == "shipped":
        model, network = zoo.load(str(experiment["model"])), experiment["network"]
        if not isinstance(network, Mapping):
            return model.generator
        return cast(ElasticGenerator, model.generator).extract(architecture_of(network)).eval()
    with files.locked(experiment.folder / "lock"):
        trained = Job(experiment, [Checkpoint(experiment.folder / "training.ckpt")]).train()
    return trained.averaged["generator"].eval()


def architecture(experiment: Experiment) -> Architecture:
    """The architecture of an experiment's network, without its weights."""
    if not isinstance(network := experiment["network"], Mapping):
        network = zoo.card(str(experiment["model"]))["architecture"]
    found: Architecture = architecture_of(network)
    return found


def steps_of(experiment: Experiment) -> int:
    """Number of steps of the training that ended in these weights; for a cut network, the steps of its supernet."""
    if experiment.kind == "shipped":
        return int(zoo.card(str(experiment["model"]))["settings"]["steps"])
    return experiment.steps


def _trained(experiment: Experiment) -> Mapping[str, JSON]:
    """Train, and measure the network after the last step and where the search split found it best."""
    task, folder = load_task(experiment.task), experiment.folder
    if task.fingerprint != experiment.protocol.pictures:
        raise GancompError(
            f"The pictures of '{task.name}' are others than those of its protocol; if they are to count, write the "
            f"fingerprint {task.fingerprint} into experiments.yml, and everything is done again."
        )

    def distance(network: nn.Module) -> float:
        found = _distance(network, task)
        log.info("distance on the search split %.4g", found)
        return found

    watched = KINDS[experiment.kind].watched
    watch = Evaluate(distance, every=-(-experiment.steps // experiment.protocol.evaluations))
    callbacks: list[Callback] = [Checkpoint(folder / "training.ckpt"), *([watch] if watched else [])]
    trained = Job(experiment, callbacks).train()
    last: Any = trained.averaged["generator"]
    curve = watch.curve if watched else {experiment.steps: distance(last)}
    best_step = min(curve, key=lambda step: curve[step])
    quality = {"last": _evaluated(last, experiment, task)}
    if best_step == experiment.steps:
        quality["best"] = quality["last"]
    else:
        best = last.architecture.network().eval()
        best.load_state_dict(watch.best)
        quality["best"] = _evaluated(best, experiment, task)
    side = task.size // task.scale
    spent = cost(last, side, side)
    return {
        "steps": experiment.steps,
        "precision": trained.precision,
        "macs": spent.macs,
        "params": spent.params,
        "bytes_fp32": spent.bytes_fp32,
        "minutes": trained.seconds / 60,
        "threads": trained.threads,
        "best_step": best_step,
        "curve": json.dumps(curve),
        **{f"{name}_{which}": value for which, values in quality.items() for name, value in values.items()},
    }


def _distance(network: nn.Module, task: Task) -> float:
    """How far pictures of the search split are from true ones: a set distance, of enlarged photos a squared error."""
    if task.scale == 1:
        return set_distance(network, task, split="search")
    return _squared_error(evaluate_super_resolution(network, task, "search").as_dict()["psnr_y_crops"])


def _squared_error(psnr: float) -> float:
    """The mean squared error that a PSNR in dB stands for, where the range of values is 1."""
    return float(10 ** (-psnr / 10))


def _enlarged(generator: nn.Module, task: Task) -> dict[str, float]:
    """Scores of 20 test photos in luma: PSNR, SSIM, and the squared error ("mse_y") of the mean PSNR."""
    photos = [*whole_photos(), *more_photos()]
    scores = evaluate_super_resolution(generator, task, photos=photos).as_dict()
    found = {name: value for name, value in scores.items() if name.endswith("photos")}
    return {**found, "mse_y": _squared_error(found["psnr_y_photos"])}


def _evaluated(generator: nn.Module, experiment: Experiment, task: Task) -> dict[str, float]:
    """Scores of the test split; "band_..." errors by wavelet band, "taught_..." likeness to a teacher's pictures."""
    if task.scale > 1:
        return _enlarged(generator, task)
    scores = evaluate_generator(generator, task, seeds=experiment.protocol.evaluation_seeds).as_dict()
    pictures = task.test.batch(slice(0, len(task.test)))
    with torch.inference_mode():
        painted = torch.cat([generator(part) for part in pictures.source.split(64)]).clamp(-1, 1)
    for band, error in band_errors(painted, pictures.target).items():
        scores[f"band_{band.replace(' ', '_')}"] = error
    if not task.paired and (teacher := experiment["teacher"]):
        taught = pseudo_pairs(task, zoo.load(str(teacher)).generator)
        scores |= {f"taught_{name}": value for name, value in likeness(generator, taught).items()}
    return scores


def do(name: str, section: str = "runs", executor: Executor | None = None) -> results.Rows:
    """Carry out every experiment of a name that is not recorded yet, see :func:`record_all`; the rows of all."""
    return pd.DataFrame(record_all(planned(name, section), executor))


def progress(section: str = "runs") -> pd.DataFrame:
    """A row for each name of a section: how many of its experiments are ``recorded`` and ``planned``, and minutes."""
    minutes = dict(zip(*(results.rows().get(column, ()) for column in ("key", "minutes")), strict=True))
    rows = []
    for name in names(section):
        keys = [each.key for each in planned(name, section)] if is_searched(name, section) else []
        spent = pd.Series([minutes[key] for key in keys if key in minutes], dtype=float)
        rows.append({"name": name, "recorded": len(spent), "planned": size_of(name, section), "minutes": spent.sum()})
    return pd.DataFrame(rows)
