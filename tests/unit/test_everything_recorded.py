"""Everything recorded still stands: rows, planned runs, searches, claims, tables and headlines of the benchmark.

``everything_recorded.json`` was written before the records moved into one table; rows are known there by the keys that
they had. ``python tests/unit/test_everything_recorded.py`` writes the file again: only where results truly changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gancomp_core.lab import agd_searches, benchmark, runs, shipped_models
from gancomp_core.lab.benchmark import claims, for_readme, headline, table
from gancomp_core.lab.benchmark.compressed import compressed_key, lighter_key
from gancomp_core.lab.recorded_table import RecordedTable
from gancomp_core.lab.supernet_searches import SEARCHES, recorded
from gancomp_core.measure import cost

BEFORE = Path(__file__).with_suffix(".json").with_name("everything_recorded.json")
KINDS = ("runs", "int8", "lighter_weights", "latency")


def digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def filled(row: dict[str, Any]) -> dict[str, Any]:
    """The values of a row that are there, as plain Python; whole floats as they are."""
    plain = {str(name): value.item() if hasattr(value, "item") else value for name, value in row.items()}
    return {name: value for name, value in plain.items() if value is not None and value == value}


def rows(kind: str) -> dict[str, str]:
    """The digest of every row by its key."""
    found = RecordedTable(kind).rows().to_dict("records")
    return {row["key"][:20]: digest({k: v for k, v in filled(row).items() if k != "key"}) for row in found}


def planned() -> dict[str, list[str]]:
    """The keys of every plan's runs."""
    return {plan: sorted(run.key[:20] for run in runs.planned(plan)) for plan in runs.PLANS}


def frontiers() -> dict[str, Any]:
    found = {}
    for name, chosen in SEARCHES.items():
        frontier, pixels = recorded(name), chosen.pixels
        found[name] = {
            "table": digest([filled(row) for row in frontier.table.to_dict("records")]),
            "networks": len(frontier),
            "best": frontier.best.as_dict(),
            "best macs": cost(frontier.best, *pixels).macs,
            "score": float(frontier.best_row.score),
            "budget": chosen.budget.macs,
            "space": digest(chosen.space.as_dict()),
            "how": [chosen.supernet, chosen.strategy, chosen.evaluations, chosen.seed, *pixels],
        }
    return found


def agd_histories() -> dict[str, Any]:
    found = {}
    for name, chosen in agd_searches.SEARCHES.items():
        done = agd_searches.recorded(name)
        found[name] = {
            "history": digest(done.history.to_dict("list")),
            "rows": len(done.history),
            "found": str(done.architecture),
            "how": [done.minutes, done.machine, chosen.settings.steps, chosen.settings.batch_size],
            "space": digest(chosen.space.as_dict()),
        }
    drawn = "edges2shoes_unpaired"
    tried = agd_searches.by_chance(drawn)
    found[f"{drawn}, by chance"] = {
        "history": digest(tried.to_dict("list")),
        "rows": len(tried),
        "found": str(agd_searches.best_by_chance(drawn)),
    }
    return found


def ledger() -> dict[str, list[str]]:
    """Every claim with status and evidence, as they are written; another test decides them again."""
    return {f"{each.paper}: {each.claim}": [each.status, each.evidence] for each in claims()}


def tables() -> dict[str, Any]:
    return {
        task: {" | ".join(index): filled(row.to_dict()) for index, row in table(task).iterrows()}
        for task in benchmark.TASKS
    }


def members() -> dict[str, list[str]]:
    """Keys of the networks of each row of the benchmark: as trained, in int8, and in other weights."""
    found = {}
    for task in benchmark.TASKS:
        for entry in benchmark.entries(task):
            keys = [key for each in entry.members for key in (each.key, compressed_key(each))]
            if entry.label == benchmark.entries(task)[0].label:
                keys += [lighter_key(each, form) for each in entry.members for form in benchmark.LIGHTER_FORMS]
            found[f"{task} | {entry.label}"] = [key[:20] for key in keys]
    return found


def recipes() -> dict[str, Any]:
    """How every model of the zoo is trained."""
    return {
        name: [
            recipe.task,
            digest(recipe.architecture.as_dict()),
            recipe.settings.steps,
            recipe.settings.batch_size,
            recipe.settings.seed,
            dict(recipe.options),
            list(recipe.keeps),
            recipe.summary,
            recipe.pictures,
        ]
        for name, recipe in shipped_models.RECIPES.items()
    }


def words() -> dict[str, str]:
    return {task: str(headline(task)) for task in ("edges2shoes", "flat2gloss")} | {"readme": for_readme()}


SECTIONS = {
    **{f"rows of {kind}": (lambda kind=kind: rows(kind)) for kind in KINDS},
    "planned runs": planned,
    "frontiers": frontiers,
    "AGD histories": agd_histories,
    "claims": ledger,
    "tables": tables,
    "members": members,
    "recipes": recipes,
    "words": words,
}


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """What of ``before`` is not there now, or has another value; floats to the last digits but one."""
    if isinstance(before, dict):
        missing = [f"{where}{name} is gone" for name in before if name not in now]
        return missing + [
            sentence
            for name in before
            if name in now
            for sentence in differences(before[name], now[name], f"{where}{name}: ")
        ]
    if isinstance(before, float) and isinstance(now, int | float):
        return [] if math.isclose(before, now, rel_tol=1e-12) else [f"{where}{now} is not {before}"]
    return [] if before == now else [f"{where}{now} is not {before}"]


@pytest.fixture(autouse=True)
def as_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of runs name the precision of the machine: here that of the machine on which all were recorded."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    return json.loads(BEFORE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("section", SECTIONS)
def test_everything_recorded_still_stands(before: dict[str, Any], section: str) -> None:
    now = json.loads(json.dumps(SECTIONS[section]()))
    assert differences(before[section], now) == []


def test_the_test_sees_what_is_lost_and_what_differs() -> None:
    before = {"a": {"fd": 1.5, "keys": ["x"]}, "b": 1}
    assert differences(before, {"a": {"fd": 1.5000000000000002, "keys": ["x"], "more": 1}, "b": 1}) == []
    assert differences(before, {"a": {"fd": 1.5001, "keys": []}}) == [
        "b is gone",
        "a: fd: 1.5001 is not 1.5",
        "a: keys: [] is not ['x']",
    ]


if __name__ == "__main__":
    torch.cpu._is_avx512_bf16_supported = lambda: True  # type: ignore[attr-defined]
    found = {section: gather() for section, gather in SECTIONS.items()}
    BEFORE.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{BEFORE}: {BEFORE.stat().st_size} bytes", file=sys.stderr)
