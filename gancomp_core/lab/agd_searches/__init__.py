"""Searches that the course tells of, done once and kept as tables of how their preferences moved.

    gancomp agd list
    gancomp agd do                           # all of them
    gancomp agd do photos_x4
    gancomp agd chance edges2shoes_unpaired  # networks drawn by chance, for comparison

The tables lie in ``data/results/searches``; networks trained from what was found are models of the zoo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
from torch import nn

from gancomp_core import files, zoo
from gancomp_core.data import Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.measure import cost, machine_class, set_distance
from gancomp_core.methods.agd.choices import Controller, MacTable
from gancomp_core.methods.agd.searching import search, settled
from gancomp_core.methods.agd.students import random_architectures, train_derived
from gancomp_core.nets import AgdArchitecture, super_resolution_supernet, translation_supernet
from gancomp_core.train import Checkpoint, TrainConfig


@dataclass(frozen=True)
class RecordedSearch:
    """A search under a teacher of the zoo; ``back`` is the way back of a CycleGAN.

    ``base`` and ``cells`` are those of the supernet.
    """

    task_name: str
    base: int
    cells: int
    controller: Controller
    settings: TrainConfig
    back: bool = False

    @property
    def task(self) -> Task:
        there = load_task(self.task_name)
        return there.reversed() if self.back else there

    @property
    def teacher(self) -> nn.Module:
        return zoo.load(f"{self.task_name}/teacher").models["backward_generator" if self.back else "generator"]

    @property
    def space(self) -> AgdArchitecture:
        task = self.task
        if task.scale > 1:
            return super_resolution_supernet(self.base, self.cells, channels=task.source_channels)
        return translation_supernet(self.base, self.cells, task.source_channels, task.target_channels)


_SHOES = RecordedSearch("edges2shoes_unpaired", 16, 6, Controller(4e6, 5e6), TrainConfig(600, 8))
_GLOSS = RecordedSearch("flat2gloss_unpaired", 16, 6, Controller(16e6, 20e6), TrainConfig(400, 4))
_PHOTOS = RecordedSearch("photos_x4", 32, 5, Controller(900e6, 1.2e9, on_operators=2 / 7), TrainConfig(400, 8))
#: "free" has a price of zero: its controller does nothing, as that of the released super-resolution configuration.
SEARCHES: dict[str, RecordedSearch] = {
    "edges2shoes_unpaired": _SHOES,
    "edges2shoes_unpaired, small": replace(_SHOES, controller=Controller(2.5e6, 3e6), settings=TrainConfig(300, 8)),
    "edges2shoes_unpaired, large": replace(_SHOES, controller=Controller(8.5e6, 9.5e6), settings=TrainConfig(300, 8)),
    "edges2shoes_unpaired, free": replace(_SHOES, controller=Controller(4e6, 5e6, price=0.0)),
    "flat2gloss_unpaired": _GLOSS,
    "flat2gloss_unpaired, back": replace(_GLOSS, back=True),
    "photos_x4": _PHOTOS,
}


@dataclass(frozen=True)
class Recorded:
    """A search that was done: the network it found, and :meth:`Choices.history` of it.

    ``minutes`` of training on ``machine`` with so many ``threads``.
    """

    architecture: AgdArchitecture
    history: pd.DataFrame
    minutes: float
    machine: str


def recorded(name: str) -> Recorded:
    """A search that was done, by its name; raises :class:`GancompError` naming the command where it was not."""
    chosen = _chosen(name)
    try:
        table = pyarrow.parquet.read_table(_path(name))
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise GancompError(
            f"The search '{name}' is not recorded, or {_path(name)} is damaged; 'gancomp agd do \"{name}\"' does it."
        ) from error
    history, about = table.to_pandas(), table.schema.metadata
    return Recorded(
        settled(chosen.space, history, chosen.controller), history, float(about[b"minutes"]), about[b"machine"].decode()
    )


def do(name: str) -> Recorded:
    """Do a search and record it; one that was killed goes on from its checkpoints in the cache folder."""
    chosen, path = _chosen(name), _path(name)
    kept = files.cache_root() / "agd" / f"{path.stem}.ckpt"
    given = (chosen.task, chosen.teacher, chosen.space, chosen.settings, chosen.controller)
    found = search(*given, callbacks=[Checkpoint(kept)])
    history = found.history.astype({"probability": "float32", "price": "float32"})
    about = {"minutes": f"{found.seconds / 60:.1f}", "machine": machine_class()}
    with files.atomic_write(path) as temporary:
        table = pyarrow.Table.from_pandas(history, preserve_index=False).replace_schema_metadata(about)
        pyarrow.parquet.write_table(table, temporary, compression="zstd")
    return recorded(name)


def do_by_chance(name: str, networks: int = 12, steps: int = 400) -> pd.DataFrame:
    """What a search has to beat: networks drawn by chance in the same range, each trained for a while, and scored.

    Records a row for each: network, MACs, minutes, and the distance on the search split. By default they take about as
    long as the search. What was recorded before is not done again.
    """
    chosen, path = _chosen(name), _chance_path(name)
    table = MacTable(chosen.space, *(2 * [chosen.task.size]))
    found = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["network", "macs", "minutes", "distance"])
    for network in random_architectures(table, chosen.controller.low, chosen.controller.high, networks):
        if str(network) in set(found.network):
            continue
        settings = replace(chosen.settings, steps=steps)
        trained = train_derived(chosen.task, network, settings, teacher=chosen.teacher)
        distance = set_distance(trained.averaged["generator"], chosen.task, split="search")
        macs = cost(network, *(2 * [chosen.task.size])).macs
        found.loc[len(found)] = [str(network), macs, trained.seconds / 60, distance]
        with files.atomic_write(path) as temporary:
            found.to_csv(temporary, index=False)
    return found


def by_chance(name: str) -> pd.DataFrame:
    """The networks that :func:`do_by_chance` tried; raises :class:`GancompError` naming the command if it has not."""
    if not _chance_path(name).exists():
        raise GancompError(
            f"No networks by chance are recorded for '{name}'; 'gancomp agd chance \"{name}\"' tries some."
        )
    return pd.read_csv(_chance_path(name))


def best_by_chance(name: str) -> AgdArchitecture:
    """The network with the smallest distance among those drawn by chance."""
    tried, space = by_chance(name), _chosen(name).space
    best = tried.network[tried.distance.idxmin()]
    return AgdArchitecture.parse(space.kind, best, space.in_channels, space.out_channels)


def _chance_path(name: str) -> Path:
    return _path(name).with_name(_path(name).stem + "-by_chance.csv")


def _chosen(name: str) -> RecordedSearch:
    if name not in SEARCHES:
        raise GancompError(f"There is no search '{name}'; choose one of {', '.join(SEARCHES)}.")
    return SEARCHES[name]


def _path(name: str) -> Path:
    return files.data_root() / "results" / "searches" / f"agd-{name.replace(', ', '-').replace(' ', '_')}.parquet"
