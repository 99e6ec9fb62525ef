"""The mutator finds the places that it should, exchanges living code, and each exercise refuses one of its mutants."""

import ast
import random
import re
import sys

import pytest
import yaml

from gancomp_core.course.checks import exercises
from tools import mutants

SOURCE = '''
def rule(x, n=2, *, flag=True):
    """Not the docstring's 3."""
    if not x:
        raise ValueError(f"{n + 1} is not 4")
    return max(x[:n]) - n / 2 if flag and n <= 2 else sum(x, axis=0).clamp(0, 1)
'''


def rule_under_test(x, n=2):
    return [each * n for each in x if each > 0]


def test_every_kind_of_fault_is_made_and_none_in_words():
    names = {each.name.removeprefix("rule: ") for each in mutants.mutants(ast.parse(SOURCE))}
    for wanted in (
        "2 -> 3",
        "True -> False",
        "if not x -> if not not x",
        "max(x[:n]) -> min(x[:n])",
        "max(x[:n]) - n / 2 -> max(x[:n]) + n / 2",
        "max(x[:n]) - n / 2 -> max(x[:n])",
        "n / 2 -> 2 / n",
        "n <= 2 -> n < 2",
        "flag and n <= 2 -> flag or n <= 2",
        "sum(x, axis=0).clamp(0, 1) -> sum(x, axis=0)",
        "sum(x, axis=0) -> sum(x)",
        "0 -> 1",
    ):
        assert wanted in names, wanted
    assert not any(re.search(r"\b[34] ->|ValueError|docstring", name) for name in names)


def test_a_sample_is_part_of_a_larger_one_and_leaves_the_tree_as_it_was():
    tree = ast.parse(SOURCE)
    some = mutants.mutants(tree)
    small, large = ({each.name for each in mutants.chosen(some, "seed", count, set())} for count in (5, 9))
    assert small < large
    for each in some:
        with each.applied():
            assert ast.unparse(tree) != ast.unparse(ast.parse(SOURCE))
    assert ast.unparse(tree) == ast.unparse(ast.parse(SOURCE))


@pytest.mark.skipif(sys.platform != "linux", reason="mutants are tried in forks, which libraries stand on Linux alone")
def test_a_living_function_gets_the_code_and_the_defaults_of_its_mutant_in_the_fork_alone(repository):
    file = rule_under_test.__code__.co_filename
    tree = ast.parse((repository / "tests" / "trust" / "test_mutants.py").read_text(encoding="utf-8"))
    alive = mutants.living([file])
    found = {}
    for each in mutants.mutants(tree):
        if each.path == "rule_under_test":

            def work(each=each):
                mutants.exchange(tree, file, each, alive)
                return rule_under_test([-1, 4])

            found[each.name.removeprefix("rule_under_test: ")] = mutants.forked(work, 30)
    assert found["2 -> 3"] == [12]
    assert found["each > 0 -> each >= 0"] == [8]
    assert found["if each > 0 -> if not each > 0"] == [-2]
    assert rule_under_test([-1, 4]) == [8]


@pytest.mark.parametrize("name", sorted(exercises()))
def test_a_mutant_of_a_solution_is_refused_in_a_sentence(name):
    set_up, source = mutants.solutions()[name]
    tree = ast.parse(source)
    known = yaml.safe_load(mutants.SURVIVORS.read_text(encoding="utf-8"))[name]
    fast = [each for each in mutants.mutants(tree) if each.name not in known]
    (one,) = random.Random(name).sample(fast, 1)
    assert mutants.refused(name, set_up, tree, one) == "caught", one.name
