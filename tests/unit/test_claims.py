"""The claim ledger says what the recorded results say."""

import importlib
import re
from dataclasses import replace

import pandas as pd
import pytest

from gancomp_core.course.forest import forest_svg
from gancomp_core.errors import GancompError
from gancomp_core.lab import catalogue
from gancomp_core.lab.benchmark import (
    STATUSES,
    claims,
    decided,
    effects,
    for_readme,
    in_notebook,
    ledger,
    page,
    power,
    table,
)
from gancomp_core.lab.benchmark.claims import _experiments
from gancomp_core.lab.benchmark.pages import BEGINS, ENDS
from gancomp_core.lab.benchmark.verdicts import CONTRADICTED, MARGIN, SHOWN, UNDECIDED, alone

LEDGER = claims()
COMPUTED = ("sub-networks", "sorted channels")  # whose evidence holds a rounding error of this processor
DIFFERENCES = [each for each in LEDGER if each.test["kind"] == "difference"]


@pytest.fixture(scope="module")
def today():
    return {each.claim: each for each in decided(LEDGER)}


@pytest.mark.parametrize("claim", LEDGER, ids=[f"{each.paper}: {each.claim}" for each in LEDGER])
def test_status_notes_and_evidence_follow_from_the_results(today, claim):
    now = today[claim.claim]
    assert claim.status in STATUSES
    assert (now.status, now.notes) == (claim.status, claim.notes)
    if claim.test["kind"] not in COMPUTED:
        assert now.evidence == claim.evidence


@pytest.mark.parametrize("claim", LEDGER, ids=[f"{each.paper}: {each.claim}" for each in LEDGER])
def test_what_the_test_of_a_claim_finds_is_what_the_ledger_says(claim):
    """Each claim alone, without those that it is corrected for."""
    found = claim.found()
    if claim.test["kind"] in COMPUTED:
        assert 0 <= float(re.search(r"of a pixel (\S+) ", found.evidence)[1]) < 1e-4
    else:
        assert found.evidence == claim.evidence
    if found.effect is None:
        assert found.status == claim.status
    places = [claim.notes.index(note) for note in found.notes]
    assert places == sorted(places)


def test_all_four_papers_are_there_and_no_claim_twice():
    table = ledger()
    assert list(table.columns) == ["paper", "claim", "notebook", "status", "evidence", "notes"]
    assert set(table.paper) == {"GAN Compression", "Once for all", "AGD", "Wavelet KD"}
    assert not table[["paper", "claim"]].duplicated().any()
    assert len(table) >= 25


def test_the_readme_shows_the_ledger(repository):
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert f"{BEGINS}\n{for_readme()}{ENDS}" in readme


def test_the_readme_names_the_machine_of_the_benchmark(repository):
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert f"from the benchmark ({table('edges2shoes').machine.iloc[0]})" in readme


def test_a_notebook_hears_of_its_own_claims():
    assert sorted(ledger().notebook.unique()) == list(range(1, 9))
    assert "**undecided**: progressive shrinking beats training all sub-networks at once." in in_notebook(1)
    for number in range(1, 9):
        assert all((each.claim in in_notebook(number)) == (each.notebook == number) for each in LEDGER)


def test_the_documentation_shows_every_claim_and_what_the_open_ones_take(repository):
    assert (repository / "docs" / "claims.md").read_text(encoding="utf-8") == page()


def test_the_picture_shows_every_effect_with_its_status(repository):
    shipped = (repository / "docs" / "claims.svg").read_text(encoding="utf-8")
    assert len(shipped) < 150_000
    for drawn in (shipped, forest_svg()):
        for status in STATUSES:
            of = ledger().loc[effects().index].status
            assert drawn.count(f">{status}") == (of == status).sum()


def test_every_claimed_difference_states_its_d_or_its_bound():
    for each in DIFFERENCES:
        effect = each.found().effect
        assert effect.margin == (None if "than" in each.test else each.test["margin"])
    assert {each.test.get("margin", MARGIN) for each in DIFFERENCES} == {MARGIN}


