"""Loading, training and checking the models of the zoo."""

from __future__ import annotations

import dataclasses
import json
import lzma
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import atomic_write, cache_root, data_root, sha256, write_between
from gancomp_core.nets import MultiScaleDiscriminator, PatchDiscriminator, build_generator
from gancomp_core.train.checkpoints import load_weights, read_about, save_weights
from gancomp_core.train.loop import Trained
from gancomp_core.zoo import cards
from gancomp_core.zoo.recipes import RECIPES, Recipe
from gancomp_core.zoo.scores import differences, grade

TABLE_BEGINS, TABLE_ENDS = "<!-- zoo table: written by python -m gancomp_core.zoo table --write -->", "<!-- end -->"
SHOWN = ("generator", "backward_generator")  # of a recipe that keeps nothing, for its card alone
TOLERANCE = {"cost": 0.0, "quality": 0.01}
#: How weights in float16 are packed: two bytes that belong together, of which the upper one says most.
PACKING = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 1, "pb": 1}]
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
    """The models that :func:`load` knows: those whose recipe keeps weights."""
    return sorted(name for name, recipe in RECIPES.items() if recipe.keeps)


def load(name: str) -> ZooModel:
    """A trained model of the zoo by name, float32, on the CPU, in eval mode.

    Raises :class:`GancompError` for an unknown name, for weights that are missing, damaged or of another architecture,
    and for a model that is shown but not shipped.
    """
    folder = _folder(name)
    if not RECIPES[name].keeps:
        raise GancompError(
            f"'{name}' ships no weights, because its pictures convince nobody: see {folder / 'card.md'}; "
            f"'python -m gancomp_core.zoo train {name}' trains it."
        )
    card = _read_card(folder)
    with tempfile.TemporaryDirectory(prefix="gancomp-") as opened:
        models = {}
        for file, digest in card["files"].items():
            plain = Path(opened) / file
            if not _unpack(folder / _packed(file), plain) or sha256(plain) != digest:
                raise GancompError(
                    f"The shipped file {folder / _packed(file)} is missing or damaged; "
                    f"'git checkout -- data/zoo/{name}/{_packed(file)}' restores it, "
                    f"or 'python -m gancomp_core.zoo train {name}' trains it again."
                )
            models[plain.stem] = _read_network(plain)
    return ZooModel(name, models, card)


def card(name: str) -> dict[str, Any]:
    """The model card of a shipped model as plain values, without its networks; raises as :func:`load` does."""
    return _read_card(_folder(name))


def train(name: str) -> ZooModel:
    """Train a model of the zoo by its recipe, evaluate it, write weights and card.

    Training resumes from its checkpoint in the cache; one that has finished there is only evaluated again. Everything
    is made in the cache first and moved into the zoo at the end, the card last: a kill leaves the old model, or, in
    that last moment, one that :func:`load` calls damaged and this command mends.
    """
    recipe, cache = _recipe(name), cache_root() / "zoo" / name.replace("/", "-")
    task, judge = load_task(recipe.task), _judge(name, recipe.task)  # the judge first: it may be missing
    trained = recipe.function(
        task, recipe.architecture, recipe.settings, checkpoint=cache.with_suffix(".ckpt"), **recipe.options
    )
    models = _networks(trained, recipe.keeps or SHOWN)
    for network, module in models.items():
        save_weights(module.half(), cache / f"{network}.safetensors", _about(module))
        module.float()  # what is evaluated is what is shipped, rounding included
    card = cards.describe(name, recipe, trained, models["generator"], task)
    card["quality"] = grade(models, task, judge)
    card["files"] = {f"{network}.safetensors": sha256(cache / f"{network}.safetensors") for network in recipe.keeps}
    cards.write(cache, card, models, task)
    folder = data_root() / "zoo" / name
    for file in card["files"]:
        with atomic_write(folder / _packed(file)) as temporary:
            temporary.write_bytes(lzma.compress((cache / file).read_bytes(), filters=PACKING))
    for file in (cards.GRID, "card.md", "card.json"):
        with atomic_write(folder / file) as temporary:
            shutil.copyfile(cache / file, temporary)
    for left in _networks_in(folder) - set(card["files"]):  # of an older recipe
        (folder / _packed(left)).unlink()
    return load(name) if recipe.keeps else ZooModel(name, models, card)


def samples(name: str, count: int = 8) -> dict[str, Tensor]:
    """What a model makes of ``count`` test pictures, evenly spread and not chosen: see :func:`cards.samples`."""
    model = load(name)
    task = load_task(model.card["task"])
    return cards.samples(model.models, task, torch.linspace(0, len(task.test) - 1, count).long())


