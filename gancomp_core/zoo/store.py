"""Trained weights with model cards, and the recipes that train each of them again.

    python -m gancomp_core.zoo list
    python -m gancomp_core.zoo train edges2shoes/teacher  # resumes where it was killed
    python -m gancomp_core.zoo train --all
    python -m gancomp_core.zoo check --all                # evaluates the shipped weights and compares with their cards

A model lives in ``data/zoo/<name>/``: ``generator.safetensors`` and ``discriminator.safetensors`` in float16 (the
numbers of the card were measured after that rounding), ``card.json``, ``card.md`` and ``grid.png``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import atomic_write, cache_root, data_root, sha256
from gancomp_core.measure import cost, evaluate_generator, machine_class
from gancomp_core.nets import ChannelConfig, PatchDiscriminator, ResnetArchitecture, ResnetGenerator
from gancomp_core.train import pix2pix
from gancomp_core.train.checkpoints import load_weights, read_about, save_weights
from gancomp_core.train.loop import Settings, Trained
from gancomp_core.train.progress import tile

log = logging.getLogger("gancomp")


@dataclass(frozen=True)
class Recipe:
    """How one model of the zoo is trained; ``summary`` says in a sentence what it is for."""

    task: str
    architecture: ResnetArchitecture
    settings: Settings
    summary: str
    lr: float = 4e-4


RECIPES = {
    "edges2shoes/teacher": Recipe(
        "edges2shoes",
        ResnetArchitecture(ChannelConfig.uniform(32), blocks=6, in_channels=1, out_channels=1),
        Settings(steps=12_000),
        "The teacher of the course: draws a shoe from its edges, and everything later is measured against it.",
    ),
    "edges2shoes/small_student": Recipe(
        "edges2shoes",
        ResnetArchitecture(ChannelConfig.uniform(16), blocks=3, in_channels=1, out_channels=1),
        Settings(steps=12_000),
        "A plain small network, trained exactly like the teacher: what one gets by just making it small.",
    ),
}


@dataclass(frozen=True)
class ZooModel:
    """A trained model.

    ``generator`` and ``discriminator`` are in eval mode; ``card`` holds the plain values of its model card.
    """

    name: str
    generator: nn.Module
    discriminator: nn.Module
    card: dict[str, Any]


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
    generator = ResnetGenerator(
        ResnetArchitecture.from_dict(read_about(folder / "generator.safetensors")["architecture"])
    )
    discriminator = PatchDiscriminator(**read_about(folder / "discriminator.safetensors")["settings"])
    for module, file in ((generator, "generator"), (discriminator, "discriminator")):
        load_weights(module, folder / f"{file}.safetensors").eval().requires_grad_(False)
    return ZooModel(name, generator, discriminator, card)


def train(name: str) -> ZooModel:
    """Train a model of the zoo by its recipe (resuming from its checkpoint), evaluate it, write weights and card.

    Everything is made in the cache first and moved into the zoo at the end, the card last: a kill leaves the old model.
    """
    recipe, cache = _recipe(name), cache_root() / "zoo" / name.replace("/", "-")
    trained = pix2pix.train_pix2pix(
        load_task(recipe.task),
        recipe.architecture,
        recipe.settings,
        lr=recipe.lr,
        checkpoint=cache.with_suffix(".ckpt"),
    )
    generator = cast(ResnetGenerator, trained.averaged["generator"]).cpu()
    discriminator = cast(PatchDiscriminator, trained.models["discriminator"]).cpu()
    save_weights(generator.half(), cache / "generator.safetensors", {"architecture": generator.architecture.as_dict()})
    save_weights(discriminator.half(), cache / "discriminator.safetensors", {"settings": discriminator.settings})
    card = _card(name, recipe, trained, generator.float())  # what is evaluated is what is shipped, rounding included
    card["files"] = {file: sha256(cache / file) for file in ("generator.safetensors", "discriminator.safetensors")}
    _write_card(cache, card, generator)
    for file in (*card["files"], "grid.png", "card.md", "card.json"):
        with atomic_write(data_root() / "zoo" / name / file) as temporary:
            shutil.copyfile(cache / file, temporary)
    return load(name)


def check(name: str) -> list[str]:
    """Evaluate shipped weights again; one sentence for every number that differs from the card by more than 1 %."""
    model = load(name)
    measured = _quality(model.generator, model.card["task"])
    return [
        f"{name}: {key} is {value:.5g} here and {model.card['quality'][key]:.5g} in the card"
        for key, value in measured.items()
        if isinstance(value, float) and abs(value - model.card["quality"][key]) > 0.01 * abs(model.card["quality"][key])
    ]


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


def _quality(generator: nn.Module, task: str) -> dict[str, Any]:
    quality = evaluate_generator(generator, load_task(task))
    return {**quality.as_dict(), "text": str(quality)}


def _card(name: str, recipe: Recipe, trained: Trained, generator: ResnetGenerator) -> dict[str, Any]:
    task = load_task(recipe.task)
    expense = cost(generator, task.size, task.size)
    return {
        "name": name,
        "summary": recipe.summary,
        "task": recipe.task,
        "command": f"python -m gancomp_core.zoo train {name}",
        "architecture": generator.architecture.as_dict(),
        "objective": str(pix2pix.default_objective()),
        "settings": {**dataclasses.asdict(recipe.settings), "lr": recipe.lr, "precision": trained.precision},
        "minutes": round(trained.seconds / 60, 1),
        "device": trained.device,
        "threads": trained.threads,
        "machine": machine_class(),
        "data": task.fingerprint,
        "cost": {"macs": expense.macs, "params": expense.params, "bytes_fp32": expense.bytes_fp32},
        "quality": _quality(generator, recipe.task),
        "licence": "MIT, like the rest of the course; trained on Fashion-MNIST (MIT, Zalando SE)",
    }


def _write_card(folder: Path, card: dict[str, Any], generator: nn.Module) -> None:
    task = load_task(card["task"])
    with atomic_write(folder / "grid.png") as temporary:
        tile(_grid(generator, task), scale=2).save(temporary)
    with atomic_write(folder / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    with atomic_write(folder / "card.md") as temporary:
        temporary.write_text(_markdown(card), encoding="utf-8")


@torch.inference_mode()
def _grid(generator: nn.Module, task: Any, count: int = 16) -> list[Tensor]:
    """Rows of test pictures, evenly spread and not chosen: sources, generated, targets; twice."""
    rows = []
    for half in torch.linspace(0, len(task.test) - 1, 2 * count).long().chunk(2):
        batch = task.test.batch(half)
        rows += [batch.source, generator(batch.source), batch.target]
    return rows


METRIC_NOTE = (
    "FD-EfficientNet-Lite0 is a Frechet distance in the features of EfficientNet-Lite0 at 96 pixels; "
    "it is not an FID, and compares\n"
    'only with numbers of the same name. "Real against real" is what a perfect generator would get '
    "from the same number of pictures.\n"
)


def _markdown(card: dict[str, Any]) -> str:
    quality, settings, net = card["quality"], card["settings"], card["architecture"]
    legend = "Rows of three: edges, what the generator makes of them, the real photograph; "
    legend += "test pictures evenly spread, not chosen"
    recipe = f"{settings['steps']:,}, {settings['batch_size']}, {settings['lr']:g}, {settings['seed']}"
    return f"""# {card["name"]}

