"""The notebooks as a reader uses them: in JupyterLab, in the fast profile."""

import pytest
from lab import drag, open_and_run, status_after

from gancomp_core.course import notebook_files as files


def fast(path):
    """The committed notebook, set to the fast profile."""
    notebook = files.read_notebook(path)
    [parameters] = files.tagged(notebook, "parameters")
    parameters.source = parameters.source.replace('PROFILE = "standard"', 'PROFILE = "fast"')
    return notebook


@pytest.mark.slow
def test_notebook_00_runs_and_its_slider_redraws(page, lab):
    [path] = files.choose(["00"])
    open_and_run(page, lab, lab.put(path.name, fast(path)), minutes=6)
    said = status_after(page, lambda: drag(page, page.locator(".gancomp-explorer .noUi-handle").first, 60))
    assert said.startswith("drawn: ")
