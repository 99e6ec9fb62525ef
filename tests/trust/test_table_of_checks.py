"""docs/trust.md names tests that exist, and has a line for every number of the benchmark and of a report."""

import ast
import dataclasses
import re

import pytest

from gancomp_core.compress.report import numbers
from gancomp_core.lab.benchmark import tables

ABOUT = re.compile(r"_(spread|best|last|floor|interval|low|median|high)$|^(float|int8|taught)_")
NOT_NUMBERS = {"key", "name"}


@pytest.fixture(scope="module")
def page(repository):
    """The two tables of checks; what follows counts faults, and names no tests."""
    page = (repository / "docs" / "trust.md").read_text(encoding="utf-8")
    return page.partition("## How sharply the tests look")[0]


def test_every_named_test_exists_and_every_line_names_one(page, repository):
    lines = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| number")]
    assert len(lines) > 30
    for line in lines:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line)
        assert named, f"this line names no test: {line}"
        for file, test in named:
            tree = ast.parse((repository / file).read_text(encoding="utf-8"))
            assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"


def bare(name):
    while (shorter := ABOUT.sub("", name)) != name:
        name = shorter
    return name


def test_every_number_of_the_benchmark_and_of_a_report_has_its_line(page):
    listed = {name for line in page.splitlines() if line.startswith("| ") for name in re.findall(r"`([^`]+)`", line)}
    shown = {bare(column) for column in tables.table("edges2shoes").columns}
    of_a_report = (numbers.Network, numbers.Quality, numbers.SetScore, numbers.Score)
    fields = {field.name for each in of_a_report for field in dataclasses.fields(each)} - NOT_NUMBERS
    assert shown | fields <= listed
