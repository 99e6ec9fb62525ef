"""Budgets as people write them, such as "macs/12, 5 ms, 200 kB"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gancomp_core.errors import GancompError
from gancomp_core.methods.architecture_search.budget import amount

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_SHARE = re.compile(rf"(macs?|params?|parameters?)\s*/\s*{_NUMBER}", re.IGNORECASE)
_AMOUNT = re.compile(rf"{_NUMBER}\s*([kmg]?)\s*(macs?|params?|parameters?|ms|b|bytes?)", re.IGNORECASE)
_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_HOW = "write limits such as 'macs/12', '11M macs', 'params/20', '5 ms' or '200 kB', joined by commas"


@dataclass(frozen=True)
class Limits:
    """The most that a student may cost for one picture; None sets no limit.

    Attributes:
        macs: Multiply-accumulates.
        params: Trainable numbers.
        latency_ms: Milliseconds on this machine.
        file_bytes: Bytes of the int8 file.
    """

    macs: float | None = None
    params: float | None = None
    latency_ms: float | None = None
    file_bytes: float | None = None


def read_budget(text: str, teacher: Mapping[str, float]) -> Limits:
    """The limits that a text names.

    Args:
        text: Limits joined by commas or "and"; "macs/12" and "params/20" are shares of the teacher's cost.
        teacher: The teacher's "macs" and "params", where they can be counted.

    Raises:
        GancompError: For a text that names no limit, names one twice, or wants a share of an unknown cost.
    """
    found: dict[str, float] = {}
    for part in re.split(r",|\band\b", str(text)):
        name, value = _limit(part.strip(), text, teacher)
        if name in found:
            raise GancompError(
                f"The budget {text!r} limits one cost twice, in {part.strip()!r}; leave one of them out."
            )
        found[name] = value
    return Limits(**found)


def _limit(part: str, text: str, teacher: Mapping[str, float]) -> tuple[str, float]:
    if share := _SHARE.fullmatch(part):
        name, divisor = _name(share[1]), float(share[2])
        if divisor < 1:
            raise GancompError(f"The budget {part!r} is more than the teacher costs; divide by 1 or more.")
        if name not in teacher:
            raise GancompError(
                f"The teacher's {name} cannot be counted, so a budget cannot be a share of them; give '5 ms' or "
                "'200 kB' instead."
            )
        return name, teacher[name] / divisor
    if (found := _AMOUNT.fullmatch(part)) and float(found[1]) > 0:
        return _name(found[3]), float(found[1]) * _FACTORS[found[2].lower()]
    raise GancompError(f"The budget {text!r} cannot be read at {part!r}; {_HOW}.")


def _name(unit: str) -> str:
    first = unit.lower()
    return {"ma": "macs", "pa": "params", "ms": "latency_ms"}.get(first[:2], "file_bytes")


def written(limits: Limits) -> str:
    """Limits in words: at most 27.2 M MACs and 200 kB as an int8 file."""
    names = {"macs": limits.macs, "params": limits.params, "latency_ms": limits.latency_ms}
    parts = [amount(name, limit) for name, limit in names.items() if limit is not None]
    if limits.file_bytes is not None:
        parts.append(f"{amount('bytes', limits.file_bytes)} as an int8 file")
    return f"at most {' and '.join(parts)}"
