"""What measures growth measures it, and writes what it found."""

import json

from benchmarks import growth


def test_a_folder_is_made_and_read(tmp_path, capsys):
    growth._make(40, tmp_path)
    growth.read_folder(str(tmp_path))
    row = json.loads(capsys.readouterr().out)
    assert row["seconds"] > 0
    assert row["walk"] > 0


def test_a_table_of_results_is_read_asked_and_enlarged_without_touching_the_shipped_one():
    before = growth.results.state()
    row = growth.store(200)
    assert row["bytes"] > 1000
    assert min(row["read"], row["ask"], row["add"]) >= 0
    assert growth.results.state() == before


def test_a_search_is_measured_in_a_space_of_a_billion_networks():
    name = list(growth.SPACES)[-1]
    row = growth.searching(name)
    assert row["networks"] > 1e9
    assert row["seconds"] < 60


def test_tables_and_figure_come_from_what_was_measured(tmp_path):
    row = {"seconds": 2.0, "networks": 3.0, "bytes": 5e6, "read": 1.0, "ask": 0.1, "add": 86.4}
    names = {
        "width": map(str, growth.WIDTHS),
        "size": map(str, growth.SIZES),
        "evaluation": map(str, growth.SIZES),
        "store": map(str, growth.ROWS),
        "pictures": map(str, growth.FILES),
    }
    found = {subject: {name: {**row, "walked bytes": 7e6, "walk": 1e-3} for name in each}
             for subject, each in names.items()}  # fmt: skip
    found["space"] = {name: {**row, "networks": 10.0**place} for place, name in enumerate(growth.SPACES, 3)}
    tables = growth.tables(found)
    assert "| 1,000 | 5.00 | 1 | 0.1 | 86.4 | 12 | 3 |" in tables["results"]
    assert "| 1,000 | 2.0 | 5 | 5,000 | 7 | 1.00 |" in tables["pictures"]
    growth.draw(found, tmp_path / "growth.svg")
    assert "grows as x^" in (tmp_path / "growth.svg").read_text(encoding="utf-8")
