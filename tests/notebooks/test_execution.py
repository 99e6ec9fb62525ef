"""Every notebook runs in the fast profile, and every widget in it survives both ends of every control."""

import pytest

from gancomp_core.course import notebook_files as files
from gancomp_core.course.run import run_notebooks

COMMITTED = sorted(files.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


SOLUTIONS = files.choose(["solutions"])


@pytest.mark.notebooks
@pytest.mark.slow
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_notebook_runs_in_the_fast_profile_and_its_widgets_survive_being_driven(path, tmp_path):
    [outcome] = run_notebooks([path], "fast", out=tmp_path, drive_widgets=True)
    assert outcome.passed, f"{outcome.error}\n{(tmp_path / path.name).with_suffix('.log').read_text()[-3000:]}"
    assert outcome.memory_mb < 4000
    assert not [cell for cell in files.read_notebook(tmp_path / path.name).cells if "papermill" in cell.metadata]


@pytest.mark.notebooks
def test_solutions_run_and_are_committed_with_what_their_checks_say(tmp_path):
    outcomes = run_notebooks(SOLUTIONS, "fast", out=tmp_path)
    assert not [f"{outcome.name}: {outcome.error}" for outcome in outcomes if not outcome.passed]
    for path in SOLUTIONS:
        executed, committed = files.read_notebook(tmp_path / path.name), files.read_notebook(path)
        assert [cell.get("outputs") for cell in executed.cells] == [cell.get("outputs") for cell in committed.cells]
