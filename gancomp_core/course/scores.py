"""The best score of each open challenge, kept beside the predictions; nothing leaves the machine."""

from __future__ import annotations

import json
import math
from pathlib import Path

from gancomp_core.course.prediction_file import predictions_file
from gancomp_core.files import atomic_write


def scores_file() -> Path:
    """``.predictions.json.scores`` beside the predictions."""
    path = predictions_file()
    return path.with_name(f"{path.name}.scores")


def best_scores() -> dict[str, float]:
    """The best score so far by exercise; empty where nothing is kept, or nothing that can be read."""
    try:
        stored = json.loads(scores_file().read_text(encoding="utf-8"))
        return {str(name): float(score) for name, score in stored.items() if math.isfinite(float(score))}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep_score(name: str, score: float) -> float:
    """Keep a score if it is the best for this exercise.

    Args:
        name: The exercise.
        score: Higher is better.

    Returns:
        The best so far.
    """
    known = best_scores()
    known[name] = max(score, known.get(name, -math.inf))
    with atomic_write(scores_file()) as temporary:
        temporary.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return known[name]
