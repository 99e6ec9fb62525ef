"""Model cards: the facts as JSON, the same for readers as Markdown, and a grid of test pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Task
from gancomp_core.files import Json, atomic_write
from gancomp_core.lab.shipped_models.models import Model
from gancomp_core.lab.shipped_models.scores import Scores
from gancomp_core.measure import cost, machine_class
from gancomp_core.nets import Architecture
from gancomp_core.train.loop import Trained
from gancomp_core.train.progress import tile
from gancomp_core.zoo.pictures import sample_rows
from gancomp_core.zoo.store import GRID

COPY = "copying the input"


def describe(model: Model, trained: Trained, generator: nn.Module, task: Task) -> Json:
    """All that the card states except the scores."""
    return {
        "name": model.name,
        "summary": model.summary,
        "task": model.task,
        "command": f"gancomp zoo train {model.name}",
        "architecture": cast(Any, generator).architecture.as_dict(),
        "objective": trained.objective,
        "settings": {**model.settings, "precision": trained.precision},
        "minutes": round(trained.seconds / 60, 1),
        "device": trained.device,
        "threads": trained.threads,
        "machine": machine_class(),
        "data": task.fingerprint,
        "cost": expense(generator, task),
        "licence": f"MIT, like the rest of the course; trained on {model.pictures}",
    }


def expense(generator: nn.Module, task: Task) -> dict[str, int]:
    """What one picture of the task costs; ``pixels`` is the height and width of the picture that goes in."""
    size = task.size // task.scale
    price = cost(generator, size, size)
    return {"macs": price.macs, "params": price.params, "bytes_fp32": price.bytes_fp32, "pixels": size}


def table(cards: Iterable[Json]) -> str:
    """Models beside each other as a Markdown table, which links to ``card.md`` of each from the folder ``data``."""
    cards = list(cards)
    lines = ["| model | network | MACs a picture | parameters | trained in | quality |", "|---|---|--:|--:|---|---|"]
    for card in cards:
        price, pixels = card["cost"], card["cost"].get("pixels", 32)
        spoken = {title: text for title, text in _scores(card["quality"]).items() if title != COPY}
        quality = "; ".join(f"{title}: {text}" for title, text in spoken.items())
        cells = [
            f"[{card['name']}](zoo/{card['name']}/card.md)",
            Architecture.from_dict(card["architecture"]).summary,
            f"{price['macs'] / 1e6:,.1f} M at {pixels} x {pixels}",
            f"{price['params']:,}",
            f"{card['minutes']:.0f} minutes ({card['device']}, {_threads(card)})",
            quality.removeprefix("quality: "),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    hours = sum(card["minutes"] for card in cards) / 60
    return "\n".join([*lines, "", f"All of them one after the other: {hours:.1f} hours of training."]) + "\n"


def write(folder: Path, card: Json, models: Mapping[str, nn.Module], task: Task) -> None:
    """Write ``grid.webp``, ``card.md`` and, last, ``card.json``."""
    rows, legend = _rows(models, task)
    rows = [F.pad(row, (1, 1, 1, 1), value=1.0) for row in rows]  # neighbors must not look like one picture
    with atomic_write(folder / GRID) as temporary:
        tile(rows, scale=2 if task.size < 64 else 1).save(temporary, "webp", quality=92, method=6)
    with atomic_write(folder / "card.md") as temporary:
        temporary.write_text(_markdown(card, legend), encoding="utf-8")
    with atomic_write(folder / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _rows(models: Mapping[str, nn.Module], task: Task) -> tuple[list[Tensor], str]:
    """Rows of test pictures, evenly spread and not chosen, and what they show."""
    columns = 16 if task.size < 64 else 10 if task.scale == 1 else 6
    spread = torch.linspace(0, len(task.test) - 1, 2 * columns).long().view(columns, 2).T
    halves = [(models, task), (models, task)]
    if "backward_generator" in models:  # the second half shows the way back
        halves[1] = {"generator": models["backward_generator"]}, task.reversed()
    parts = [sample_rows(*half, indices) for half, indices in zip(halves, spread, strict=True)]
    legend = f"Rows of {len(parts[0])}: {', '.join(parts[0])}"
    if "backward_generator" in models:
        legend += ", there and, below, back"
    return [row for part in parts for row in part.values()], f"{legend}; test pictures evenly spread, not chosen"


def _markdown(card: Json, legend: str) -> str:
    settings, price = card["settings"], card["cost"]
    recipe = f"{settings['steps']:,}, {settings['batch_size']}, {settings.get('lr', 'default')}, {settings['seed']}"
    lines = {
        "architecture": Architecture.from_dict(card["architecture"]).summary,
        "cost": f"{price['macs'] / 1e6:,.1f} M MACs for {price.get('pixels', 32)} x {price.get('pixels', 32)} pixels, "
        f"{price['params']:,} parameters",
        "trained by": f"`{card['command']}`",
        "objective": card["objective"],
        "steps, batch, learning rate, seed": recipe,
        "time": f"{card['minutes']} minutes, {_threads(card)}, {card['machine']}, {settings['precision']}",
        "data": f"{card['task']}, fingerprint {card['data'][:16]}",
        **_scores(card["quality"]),
        "licence": card["licence"],
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in lines.items())
    return (
        f"# {card['name']}\n\n{card['summary']}\n\n![{legend}]({GRID})\n\n{legend}.\n\n| | |\n|---|---|\n{table}\n"
        + (METRIC_NOTE if "kid" in card["quality"] else "")
        + (FLATTERY if _seen_in_features(card["objective"]) and "kid" in card["quality"] else "")
        + (_pictures(card["quality"]["pictures"]) if "pictures" in card["quality"] else "")
    )


def _pictures(pictures: Iterable[Json]) -> str:
    """The scores of each picture in super-resolution as a Markdown table."""
    lines = [
        "\n## Each test picture\n",
        "Whole photos, then crops; PSNR-Y in dB. Above, the numbers after +- are standard deviations over these",
        "pictures and, in brackets, half-widths of 95 % intervals of the mean gain over bicubic enlargement.\n",
        "| picture | PSNR-Y | bicubic | SSIM-Y | bicubic |",
        "|---|--:|--:|--:|--:|",
    ]
    for each in pictures:
        psnrs = f"{each['psnr_y']:.2f} | {each['bicubic_psnr_y']:.2f}"
        lines.append(f"| {each['name']} | {psnrs} | {each['ssim_y']:.4f} | {each['bicubic_ssim_y']:.4f} |")
    return "\n".join(lines) + "\n"


def _scores(quality: Scores) -> dict[str, str]:
    titles = {
        "backward": "way back",
        "narrowest": "its narrowest network",
        "copy": COPY,
        "segmentation": "read by the segmenter",
    }
    return {"quality": quality["text"]} | {titles[k]: v["text"] for k, v in quality.items() if k in titles}


def _threads(card: Json) -> str:
    return f"{card['threads']} thread{'s' if card['threads'] != 1 else ''}"


def _seen_in_features(objective: str) -> bool:
    """Whether an objective reads the network whose features the scores are measured in."""
    return any(term in objective for term in ("perceptual", "content", "style"))


METRIC_NOTE = (
    "\nFD-EfficientNet-Lite0 (a Frechet distance), KID and PD-EfficientNet-Lite0 (a perceptual distance) are measured "
    "in the features of EfficientNet-Lite0:\nthey are not an FID, and compare only with numbers of the same name. "
    '"Real against real" is what a perfect generator would get from the same number of pictures.\n'
)

FLATTERY = (
    "\nThe objective has a perceptual term in the same features, so KID and PD flatter this model beside one trained "
    "without it; PSNR, SSIM and your eye do not.\n"
)