def grid(name: str) -> Image.Image:
    """The picture of a model card: test pictures, evenly spread and not chosen; models without weights have one too."""
    path = _folder(name) / cards.GRID
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise GancompError(
            f"The shipped file {path} is missing or damaged; 'git checkout -- data/zoo/{name}/{cards.GRID}' restores "
            f"it, or 'python -m gancomp_core.zoo regrade {name}' draws it again."
        ) from error


def check(name: str) -> list[str]:
    """Evaluate shipped weights again; one sentence for everything in which they, or their recipe, differ from the card.

    That is: a file that is missing, damaged or not listed; another recipe, other pictures, another cost; and every
    number of the quality that differs by more than 1 %. Raises :class:`GancompError` for an unknown name alone.
    """
    recipe = _recipe(name)
    try:
        folder, task = _folder(name), load_task(recipe.task)
        card = _read_card(folder)
        measured = _measured(name, task) if recipe.keeps else {}
    except GancompError as error:
        return [f"{name}: {error}"]
    found = [
        *_odd_files(folder, card, recipe),
        *differences(_stated(card, recipe), _wanted(recipe), "the recipe's ", tolerance=0),
        *differences({"fingerprint": card["data"]}, {"fingerprint": task.fingerprint}, "the task's ", tolerance=0),
        *(
            sentence
            for part, now in measured.items()
            for sentence in differences(card[part], now, f"{part}.", TOLERANCE[part])
        ),
    ]
    return [f"{name}: {sentence}." for sentence in found]


def regrade(name: str) -> ZooModel:
    """Evaluate shipped weights again and write cost, scores and grid into their card."""
    model, folder = load(name), _folder(name)
    task = load_task(model.card["task"])
    cards.write(folder, {**model.card, **_measured(name, task)}, model.models, task)
    return load(name)


def _measured(name: str, task: Task) -> dict[str, Any]:
    """Cost and quality of the shipped weights, as they are measured here and now."""
    model = load(name)
    return {
        "cost": cards.expense(model.generator, task),
        "quality": grade(model.models, task, _judge(name, task.name)),
    }


def shipped() -> list[str]:
    """The models that have a card."""
    return [name for name in sorted(RECIPES) if (data_root() / "zoo" / name / "card.json").is_file()]


def table(write: bool = False) -> str:
    """The shipped models as a Markdown table; ``write`` puts it between its marks in ``data/README.md``."""
    text = cards.table(_read_card(_folder(name)) for name in shipped())
    if write:
        write_between(data_root() / "README.md", TABLE_BEGINS, TABLE_ENDS, text)
    return text


def _wanted(recipe: Recipe) -> dict[str, Any]:
    """What a recipe asks for, as a card would say it; the precision only where it is not left to the machine."""
    settings = {**dataclasses.asdict(recipe.settings), **recipe.options}
    if recipe.settings.precision == "auto":
        del settings["precision"]
    wanted = {"task": recipe.task, "architecture": recipe.architecture.as_dict(), "settings": settings}
    return json.loads(json.dumps(wanted))  # lists for tuples, as in a card


def _stated(card: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The part of a card that :func:`_wanted` speaks of."""
    stated = {key: card[key] for key in ("task", "architecture", "settings")}
    if recipe.settings.precision == "auto":
        stated["settings"] = {key: value for key, value in card["settings"].items() if key != "precision"}
    return stated


def _odd_files(folder: Path, card: Mapping[str, Any], recipe: Recipe) -> list[str]:
    odd, wanted = [], {f"{network}.safetensors" for network in recipe.keeps}
    text = (folder / "card.md").read_text(encoding="utf-8") if (folder / "card.md").is_file() else ""
    if not wanted == set(card["files"]) == _networks_in(folder):
        kept, listed, found = (", ".join(sorted(files)) for files in (wanted, card["files"], _networks_in(folder)))
        odd.append(f"the recipe keeps {kept}, the card lists {listed}, and the folder holds {found}")
    if card["quality"]["text"] not in text:
        odd.append("card.md is missing or does not say what card.json says; 'regrade' writes it again")
    if not (folder / cards.GRID).is_file():
        odd.append(f"{cards.GRID} is missing; 'regrade' writes it again")
    return odd


def _packed(file: str) -> str:
    """The name under which the weights in ``file`` are shipped."""
    return f"{file}.xz"


def _unpack(packed: Path, plain: Path) -> bool:
    """Whether a packed file could be read; its content is in ``plain`` then."""
    try:
        with lzma.open(packed) as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (OSError, EOFError, lzma.LZMAError):
        return False
    return True


def _networks_in(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob(_packed("*.safetensors")) if not path.name.startswith(".")}


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
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        if not isinstance(card, dict) or not CARD_KEYS <= card.keys():
            raise ValueError("it is not a model card")
    except ValueError as error:
        raise GancompError(
            f"The model card {folder / 'card.json'} is damaged; 'git checkout -- data/zoo' restores it."
        ) from error
    return card
