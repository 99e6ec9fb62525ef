import json

import pytest

from gancomp_core import zoo
from gancomp_core.cli import main
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root
from gancomp_core.lab import SupernetSearch, architecture_of, frontier, names, planned, results
from gancomp_core.methods.architecture_search import SupernetScore, costs


@pytest.mark.parametrize("name", names("searches"))
def test_every_recorded_search_is_shipped_and_of_the_shipped_supernet(name):
    (experiment,) = planned(name, "searches")
    search, found = SupernetSearch(experiment), frontier(name)
    supernet = zoo.load(search.supernet).generator
    assert search.space.base == supernet.space.base
    score = SupernetScore(supernet, search.task)
    row = found.best_row
    assert score(found.best) == pytest.approx(row.score, rel=0.02)  # processors round differently
    admitted = int(search.budget.mask(costs(search.space, None, search.pixels)).sum())
    assert search.budget.mask(found.table).all()
    assert len(found) == min(experiment["evaluations"] or admitted, admitted)


def test_the_row_of_a_search_says_what_it_found_and_in_which_supernet():
    for name in names("searches"):
        (experiment,) = planned(name, "searches")
        row = results.row(experiment.key)
        assert architecture_of(json.loads(row["found"])) == frontier(name).best
        digests = zoo.card(experiment["supernet"])["files"]
        assert json.loads(row["weights"]) == {experiment["supernet"]: digests}


def test_a_search_that_is_not_recorded_names_the_command(tmp_path, monkeypatch):
    with pytest.raises(GancompError, match="choose one of edges2shoes/small space"):
        frontier("nonsense")
    (tmp_path / "zoo").symlink_to(data_root() / "zoo", target_is_directory=True)
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    with pytest.raises(GancompError, match='gancomp search do "edges2shoes/small space"'):
        frontier("edges2shoes/small space")
    with pytest.raises(GancompError, match='gancomp search do "edges2shoes/20 times cheaper"'):
        planned("edges2shoes/combined")


def test_the_command_lists_and_explains(capsys):
    assert main(["search", "list"]) == 0
    assert "edges2shoes/small space: 1 of 1 searches recorded" in capsys.readouterr().out
    assert main(["search", "do", "nonsense"]) == 1
    assert "choose one of" in capsys.readouterr().err
