"""Training, checking and evaluating the models of the zoo."""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from gancomp_core.data import Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import Json, atomic_write, cache_root, data_root, sha256, write_between
from gancomp_core.lab.kinds import Job
from gancomp_core.lab.shipped_models import cards
from gancomp_core.lab.shipped_models.models import Model, model_of, models
from gancomp_core.lab.shipped_models.scores import differences, grade
from gancomp_core.train import Checkpoint
from gancomp_core.train.checkpoints import save_weights
from gancomp_core.train.loop import Trained
from gancomp_core.zoo.store import GRID, ZooModel, folder_of, load, names, packed, read_card, shown

TABLE_BEGINS = "<!-- zoo table: written by gancomp zoo table --write -->"
TABLE_ENDS = "<!-- end -->"
SHOWN = ("generator", "backward_generator")  # of a model that ships nothing, for its card alone
TOLERANCE = {"cost": 0.0, "quality": 0.01}
#: How weights in float16 are packed: two bytes that belong together, of which the upper one says most.
PACKING = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 1, "pb": 1}]


def train(name: str) -> ZooModel:
    """Train a model of the zoo as the list of experiments says, evaluate it, write weights and card.

    Training resumes from its checkpoint in the cache; one that has finished there is only evaluated again. Everything
    is made in the cache first and moved into the zoo at the end, the card last: a kill leaves the old model, or, in
    that last moment, one that :func:`load` calls damaged and this command mends.
    """
    model, cache = model_of(name), cache_root() / "zoo" / name.replace("/", "-")
    task, judge = load_task(model.task), _judge(name, model.task)  # the judge first: it may be missing
    trained = Job(model.experiment, [Checkpoint(cache.with_suffix(".ckpt"))]).train()
    networks = _networks(trained, model.ships or SHOWN)
    for network, module in networks.items():
        save_weights(module.half(), cache / f"{network}.safetensors", _about(module))
        module.float()  # what is evaluated is what is shipped, rounding included
    card = cards.describe(model, trained, networks["generator"], task)
    card["quality"] = grade(networks, task, judge)
    card["files"] = {f"{network}.safetensors": sha256(cache / f"{network}.safetensors") for network in model.ships}
    cards.write(cache, card, networks, task)
    folder = data_root() / "zoo" / name
    for file in card["files"]:
        with atomic_write(folder / packed(file)) as temporary:
            temporary.write_bytes(lzma.compress((cache / file).read_bytes(), filters=PACKING))
    for file in (GRID, "card.md", "card.json"):
        with atomic_write(folder / file) as temporary:
            shutil.copyfile(cache / file, temporary)
    for left in _networks_in(folder) - set(card["files"]):  # of an older training
        (folder / packed(left)).unlink()
    return load(name) if model.ships else ZooModel(name, networks, card)


def check(name: str) -> list[str]:
    """Evaluate shipped weights again and compare them, and the list of experiments, with the card.

    Args:
        name: Name of the model.

    Returns:
        A sentence for everything that differs: a file that is missing, damaged or not listed; another training, other
        pictures, another cost; and every number of the quality that differs by more than 1 %.

    Raises:
        GancompError: For an unknown name only.
    """
    model = model_of(name)
    try:
        folder, task = folder_of(name), load_task(model.task)
        card = read_card(folder)
        measured = _measured(name, task) if model.ships else {}
    except GancompError as error:
        return [f"{name}: {error}"]
    found = [
        *_odd_files(folder, card, model),
        *differences(_stated(card, model), model.asked, "the list's ", tolerance=0),
        *differences({"fingerprint": card["data"]}, {"fingerprint": task.fingerprint}, "the task's ", tolerance=0),
        *(
            sentence
            for part, now in measured.items()
            for sentence in differences(card[part], now, f"{part}.", TOLERANCE[part])
        ),
    ]
    return [f"{name}: {sentence}." for sentence in found]


def evaluate(name: str) -> ZooModel:
    """Evaluate shipped weights again and write cost, scores and grid into their card."""
    model, folder = load(name), folder_of(name)
    task = load_task(model.card["task"])
    cards.write(folder, {**model.card, **_measured(name, task)}, model.models, task)
    return load(name)


def _measured(name: str, task: Task) -> Json:
    """Cost and quality of the shipped weights, as they are measured here and now."""
    model = load(name)
    return {
        "cost": cards.expense(model.generator, task),
        "quality": grade(model.models, task, _judge(name, task.name)),
    }


def in_order(weights: bool = False) -> list[str]:
    """Every model in the order of training, a segmenter before those it judges; ``weights``: those that ship some."""
    everything = set(shipped()) & set(names()) if weights else set(models())
    return sorted(everything, key=lambda name: (not name.endswith("/segmenter"), name))


def shipped() -> list[str]:
    """The models of the list that have a card."""
    return [name for name in shown() if name in models()]


def table(write: bool = False) -> str:
    """The shipped models as a Markdown table; ``write`` puts it between its marks in ``data/README.md``."""
    text = cards.table(read_card(folder_of(name)) for name in shipped())
    if write:
        write_between(data_root() / "README.md", TABLE_BEGINS, TABLE_ENDS, text)
    return text


def _stated(card: Json, model: Model) -> Json:
    """The part of a card that :attr:`Model.asked` speaks of."""
    left_out = {"ema", *({"precision"} if model.experiment["precision"] == "auto" else ())}
    settings = {name: value for name, value in card["settings"].items() if name not in left_out}
    return {"task": card["task"], "architecture": card["architecture"], "settings": settings}


def _odd_files(folder: Path, card: Json, model: Model) -> list[str]:
    odd, wanted = [], {f"{network}.safetensors" for network in model.ships}
    text = (folder / "card.md").read_text(encoding="utf-8") if (folder / "card.md").is_file() else ""
    if not wanted == set(card["files"]) == _networks_in(folder):
        kept, listed, found = (", ".join(sorted(files)) for files in (wanted, card["files"], _networks_in(folder)))
        odd.append(f"the list ships {kept}, the card lists {listed}, and the folder holds {found}")
    if card["quality"]["text"] not in text:
        odd.append("card.md is missing or does not say what card.json says; 'gancomp zoo evaluate' writes it again")
    if not (folder / GRID).is_file():
        odd.append(f"{GRID} is missing; 'gancomp zoo evaluate' writes it again")
    return odd


def _networks_in(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob(packed("*.safetensors")) if not path.name.startswith(".")}


def _networks(trained: Trained, names: Iterable[str]) -> dict[str, nn.Module]:
    """Networks by name, on the CPU: averaged where there is an average."""
    everything = {**trained.models, **trained.averaged}
    return {network: everything[network].cpu() for network in names}


def _about(module: nn.Module) -> Json:
    described: Any = module
    if hasattr(described, "architecture"):
        return {"architecture": described.architecture.as_dict()}
    return {"settings": described.settings}


def _judge(name: str, task: str) -> nn.Module | None:
    """The segmenter that grades this model, if its task has one."""
    judge = f"{task}/segmenter"
    return load(judge).generator if judge in models() and judge != name else None
