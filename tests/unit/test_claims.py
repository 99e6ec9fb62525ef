"""The claim ledger says what the recorded results say."""

from dataclasses import replace

import pytest

from gancomp_core.errors import GancompError
from gancomp_core.lab.benchmark import STATUSES, claims, for_readme, ledger, verdict
from gancomp_core.lab.benchmark.claims import BEGINS, ENDS, NOT_REPRODUCED, SMALL_SCALE, UNDECIDED
from gancomp_core.measure import PairedInterval

LEDGER = claims()
COMPUTED = ("sub-networks", "sorted channels")  # whose evidence holds a rounding error of this processor


@pytest.mark.parametrize("claim", LEDGER, ids=[f"{each.paper}: {each.claim}" for each in LEDGER])
def test_status_and_evidence_follow_from_the_results(claim):
    decided = claim.decided()
    assert claim.status in STATUSES
    assert decided.status == claim.status
    if claim.test["kind"] not in COMPUTED:
        assert decided.evidence == claim.evidence


def test_all_four_papers_are_there_and_no_claim_twice():
    table = ledger()
    assert list(table.columns) == ["paper", "claim", "status", "evidence"]
    assert set(table.paper) == {"GAN Compression", "Once for all", "AGD", "Wavelet KD"}
    assert not table[["paper", "claim"]].duplicated().any()
    assert len(table) >= 25


def test_the_readme_shows_the_ledger(repository):
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert f"{BEGINS}\n{for_readme()}{ENDS}" in readme


@pytest.mark.parametrize(
    ("mean", "half_width", "seeds", "claimed", "than", "status"),
    [
        (-8.0, 5.0, 5, "lower", 0, SMALL_SCALE),
        (-8.0, 9.0, 5, "lower", 0, NOT_REPRODUCED),
        (8.0, 5.0, 5, "lower", 0, NOT_REPRODUCED),
        (8.0, 5.0, 5, "higher", 0, SMALL_SCALE),
        (-8.0, 5.0, 3, "lower", 0, UNDECIDED),
        (5.0, 3.0, 5, "lower", 10, SMALL_SCALE),
        (9.0, 3.0, 5, "lower", 10, NOT_REPRODUCED),
    ],
)
def test_verdicts(mean, half_width, seeds, claimed, than, status):
    assert verdict(PairedInterval(mean, half_width, seeds), claimed, than) == status


def test_a_claim_is_undecided_while_our_network_saves_less_than_the_claimed_one():
    shoes, unpaired = (each for each in LEDGER if "fewer" in each.test)
    for claim, otherwise in ((shoes, NOT_REPRODUCED), (unpaired, SMALL_SCALE)):
        assert claim.decided().status == UNDECIDED
        assert replace(claim, test={**claim.test, "fewer": 1.5}).decided().status == otherwise


def test_figures_that_are_printed_otherwise_are_not_reproduced():
    claim = next(each for each in LEDGER if each.test["kind"] == "gigamacs")
    printed = {name: 1.02 * figure for name, figure in claim.test["printed"].items()}
    assert replace(claim, test={**claim.test, "printed": printed}).decided().status == NOT_REPRODUCED


def test_a_claim_goes_up_or_down():
    with pytest.raises(GancompError, match="'lower' or 'higher'"):
        verdict(PairedInterval(0, 1, 5), "sideways")


def test_a_damaged_ledger_says_how_to_get_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    (tmp_path / "claims.yml").write_text("- paper: [", encoding="utf-8")
    with pytest.raises(GancompError, match="git checkout -- data/claims.yml"):
        claims()
