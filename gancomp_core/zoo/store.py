"""Reading the trained models of the zoo."""

from __future__ import annotations

import json
import lzma
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root, sha256
from gancomp_core.nets import MultiScaleDiscriminator, PatchDiscriminator, build_generator
from gancomp_core.train.checkpoints import load_weights, read_about
from gancomp_core.zoo.pictures import sample_rows

GRID = "grid.webp"
CARD_KEYS = {"name", "task", "architecture", "settings", "data", "cost", "quality", "files"}


@dataclass(frozen=True)
class ZooModel:
    """A trained model.

    ``models`` holds its networks by name, in eval mode: "generator", and what else was trained with it (a
    "discriminator", the "backward_generator" of a CycleGAN ...). ``card`` holds the plain values of its model card.
    """

    name: str
    models: Mapping[str, nn.Module]
    card: dict[str, Any]

    @property
    def generator(self) -> nn.Module:
        return self.models["generator"]

    @property
    def discriminator(self) -> nn.Module:
        """The critic it was trained against; raises :class:`GancompError` for a model that ships without one."""
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
    """The models that have a card; one whose pictures are too poor ships it without weights."""
    return sorted(path.parent.relative_to(_zoo()).as_posix() for path in _zoo().glob("*/*/card.json"))


def load(name: str) -> ZooModel:
    """A trained model of the zoo by name, float32, on the CPU, in eval mode.

    Raises :class:`GancompError` for an unknown name, for weights that are missing, damaged or of another architecture,
    and for a model that is shown but not shipped.
    """
    folder = folder_of(name)
    card = read_card(folder)
    if not card["files"]:
        raise GancompError(
            f"'{name}' ships no weights, because its quality is too low: see {folder / 'card.md'}; "
            f"'python -m gancomp_core.lab.shipped_models train {name}' trains it."
        )
    with tempfile.TemporaryDirectory(prefix="gancomp-") as opened:
        models = {}
        for file, digest in card["files"].items():
            plain = Path(opened) / file
            if not _unpack(folder / packed(file), plain) or sha256(plain) != digest:
                raise GancompError(
                    f"The shipped file {folder / packed(file)} is missing or damaged; "
                    f"'git checkout -- data/zoo/{name}/{packed(file)}' restores it, "
                    f"or 'python -m gancomp_core.lab.shipped_models train {name}' trains it again."
                )
            models[plain.stem] = _read_network(plain)
    return ZooModel(name, models, card)


def card(name: str) -> dict[str, Any]:
    """The model card of a shipped model as plain values, without its networks; raises as :func:`load` does."""
    return read_card(folder_of(name))


def samples(name: str, count: int = 8) -> dict[str, Tensor]:
    """What a model makes of ``count`` test pictures, evenly spread and not chosen: see :func:`sample_rows`."""
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
            f"it, or 'python -m gancomp_core.lab.shipped_models regrade {name}' draws it again."
        ) from error


def _unpack(packed: Path, plain: Path) -> bool:
    """Whether a packed file could be read; its content is in ``plain`` then."""
    try:
        with lzma.open(packed) as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (OSError, EOFError, lzma.LZMAError):
        return False
    return True


def packed(file: str) -> str:
    """The name under which the weights in ``file`` are shipped."""
    return f"{file}.xz"


def _read_network(path: Path) -> nn.Module:
    about = read_about(path)
    if "architecture" in about:
        module = build_generator(about["architecture"])
    else:
        kind = MultiScaleDiscriminator if "scales" in about["settings"] else PatchDiscriminator
        module = kind(**about["settings"])
    return load_weights(module, path).eval().requires_grad_(False)


def folder_of(name: str) -> Path:
    """Where the files of a model are; raises :class:`GancompError` for one that is not there."""
    folder = _zoo() / name
    if name not in shown():
        raise GancompError(
            f"There is no model '{name}' in {_zoo()}; choose one of {', '.join(names())}. "
            f"'git checkout -- data/zoo/{name}' restores one that was shipped, "
            f"'python -m gancomp_core.lab.shipped_models train {name}' trains it."
        )
    return folder


def _zoo() -> Path:
    return data_root() / "zoo"


def read_card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        if not isinstance(card, dict) or not CARD_KEYS <= card.keys():
            raise ValueError("it is not a model card")
    except ValueError as error:
        raise GancompError(
            f"The model card {folder / 'card.json'} is damaged; 'git checkout -- data/zoo' restores it."
        ) from error
    return card
