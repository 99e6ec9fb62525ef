"""The grades of a model: what is measured depends on what its task asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gancomp_core.data import Task
from gancomp_core.measure import (
    evaluate_generator,
    evaluate_segmentation,
    evaluate_semantic,
    evaluate_super_resolution,
)
from gancomp_core.nets import Segmenter

Scores = dict[str, Any]


def grade(models: Mapping[str, nn.Module], task: Task, segmenter: nn.Module | None = None) -> Scores:
    """The scores of a trained model on the test pictures of its task, as plain values.

    ``text`` says them in a sentence. Deeper levels hold the way back of a CycleGAN ("backward"), the score of copying
    the input where that is possible ("copy"), and what ``segmenter`` reads from pictures of a semantic map
    ("segmentation").
    """
    generator = models["generator"]
    if isinstance(generator, Segmenter):
        return _with_text(evaluate_segmentation(generator, task))
    if task.scale > 1:
        return _with_text(evaluate_super_resolution(generator, task))
    scores = _with_text(evaluate_generator(generator, task))
    if "backward_generator" in models:
        scores["backward"] = _with_text(evaluate_generator(models["backward_generator"], task.reversed()))
    if task.source_channels == task.target_channels:
        scores["copy"] = _with_text(evaluate_generator(copy_input, task))
    if segmenter is not None:
        scores["segmentation"] = _with_text(evaluate_semantic(generator, task, segmenter))
    return scores


def copy_input(source: Tensor) -> Tensor:
    """The generator that does nothing: whoever scores no better has learned nothing."""
    return source


def differences(card: Scores, measured: Scores, where: str = "") -> list[str]:
    """One sentence for every number of ``card`` that ``measured`` has not, or misses by more than 1 %."""
    found = []
    for key, stated in card.items():
        value = measured.get(key)
        if isinstance(stated, dict):
            found += differences(stated, value or {}, f"{where}{key}.")
        elif isinstance(stated, float) and not (
            isinstance(value, float) and abs(value - stated) <= 0.01 * abs(stated) + 1e-4
        ):
            shown = f"{value:.5g}" if isinstance(value, float) else "missing"
            found.append(f"{where}{key} is {shown} here and {stated:.5g} in the card")
    return found


def _with_text(quality: Any) -> Scores:
    return {**quality.as_dict(), "text": str(quality)}