{card["summary"]}

![{legend}](grid.png)

| | |
|---|---|
| architecture | ResNet generator, channels {net["channels"]}, {net["blocks"]} blocks |
| cost | {card["cost"]["macs"] / 1e6:.1f} M MACs a picture, {card["cost"]["params"]:,} parameters |
| trained by | `{card["command"]}` |
| objective | {card["objective"]} |
| steps, batch, learning rate, seed | {recipe} |
| time | {card["minutes"]} minutes, {card["threads"]} thread(s), on {card["machine"]}, {settings["precision"]} |
| data | {card["task"]}, fingerprint {card["data"][:16]} |
| quality | {quality["text"]} |
| licence | {card["licence"]} |

{METRIC_NOTE}"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gancomp_core.zoo", description="Train, list and check the zoo.")
    parser.add_argument("action", choices=("list", "train", "check"))
    parser.add_argument("names", nargs="*", help="models, for example edges2shoes/teacher")
    parser.add_argument("--all", action="store_true", help="every model")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    chosen = names() if options.all else options.names
    try:
        return _act(options.action, chosen)
    except GancompError as error:
        print(error, file=sys.stderr)
        return 1


def _act(action: str, chosen: list[str]) -> int:
    if action == "list":
        print("\n".join(f"{name}: {RECIPES[name].summary}" for name in names()))
        return 0
    if not chosen:
        raise GancompError(f"Name a model, or pass --all; the zoo has {', '.join(names())}.")
    if action == "train":
        for name in chosen:
            print(f"{name}: {train(name).card['quality']['text']}")
        return 0
    differences = [sentence for name in chosen for sentence in check(name)]
    print("\n".join(differences) or f"{len(chosen)} models agree with their cards.")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
