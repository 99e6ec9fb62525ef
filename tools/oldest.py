"""The lower bounds of pyproject.toml, tried: an environment of just these releases, and the tests of the library in it.

    python tools/oldest.py                    # what `make oldest` does
    python tools/oldest.py --torch 2.10.0     # the same bounds with another torch, to find the oldest that passes
    python tools/oldest.py --tests tests/unit/test_wavelets.py

The environment stays in build/oldest, and a later run with the same bounds begins with its tests. On Linux, torch from
PyPI brings CUDA along (gigabytes); TORCH_INDEX may name the CPU packages, as for `make install`. Packages of `lab` are
in it, too, for the library's notebooks and widgets are imported by its tests; the other extras are not tried.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
#: What the tests import beside the library's own dependencies, in the newest release that goes with the bounds.
FOR_TESTS = ("pytest>=9.0", "pytest-xdist>=3.6", "hypothesis>=6.100", "scikit-image>=0.25")
#: Tests of networks, trainings, measures, files and methods; of those, the ones that take minutes are left out.
TESTS = (
    "agd", "architecture_search", "architectures_stay", "channel_config", "comparison", "compress_teachers", "cost",
    "data_folders", "data_pictures", "distillation", "efficientnet_lite", "feature_terms", "importing_checks",
    "int8_within", "later_terms", "nets", "nets_elastic", "nets_spade", "nets_super_resolution", "once_for_all",
    "onnx_export", "onnx_runtime", "onnx_sizes", "quality", "quality_perceptual", "quantization", "segmentation",
    "statistics", "super_resolution_scores", "training", "training_super_resolution", "verdicts", "wavelets", "zoo",
    "zoo_reading",
)  # fmt: skip


def lower_bounds(project: dict[str, Any], **others: str | None) -> dict[str, str]:
    """By package: the oldest release that the library and `lab` admit, or the one asked for.

    Args:
        project: The table ``project`` of pyproject.toml.
        others: Releases to take in the place of bounds.
    """
    found = {}
    for wanted in map(Requirement, project["dependencies"] + project["optional-dependencies"]["lab"]):
        (bound,) = [each.version for each in wanted.specifier if each.operator == ">="]
        found[wanted.name] = others.get(wanted.name) or bound
    return found


def environment(bounds: dict[str, str]) -> Path:
    """The Python of an environment with just these releases; made where it is not there yet."""
    folder = ROOT / "build" / "oldest" / f"torch-{bounds['torch']}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "bounds.json"
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == bounds:
        return python
    print(f"oldest: making {folder}", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    releases = [f"{name}=={release}" for name, release in bounds.items()]
    index = os.environ.get("TORCH_INDEX")
    install = [str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    install += ["--extra-index-url", index] if index else []
    subprocess.run([*install, *releases, *FOR_TESTS], check=True)
    stamp.write_text(json.dumps(bounds), encoding="utf-8")
    return python


def tests(given: list[str]) -> list[str]:
    """Words for pytest."""
    chosen = given or [f"tests/unit/test_{name}.py" for name in TESTS]
    return ["-q", "-p", "no:cacheprovider", "-m", "not slow and not notebooks and not browser", *chosen]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="another release of torch than the lower bound, such as 2.10.0")
    parser.add_argument("--tests", nargs="+", default=[], help="files of tests; by default those of the core modules")
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = lower_bounds(project, torch=options.torch)
    said = ", ".join(f"{name} {release}" for name, release in bounds.items())
    try:
        python = environment(bounds)
    except subprocess.CalledProcessError:
        print(f"oldest: these releases could not be installed together on Python {sys.version.split()[0]}: {said}")
        return 2
    beside = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    code = subprocess.call([str(python), "-m", "pytest", *tests(options.tests)], cwd=ROOT, env=os.environ | beside)
    print(f"oldest: {'passed' if code == 0 else 'FAILED'} with Python {sys.version.split()[0]}, {said}")
    return code


if __name__ == "__main__":
    sys.exit(main())
