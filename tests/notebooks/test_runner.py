"""The runner on real, tiny notebooks: papermill, kernels and all."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from gancomp_core.cli import main
from gancomp_core.course import notebook_files as files
from gancomp_core.course import run
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY

pytestmark = pytest.mark.notebooks

PARAMETERS = ('PROFILE = "standard"\nSEED = 0', "parameters")
OTHERS = ('PROFILE = "standard"\nSEED = 0\nSHARE = 1 / 20\nLOW, HIGH = 1e6, 2e6\nOUT = ""', "parameters")
EXPLORER = """
import matplotlib.pyplot as plt
from gancomp_core.course import Slider, explore, predict, reveal, show

def draw(power):
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot([x**power for x in range(5)])
    {extra}
    return figure

explore(draw, alt="x to the power {{power}}", power=Slider("Power", 1, 3, 2))
"""


def text_of(notebook):
    return "".join(str(o.get("text", o.get("data", ""))) for cell in notebook.cells for o in cell.get("outputs", []))


def test_a_notebook_runs_in_the_profile_asked_for_and_leaves_html_log_and_a_clean_copy(make_notebook, tmp_path):
    show = "show(draw(2), alt='A parabola')\npredict('t/1', 'Up?', ['yes', 'no'])\nreveal('t/1', 'yes')"
    path = make_notebook(
        ("# Tiny\n\nCosts <!-- costs --><!-- /costs -->", None),
        PARAMETERS,
        ("print(PROFILE, SEED + 1)\nprint(__import__('os').getcwd())", None),
        (EXPLORER.format(extra=""), None),
        (show, None),
    )
    [outcome] = run.run_notebooks([path], "fast", out=tmp_path / "out", parameters=[("SEED", "4")], drive_widgets=True)
    assert outcome.passed, outcome.error
    assert outcome.memory_mb > 30
    executed = files.read_notebook(tmp_path / "out" / path.name)
    assert len(executed.cells) == 5, "papermill's cell and the driving cell are dropped"
    assert "fast 5" in text_of(executed)
    assert "widget-view" not in text_of(executed)
    assert "an interactive picture" in text_of(executed)
    assert "Predict first." in text_of(executed)
    assert "<summary>Show the answer</summary>" in text_of(executed)
    html = (tmp_path / "out" / path.name).with_suffix(".html").read_text()
    assert 'alt="A parabola"' in html
    assert "redraws of 1 explorers" in (tmp_path / "out" / path.name).with_suffix(".log").read_text()
    assert "passed" in run.table([outcome])


def test_an_error_is_told_with_its_cell_and_the_exit_status_is_not_zero(make_notebook, tmp_path, monkeypatch, capsys):
    path = make_notebook(PARAMETERS, ("1 / 0", None), ("print('never')", None))
    monkeypatch.setattr(files.choose, "__defaults__", (path.parent,))
    assert main(["course", "run", "0", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "cell 2 (In [2]): ZeroDivisionError: division by zero" in said
    assert (tmp_path / "out" / "00_tiny.log").exists()
    assert (tmp_path / "out" / "00_tiny.html").exists()


def test_a_widget_that_fails_at_one_end_fails_the_run(make_notebook, tmp_path):
    path = make_notebook(PARAMETERS, (EXPLORER.format(extra="1 / (3 - power)"), None))
    [outcome] = run.run_notebooks([path], out=tmp_path / "out", drive_widgets=True, html=False)
    assert outcome.error == "while every widget was driven: ZeroDivisionError: division by zero"


def test_two_notebooks_run_side_by_side(make_notebook, tmp_path):
    paths = [make_notebook(PARAMETERS, ("print(PROFILE)", None), name=f"0{n}_tiny.ipynb") for n in (1, 0)]
    outcomes = run.run_notebooks(paths, out=tmp_path / "out", jobs=2, html=False)
    assert [(outcome.name, outcome.passed) for outcome in outcomes] == [("00_tiny", True), ("01_tiny", True)]


def test_writing_back_keeps_the_source_and_fills_the_measured_cost(make_notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    path = make_notebook(("# Tiny\n\nCosts <!-- costs --><!-- /costs -->.", None), PARAMETERS, ("print(PROFILE)", None))
    before = files.read_notebook(path)
    [outcome] = run.run_notebooks([path], "standard", out=tmp_path / "out", html=False)
    run.write_back(path, tmp_path / "out" / path.name, "standard", outcome)
    after = files.read_notebook(path)
    assert [cell.source for cell in after.cells[1:]] == [cell.source for cell in before.cells[1:]]
    assert after.cells[2].outputs[0].text == "standard\n"
    assert "in the standard profile (measured on " in after.cells[0].source
    assert "seconds, 0." in after.cells[0].source
    assert "papermill" not in after.metadata
    assert all(set(cell.metadata) <= {"tags"} for cell in after.cells)


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is delivered by a POSIX signal here")
def test_ctrl_c_ends_every_kernel(make_notebook, tmp_path):
    path = make_notebook(PARAMETERS, ("import time\nprint('asleep', flush=True)\ntime.sleep(120)", None))
    call = (
        "from gancomp_core.cli import main; from gancomp_core.course import notebook_files; from pathlib import Path; "
    )
    call += f"notebook_files.choose.__defaults__ = (Path({str(path.parent)!r}),); "
    call += f"raise SystemExit(main(['course', 'run', '0', '--out', {str(tmp_path / 'out')!r}]))"
    runner = subprocess.Popen([sys.executable, "-c", call], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "out" / "00_tiny.log"
    until = time.monotonic() + 60
    while not (log.exists() and "asleep" in log.read_text()) and time.monotonic() < until:
        time.sleep(0.2)
    children = psutil.Process(runner.pid).children(recursive=True)
    assert len(children) >= 2, "papermill and its kernel"
    runner.send_signal(signal.SIGINT)
    assert runner.wait(timeout=30) == 130
    assert "Interrupted" in runner.stderr.read()
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["42"], "no notebook '42'"),
        (["--profile", "huge"], "no profile 'huge'"),
        (["--jobs", "0"], "--jobs is a whole number from 1"),
        (["--out", os.devnull], "cannot be made"),
        (["0", "-p", "SEEDS", "1"], "no parameter of 00_tiny named 'SEEDS'; choose one of 'PROFILE', 'SEED'"),
        (["0", "-p", "x y", "1"], "no parameter of 00_tiny named 'x y'"),
        (["0", "-p", "SEED", "a"], "SEED is 'a', and 00_tiny takes a whole number from 0 there"),
        (["0", "-p", "SEED", "1.5"], "SEED is '1.5', and"),
        (["0", "-p", "SEED", "-1"], "SEED is '-1', and"),
        (["0", "-p", "SHARE", "x"], "SHARE is 'x', and 00_tiny takes a number from 0 there"),
        (["0", "-p", "HIGH", "inf"], "HIGH is 'inf', and"),
    ],
)
def test_a_wrong_call_is_answered_by_one_sentence(arguments, words, make_notebook, monkeypatch, capsys):
    path = make_notebook(OTHERS)
    monkeypatch.setattr(files.choose, "__defaults__", (path.parent,))
    assert main(["course", "run", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_parameters_of_every_kind_are_taken(make_notebook):
    values = {"SEED": "3", "SHARE": "0.5", "LOW": "1e5", "HIGH": "7", "OUT": "3", "PROFILE": "fast"}
    run.check_parameters(make_notebook(OTHERS), list(values.items()))


@pytest.mark.parametrize(
    ("tag", "where"),
    [("injected-parameters", "in the parameters that were given"), ("drive-widgets", "while every widget was driven")],
)
def test_an_error_in_a_cell_that_was_added_is_told_with_its_place(tag, where):
    cell = {"cell_type": "code", "metadata": {"tags": [tag]}, "outputs": []}
    cell["outputs"] = [{"output_type": "error", "ename": "NameError", "evalue": "name 'a' is not defined"}]
    assert (
        run._first_error(files.nbformat.from_dict({"cells": [cell]})) == f"{where}: NameError: name 'a' is not defined"
    )


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")
def test_a_notebook_that_was_killed_half_way_fails_and_leaves_no_half_file(make_notebook, tmp_path):
    kill = "import os, signal, psutil\nos.kill(psutil.Process().ppid(), signal.SIGKILL)"
    [outcome] = run.run_notebooks([make_notebook(PARAMETERS, (kill, None))], out=tmp_path / "out", html=False)
    assert outcome.error.startswith("see ")
    assert all(path.suffix == ".log" or files.read_notebook(path) for path in (tmp_path / "out").iterdir())


def test_a_folder_without_notebooks_is_told(tmp_path):
    with pytest.raises(GancompError, match="no notebooks in"):
        files.choose([], tmp_path)


def test_notebooks_are_chosen_by_number_range_and_name(make_notebook):
    folder = [make_notebook(PARAMETERS, name=f"0{n}_tiny.ipynb") for n in range(4)][0].parent
    assert [path.stem[:2] for path in files.choose(["1-2", "00_tiny", "0"], folder)] == ["00", "01", "02"]
