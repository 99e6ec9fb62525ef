"""One experiment: what determines a result, as plain values, and the key that follows from them.

A key is the SHA-256 of canonical JSON: names sorted, whole numbers without a point, and everything left out that is at
its default. So a new entry with a default leaves all keys as they are, and the results found. What an entry means never
changes; a mended method or measure raises the ``version`` of its protocol instead.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from gancomp_core import files, zoo
from gancomp_core.errors import GancompError

JSON: TypeAlias = "None | bool | int | float | str | Sequence[JSON] | Mapping[str, JSON]"
Spec: TypeAlias = Mapping[str, JSON]
SCHEMA = 2  # of the keys; 1 was the hash of printed objects
#: Entries that every training may have; None stands for the protocol's, or the method's own.
TRAINING: Spec = {
    "steps": None,
    "batch_size": None,
    "precision": "auto",
    "lr": None,
    "warp": False,
    "critic_width": 32,
}
#: Entries of a specification that name a model of the zoo, whose weights belong to the key.
MODELS = ("teacher", "supernet", "model")


@dataclass(frozen=True)
class Kind:
    """A kind of experiment.

    Attributes:
        function: Carries out an experiment.
        needed: Entries of a specification without a default.
        defaults: Entries with their defaults.
        trains: Whether it is a training, which follows the protocol of its task.
        watched: Whether a training is evaluated on the way, so that the best of its weights may be earlier than the
            last.
        version: Version of the way to measure, for a kind that does not train.
        spreads: Whether it shares its own work out, and is given the executor behind the experiment.
    """

    function: Callable[..., Any]
    needed: tuple[str, ...]
    defaults: Spec
    trains: bool = False
    watched: bool = False
    version: int = 1
    spreads: bool = False


#: All kinds by name; the modules of the laboratory register them with :func:`kind`.
KINDS: dict[str, Kind] = {}
Function = TypeVar("Function", bound=Callable[..., Any])


def kind(
    name: str, *, trains: bool = False, watched: bool = True, version: int = 1, spreads: bool = False
) -> Callable[[Function], Function]:
    """Register a function as a kind: its keyword-only arguments are the entries of a specification.

    A function that trains gets a :class:`gancomp_core.lab.kinds.Job` and returns what it trained; any other gets the
    :class:`Experiment` and returns the values of its row.

    Args:
        name: Name of the kind.
        trains: Whether it is a training.
        watched: Whether a training is evaluated on the way.
        version: Version of the way to measure, for a kind that does not train.
        spreads: Whether it shares its own work out, and is given the executor behind the experiment.

    Returns:
        A decorator.
    """

    def register(function: Function) -> Function:
        needed, defaults = entries_of(function)
        defaults = {**(TRAINING if trains else {}), **defaults}
        KINDS[name] = Kind(function, needed, defaults, trains, watched, version, spreads)
        return function

    return register


def entries_of(function: Callable[..., Any]) -> tuple[tuple[str, ...], dict[str, JSON]]:
    """The keyword-only arguments of a function: those it needs, and those with a default."""
    keywords = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    needed = tuple(p.name for p in keywords if p.default is p.empty)
    return needed, {p.name: p.default for p in keywords if p.default is not p.empty}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all trained experiments of a task share.

    Attributes:
        pictures: Fingerprint of the task.
        version: Raised by a mended method or measure.
        steps: Number of steps.
        batch_size: Pictures in a step.
        evaluations: How often the search split is evaluated, evenly spaced.
        evaluation_seeds: Seeds with which last and best weights are evaluated on the whole test split.
    """

    pictures: str
    version: int
    steps: int
    batch_size: int
    evaluations: int
    evaluation_seeds: tuple[int, ...]

    def as_dict(self) -> dict[str, JSON]:
        """Plain values without those at a default: a new field with a default changes no key."""
        defaults = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        return without_defaults(asdict(self), defaults)


