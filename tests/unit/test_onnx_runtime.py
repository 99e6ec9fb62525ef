"""onnxruntime writes no event, no identifier and no queue, and is loaded in one place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from onnx import TensorProto, helper, save
from gancomp_core.measure import OnnxGenerator, export_onnx, onnx_runtime, peak_memory
values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 2, 2]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", values[:1], values[1:])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), sys.argv[1])
if "memory" in sys.argv:
    peak_memory(sys.argv[1], (1, 1, 2, 2))
else:
    import torch
    OnnxGenerator(sys.argv[1])(torch.zeros(1, 1, 2, 2))
    export_onnx(torch.nn.ReLU(), sys.argv[1], (1, 1, 2, 2))
    assert onnx_runtime("quantization").quantize_static
"""


@pytest.mark.parametrize("use", ["run", "memory"])
def test_running_a_file_leaves_no_trace_of_telemetry(use: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    folders = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA", "TMPDIR", "TEMP"), str(home))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "tiny.onnx"), use],
        env=kept | folders, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    traces = [str(path) for path in home.rglob("*") if re.search(r"onnxruntime|deviceid|\.ses$", str(path))]
    assert traces == []


def sources(repository: Path) -> dict[str, str]:
    """The program text of every module, test and notebook."""
    folders = ("gancomp_core", "tests", "benchmarks", "data", "docs")
    found = {
        str(path): path.read_text(encoding="utf-8")
        for folder in folders
        for path in (repository / folder).rglob("*.py")
    }
    for path in (repository / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found[str(path)] = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return found


def test_one_module_alone_loads_onnxruntime(repository: Path) -> None:
    loads = re.compile(
        r"""^\s*(import|from) [^#\n]*\bonnxruntime\b|(import_module|importorskip)\(f?["']onnxruntime""", re.M
    )
    loading = {Path(name).name for name, text in sources(repository).items() if loads.search(text)}
    readers_own = {
        "09_compress_your_own.ipynb"
    }  # shows how a file is run without this library, which is loaded by then
    allowed = {"onnx_runtime.py", "memory.py"} | readers_own
    assert loading == allowed, "use gancomp_core.measure.onnx_runtime(), which is silent"
