"""Every notebook runs in the fast profile, its widgets survive being driven, and its fixed cells say what they said."""

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from factories import fixed_cells
from gancomp_core.course import notebook_files as files
from gancomp_core.course.run import run_notebooks

COSTS = files.read_costs()
LONGEST_FIRST = sorted(files.choose([]), key=lambda path: -COSTS[path.stem]["fast"].minutes)
SOLUTIONS = sorted((files.NOTEBOOKS / "solutions").glob("*.ipynb"))

pytestmark = pytest.mark.notebooks


@pytest.mark.slow
@pytest.mark.parametrize("path", LONGEST_FIRST, ids=lambda path: path.stem)
def test_a_notebook_runs_in_the_fast_profile_and_its_widgets_survive_being_driven(path, tmp_path):
    """Where a browser is, `make test` runs the notebooks in it instead: tests/browser/test_notebooks_in_lab.py."""
    [outcome] = run_notebooks([path], "fast", out=tmp_path, drive_widgets=True, html=False)
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
            assert [cell.get("outputs") for cell in files.cleaned(executed).cells] == [
                cell.get("outputs") for cell in committed.cells
            ], path.stem
    finally:
        kernel.shutdown_kernel(now=True)
