"""How long the rivals of a task take beside our network and the teacher's forms: all in turns, on one thread."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import scratch
from gancomp_core.lab import results
from gancomp_core.lab.benchmark.rows import TEACHER, Row, row
from gancomp_core.lab.experiment import JSON, Experiment, canonical, key_of, kind
from gancomp_core.lab.recording import generator_of
from gancomp_core.lab.rivals.forms import CALIBRATION, DEFAULT, FLOAT, FORMS, INT8, INT8_IN_OPENVINO
from gancomp_core.lab.rivals.rows import OURS, trained
from gancomp_core.measure import latency, machine_class
from gancomp_core.measure.latency import prepared, turn_order
from gancomp_core.nets import build

log = logging.getLogger("gancomp")

ROUNDS, THREADS = 15, 1
#: The forms in which compressed networks are timed; the teacher is timed in all.
SMALL_FORMS = (FLOAT, DEFAULT, INT8, INT8_IN_OPENVINO)


@kind("rival latency", version=1)
def rival_latency(experiment: Experiment, *, among: str, round: int, machine: str) -> Mapping[str, JSON]:
    """One round of a task; ``among`` stands for all that are timed in turns: see :func:`timed`."""
    raise GancompError("Rivals are timed together; 'python -m gancomp_core.lab.rivals time' does it.")


def contestants(task: str) -> dict[tuple[str, str], Row]:
    """What is timed of a task: its row, by label and form."""
    found: dict[tuple[str, str], Row] = {(TEACHER, form): row(task, TEACHER) for form in FORMS}
    for each in (row(task, OURS[task]), *trained(task)):
        found |= {(each.label, form): each for form in SMALL_FORMS}
    return found


def timings(task: str) -> dict[int, Experiment]:
    """The experiment of each round on this machine."""
    among = key_of(sorted([label, form, each.network] for (label, form), each in contestants(task).items()))
    spec: dict[str, JSON] = {"among": among, "machine": machine_class()}
    return {
        number: Experiment(name=task, kind="rival latency", task=task, spec={**spec, "round": number})
        for number in range(1, ROUNDS + 1)
    }


def timed(task: str) -> None:
    """Time what is not timed of a task: every contestant in each of :data:`ROUNDS` rounds of changing order.

    A round is recorded whole, and a killed measurement goes on with the next one. ``times`` of a row are milliseconds,
    the median of the calls of the round, by label and form. The teacher has its weights; those of other networks are
    random, which changes no time.
    """
    if all(results.row(each.key) for each in timings(task).values()):
        return
    with scratch() as folder:
        runs = _runs(task, folder)
        for number, experiment in timings(task).items():
            log.info("%s: round %d of %d through %d contestants", task, number, ROUNDS, len(runs))
            results.once(experiment, partial(_round, runs, number))


def times(task: str) -> tuple[pd.DataFrame, str]:
    """Milliseconds by label and form, a column a round, and the class of machine; of the last measurement.

    Raises:
        GancompError: Where there is none.
    """
    recorded = results.rows("rival latency", task)
    if recorded.empty:
        raise GancompError(
            f"The rivals of {task} are not timed; 'python -m gancomp_core.lab.rivals time {task}' does it in minutes."
        )
    last = recorded.sort_values("when", kind="stable").iloc[-1]
    about = recorded.spec.map(json.loads).map(lambda spec: f"{spec['among']} {spec['machine']}")
    rounds = recorded[about == about[last.name]].times.map(json.loads)
    columns = [{tuple(json.loads(name)): ms for name, ms in each.items()} for each in rounds]
    found = pd.DataFrame(columns).T
    return found.set_axis(pd.MultiIndex.from_tuples(found.index)), str(last.machine)


Runs = Mapping[tuple[str, str], Callable[[], object]]


def _runs(task: str, folder: Path) -> Runs:
    """A call for each contestant that runs its file on one picture."""
    sources = load_task(task).calibration(CALIBRATION)
    picture = torch.rand(sources[:1].shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found: dict[tuple[str, str], Callable[[], object]] = {}
    for (label, name), each in contestants(task).items():
        form, teacher = FORMS[name], label == TEACHER
        generator = generator_of(each.experiments[0]) if teacher else build(each.architecture, seed=0).eval()
        file = form.write(generator, folder / key_of(label)[:16], sources)
        found[label, name] = prepared(file, picture, form.runtime, THREADS)
    return found


def _round(runs: Runs, number: int) -> Mapping[str, JSON]:
    """The median of each contestant in a round, whose number decides the order."""
    found: dict[str, JSON] = {}
    for contestant in turn_order(runs, number):
        time = latency(runs[contestant], threads=THREADS, warmup=5, repeats=20, min_seconds=0.2)
        found[canonical(contestant)] = time.median_ms
    return {"times": canonical(found)}
