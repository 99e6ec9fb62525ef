"""Every notebook runs in the fast profile, its widgets survive being driven, and its fixed cells say what they said."""

import json
import re

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from factories import fixed_cells
from gancomp_core.course import notebook_files as files
from gancomp_core.course.editions import exercise_names, instructor_edition
from gancomp_core.course.run import run_notebooks

COSTS = files.read_costs()
LONGEST_FIRST = sorted(files.choose([]), key=lambda path: -COSTS[path.stem]["fast"].minutes)
SOLUTIONS = sorted((files.NOTEBOOKS / "solutions").glob("*.ipynb"))

pytestmark = pytest.mark.notebooks


COUNTED = """

def _counted(function):
    def counted(*given, **named):
        _calls[function.__name__] += 1
        return function(*given, **named)

    return counted


_calls = globals().get("_calls", {{}}) | {{"{name}": 0}}
{name} = _counted({name})
"""


def solved(path):
    """The notebook as a reader leaves it who solved all exercises; its last cell fails unless experiments ran hers."""
    notebook = files.read_notebook(path)
    solutions = files.read_notebook(files.NOTEBOOKS / "solutions" / f"{path.stem}_solutions.ipynb")
    edition = instructor_edition(notebook, solutions)
    source = "\n".join(cell.source for cell in notebook.cells)
    for name in exercise_names(notebook):
        [answer] = files.tagged(edition, f"exercise:{name}")
        answer.source += COUNTED.format(name=name)
        check = next(cell for cell in edition.cells if f"check.{name}(" in cell.source)
        check.source += f'\n_calls["{name}"] = 0'
    engines = re.findall(r'yours\("(\w+)"\)', source)
    edition.cells.append(nbformat.v4.new_code_cell(f"assert all(_calls[name] for name in {engines}), _calls"))
    return edition


@pytest.mark.slow
@pytest.mark.parametrize("path", LONGEST_FIRST, ids=lambda path: path.stem)
def test_a_solved_notebook_runs_the_readers_functions_and_its_widgets_survive_being_driven(path, tmp_path):
    """In the fast profile; tests/browser/test_notebooks_in_lab.py runs notebooks whose exercises are empty."""
    (tmp_path / "given").mkdir()
    files.write_notebook(solved(path), tmp_path / "given" / path.name)
    [outcome] = run_notebooks([tmp_path / "given" / path.name], "fast", out=tmp_path, drive_widgets=True, html=False)
    assert outcome.passed, f"{outcome.error}\n{(tmp_path / path.name).with_suffix('.log').read_text()[-3000:]}"
    assert outcome.memory_mb < 4000
    executed, committed = files.read_notebook(tmp_path / path.name), files.read_notebook(path)
    assert not [cell for cell in executed.cells if "papermill" in cell.metadata]
    assert fixed_cells(executed) == fixed_cells(committed) != [], "these are tagged 'nbval-check'"


def test_solutions_run_and_are_committed_with_what_their_checks_say(tmp_path, monkeypatch):
    """One kernel, emptied before each notebook: what takes long is its start."""
    monkeypatch.setenv("GANCOMP_PREDICTIONS", str(tmp_path / "predictions.json"))
    kernel = KernelManager(kernel_name="python3")
    try:
        for path in SOLUTIONS:
            committed = files.read_notebook(path)
            executed = files.read_notebook(path)
            executed.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
            NotebookClient(executed, km=kernel, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
            del executed.cells[0]
            assert _said(files.cleaned(executed)) == _said(committed), path.stem
    finally:
        kernel.shutdown_kernel(now=True)


def _said(notebook):
    """The outputs, without the decibels that an open challenge reached: their digits depend on the processor."""
    said = [json.dumps(cell.get("outputs"), sort_keys=True) for cell in notebook.cells]
    return [re.sub(r"\d+\.\d+", "#", each) if " dB" in each and "Your best: " in each else each for each in said]
