"""In which range a foreign network takes and makes pictures, by evidence: its operations, then its pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gancomp_core.errors import GancompError, one_of
from gancomp_core.nets.ranges import RANGES, OtherRange

USUAL = "[-1, 1]"
NEAR = 4 / 127.5  # a difference between pictures in [-1, 1], on average, that decides nothing
ASK = f"give value_range={' or '.join(map(repr, RANGES))}, or 'A -> B' for a network that takes A and makes B"


def split_range(value_range: str) -> tuple[str, str]:
    """What is taken and what is made, by "[0, 1]" or "[0, 1] -> [-1, 1]".

    Raises:
        GancompError: For a range of another name.
    """
    takes, _, makes = str(value_range).partition(" -> ")
    return one_of(takes, RANGES, "value range"), one_of(makes or takes, RANGES, "value range")


@dataclass(frozen=True)
class Evidence:
    """What is known about a range, and why; empty where nothing is."""

    range: str = ""
    why: str = ""


def between(least: float, most: float, operation: str, name: str) -> Evidence:
    """The range in which an operation at the end of a network keeps its pictures.

    Raises:
        GancompError: When it is none of ours.
    """
    least, most = min(least, most), max(least, most)
    for known, (low, high) in RANGES.items():
        if max(abs(least - low), abs(most - high)) < 0.02 * (high - low):
            return Evidence(known, f"{operation.lower()} at its end keeps them there")
    raise GancompError(
        f"{name} ends in {operation.lower()}, which keeps its pictures in [{least:g}, {most:g}], none of the ranges "
        f"{', '.join(RANGES)}; convert them in a module of your own, or {ASK}."
    )


def find_range(
    net: nn.Module, name: str, pictures: Tensor | None, taken: Evidence, made: Evidence
) -> tuple[str, str, str]:
    """The range that a network takes, the one it makes, and a sentence with the evidence.

    Args:
        net: The network, from pictures of its own range to such pictures.
        name: What errors call it.
        pictures: A few real pictures in [-1, 1] that it can take, or None.
        taken: What its operations show about its input.
        made: What they show about its output.

    Raises:
        GancompError: When real pictures contradict that, or fit several ranges.
    """
    if not made.range and pictures is not None:
        return _by_pictures(net, name, pictures, taken)
    takes, makes = taken.range or made.range or USUAL, made.range or taken.range or USUAL
    why = [f": {each.why}" if each.range else ", which is assumed" for each in (taken, made)]
    way_out = "" if taken.range or made.range else f"; if not, {ASK}"
    return takes, makes, f"It takes pictures in {takes}{why[0]}; it makes pictures in {makes}{why[1]}{way_out}."


class Watch(TorchDispatchMode):
    """Sees the operations of a network while it runs, and may replace the result of one of them.

    Args:
        replaced: The number of the operation; -1 replaces none.
        value: What its result becomes everywhere.

    Attributes:
        ends: The least and largest result of each operation, where it has such; else None.
        begun: The mean of what the first spatial convolution takes, in the middle of the picture.
        widest: The numbers in the largest result.
    """

    def __init__(self, replaced: int = -1, value: float = 0.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.replaced, self.value = replaced, value
        self.ends: list[tuple[str, tuple[float, float] | None]] = []
        self.begun: float | None = None
        self.widest = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operation._schema.name.removeprefix("aten::").rstrip("_")
        if self.begun is None and name == "convolution" and max(args[1].shape[2:]) > 1:
            self.begun = float(args[0][0, ..., args[0].shape[-2] // 2, args[0].shape[-1] // 2].mean())
        made = operation(*args, **kwargs)
        if len(self.ends) == self.replaced:
            made.fill_(self.value)
        self.ends.append((name, _ends(name, args[1:], kwargs)))
        if isinstance(made, Tensor):
            self.widest = max(self.widest, made.numel())
        return made


def _ends(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[float, float] | None:
    """Between which numbers the results of an operation lie."""
    if name in ("tanh", "hardtanh") and not args:
        return -1.0, 1.0
    if name in ("sigmoid", "hardsigmoid"):
        return 0.0, 1.0
    if name in ("clamp", "hardtanh"):
        low, high = (*args, None, None)[:2]
        low, high = kwargs.get("min", low), kwargs.get("max", high)
        if isinstance(low, int | float) and isinstance(high, int | float):
            return float(low), float(high)
    return None


@torch.no_grad()
def output_evidence(net: nn.Module, name: str, noise: Tensor) -> Evidence:
    """The range of what a network makes, where one of its last operations keeps it there.

    That operation is found by replacing its results by their least and by their largest value: the whole picture then
    has one value.
    """
    watch = Watch()
    with watch:
        if net(noise.clone()).dtype == torch.uint8:
            return Evidence("[0, 255]", "it makes uint8 numbers")
    limited = [(number, operation, ends) for number, (operation, ends) in enumerate(watch.ends) if ends]
    for number, operation, ends in limited[:-5:-1]:
        made = []
        for end in ends:
            with Watch(number, end):
                made.append(net(noise.clone()))
        least, most = sorted(float(each.mean()) for each in made)
        if most > least and all(each.max() - each.min() < 1e-3 * (most - least) for each in made):
            return between(least, most, operation, name)
    return Evidence()


@torch.no_grad()
def input_evidence(net: nn.Module, noise: Tensor) -> Evidence:
    """The range of what a network takes, where it shifts and scales that before its first spatial convolution."""
    found = []
    for value in (0.0, 0.5, 1.0):
        watch = Watch()
        with watch:
            net(torch.full_like(noise, value))
        found.append(math.nan if watch.begun is None else watch.begun)
    shift, factor = found[0], found[2] - found[0]
    linear = abs(found[1] - shift - factor / 2) <= 1e-3 * abs(factor)  # not of NaN
    if not linear or (abs(factor - 1) < 1e-3 and abs(shift) < 1e-3):
        return Evidence()
    fitting = [name for name, (low, high) in RANGES.items() if _is_usual(low * factor + shift, high * factor + shift)]
    if len(fitting) != 1:
        return Evidence()
    return Evidence(fitting[0], f"it begins with x * {factor:.3g} {'-' if shift < 0 else '+'} {abs(shift):.3g}")


def _is_usual(low: float, high: float) -> bool:
    """Whether networks compute in such a range: around 0 or from 0, about 1 or 128 wide to each side."""
    half, middle = (high - low) / 2, (high + low) / 2
    return (abs(middle) <= 0.35 * half or abs(low) <= 0.04 * half) and (0.25 <= half <= 4 or 100 <= half <= 140)


@torch.no_grad()
def _by_pictures(net: nn.Module, name: str, pictures: Tensor, taken: Evidence) -> tuple[str, str, str]:
    """The range in which real pictures that go in come out, most like themselves."""
    fitting = {}
    for takes in [taken.range] if taken.range else RANGES:
        low, high = RANGES[takes]
        made = net((pictures + 1) * ((high - low) / 2) + low)
        ordered = made.flatten().sort().values
        least, most = (float(ordered[int(share * len(ordered))]) for share in (0.02, 0.98))
        makes = _range_of(least, most)
        if makes is not None and (taken.range or makes == takes):
            fitting[takes] = makes, OtherRange(net, takes, makes)(pictures).clamp(-1, 1), f"{least:.2g} to {most:.2g}"
    if not fitting:
        raise GancompError(f"Real pictures come out of {name} in none of the ranges in which they went in; {ASK}.")
    size = next(iter(fitting.values()))[1].shape[2:]
    given = F.interpolate(pictures, size, mode="bilinear").mean(1)
    errors = {takes: float((made.mean(1) - given).abs().mean()) for takes, (_, made, _) in fitting.items()}
    best = min(errors, key=errors.__getitem__)
    makes, painted, spread = fitting[best]
    rivals = [takes for takes in fitting if errors[takes] < 2 * errors[best] + NEAR]
    if any((fitting[takes][1] - painted).abs().mean() > 1 / 127.5 for takes in rivals):
        raise GancompError(f"Real pictures fit {' and '.join(rivals)} as the value range of {name} alike; {ASK}.")
    why = f": {taken.why}" if taken.range else ""
    return best, makes, f"It takes pictures in {best}{why}; it makes them in {makes}: real ones came out as {spread}."


def _range_of(least: float, most: float) -> str | None:
    if most > 20:
        return "[0, 255]" if least > -0.2 * most and most < 400 else None
    if least < -0.2:
        return "[-1, 1]" if max(-least, most) <= 2 else None
    return "[0, 1]" if 0 < most <= 1.5 else None
