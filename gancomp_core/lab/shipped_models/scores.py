"""Scores of a model: what is measured depends on its task."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gancomp_core.data import Task
from gancomp_core.files import Json
from gancomp_core.measure import (
    evaluate_generator,
    evaluate_segmentation,
    evaluate_semantic,
    evaluate_super_resolution,
)
from gancomp_core.nets import ElasticGenerator, Segmenter

Scores = Json
_NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?")


def grade(models: Mapping[str, nn.Module], task: Task, segmenter: nn.Module | None = None) -> Scores:
    """The scores of a trained model on the test pictures of its task, as plain values.

    ``text`` puts them into a sentence, and ``pictures`` lists those of each picture in super-resolution. Deeper levels
    hold the way back of a CycleGAN ("backward"), the narrowest network of an elastic generator ("narrowest"; its widest
    comes first), the score of copying the input where that is possible ("copy"), and the segmenter's score of pictures
    of a semantic map ("segmentation").

    Args:
        models: Networks by name.
        task: The task.
        segmenter: Labels pictures of a task with semantic maps.

    Returns:
        The scores.
    """
    generator = models["generator"]
    if isinstance(generator, Segmenter):
        return _with_text(evaluate_segmentation(generator, task))
    if task.scale > 1:
        quality = evaluate_super_resolution(generator, task)
        return {**_with_text(quality), "pictures": quality.pictures()}
    scores = _with_text(evaluate_generator(generator, task))
    if "backward_generator" in models:
        scores["backward"] = _with_text(evaluate_generator(models["backward_generator"], task.reversed()))
    if task.source_channels == task.target_channels:
        scores["copy"] = _with_text(evaluate_generator(copy_input, task))
    if isinstance(generator, ElasticGenerator):
        smallest = generator.extract(generator.space.narrowest)
        scores["narrowest"] = _with_text(evaluate_generator(smallest, task))
    if segmenter is not None:
        scores["segmentation"] = _with_text(evaluate_semantic(generator, task, segmenter))
    return scores


def copy_input(source: Tensor) -> Tensor:
    """The generator that returns its input: one that scores no better has learned nothing."""
    return source


def differences(card: Scores, measured: Scores, where: str = "", tolerance: float = 0.01) -> list[str]:
    """One sentence for every value on which card and measurement disagree, or which only one of them has.

    Parts of a list are compared by their "name", or else by their index.

    Args:
        card: Scores of the card.
        measured: Measured scores.
        where: Beginning of the sentences.
        tolerance: Relative tolerance of numbers, also those within a text: another machine rounds differently.

    Returns:
        The sentences.
    """
    found = []
    for key in {**card, **measured}:
        if key not in measured:
            found.append(f"{where}{key} is in the card and not measured here")
        elif key not in card:
            found.append(f"{where}{key} is measured here and missing in the card")
        elif isinstance(card[key], dict | list) and isinstance(measured[key], dict | list):
            found += differences(_parts(card[key]), _parts(measured[key]), f"{where}{key}.", tolerance)
        elif not _agree(card[key], measured[key], tolerance):
            found.append(f"{where}{key} is {_shown(measured[key])} here and {_shown(card[key])} in the card")
    return found


def _parts(value: Scores | list[object]) -> Scores:
    if isinstance(value, dict):
        return value
    return {part["name"] if isinstance(part, dict) and "name" in part else str(i): part for i, part in enumerate(value)}


def _agree(stated: object, value: object, tolerance: float) -> bool:
    if stated == value or not tolerance:
        return stated == value
    if isinstance(stated, str) and isinstance(value, str):
        return _agreeing_texts(stated, value, tolerance)
    if not isinstance(stated, int | float) or not isinstance(value, int | float) or math.isinf(stated):
        return False
    return abs(value - stated) <= tolerance * (abs(stated) + 0.01)


def _agreeing_texts(stated: str, value: str, tolerance: float) -> bool:
    """Whether the words are the same and the numbers nearly so: one unit of the last digit is rounding."""
    if _NUMBER.sub("#", stated) != _NUMBER.sub("#", value):
        return False
    for pair in zip(_NUMBER.findall(stated), _NUMBER.findall(value), strict=True):
        a, b = (float(number.replace(",", "")) for number in pair)
        decimals = min(len(number.partition(".")[2]) for number in pair)
        if abs(b - a) > tolerance * abs(a) + (1.01 * 10.0**-decimals if decimals else 0.0):
            return False
    return True


def _shown(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else f"'{value}'"


def _with_text(quality: Any) -> Scores:
    return {**quality.as_dict(), "text": str(quality)}