#: Of each task; see experiments.yml.
PROTOCOLS: dict[str, Protocol] = {}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A named experiment. Everything but the name determines its result, and therefore its ``key``.

    ``spec`` holds what its ``kind`` needs as plain values; entries at their defaults are left out.
    """

    name: str
    kind: str
    task: str
    spec: Spec
    seed: int = 0
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise GancompError(f"There is no kind of experiment '{self.kind}'; choose one of {', '.join(KINDS)}.")
        known = KINDS[self.kind]
        allowed = (*known.needed, *known.defaults)
        if unknown := [name for name in self.spec if name not in allowed]:
            raise GancompError(f"'{unknown[0]}' is no entry of '{self.kind}'; it may hold {', '.join(allowed)}.")
        if missing := [name for name in known.needed if name not in self.spec]:
            raise GancompError(f"An experiment of kind '{self.kind}' needs the entry '{missing[0]}'.")
        spec = without_defaults(self.spec, known.defaults)
        if known.trains and (protocol := PROTOCOLS.get(self.task)):
            spec = without_defaults(spec, {"steps": protocol.steps, "batch_size": protocol.batch_size})
        object.__setattr__(self, "spec", spec)

    def __getitem__(self, entry: str) -> JSON:
        """An entry of the specification, or its default; "kind", "task" and "seed" too."""
        if entry in ("kind", "task", "seed"):
            return getattr(self, entry)  # type: ignore[no-any-return]
        return self.spec.get(entry, KINDS[self.kind].defaults.get(entry))

    @property
    def protocol(self) -> Protocol:
        """What the experiments of its task share; raises :class:`GancompError` for a task without."""
        if self.task not in PROTOCOLS:
            raise GancompError(f"The task '{self.task}' has no protocol; there are {', '.join(PROTOCOLS)}.")
        return PROTOCOLS[self.task]

    @property
    def key(self) -> str:
        """SHA-256 of all that determines the result, weights of named models included; machine and minutes do not."""
        about: dict[str, JSON] = {name: getattr(self, name) for name in ("schema", "kind", "task", "seed", "spec")}
        if self.weights:
            about["weights"] = self.weights
        about["protocol"] = self.protocol.as_dict() if KINDS[self.kind].trains else self.version
        return key_of(about)

    @property
    def weights(self) -> Spec:
        """Digests of the models of the zoo that it names."""
        return {str(name): weights_of(str(name)) for entry in MODELS if (name := self.spec.get(entry))}

    @property
    def version(self) -> int:
        """Version of the protocol of its task, or of the way to measure."""
        return self.protocol.version if KINDS[self.kind].trains else KINDS[self.kind].version

    @property
    def steps(self) -> int:
        """Number of steps of its training."""
        return self.whole("steps") or self.protocol.steps

    @property
    def batch_size(self) -> int:
        """Pictures in a step."""
        return self.whole("batch_size") or self.protocol.batch_size

    def whole(self, entry: str) -> int:
        """An entry that is a whole number; 0 for none."""
        value = self[entry]
        return value if isinstance(value, int) else 0

    @property
    def folder(self) -> Path:
        """The folder of its checkpoint and other files that can be made again."""
        return files.cache_root() / "runs" / self.key[:16]

    def but(self, **entries: JSON) -> Experiment:
        """The same experiment with other entries."""
        return replace(self, spec={**self.spec, **entries})

    def __str__(self) -> str:
        chosen = ", ".join(f"{name} {value}" for name, value in self.spec.items())
        return f"{self.task}, {self.kind} ({chosen}), seed {self.seed}"


def weights_of(model: str) -> Spec:
    """SHA-256 of each network of a shipped model, as its card says."""
    path = files.data_root() / "zoo" / model / "card.json"
    try:
        about = path.stat()
        return _weights(path, (about.st_size, about.st_ino, about.st_mtime_ns))
    except FileNotFoundError:
        zoo.card(model)  # which explains it
        raise


@lru_cache
def _weights(path: Path, state: tuple[int, int, int]) -> Spec:
    found: Spec = json.loads(path.read_text(encoding="utf-8"))["files"]
    return found


def without_defaults(given: Spec, defaults: Spec) -> dict[str, JSON]:
    """Entries that differ from their defaults, in plain spelling."""
    plain = {name: plainly(value) for name, value in given.items()}
    return {name: value for name, value in plain.items() if name not in defaults or value != plainly(defaults[name])}


def plainly(value: JSON) -> JSON:
    """Lists for tuples, whole numbers for floats that are whole."""
    if isinstance(value, Mapping):
        return {str(name): plainly(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plainly(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def canonical(value: JSON) -> str:
    """JSON with sorted names and without spaces."""
    return json.dumps(plainly(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key_of(value: JSON) -> str:
    """SHA-256 of canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
