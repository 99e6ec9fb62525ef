"""Style, types and layers hold, in the library and in the notebooks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = {
    "no_likely_bugs": ["-m", "ruff", "check"],
    "one_layout": ["-m", "ruff", "format", "--check"],
    "types_agree": ["-m", "mypy"],
    "imports_point_downward": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS.keys())
def test_code(tool: list[str], repository: Path) -> None:
    done = subprocess.run([sys.executable, *tool], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, f"`make lint` says:\n{done.stdout}{done.stderr}"


def test_an_import_that_points_upward_is_refused(tmp_path: Path, repository: Path) -> None:
    """The contract bites: the same rules, over a package in which the measures import the training."""
    package = tmp_path / "gancomp_core"
    for name in ("train", "measure"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    for name in ("__init__", "tensor_cache", "files", "errors"):
        (package / f"{name}.py").touch()
    (package / "measure" / "__init__.py").write_text("from gancomp_core import train\n")
    (tmp_path / "pyproject.toml").write_bytes((repository / "pyproject.toml").read_bytes())
    command = "import sys; sys.path.insert(0, '.'); " + TOOLS["imports_point_downward"][1]
    done = subprocess.run([sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "gancomp_core.measure is not allowed to import gancomp_core.train" in done.stdout
