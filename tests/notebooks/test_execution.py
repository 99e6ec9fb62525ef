"""Every notebook runs in the fast profile, and every widget in it survives both ends of every control."""

import pytest

from gancomp_core.course import notebook_files as files
from gancomp_core.course.run import run_notebooks

COMMITTED = sorted(files.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.notebooks
@pytest.mark.slow
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_notebook_runs_in_the_fast_profile_and_its_widgets_survive_being_driven(path, tmp_path):
    [outcome] = run_notebooks([path], "fast", out=tmp_path, drive_widgets=True)
    assert outcome.passed, f"{outcome.error}\n{(tmp_path / path.name).with_suffix('.log').read_text()[-3000:]}"
    assert outcome.memory_mb < 4000
    assert not [cell for cell in files.read_notebook(tmp_path / path.name).cells if "papermill" in cell.metadata]
