"""Shoes and their edges, 32 pixels, gray: the course's fast task, with pairs and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.shipped import damage_explained, fingerprint, read_manifest, read_sheet, verified
from gancomp_core.data.tasks import Task


def edges2shoes(root: Path) -> Task:
    """Edges to shoes: 32 px, gray on both sides, paired, 16,500 train / 1,500 search / 3,000 test."""
    folder = root / "edges2shoes"
    manifest = read_manifest(folder)
    with damage_explained(folder / "manifest.json"):
        splits, size, outputs = manifest["splits"], manifest["size"], manifest["outputs"]
        pixels, classes = manifest["pixels"], tuple(manifest["classes"])
        counts = [splits[name] for name in ("train", "search", "test")]
    for file in outputs:
        verified(folder, manifest, file)
    edges, photos = (read_sheet(folder / file, size).split(counts) for file in ("edges.png", "photos.png"))
    labels = torch.from_numpy(np.load(folder / "labels.npy", allow_pickle=False)).long().split(counts)
    train, search, test = (PictureSet(*parts) for parts in zip(edges, photos, labels, strict=True))
    # pixels, not files: a better-packed sheet of the same pictures must not invalidate recorded runs
    mark = fingerprint("edges2shoes", counts, size, pixels)
    return Task("edges2shoes", True, size, 1, 1, train, search, test, mark, classes)


def edges2shoes_unpaired(root: Path) -> Task:
    """The same shoes without their pairs: edges of one half of the training shoes, photos of the other half.

    8,250 sources and 8,250 targets to train on, no shoe on both sides; ``search`` and ``test`` keep their pairs for
    scoring.
    """
    task = edges2shoes(root)
    mine, theirs = halves(len(task.train), "edges2shoes_unpaired")
    return task.unpaired(mine, theirs)


def halves(count: int, name: str) -> tuple[Tensor, Tensor]:
    """Two disjoint halves of ``range(count)``, always the same ones for a ``name``."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(int(fingerprint(name)[:8], 16)))
    return order[: count // 2].sort().values, order[count // 2 :].sort().values
