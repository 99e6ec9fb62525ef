"""Torch-Pruning, the library of DepGraph, on a generator of ours: which channels of a teacher a student begins with."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from gancomp_core.errors import GancompError
from gancomp_core.nets import Architecture, Generator, build, plain_torch

EDGE = 32  # of the picture by which layers are traced


def depgraph(architecture: Architecture, teacher: nn.Module) -> Generator:
    """A student with the channels of a teacher that DepGraph finds important, by its own default, the group L2 norm.

    Fang et al., "DepGraph: Towards Any Structural Pruning" (CVPR 2023, arXiv 2301.12900).

    Args:
        architecture: The student's: the teacher's with smaller widths and as many blocks.
        teacher: The generator to prune; it is left as it is.

    Returns:
        The student, not trained further.

    Raises:
        GancompError: Without the package torch-pruning, and where its graph does not lead to these widths.
    """
    tools = installed("torch_pruning", "Pruning by DepGraph")
    student, pruned = build(architecture, 0), plain_torch(teacher)
    widths = {name: _outputs(layer) for name, layer in student.named_modules() if _convolves(layer)}
    have = {name: layer for name, layer in pruned.named_modules() if _convolves(layer)}
    if widths.keys() != have.keys():
        raise GancompError(f"DepGraph removes no layers; {architecture} has other layers than its teacher.")
    # half a channel more than wanted, because what is kept is rounded down
    shares = {layer: max(0.0, 1 - (widths[name] + 0.5) / _outputs(layer)) for name, layer in have.items()}
    pruner = tools.pruner.BasePruner(
        pruned,
        torch.zeros(1, architecture.in_channels, EDGE, EDGE),
        importance=tools.importance.GroupMagnitudeImportance(),
        pruning_ratio_dict={layer: share for layer, share in shares.items() if share},
        ignored_layers=[layer for layer, share in shares.items() if not share],
    )
    pruner.step()
    try:
        student.load_state_dict(pruned.state_dict())
    except RuntimeError as error:
        raise GancompError(f"DepGraph did not come to the widths of {architecture}; choose others.") from error
    return cast(Generator, student)


def installed(package: str, what: str) -> ModuleType:
    """A package of the extra ``rivals``; raises :class:`GancompError` where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise GancompError(
            f"{what} needs the package {package.replace('_', '-')}; pip install 'gancomp_core[rivals]'."
        ) from error


def _convolves(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)


def _outputs(layer: Any) -> int:
    found: int = layer.out_channels
    return found
