"""The rule of layers that `make lint` and `make test` check is one that bites."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


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
    command = (
        "import sys; sys.path.insert(0, '.'); "
        + "from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    done = subprocess.run([sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "gancomp_core.measure is not allowed to import gancomp_core.train" in done.stdout
