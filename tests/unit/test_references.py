"""What prose, docstrings and error messages name is there: notebooks, modules, files, links and commands."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = {path.stem for path in (REPOSITORY / "notebooks").rglob("*.ipynb")}


@functools.cache
def texts() -> dict[Path, str]:
    """Pages, notebooks (code and prose) and program text, docstrings and messages among it, by path."""
    pages = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md"]
    pages += [*(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "docs" / "decisions").glob("*.md")]
    pages += (REPOSITORY / "data").rglob("*.md")
    pages += (REPOSITORY / "benchmarks").rglob("*.md")
    programs = [
        path for folder in ("gancomp_core", "benchmarks", "data") for path in (REPOSITORY / folder).rglob("*.py")
    ]
    found = {path: path.read_text(encoding="utf-8") for path in [*pages, *programs] if path.is_file()}
    for path in (REPOSITORY / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found[path] = "\n\n".join("".join(cell["source"]) for cell in cells)
    return found


def mentions(pattern: str, of: Callable[[Path], bool] = lambda path: True) -> Iterator[tuple[Path, str]]:
    """Every match of a pattern (its first group) in the texts, with the path of the text from the repository on."""
    for path, text in texts().items():
        if of(path):
            for match in re.finditer(pattern, text, re.MULTILINE):
                yield path.relative_to(REPOSITORY), match[1]


def in_markdown(path: Path) -> bool:
    return path.suffix in (".md", ".ipynb")


def today(path: Path) -> bool:
    return path.name != "CHANGELOG.md"  # which names what has been, too


def test_notebooks_that_are_named_are_there() -> None:
    by_name = set(mentions(r"(?<![\w/.-])(?:notebooks/)?(?:solutions/)?(\d\d_[a-z]\w+)", today))
    assert len(by_name) > 10
    assert {each for each in by_name if each[1] not in NOTEBOOKS} == set()
    numbers = {stem[:2] for stem in NOTEBOOKS}
    by_number = set(mentions(r"[Nn]otebooks? (?:\d\d(?:, | and | to ))*(\d\d)\b"))
    assert {each for each in by_number if each[1] not in numbers} == set()


def test_each_notebook_names_the_one_that_follows() -> None:
    ordered = sorted(stem for stem in NOTEBOOKS if not stem.endswith("_solutions"))
    named = {path.stem: name for path, name in mentions(r"Next: `(\w+)`", in_markdown)}
    assert named == dict(zip(ordered, ordered[1:], strict=False))


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or leads to something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(lambda thing, part: getattr(thing, part, None), parts[length:], found) is not None
    return False


def test_modules_and_functions_that_are_named_are_there() -> None:
    named = set(mentions(r"(?<![\w/.])(gancomp_core(?:\.[A-Za-z_]\w*)+)", today))
    assert len(named) > 50
    assert {each for each in named if not resolves(each[1])} == set()


def defined(tree: ast.AST) -> Iterator[str]:
    """Every name that a module gives to something."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.arg)):
            yield node.arg if isinstance(node, ast.arg) else node.name
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            yield getattr(target, "attr", getattr(target, "id", ""))


def test_cross_references_of_docstrings_name_what_is_defined() -> None:
    trees = {path: ast.parse(text) for path, text in texts().items() if "gancomp_core" in path.parts}
    known = {name for tree in trees.values() for name in defined(tree)} | {path.stem for path in trees}
    known |= {path.parent.name for path in trees}
    named = set(mentions(r":(?:class|func|meth|mod|data|attr):`(?:[^`<]*<)?[~.]?([\w.]+)", lambda path: path in trees))
    assert len(named) > 50
    outside = ("torch.", "numpy.", "pandas.", "concurrent.")
    assert {each for each in named if each[1].split(".")[-1] not in known and not each[1].startswith(outside)} == set()


def test_files_that_are_named_are_there() -> None:
    top = "notebooks|data|docs|benchmarks|tests|gancomp_core"
    named = set(mentions(rf"(?<![\w/.:>}})-])((?:{top})/(?:[\w-][\w.-]*/?)*)", today))
    assert len(named) > 20
    real = {(path, name.rstrip(".")) for path, name in named if "NN" not in name}
    assert {(path, name) for path, name in real if not (REPOSITORY / name).exists()} == set()


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links to them are spelled."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_files_and_headings() -> None:
    links = set(mentions(r"(?<![\w\])])\[[^\]]*\]\((?!https?:|mailto:|attachment:|[^)]*[({])([^)\s]+)\)", in_markdown))
    assert len(links) > 10
    broken = set()
    for source, link in links:
        name, _, anchor = link.partition("#")
        page = REPOSITORY / source if not name else (REPOSITORY / source).parent / name
        if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
            broken.add((source, link))
    assert broken == set()


def test_targets_of_make_that_are_named_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(mentions(r"(?:[`'\"]|^ {4,})make ([a-z][\w-]*)", today))
    assert named
    assert {each for each in named if each[1] not in targets} == set()


class _Caught(Exception):
    """A parser about to parse."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@functools.cache
def parser_of(module: str) -> argparse.ArgumentParser | None:
    """The parser of the command line that ``python -m module`` starts; None where there is none."""

    def catch(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Caught(parser)

    for name in (f"{module}.__main__", module):
        try:
            main = importlib.import_module(name).main
        except (ModuleNotFoundError, AttributeError):
            continue
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(argparse.ArgumentParser, "parse_args", catch)
            patch.setattr(argparse.ArgumentParser, "parse_known_args", catch)
            patch.setattr(sys, "argv", [module])
            try:
                main([])
            except _Caught as caught:
                return caught.parser
    return None


def fault(parser: argparse.ArgumentParser, words: list[str]) -> str | None:
    """The first word that a command line does not know: a sub-command, a choice or an option."""
    positional = (action for action in parser._actions if not action.option_strings)
    for place, word in enumerate(words):
        if word.startswith("--"):
            if word not in parser._option_string_actions:
                return word
            continue
        action = next(positional, None)
        if action is None or action.choices is None:
            continue
        if word not in action.choices:
            return word
        if isinstance(action.choices, dict):  # sub-commands, each with a parser
            return fault(action.choices[word], words[place + 1 :])
    return None


def test_commands_that_are_named_are_understood() -> None:
    words = r"(?: (?:--)?[a-z][\w-]*(?![\w/=.{}<(]))*"
    named = set(mentions(rf"python3? -m ([\w.]+{words})", today))
    named |= {
        (path, f"gancomp_core{rest}") for path, rest in mentions(rf"(?:^ {{2,}}|[`'])gancomp(?= )({words})", today)
    }
    wrong = set()
    for path, command in named:
        module, *rest = command.split()
        parser = parser_of(module)
        if parser is None or fault(parser, rest):
            wrong.add((path, command))
    assert named
    assert wrong == set()
