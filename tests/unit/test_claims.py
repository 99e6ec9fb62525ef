"""The claim ledger says what the recorded results say."""

import importlib
import re
from dataclasses import replace
from types import SimpleNamespace

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
from gancomp_core.lab.benchmark.claims import Claim, _experiments
from gancomp_core.lab.benchmark.pages import BEGINS, ENDS
from gancomp_core.lab.benchmark.verdicts import CONTRADICTED, MARGIN, SHOWN, UNDECIDED, Effect, alone
from gancomp_core.measure import PairedInterval

rules = importlib.import_module("gancomp_core.lab.benchmark.claims")  # the package has a function of this name
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


# --- the parts of a verdict


def a_claim(number, what):
    """A claim whose test finds this."""
    made = Claim(paper="a paper", claim=f"claim {number}", notebook=1, test={"kind": "paper only"})
    object.__setattr__(made, "found", lambda: what)
    return made


def test_what_an_undecided_claim_takes_is_noted_unless_it_needs_other_runs(monkeypatch):
    monkeypatch.setattr(rules, "replace", lambda claim, **changes: changes)
    wide, clear = PairedInterval(-1.0, 9.0, 5), PairedInterval(-9.0, 0.1, 5)
    effects = [
        Effect(interval=wide, claimed="lower"),
        Effect(interval=wide, claimed="lower", obstacle="another network"),
        Effect(interval=clear, claimed="lower"),
    ]
    found = rules.decided([a_claim(n, rules.Found("e", "", effect=each)) for n, each in enumerate(effects)])
    assert [each["status"] for each in found] == [UNDECIDED, UNDECIDED, SHOWN]
    assert [len(each["notes"]) for each in found] == [1, 0, 0]
    assert re.fullmatch(r"seeds: [\d,]+ more would tell 3 % from none", found[0]["notes"][0])


def test_a_corrected_p_value_is_one_where_a_claim_is_not_tested():
    tested = Effect(interval=PairedInterval(-9.0, 0.1, 5), claimed="lower")
    untested = Effect(interval=PairedInterval(-9.0, 0.1, 3), claimed="lower")
    assert rules._corrected([untested, tested, untested]) == [1.0, tested.p_difference, 1.0]


def test_a_gain_has_its_sign():
    assert rules._spread(PairedInterval(0.5, 0.25, 5)) == "+0.50 ± 0.25 %"
    assert rules._spread(PairedInterval(-0.5, 0.25, 5)) == "-0.50 ± 0.25 %"


def test_notes_say_unequal_steps_and_the_one_teacher(monkeypatch):
    monkeypatch.setattr(rules, "_steps", lambda each: each["steps"])

    def run(steps, **models):
        return {"teacher": None, "supernet": None, "model": None, "steps": steps} | models

    assert rules._about([[run("5")], [run("5"), run("5")]]) == []
    assert rules._about([[run("5", supernet="s")], [run("5")]]) == ["for this teacher"]
    assert rules._about([[run("7"), run("5")], [run("9")]]) == ["unequal steps: 5 or 7 against 9"]


@pytest.mark.parametrize(("kind", "minutes"), [("plain", 8.0), ("supernet", 8 / 3)])
def test_minutes_are_those_of_a_seed_and_networks_of_one_supernet_share_them(kind, minutes, monkeypatch):
    found = {
        f"{seed} {part}": {"seed": seed, "minutes": each, "kind": kind}
        for seed, both in enumerate(((1.0, 1.0, 4.0), (1.0, 2.0, 3.0), (1.0, 9.0, 2.0)))
        for part, each in enumerate(both)
    }
    monkeypatch.setattr(rules.results, "row", found.get)
    arm = [SimpleNamespace(key=key) for key in (*found, "not recorded")]
    assert rules._minutes(arm) == pytest.approx(minutes)
    assert rules._minutes(arm[-1:]) == 0


def test_a_ledger_that_is_written_again_is_the_shipped_one(tmp_path, monkeypatch):
    path, shipped = tmp_path / "claims.yml", rules._path().read_text(encoding="utf-8")
    path.write_text(shipped, encoding="utf-8")
    monkeypatch.setattr(rules, "_path", lambda: path)
    monkeypatch.setattr(rules, "decided", lambda some: some)
    rules.write_claims()
    assert path.read_text(encoding="utf-8") == shipped


def test_the_claim_about_sorting_really_sorts(monkeypatch):
    sort, asked = rules.sort_channels, []
    monkeypatch.setattr(rules, "sort_channels", lambda network: asked.append(network) or sort(network))
    next(each for each in LEDGER if each.test["kind"] == "sorted channels").found()
    assert len(asked) == 1
