"""Trained weights with model cards, the recipes that train each of them again, and somebody else's checkpoints.

    python -m gancomp_core.zoo list
    python -m gancomp_core.zoo train edges2shoes/teacher  # resumes where it was killed
    python -m gancomp_core.zoo train --all
    python -m gancomp_core.zoo check --all                # evaluates the shipped weights and compares with their cards
    python -m gancomp_core.zoo table --write              # the models' table in data/README.md

A model lives in ``data/zoo/<name>/``: its networks as ``<network>.safetensors.xz`` in float16 (the numbers of the card
were measured after that rounding; its SHA-256 are those of the safetensors inside), ``card.json``, ``card.md`` and
``grid.webp``.
"""

from gancomp_core.nets.foreign_files import import_checkpoint
from gancomp_core.nets.ncnn_files import import_realesrgan
from gancomp_core.zoo.recipes import RECIPES, Recipe
from gancomp_core.zoo.store import ZooModel, card, check, grid, load, names, samples, train

__all__ = [
    "RECIPES",
    "Recipe",
    "ZooModel",
    "card",
    "check",
    "grid",
    "import_checkpoint",
    "import_realesrgan",
    "load",
    "names",
    "samples",
    "train",
]
