"""Rows of test pictures that show what a model makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Task
from gancomp_core.measure import bicubic
from gancomp_core.nets import Segmenter
from gancomp_core.train.progress import paint


@torch.inference_mode()
def picture_rows(networks: Mapping[str, Callable[[Tensor], Tensor]], task: Task, indices: Tensor) -> dict[str, Tensor]:
    """What each network makes of the same test pictures, between what it was given and the real pictures.

    Args:
        networks: Functions of sources [N, C, H, W] in [-1, 1], by label.
        task: Semantic maps are painted in its palette; of large photos a square of 128 pixels is cut from the middle.
        indices: Which test pictures.

    Returns:
        Rows of float32 [N, 1 or 3, H, W] in [-1, 1] by label: "given" ("small photo" and "bicubic" for a task that
        enlarges), those of ``networks``, "real" ("original").
    """
    batch = task.test.batch(indices)
    made = {label: network(batch.source) for label, network in networks.items()}
    if task.scale > 1:
        pixels = F.interpolate(batch.source, scale_factor=float(task.scale))
        enlarged = {"small photo": pixels, "bicubic": bicubic(batch.source, task.scale)}
        whole = {**enlarged, **made, "original": batch.target}
        edge = max(task.size - 128, 0) // 2
        return {label: row[..., edge : task.size - edge, edge : task.size - edge] for label, row in whole.items()}
    source = paint(batch.source, task.palette) if task.palette else batch.source
    return {"given": source, **made, "real": batch.target}


@torch.inference_mode()
def sample_rows(models: Mapping[str, nn.Module], task: Task, indices: Tensor) -> dict[str, Tensor]:
    """What a model makes of test pictures, as in :func:`picture_rows`; of a segmenter the maps that it reads.

    Args:
        models: Networks by name, as in :class:`ZooModel`.
        task: The task.
        indices: Which test pictures.

    Returns:
        Rows by label: float32 [N, 1 or 3, H, W] in [-1, 1].
    """
    generator = models["generator"]
    if not isinstance(generator, Segmenter):
        return picture_rows({"network" if task.scale > 1 else "generated": generator}, task, indices)
    batch = task.test.batch(indices)
    read, truth = (paint(maps, task.palette) for maps in (generator(batch.target), batch.source))
    return {"satellite": batch.target, "segmenter": read, "land cover": truth}
