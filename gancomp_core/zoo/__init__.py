"""Trained weights with model cards.

A model lives in ``data/zoo/<name>/``: its networks as ``<network>.safetensors.xz`` in float16 (the numbers of the card
were measured after that rounding; its SHA-256 are those of the safetensors inside), ``card.json``, ``card.md`` and
``grid.webp``. :mod:`gancomp_core.lab.shipped_models` trains them again.
"""

from gancomp_core.zoo.store import ZooModel, card, grid, load, names, samples, shown

__all__ = ["ZooModel", "card", "grid", "load", "names", "samples", "shown"]
