"""Loading, training and checking the models of the zoo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import atomic_write, cache_root, data_root, sha256
from gancomp_core.nets import MultiScaleDiscriminator, PatchDiscriminator, build_generator
from gancomp_core.train.checkpoints import load_weights, read_about, save_weights
from gancomp_core.train.loop import Trained
from gancomp_core.zoo import cards
from gancomp_core.zoo.recipes import RECIPES, Recipe
from gancomp_core.zoo.scores import differences, grade


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
        """The critic it was trained against; raises :class:`GancompError` for a model that had none."""
        if "discriminator" not in self.models:
            raise GancompError(f"'{self.name}' was trained without a discriminator; it has {', '.join(self.models)}.")
        return self.models["discriminator"]


def names() -> list[str]:
    """The models that have a recipe."""
    return sorted(RECIPES)


def load(name: str) -> ZooModel:
    """A trained model of the zoo by name, float32, on the CPU, in eval mode.

    Raises :class:`GancompError` for an unknown name, and for weights that are missing, damaged or of another
    architecture.
    """
    folder = _folder(name)
    card = _read_card(folder)
    for file, digest in card["files"].items():
        if not (folder / file).is_file() or sha256(folder / file) != digest:
            raise GancompError(
                f"The shipped file {folder / file} is missing or damaged; 'git checkout -- data/zoo/{name}/{file}' "
                f"restores it, or 'python -m gancomp_core.zoo train {name}' trains it again."
            )
    models = {Path(file).stem: _read_network(folder / file) for file in card["files"]}
    return ZooModel(name, models, card)


def train(name: str) -> ZooModel:
    """Train a model of the zoo by its recipe (resuming from its checkpoint), evaluate it, write weights and card.

    Everything is made in the cache first and moved into the zoo at the end, the card last: a kill leaves the old model.
    """
    recipe, cache = _recipe(name), cache_root() / "zoo" / name.replace("/", "-")
    task = load_task(recipe.task)
    trained = recipe.method(
        task, recipe.architecture, recipe.settings, checkpoint=cache.with_suffix(".ckpt"), **recipe.options
    )
    models = _networks(trained, recipe.keeps)
    for network, module in models.items():
        save_weights(module.half(), cache / f"{network}.safetensors", _about(module))
        module.float()  # what is evaluated is what is shipped, rounding included
    card = cards.describe(name, recipe, trained, models["generator"], task)
    card["quality"] = grade(models, task, _judge(name, recipe.task))
    card["files"] = {f"{network}.safetensors": sha256(cache / f"{network}.safetensors") for network in models}
    cards.write(cache, card, models, task)
    for file in (*card["files"], cards.GRID, "card.md", "card.json"):
        with atomic_write(data_root() / "zoo" / name / file) as temporary:
            shutil.copyfile(cache / file, temporary)
    return load(name)


def check(name: str) -> list[str]:
    """Evaluate shipped weights again; one sentence for every number that differs from the card by more than 1 %."""
    model = load(name)
    measured = grade(model.models, load_task(model.card["task"]), _judge(name, model.card["task"]))
    return [f"{name}: {sentence}" for sentence in differences(model.card["quality"], measured)]


def regrade(name: str) -> ZooModel:
    """Evaluate shipped weights again and write the scores, and the grid, into their card."""
    model, folder = load(name), _folder(name)
    task = load_task(model.card["task"])
    card = {**model.card, "quality": grade(model.models, task, _judge(name, task.name))}
    cards.write(folder, card, model.models, task)
    return load(name)


def _networks(trained: Trained, keeps: Iterable[str]) -> dict[str, nn.Module]:
    """The networks worth keeping, on the CPU: averaged where there is an average."""
    everything = {**trained.models, **trained.averaged}
    return {network: everything[network].cpu() for network in keeps}


def _about(module: nn.Module) -> dict[str, Any]:
    described: Any = module
    if hasattr(described, "architecture"):
        return {"architecture": described.architecture.as_dict()}
    return {"settings": described.settings}


def _read_network(path: Path) -> nn.Module:
    about = read_about(path)
    if "architecture" in about:
        module = build_generator(about["architecture"])
    else:
        kind = MultiScaleDiscriminator if "scales" in about["settings"] else PatchDiscriminator
        module = kind(**about["settings"])
    return load_weights(module, path).eval().requires_grad_(False)


def _judge(name: str, task: str) -> nn.Module | None:
    """The segmenter that grades this model, if its task has one."""
    judge = f"{task}/segmenter"
    return load(judge).generator if judge in RECIPES and judge != name else None


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise GancompError(f"There is no model '{name}' in the zoo; choose one of {', '.join(names())}.")
    return RECIPES[name]


def _folder(name: str) -> Path:
    _recipe(name)
    folder = data_root() / "zoo" / name
    if not (folder / "card.json").is_file():
        raise GancompError(
            f"The weights of '{name}' are not in {folder}; 'git checkout -- data/zoo/{name}' restores them, "
            f"or 'python -m gancomp_core.zoo train {name}' trains them."
        )
    return folder


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise GancompError(
            f"The model card {folder / 'card.json'} is damaged; 'git checkout -- data/zoo' restores it."
        ) from error
