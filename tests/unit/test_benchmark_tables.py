"""How the tables of the benchmark sum up what is recorded."""

import math

import numpy as np
import pandas as pd
import pytest

from factories import refused
from gancomp_core.lab.benchmark import tables
from gancomp_core.lab.benchmark.rows import HEADLINES, TEACHER, rows

TASK = "edges2shoes"


@pytest.fixture(scope="module")
def whole():
    return tables.table(TASK)


class FakeClock:
    """Three rounds of milliseconds that depend on what is timed; nothing was timed of "never"."""

    machine = "a machine"

    def __call__(self, of, name, threads, what="ms"):
        if of == "never":
            return pd.Series(dtype=float)
        base = {"float": 10.0, "int8": 20.0, "torch": 30.0}[name] + {"ms": 0.0, "p95": 1.0, "memory": 5.0}[what]
        return pd.Series([base + 4 * threads, base + threads, base + 2 * threads])


def test_times_are_the_quietest_median_and_the_middle_percentile_of_the_rounds():
    found = tables._times("some", "float32", FakeClock())
    assert found == {
        **{"ms_1": 11, "p95_1": 13, "torch_ms_1": 31, "torch_p95_1": 33},
        **{"ms_2": 12, "p95_2": 15, "torch_ms_2": 32, "torch_p95_2": 35},
        **{"memory": 19, "machine": "a machine"},
    }
    assert set(tables._times("some", "int8", FakeClock())) == {"ms_1", "p95_1", "ms_2", "p95_2", "memory", "machine"}
    assert tables._times("never", "int8", FakeClock())["machine"] is None
    assert math.isnan(tables._times("never", "int8", FakeClock())["ms_1"])


def test_one_round_is_enough_to_name_the_machine():
    class Once(FakeClock):
        def __call__(self, *given):
            return super().__call__(*given)[:1]

    assert tables._times("some", "int8", Once())["machine"] == "a machine"


def test_rows_are_in_the_order_of_the_benchmark_and_scores_in_that_of_the_alphabet(whole):
    labels = list(dict.fromkeys(label for label, _ in whole.index))
    assert labels == [each.label for each in rows(TASK) if each.label in labels]
    columns = [name for name in whole if name.removesuffix("_spread") in tables.SCORES]
    assert columns == sorted(columns)
    assert {"fd", "fd_spread"} <= set(columns)


@pytest.mark.parametrize("missing", [(TEACHER, "float32"), (HEADLINES[TASK], "int8")])
def test_a_headline_needs_its_network_and_its_teacher_and_their_times(whole, missing, monkeypatch):
    for changed in (whole.drop(index=[missing]), whole.copy()):
        if missing in changed.index:
            changed.loc[missing, "ms_1"] = np.nan
        monkeypatch.setattr(tables, "table", lambda task, changed=changed: changed)
        with refused(f"'{missing[0]}' in {missing[1]} is not measured on {TASK}"):
            tables.headline(TASK)
