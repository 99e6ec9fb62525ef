"""Everything recorded still stands: rows, planned runs, searches, claims, tables and headlines of the benchmark.

``everything_recorded.json`` was written before the records moved into one table; rows are known there by the keys that
they had. ``python tests/unit/test_everything_recorded.py`` writes the file again: only where results truly changed.

On 29 November 2026 the statuses of the claims and the words of the README were replaced, once, by the rule of
docs/decisions/verdicts.md. The step compared every other section, and the evidence of every claim, before it wrote.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gancomp_core.lab import AgdSearch, SupernetSearch, benchmark, names, planned, results
from gancomp_core.lab.benchmark import claims, for_readme, headline, table
from gancomp_core.lab.benchmark.compressed import in_forms, in_int8
from gancomp_core.lab.catalogue import is_searched
from gancomp_core.lab.shipped_models import model_of, models
from gancomp_core.measure import cost

BEFORE = Path(__file__).with_name("everything_recorded.json")
#: What rows say today that they did not say before, or said in other words.
ADDED = {"key", "old_key", "name", "kind", "schema", "spec", "weights", "network"}
TABLES = {
    "runs": ("plain", "distilled", "fine-tuned", "pruned", "supernet", "cyclegan", "agd"),
    "int8": ("int8",),
    "lighter_weights": ("compressed weights",),
    "latency": ("latency",),
}


def digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def filled(row: dict[str, Any]) -> dict[str, Any]:
    """The values of a row that are there, as plain Python; whole floats as they are."""
    plain = {str(name): value.item() if hasattr(value, "item") else value for name, value in row.items()}
    return {name: value for name, value in plain.items() if not pd.isna(value)}


def rows(before: str) -> dict[str, str]:
    """The digest of every row that was in a table before, by the key that it had."""
    found = {}
    for kind in TABLES[before]:
        for row in map(filled, results.rows(kind).to_dict("records")):
            if "old_key" not in row:
                continue  # recorded since
            values = {name: value for name, value in row.items() if name not in ADDED}
            if before == "runs":
                values["method"] = row["kind"]
            else:
                del values["protocol"]
            if before in ("int8", "lighter_weights"):
                values["label"] = row["name"]
            if before == "latency":
                del values["task"], values["seed"]
            found[row["old_key"][:20]] = digest(values)
    return found


def old_keys() -> dict[str, str]:
    """The keys that rows had before, by the keys that they have."""
    kept = results.rows().dropna(subset="old_key")
    return dict(zip(kept.key, kept.old_key.str[:20], strict=True))


def ready() -> list[str]:
    """Plans whose networks are known."""
    return [plan for plan in names("runs") if is_searched(plan)]


def plans() -> dict[str, list[str]]:
    """The keys that every plan's runs had; younger runs have none."""
    keys = old_keys()
    return {plan: sorted(keys[each.key] for each in planned(plan) if each.key in keys) for plan in ready()}


def frontiers() -> dict[str, Any]:
    found = {}
    for name in names("searches"):
        (experiment,) = planned(name, "searches")
        search = SupernetSearch(experiment)
        frontier, how = search.frontier(), [experiment[each] for each in ("supernet", "strategy", "evaluations")]
        found[name] = {
            "table": digest([filled(row) for row in frontier.table.to_dict("records")]),
            "networks": len(frontier),
            "best": frontier.best.as_dict(),
            "best macs": cost(frontier.best, *search.pixels).macs,
            "score": float(frontier.best_row.score),
            "budget": search.budget.macs,
            "space": digest(search.space.as_dict()),
            "how": [*how, experiment.seed, *search.pixels],
        }
    return found


def agd_histories() -> dict[str, Any]:
    found = {}
    for experiment in (each for name in names("agd") for each in planned(name, "agd")):
        search, row = AgdSearch(experiment), results.row(experiment.key)
        if row is None:
            continue  # awaited
        found[f"{experiment.name}{f', seed {experiment.seed}' if experiment.seed else ''}"] = {
            "history": digest(search.history.to_dict("list")),
            "rows": len(search.history),
            "found": str(search.architecture),
            "how": [row["minutes"], row["machine"], experiment.steps, experiment.batch_size],
            "space": digest(search.space.as_dict()),
        }
    found["edges2shoes_unpaired, by chance"] = found["edges2shoes_unpaired, random"]
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
    """Keys that the networks of each row of the benchmark had: as trained, in int8, and in other weights."""
    keys, found = old_keys(), {}
    for task in benchmark.TASKS:
        for row in benchmark.rows(task):
            of = [each for network in row.experiments for each in (network, in_int8(row, network))] + in_forms(row)
            found[f"{task} | {row.label}"] = [keys[each.key] for each in of if each.key in keys]
    return found


def recipes() -> dict[str, Any]:
    """How every model of the zoo is trained."""
    found = {}
    for name in models():
        model = model_of(name)
        about = (model.task, digest(model.architecture.as_dict()), model.experiment.steps, model.experiment.batch_size)
        found[name] = [*about, model.experiment.seed, model.options, list(model.ships), model.summary, model.pictures]
    return found


def words() -> dict[str, str]:
    return {task: str(headline(task)) for task in ("edges2shoes", "flat2gloss")} | {"readme": for_readme()}


SECTIONS: dict[str, Callable[[], Any]] = {
    **{f"rows of {before}": functools.partial(rows, before) for before in TABLES},
    "planned runs": plans,
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
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [each for one, other in zip(before, now, strict=True) for each in differences(one, other, where)]
    if isinstance(before, float) and isinstance(now, int | float):
        return [] if math.isclose(before, now, rel_tol=1e-12) else [f"{where}{now} is not {before}"]
    return [] if before == now else [f"{where}{now} is not {before}"]


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
    found = {section: gather() for section, gather in SECTIONS.items()}
    BEFORE.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{BEFORE}: {BEFORE.stat().st_size} bytes", file=sys.stderr)
