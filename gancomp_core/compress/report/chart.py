"""The networks that a search scored, as an SVG that takes its colors from the page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import pandas as pd

from gancomp_core.methods.architecture_search.budget import amount

WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 34, 56


def front(table: pd.DataFrame, chosen: float, most: float | None, score: str) -> str:
    """Cost against score, the networks that no other one beats in both, the chosen one and the budget.

    Args:
        table: A row for each network, with ``macs`` and ``score`` (lower is better).
        chosen: MACs of the network that was chosen.
        most: The budget in MACs, or None.
        score: What the score is, for the axis.

    Returns:
        An ``<svg>`` element.
    """
    points = sorted(zip(table.macs.astype(float), table.score.astype(float), strict=True))
    best = [
        point for place, point in enumerate(points) if point[1] < min((y for _, y in points[:place]), default=math.inf)
    ]
    wide = [x for x, _ in points] + [chosen] + ([most] if most else [])
    across = _Axis([math.log10(x) for x in wide], LEFT, WIDTH - RIGHT)
    down = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)

    def place(x: float, y: float) -> tuple[float, float]:
        return across(math.log10(x)), down(y)

    parts = [*_grid(across, down), _label(score)]
    if most:
        parts.append(_vertical(across(math.log10(most)), f"budget: {amount('macs', most)}"))
    parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in (place(*each) for each in points)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*each) for each in best))
    parts.append(f'<polyline class="best" points="{line}"/>')
    at = min(points, key=lambda each: (abs(each[0] - chosen), each[1]))
    x, y = place(*at)
    parts.append(f'<path class="chosen" d="M{x:.1f} {y - 9:.1f}l9 9-9 9-9-9z"/>')
    turn = 'text-anchor="end" x="-8"' if x > WIDTH / 2 else 'x="8"'
    parts.append(f'<g transform="translate({x:.1f} {y + 20:.1f})"><text class="strong" {turn}>chosen</text></g>')
    words = (
        f"{len(points)} networks by cost and {score}. The chosen one has {amount('macs', at[0])} and a score of "
        f"{at[1]:.3g}" + (f"; the budget is {amount('macs', most)}." if most else ".")
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(words)}"><title>{html.escape(words)}'
        f"</title>{''.join(parts)}</svg>"
    )


class _Axis:
    """A line from values to places, with some room at both ends."""

    def __init__(self, values: Sequence[float], first: float, last: float, room: float = 0.1) -> None:
        low, high = min(values), max(values)
        room = (high - low) * room or abs(high) * room or room
        self.low, self.high, self.first, self.last = low - room, high + room, first, last

    def __call__(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)

    def steps(self, most: int = 5) -> list[float]:
        """Round values along the axis."""
        width = (self.high - self.low) / most
        unit = 10 ** math.floor(math.log10(width))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= width)
        return [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _decades(axis: _Axis) -> list[float]:
    """Round values of a logarithmic axis, as their logarithms: 1, 2, 5, 10 ..., or on a short one equal steps."""
    if axis.high - axis.low < 0.7:
        return [math.log10(value) for value in _Axis([10**axis.low, 10**axis.high], 0, 1, room=0).steps()]
    tens = range(math.floor(axis.low), math.ceil(axis.high) + 1)
    found = [ten + math.log10(factor) for ten in tens for factor in (1, 2, 5)]
    return [value for value in found if axis.low <= value <= axis.high]


def _grid(across: _Axis, down: _Axis) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in _decades(across):
        x = across(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        text = amount("macs", 10**value).removesuffix(" MACs")
        parts.append(f'<text text-anchor="middle" x="{x:.1f}" y="{bottom + 20}">{text}</text>')
    for value in down.steps():
        y = down(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text text-anchor="end" x="{LEFT - 8}" y="{y + 4:.1f}">{value:.3g}</text>')
    return parts


def _label(score: str) -> str:
    return (
        f'<text text-anchor="middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}">MACs for one picture '
        f'(logarithmic)</text><text x="{LEFT}" y="{TOP - 12}">{html.escape(score)} (lower is better)</text>'
    )


def _vertical(x: float, words: str) -> str:
    turn = 'text-anchor="end" x="-6"' if x > WIDTH / 2 else 'x="6"'
    return (
        f'<line class="budget" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<g transform="translate({x:.1f} {TOP + 14})"><text {turn}>{html.escape(words)}</text></g>'
    )