def test_a_claim_is_undecided_while_our_network_saves_less_than_the_claimed_one():
    for claim in (each for each in LEDGER if "fewer" in each.test):
        more = replace(claim, test={**claim.test, "fewer": 1000.0}).found()
        assert alone(more.effect) == UNDECIDED
        assert any("another network" in note for note in more.notes)
        assert not replace(claim, test={**claim.test, "fewer": 1.5}).found().effect.obstacle


def test_seeds_that_chose_a_setting_do_not_count():
    sweep = {each.key for each in catalogue.planned("edges2shoes/wavelets")}
    for each in DIFFERENCES:
        arms = (
            each.test[side] if isinstance(each.test[side], list) else [each.test[side]] for side in ("ours", "theirs")
        )
        of = [found for arm in arms for named in arm for found in _experiments(named)]
        settled = [found for found in of if found.name in catalogue.LIST["settled"]]
        seeds = {found.seed for found in of}
        assert each.found().effect.interval.seeds == len(seeds) - bool(settled) == 5
        # whatever the sweep itself ran belongs to a plan that it settled, or was there before it
        assert all(found in settled or found.name == "edges2shoes/features" for found in of if found.key in sweep)


def _listed(side):
    return side if isinstance(side, list) else [side]


def test_notes_name_one_teacher_and_unequal_steps(today):
    searched = next(each for each in today.values() if each.claim.startswith("at equal MACs"))
    assert "for this teacher" in searched.notes
    assert "unequal steps: 500 after a supernet of 10,000 against 2,500" in searched.notes
    plain = next(each for each in today.values() if each.claim.startswith("upsampling"))
    assert not any("teacher" in note or "steps" in note for note in plain.notes)


def test_power_lists_what_more_seeds_would_decide_the_cheapest_first():
    table = power()
    open_ones = [
        each
        for each in LEDGER
        if each.status == UNDECIDED
        and (of := each.found().effect)
        and not of.obstacle
        and not any("too close to the bound" in note for note in each.notes)
    ]
    assert set(table.claim) == {each.claim for each in open_ones}
    assert table.hours.is_monotonic_increasing
    assert (table["of all"] >= table[["to show d", "to show none"]].max(axis=1)).all()
    assert (table["of all"] > table.seeds).all()
    assert (table.minutes > 0).all()


def test_controllers_are_compared_by_seed_once_five_pairs_are_recorded(monkeypatch):
    claim = next(each for each in LEDGER if each.test["kind"] == "controllers")
    module = importlib.import_module("gancomp_core.lab.benchmark.claims")  # the package has a function of this name
    recorded = module._looks(*catalogue.names("agd"))
    sides = {claim.test["priced"]: [60.0, 70.0, 80.0, 90.0, 75.0], claim.test["free"]: [10.0, 0.0, 20.0, 5.0, 15.0]}

    def looks(name, *others):
        if others:
            return recorded
        shares = sides[name]
        return pd.DataFrame({"seed": range(len(shares)), "within": shares, "minutes": 4.0})

    monkeypatch.setattr(module, "_looks", looks)
    found = claim.found()
    assert found.effect.interval.mean == pytest.approx(65)
    assert alone(found.effect) == SHOWN
    assert found.minutes == 8
    sides[claim.test["free"]].pop()
    assert claim.found().effect is None
    assert claim.found().notes == ("1 more pairs of searches, with a price and without one, before it is tested",)


def test_figures_that_are_printed_otherwise_are_not_reproduced():
    claim = next(each for each in LEDGER if each.test["kind"] == "gigamacs")
    printed = {name: 1.02 * figure for name, figure in claim.test["printed"].items()}
    assert replace(claim, test={**claim.test, "printed": printed}).found().status == CONTRADICTED


def test_a_damaged_ledger_says_how_to_get_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    (tmp_path / "claims.yml").write_text("- paper: [", encoding="utf-8")
    with pytest.raises(GancompError, match="git checkout -- data/claims.yml"):
        claims()
