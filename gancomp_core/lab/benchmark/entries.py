"""What stands in the benchmark: for each task its teacher and every method that applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from gancomp_core import zoo
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.lab.kinds import architecture_of
from gancomp_core.lab.recorded_table import key_of
from gancomp_core.lab.runs import Run, trained_generator
from gancomp_core.lab.runs.plans import FINALISTS, FREER, STUDENT, agd_networks, cut, term
from gancomp_core.nets import AgdArchitecture, ResnetArchitecture


@dataclass(frozen=True)
class Member:
    """One trained network of an entry. ``key`` tells what determines its weights; ``load`` gives it, in eval mode."""

    key: str
    seed: int
    load: Callable[[], nn.Module]


@dataclass(frozen=True)
class Entry:
    """A row of the benchmark: recorded runs that differ in their seed, or a model of the zoo.

    ``network`` cuts a sub-network out of a model that is a supernet. As many of the ``runs`` are scored in int8 as
    ``seeds_int8``.
    """

    task: str
    label: str
    runs: tuple[Run, ...] = ()
    model: str = ""
    network: Mapping[str, Any] | None = None
    seeds_int8: int = 3

    @property
    def members(self) -> list[Member]:
        if self.runs:
            return [Member(run.key, run.seed, _loader(run)) for run in self.runs]
        return [Member(key_of(zoo.card(self.model)["files"], self.network), 0, self._from_zoo)]

    @cached_property
    def architecture(self) -> ResnetArchitecture | AgdArchitecture:
        """The network of all members."""
        task = load_task(self.task)
        if self.runs:
            return architecture_of(self.runs[0], task)
        if self.network is None:
            return zoo.load(self.model).generator.architecture  # type: ignore[return-value]
        pictures: dict[str, Any] = {"in_channels": task.source_channels, "out_channels": task.target_channels}
        return ResnetArchitecture(**pictures, **self.network)

    @property
    def steps(self) -> int:
        """Of the training that ended in these weights; the supernet's, which all its networks share, for a cut one."""
        return self.runs[0].settings.steps if self.runs else int(zoo.card(self.model)["settings"]["steps"])

    def _from_zoo(self) -> nn.Module:
        generator: Any = zoo.load(self.model).generator
        return generator if self.network is None else generator.extract(self.architecture).eval()


def _loader(run: Run) -> Callable[[], nn.Module]:
    return lambda: trained_generator(run)


TEACHER = "teacher"
COMBINED = "searched, fine-tuned by high bands"
SCRATCH = "from scratch"
BEGUN = "begun with the teacher's channels"
TERMS: dict[str, dict[str, Any]] = {
    BEGUN: {"terms": {}},
    "pixel distillation": FINALISTS[2],
    "feature distillation": term("feature_kd", 0.5),
    "wavelet distillation": FINALISTS[1],
    "features and wavelets": {"terms": {**term("feature_kd", 0.5)["terms"], **FINALISTS[1]["terms"]}},
}


def entries(task: str) -> list[Entry]:
    """The rows of a task, the teacher first; raises :class:`GancompError` with the list of tasks."""
    if task not in TASKS:
        raise GancompError(f"The benchmark has no task '{task}'; choose one of {', '.join(TASKS)}.")
    return [Entry(task, TEACHER, model=f"{task}/teacher"), *TASKS[task]()]


def entry(task: str, label: str) -> Entry:
    """A row by its label; raises :class:`GancompError` with the labels."""
    found = {each.label: each for each in entries(task)}
    if label not in found:
        raise GancompError(f"The benchmark of {task} has no row '{label}'; choose one of {', '.join(found)}.")
    return found[label]


def _seeds(
    task: str,
    label: str,
    method: str,
    configuration: Mapping[str, Any],
    seeds: int,
    steps: int | None = None,
    seeds_int8: int = 3,
) -> Entry:
    runs = tuple(Run(task, method, configuration, seed, steps) for seed in range(seeds))
    return Entry(task, label, runs, seeds_int8=seeds_int8)


def _distilled(task: str, seeds: Mapping[str, int]) -> list[Entry]:
    """The same student, begun alike, taught by each term: what notebook 06 decides between."""
    given = {"teacher": f"{task}/teacher", "network": STUDENT, "begin": "l1", **FREER}
    return [_seeds(task, label, "distilled", {**given, **terms}, seeds[label]) for label, terms in TERMS.items()]


def _shoes() -> list[Entry]:
    task = "edges2shoes"
    teacher = {"teacher": f"{task}/teacher"}
    tenth, twentieth = cut(task)[9], cut(task)[20]
    combined = {**twentieth, **teacher, **FREER, **FINALISTS[1]}
    return [
        _seeds(task, SCRATCH, "plain", STUDENT, 5),
        *_distilled(task, dict.fromkeys(TERMS, 5)),
        _seeds(task, "pruned and distilled", "pruned", {**teacher, "network": twentieth["network"]}, 5),
        Entry(task, "searched in the supernet", model=f"{task}/supernet", network=twentieth["network"]),
        _seeds(task, "searched, fine-tuned (1/10)", "fine-tuned", tenth, 5, 9_000),
        _seeds(task, "searched, fine-tuned", "fine-tuned", twentieth, 3, 9_000),
        _seeds(task, COMBINED, "fine-tuned", combined, 5, 9_000, seeds_int8=5),
    ]


def _gloss() -> list[Entry]:
    task = "flat2gloss"
    sixth, twelfth = cut(task)[4], cut(task)[12]
    seeds = {**dict.fromkeys(TERMS, 3), BEGUN: 5, "wavelet distillation": 5}
    return [
        _seeds(task, SCRATCH, "plain", STUDENT, 3),
        *_distilled(task, seeds),
        Entry(task, "searched in the supernet", model=f"{task}/supernet", network=twelfth["network"]),
        _seeds(task, "searched, fine-tuned (1/6)", "fine-tuned", sixth, 3),
        _seeds(task, "searched, fine-tuned", "fine-tuned", twelfth, 3),
    ]


def _unpaired_shoes() -> list[Entry]:
    task = "edges2shoes_unpaired"
    teacher = {"teacher": f"{task}/teacher", "critic": "teacher"}
    begun = {**teacher, "network": STUDENT, "begin": "l1", **FREER}
    networks = {
        "AGD: searched": ("searched", 5),
        "AGD's recipe, uniform width": ("uniform", 5),
        "AGD's recipe, the supernet's shape": ("supernet", 3),
    }
    return [
        _seeds(task, SCRATCH, "cyclegan", STUDENT, 5),
        _seeds(task, "pseudo pairs", "distilled", {**teacher, "network": STUDENT, **FREER}, 5),
        _seeds(task, f"pseudo pairs, {BEGUN}", "distilled", {**begun, **TERMS[BEGUN]}, 5),
        _seeds(task, "pseudo pairs and wavelets", "distilled", {**begun, **FINALISTS[1]}, 5),
        *(
            _seeds(task, label, "agd", {"teacher": f"{task}/teacher", "network": agd_networks()[name]}, seeds, 1_000)
            for label, (name, seeds) in networks.items()
        ),
    ]


TASKS: dict[str, Callable[[], list[Entry]]] = {
    "edges2shoes": _shoes,
    "flat2gloss": _gloss,
    "edges2shoes_unpaired": _unpaired_shoes,
}
