"""A sample of `make repro`: one result of each of the cheap kinds, done again."""

from __future__ import annotations

import json

import pytest
import short_results

from factories import bits_depend_on

SAMPLE = ("runs: edges2shoes/plain plain", "agd: photos_x4", "zoo: edges2shoes/small_student", "weight-only int8: ")


@pytest.fixture(scope="module")
def shipped() -> short_results.Results:
    return short_results.shipped_results()


@pytest.mark.parametrize("begins", SAMPLE)
def test_a_shipped_result_in_short_comes_out_as_recorded(begins: str, shipped: short_results.Results) -> None:
    recorded = json.loads(short_results.RECORDED.read_text())
    name = next(name for name in shipped if name.startswith(begins))
    found = json.loads(json.dumps(short_results.again(shipped[name])))
    said = short_results.verdict(recorded["results"][name], found, recorded["machine"] == bits_depend_on())
    assert said in ("equal", "within 2%"), said


def test_what_differs_is_named() -> None:
    one = {"loss": 1.0, "weights": "ab"}
    assert short_results.verdict(one, one, same_machine=True) == "equal"
    assert short_results.verdict(one, {"loss": 1.01, "weights": "cd"}, same_machine=False) == "within 2%"
    assert short_results.verdict(one, {"loss": 1.01, "weights": "ab"}, same_machine=True) == "DIFFERS in loss"
    assert short_results.verdict(one, {"loss": 1.2, "weights": "ab"}, same_machine=False) == "DIFFERS in loss"
    assert short_results.verdict(one, {"loss": 1.0}, same_machine=True) == "has other values"
