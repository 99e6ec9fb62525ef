"""Reading the trained models of the zoo."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import Json, data_root
from gancomp_core.nets import Generator
from gancomp_core.zoo.pictures import sample_rows
from gancomp_core.zoo.weights import Damaged, read_network

GRID = "grid.webp"
WEIGHTS = ".safetensors"  # what a file of weights is called behind the name of its network
CARD = {"name": str, "task": str, "architecture": dict, "settings": dict, "data": str, "cost": dict, "quality": dict}


@dataclass(frozen=True)
class ZooModel:
    """A trained model.

    Attributes:
        name: Its name, "task/model".
        models: Its networks by name, in eval mode: "generator", and what was trained with it (a "discriminator", the
            "backward_generator" of a CycleGAN ...).
        card: The plain values of its model card.
    """

    name: str
    models: Mapping[str, nn.Module]
    card: Json

    @property
    def generator(self) -> nn.Module:
        return self.models["generator"]

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator that it was trained against.

        Raises:
            GancompError: For a model that ships without one.
        """
        if "discriminator" not in self.models:
            raise GancompError(
                f"'{self.name}' has no discriminator in the zoo, only {', '.join(self.models)}; start with a fresh one "
                "from gancomp_core.nets, or take a teacher that ships with one, such as 'edges2shoes/teacher'."
            )
        return self.models["discriminator"]


def names() -> list[str]:
    """The models that :func:`load` knows: those that ship weights."""
    return [name for name in shown() if read_card(_zoo() / name)["files"]]


def shown() -> list[str]:
    """The models that have a card; those whose pictures are too poor ship without weights."""
    return sorted(path.parent.relative_to(_zoo()).as_posix() for path in _zoo().glob("*/*/card.json"))


def load(name: str) -> ZooModel:
    """A trained model of the zoo.

    Its files are read once and kept in memory; every call returns a separate copy, which may be trained or changed.

    Args:
        name: "task/model", one of :func:`names`.

    Returns:
        The model: float32, on the CPU, in eval mode.

    Raises:
        GancompError: For an unknown name, for weights that are missing, damaged or of another architecture, and for a
            model that ships without weights.
    """
    folder = folder_of(name)
    card = read_card(folder)
    if not card["files"]:
        raise GancompError(
            f"'{name}' ships no weights, because its quality is too low: see {folder / 'card.md'}; "
            f"'gancomp zoo train {name}' trains it."
        )
    models = {
        file.removesuffix(WEIGHTS): copy.deepcopy(_network(folder / packed(file), digest, name))
        for file, digest in card["files"].items()
    }
    pixels = card["cost"].get("pixels", 32)
    for network in models.values():
        if isinstance(network, Generator):
            network.pixels = (pixels, pixels)
    return ZooModel(name, models, card)


def _network(path: Path, digest: str, name: str) -> nn.Module:
    """The network in a shipped file: read once as long as the file stays the same; not to be changed."""
    try:
        stat = path.stat()
        return _read_once(path, digest, (stat.st_ino, stat.st_size, stat.st_mtime_ns))
    except (Damaged, FileNotFoundError) as error:
        raise GancompError(
            f"The shipped file {path} is missing or damaged; 'git checkout -- data/zoo/{name}/{path.name}' restores "
            f"it, or 'gancomp zoo train {name}' trains it again."
        ) from error
    except OSError as error:
        raise GancompError(
            f"The shipped file {path} cannot be read ({error.strerror}); see to it and call again."
        ) from error


@functools.lru_cache(maxsize=64)  # networks; the whole zoo has 22, of 27 MB
def _read_once(path: Path, digest: str, state: tuple[int, int, int]) -> nn.Module:
    return read_network(path, digest)


def card(name: str) -> Json:
    """The model card of a shipped model as plain values, without its networks; raises as :func:`load` does."""
    return read_card(folder_of(name))


def samples(name: str, count: int = 8) -> dict[str, Tensor]:
    """What a model makes of test pictures, evenly spread over the split and not chosen; see :func:`sample_rows`."""
    model = load(name)
    task = load_task(model.card["task"])
    return sample_rows(model.models, task, torch.linspace(0, len(task.test) - 1, count).long())


def grid(name: str) -> Image.Image:
    """The picture of a model card: test pictures, evenly spread and not chosen; models without weights have one too."""
    path = folder_of(name) / GRID
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise GancompError(
            f"The shipped file {path} is missing or damaged; 'git checkout -- data/zoo/{name}/{GRID}' restores "
            f"it, or 'gancomp zoo evaluate {name}' draws it again."
        ) from error


def packed(file: str) -> str:
    """The name under which the weights in ``file`` are shipped."""
    return f"{file}.xz"


def folder_of(name: str) -> Path:
    """Where the files of a model are; raises :class:`GancompError` for one that is not there."""
    if name not in shown():
        raise GancompError(
            f"There is no model '{name}' in {_zoo()}; choose one of {', '.join(names())}. "
            f"'git checkout -- data/zoo/{name}' restores one that was shipped, "
            f"'gancomp zoo train {name}' trains it."
        )
    return _zoo() / name


def _zoo() -> Path:
    return data_root() / "zoo"


def read_card(folder: Path) -> Json:
    """The model card in a folder as plain values; raises :class:`GancompError` for one that is damaged."""
    path = folder / "card.json"
    try:
        card: Json = json.loads(path.read_text(encoding="utf-8"))
        if not _is_card(card):
            raise ValueError("it is not a model card")
    except OSError as error:
        raise GancompError(
            f"The model card {path} cannot be read ({error.strerror}); see to it and call again."
        ) from error
    except (ValueError, RecursionError) as error:
        raise GancompError(f"The model card {path} is damaged; 'git checkout -- data/zoo' restores it.") from error
    return card


def _is_card(card: object) -> bool:
    """Whether a value has what is read of a card, each of its kind."""
    if not isinstance(card, dict) or not all(isinstance(card.get(key), kind) for key, kind in CARD.items()):
        return False
    return card["cost"].get("pixels", 32) in range(1, 2**14) and _names_networks(card.get("files"))


def _names_networks(files: object) -> bool:
    """Whether these are the checksums of weights by file name: plain names, which lead nowhere else."""
    return isinstance(files, dict) and all(
        re.fullmatch(rf"[a-z][a-z_]*{re.escape(WEIGHTS)}", file) and isinstance(digest, str)
        for file, digest in files.items()
    )
