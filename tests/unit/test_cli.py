"""One command for everything: it explains itself, answers at once, and reports mistakes in one way."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib

import pytest

from gancomp_core import cli
from gancomp_core.errors import GancompError

COMMANDS = {
    "zoo": ("list", "train", "check", "evaluate", "table"),
    "runs": ("list", "do", "show"),
    "search": ("list", "do"),
    "agd": ("list", "do"),
    "benchmark": ("list", "do", "add", "show", "time", "headline", "claims"),
    "course": ("run", "editions", "predictions"),
}


def said(arguments, capsys):
    """Exit status, standard output and standard error of a call that argparse may end."""
    try:
        status = cli.main(arguments)
    except SystemExit as ended:
        status = ended.code
    return status, *capsys.readouterr()


def test_help_names_every_command_and_gives_examples(capsys):
    status, text, _ = said(["--help"], capsys)
    assert status == 0
    assert "examples:" in text
    assert all(f"    {name}" in text for name in COMMANDS)
    for name, actions in COMMANDS.items():
        status, text, _ = said([name, "--help"], capsys)
        assert (status, [action for action in actions if f"    {action}" not in text]) == (0, [])
        for action in actions:
            assert said([name, action, "--help"], capsys)[0] == 0


def test_help_loads_nothing_slow():
    program = "import sys; from gancomp_core.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    program += "print(sorted({'torch', 'numpy', 'pandas', 'nbformat', 'onnx'} & sys.modules.keys()), file=sys.stderr)"
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 5, "a tenth of a second where nothing else runs"
    assert ended.stderr == "[]\n"


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)])
def test_a_command_that_is_not_finished_explains_itself(arguments, capsys):
    status, text, _ = said(arguments, capsys)
    assert status == 2
    assert "usage: gancomp" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "invalid choice"),
        (["zoo", "train"], "name a model, or pass --all"),
        (["runs", "do"], "PLAN"),
        (["benchmark", "time", "edges2shoes"], "unrecognized"),
        (["benchmark", "headline", "--write"], "unrecognized"),
        (["course", "run", "--write", "--profile", "full"], "leave out -p"),
        (["course", "run", "-p", "SEED", "00"], "name the notebooks too"),
        (["search", "do"], "name a search, or pass --all"),
        (["agd", "do"], "name a search, or pass --all"),
    ],
)
def test_a_wrong_call_ends_with_2_and_the_usage(arguments, words, capsys):
    status, _, errors = said(arguments, capsys)
    assert status == 2
    assert words in errors
    assert "usage: gancomp" in errors


def test_a_mistake_is_one_sentence_and_1(capsys):
    for group in ("zoo", "runs", "search", "agd", "benchmark"):
        action = "check" if group == "zoo" else "do"
        status, text, errors = said([group, action, "nonsense"], capsys)
        assert (status, text.count("nonsense") + errors.count("nonsense")) == (1, 1)
        assert "Traceback" not in errors


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (GancompError("Too wide."), 1)])
def test_an_interrupt_is_told_from_a_mistake(error, status, monkeypatch, capsys):
    def fails(options):
        raise error

    monkeypatch.setattr(cli, "_runs_show", fails)
    assert said(["runs", "show"], capsys)[0] == status


def test_a_reader_that_stops_early_is_no_mistake():
    ended = subprocess.run(
        f"{sys.executable} -m gancomp_core runs show | head -n 1", shell=True, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr, len(ended.stdout.splitlines())) == (0, "", 1)


def test_the_command_is_installed_with_the_package(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"gancomp": "gancomp_core.cli:main"}
