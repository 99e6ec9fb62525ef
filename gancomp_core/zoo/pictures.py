"""Rows of test pictures that show what a model makes of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Task
from gancomp_core.measure import bicubic
from gancomp_core.nets import Segmenter
from gancomp_core.train.progress import paint


@torch.inference_mode()
def sample_rows(models: Mapping[str, nn.Module], task: Task, indices: Tensor) -> dict[str, Tensor]:
    """What a model makes of test pictures.

    Args:
        models: Networks by name, as in :class:`ZooModel`.
        task: The task.
        indices: Which test pictures.

    Returns:
        Rows by label: float32 [N, 1 or 3, H, W] in [-1, 1]. Semantic maps are painted in their palette; of large photos
        a square of 128 pixels is cut from the middle.
    """
    generator, batch = models["generator"], task.test.batch(indices)
    if task.scale > 1:
        pixels = F.interpolate(batch.source, scale_factor=float(task.scale))
        enlarged = {"bicubic": bicubic(batch.source, task.scale), "network": generator(batch.source)}
        whole = {"small photo": pixels, **enlarged, "original": batch.target}
        edge = max(task.size - 128, 0) // 2
        return {label: row[..., edge : task.size - edge, edge : task.size - edge] for label, row in whole.items()}
    if isinstance(generator, Segmenter):
        read, truth = (paint(maps, task.palette) for maps in (generator(batch.target), batch.source))
        return {"satellite": batch.target, "segmenter": read, "land cover": truth}
    source = paint(batch.source, task.palette) if task.palette else batch.source
    return {"given": source, "generated": generator(batch.source), "real": batch.target}
