"""The list of all experiments, ``experiments.yml``: its blocks as experiments, and queries over them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from gancomp_core.errors import GancompError, explaining
from gancomp_core.files import Json
from gancomp_core.lab import matched, results
from gancomp_core.lab.experiment import JSON, PROTOCOLS, Experiment, Protocol, Spec, canonical, plainly
from gancomp_core.lab.networks import architecture_of, values_of
from gancomp_core.nets import AgdArchitecture, search_space, super_resolution_supernet, translation_supernet
from gancomp_core.nets.agd import SUPER_RESOLUTION

#: What the file says, by section.
LIST: Json = yaml.load(Path(__file__).with_name("experiments.yml").read_text(encoding="utf-8"), yaml.CSafeLoader)
CHANNELS: dict[str, Sequence[int]] = {task: about.pop("channels") for task, about in LIST["tasks"].items()}
SIZES: dict[str, int] = {task: about.pop("size") for task, about in LIST["tasks"].items() if "size" in about}
PROTOCOLS |= {
    task: Protocol(**{**about, "evaluation_seeds": tuple(about["evaluation_seeds"])})
    for task, about in LIST["tasks"].items()
    if about
}
#: The sections of experiments that have names, and what a name of each is called.
SECTIONS = {"runs": "plan", "searches": "search", "agd": "search of AGD", "models": "model", "rivals": "rival"}
MOST_SEEDS = 1000
NOT_SPECIFIED = ("each", "seeds", "kind", "summary", "pictures", "ships")
#: Networks that cost what a search of AGD found, by the name that a specification uses, from what was found, its space
#: and a seed.
MATCHED: dict[str, Callable[[AgdArchitecture, AgdArchitecture, int], AgdArchitecture]] = {
    "uniform": lambda found, space, seed: matched.uniform(found, space),
    "random": matched.at_random,
}


class NotSearched(GancompError):
    """A plan cannot be read, because a network of it comes from a search that is not recorded."""


def names(section: str) -> list[str]:
    """Names in a section of the list: plans of runs, searches, models."""
    return list(LIST[section])


def size_of(name: str, section: str = "runs") -> int:
    """How many experiments a name stands for; known before the searches that they wait for are recorded."""
    return sum(len(_seeds(part.get("seeds", 1))) for part in _parts(LIST[section][name]))


def is_searched(name: str, section: str = "runs") -> bool:
    """Whether all searches whose networks a name needs are recorded."""
    try:
        planned(name, section)
    except NotSearched:
        return False
    return True


def planned(name: str, section: str = "runs") -> list[Experiment]:
    """The experiments of a name in a section, those of the first seed first.

    Args:
        name: A name of the section.
        section: "runs", "searches", "agd", "models" or "rivals".

    Returns:
        The experiments.

    Raises:
        NotSearched: Where a network comes from a search that is not recorded.
        GancompError: For another name, with the list of names.
    """
    if name not in names(section):
        raise GancompError(f"There is no {SECTIONS[section]} '{name}'; choose one of {', '.join(LIST[section])}.")
    with explaining(
        lambda error: (
            f"The block '{name}' of experiments.yml cannot be read ({error}); compare it with the blocks around it."
        ),
        *(AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError),
    ):
        return list(_planned(name, json.dumps(LIST[section][name]), results.state()))


@lru_cache(maxsize=256)
def _planned(name: str, text: str, state: object) -> tuple[Experiment, ...]:
    task, parts = task_of(name), _parts(json.loads(text))
    found = [experiment(name, task, part, seed) for part in parts for seed in _seeds(part.get("seeds", 1))]
    return tuple(sorted(found, key=lambda each: each.seed))


def task_of(name: str) -> str:
    """The task with which a name begins: "edges2shoes" of "edges2shoes/plain" and of "edges2shoes, small"."""
    return name.partition("/")[0].partition(",")[0]


def _seeds(seeds: int | list[int]) -> Sequence[int]:
    found = seeds if isinstance(seeds, list) else range(seeds)
    if len(found) > MOST_SEEDS or not all(isinstance(seed, int) for seed in found):
        raise ValueError(f"seeds are at most {MOST_SEEDS} whole numbers")
    return found


def _parts(blocks: Json | list[Json]) -> Iterator[Json]:
    """All parts of one block, or of some."""
    return itertools.chain(*(_expanded(block) for block in (blocks if isinstance(blocks, list) else [blocks])))


def _expanded(block: Json) -> Iterator[Json]:
    """The parts of a block, each with what stands above it."""
    above = {name: value for name, value in block.items() if name != "each"}
    for part in block.get("each", [{}]):
        if "each" in part:
            yield from _expanded({**above, **part})
        else:
            yield {**above, **part}


def experiment(name: str, task: str, block: Json, seed: int = 0) -> Experiment:
    """The experiment of a block whose parts are resolved.

    Args:
        name: Name of the experiment.
        task: Its task.
        block: Kind and entries.
        seed: Its seed.

    Returns:
        The experiment.
    """
    spec = {entry: value for entry, value in block.items() if entry not in NOT_SPECIFIED}
    return Experiment(name=name, kind=block["kind"], task=task, spec=whole(spec, task, seed), seed=seed)


def whole(spec: Spec, task: str, seed: int = 0) -> dict[str, JSON]:
    """A specification with whole networks and spaces for names, searches (of this seed) and short forms."""
    found = dict(spec)
    for entry in ("network", "backward", "wide", "deep"):
        if spec.get(entry):
            found[entry] = whole_network(spec[entry], task, seed)
    if isinstance(space := spec.get("space"), Mapping):
        found["space"] = _whole_space(dict(space), task)
    return found


def whole_network(network: JSON, task: str, seed: int = 0) -> dict[str, JSON]:
    """A network as :func:`values_of` writes it, from its name, a search, text of AGD, or some values.

    ``{"found": search}`` is the network that a search found, ``{"uniform": search}`` and ``{"random": search}`` are
    networks with as many MACs (:mod:`gancomp_core.lab.matched`), for a search of AGD. Of a search with several seeds it
    is the search with this seed. Pictures have the channels of the task, where the values do not say otherwise.
    """
    if isinstance(network, Mapping) and (rule := next((each for each in ("found", *MATCHED) if each in network), "")):
        return _of_search(str(network[rule]), rule, seed)
    return dict(_whole_network(canonical(network), task))


@lru_cache(maxsize=1024)
def _whole_network(text: str, task: str) -> Spec:
    network = json.loads(text)
    network = LIST["networks"].get(network, network) if isinstance(network, str) else network
    ends = dict(zip(("in_channels", "out_channels"), CHANNELS.get(task, (3, 3)), strict=True))
    if isinstance(network, str):
        return values_of(AgdArchitecture.parse("translation", network, **ends))
    if network.get("family", "resnet") in ("resnet", "agd"):
        network = ends | network
    return values_of(architecture_of(network))


def _whole_space(space: Json, task: str) -> dict[str, JSON]:
    channels = space["channels"]
    choices = search_space(channels).choices if isinstance(channels, str) else channels
    return {**space, "base": whole_network(space["base"], task), "channels": plainly(choices)}


def _of_search(search: str, rule: str, seed: int) -> dict[str, JSON]:
    """The network that a recorded search found, whole, or one with as many MACs by a rule of :data:`MATCHED`."""
    section = next((each for each in ("searches", "agd") if search in LIST[each]), "searches")
    asked = planned(search, section)
    chosen = asked[0] if len(asked) == 1 else next((each for each in asked if each.seed == seed), None)
    if chosen is None:
        raise GancompError(
            f"The search '{search}' has no seed {seed}; choose one of {', '.join(str(each.seed) for each in asked)}."
        )
    if (row := results.row(chosen.key)) is None:
        command = {"searches": "search", "agd": "agd"}[section]
        raise NotSearched(f"The search '{search}' is not recorded; 'gancomp {command} do \"{search}\"' does it.")
    found: dict[str, JSON] = json.loads(row["found"])
    if rule == "found":
        return found
    network: AgdArchitecture = architecture_of(found)
    return values_of(MATCHED[rule](network, _space_of(chosen, network), seed))


def _space_of(search: Experiment, found: AgdArchitecture) -> AgdArchitecture:
    """The space of a search of AGD, in which it found this network."""
    base, cells = search.whole("base"), search.whole("cells")
    if found.kind == SUPER_RESOLUTION:
        return super_resolution_supernet(base, cells, channels=found.in_channels)
    return translation_supernet(base, cells, found.in_channels, found.out_channels)


@dataclass(frozen=True)
class Query:
    """Experiments of a plan that have some entries, "kind" and "steps" among them."""

    plan: str
    entries: Json

    def experiments(self) -> list[Experiment]:
        """What it finds: one experiment a seed; raises :class:`GancompError` where it is not so."""
        runs, task = planned(self.plan), task_of(self.plan)
        wanted = {seed: whole(self.entries, task, seed).items() for seed in {each.seed for each in runs}}
        fitting = [each for each in runs if all(plainly(each[n]) == plainly(v) for n, v in wanted[each.seed])]
        found = list({(each.seed, canonical(each.spec)): each for each in fitting}.values())
        if len({each.seed for each in found}) < len(found) or not found:
            raise GancompError(
                f"{dict(self.entries)} names {len(found)} experiments of '{self.plan}', not one a seed; say more."
            )
        return found


def find(task: str, kind: str, *, steps: int | None = None, precision: str | None = None, **spec: JSON) -> results.Rows:
    """The recorded runs of one kind on one task with this specification, one row per seed, all comparable.

    Only runs of the protocol's present version and of this number of steps count.

    Args:
        task: The task.
        kind: The kind.
        steps: Number of steps; None takes the protocol's.
        precision: The precision; None takes the one with the most seeds.
        spec: Entries of the specification; networks may be written in short.

    Returns:
        The rows.

    Raises:
        GancompError: When there are none, naming the command; for a table without what they are told apart by.
    """
    asked = Experiment(name="", kind=kind, task=task, spec=whole({**spec, "steps": steps}, task))
    rows = results.rows(kind, task)
    if len(rows) and (missing := [name for name in ("spec", "protocol", "precision", "seed") if name not in rows]):
        raise GancompError(
            f"The table {results.path()} has no {missing[0]} of '{kind}' on {task}; "
            f"'git checkout -- data/results/{results.path().name}' restores the shipped one."
        )
    if len(rows):
        same = (rows.spec == canonical(asked.spec)) & (rows.protocol == asked.protocol.version)
        rows = rows[same]
    if len(rows):
        rows = rows[rows.precision == (precision or rows.precision.mode().iloc[0])]
    if rows.empty:
        raise GancompError(
            f"No run of '{kind}' with {spec} on {task} is recorded; 'gancomp runs list' shows the plans, "
            "'gancomp runs do <plan>' makes them."
        )
    return rows.sort_values("seed")
