import pytest

from gancomp_core import zoo
from gancomp_core.cli import main
from gancomp_core.errors import GancompError
from gancomp_core.lab.supernet_searches import SEARCHES, recorded
from gancomp_core.methods.architecture_search import SupernetScore, costs


@pytest.mark.parametrize("name", SEARCHES)
def test_every_recorded_search_is_shipped_and_of_the_shipped_supernet(name):
    frontier, chosen = recorded(name), SEARCHES[name]
    supernet = zoo.load(chosen.supernet).generator
    score = SupernetScore(supernet, chosen.task)
    row = frontier.best_row
    assert score(frontier.best) == pytest.approx(row.score, rel=0.02)  # processors round differently
    admitted = int(chosen.budget.mask(costs(chosen.space, None, chosen.pixels)).sum())
    assert chosen.budget.mask(frontier.table).all()
    assert len(frontier) == min(chosen.evaluations or admitted, admitted)


def test_a_search_that_is_not_recorded_names_the_command(tmp_path, monkeypatch):
    with pytest.raises(GancompError, match="choose one of edges2shoes/small space"):
        recorded("nonsense")
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    with pytest.raises(GancompError, match='do "edges2shoes/small space"'):
        recorded("edges2shoes/small space")


def test_the_command_lists_and_explains(capsys):
    assert main(["search", "list"]) == 0
    assert "edges2shoes/small space" in capsys.readouterr().out
    assert main(["search", "do", "nonsense"]) == 1
    assert "choose one of" in capsys.readouterr().err
