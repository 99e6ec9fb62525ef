import json

import pytest

from gancomp_core.errors import GancompError
from gancomp_core.lab.recorded_table import RecordedTable, key_of


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    return RecordedTable("trials")


def test_a_row_is_made_once_and_says_what_made_it(table):
    made = []

    def make():
        made.append(1)
        return {"value": 2.5}

    assert table.rows().empty
    assert table.row("a") is None
    row = table.once("a", make)
    assert row["value"] == 2.5
    assert {"machine", "commit", "when"} <= set(row)
    assert table.once("a", make)["value"] == 2.5
    assert len(made) == 1
    table.once("b", lambda: {"other": "text"})
    assert list(table.rows().key) == ["a", "b"]


def test_a_row_that_cannot_be_made_leaves_the_table_alone(table):
    table.once("a", lambda: {"value": 1})
    before = table.path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        table.once("b", lambda: {"value": 1 / 0})
    assert table.path.read_bytes() == before


def test_a_damaged_table_says_how_to_get_the_shipped_one(table):
    table.path.parent.mkdir()
    table.path.write_bytes(b"not Parquet")
    with pytest.raises(GancompError, match="git checkout -- data/results/trials.parquet"):
        table.rows()


def test_keys_ignore_the_order_of_names_and_nothing_else():
    assert key_of({"a": 1, "b": 2}) == key_of(json.loads('{"b": 2, "a": 1}'))
    assert key_of({"a": 1}) != key_of({"a": 1.5})
    assert key_of("a", "b") != key_of("b", "a")


@pytest.mark.parametrize("name", ["runs", "int8", "latency"])
def test_shipped_tables_have_one_row_a_key_and_their_provenance(name):
    rows = RecordedTable(name).rows()
    assert len(rows)
    assert rows.key.is_unique
    assert rows[["machine", "commit", "when"]].notna().all(axis=None)
