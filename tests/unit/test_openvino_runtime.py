"""OpenVINO as a second clock, where it is installed; a way out where it is not."""

import importlib.util
import subprocess
import sys

import pytest
from torch import nn

from factories import refused
from gancomp_core.measure import export_onnx, openvino_latency

installed = importlib.util.find_spec("openvino") is not None


def test_what_is_missing_is_told_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with refused(r"needs the package openvino; pip install 'gancomp_core\[openvino\]'"):
        openvino_latency(tmp_path / "a.onnx", (1, 3, 8, 8))
    with refused("no precision of OpenVINO 'f16'; choose one of 'f32', 'default'"):
        openvino_latency(tmp_path / "a.onnx", (1, 3, 8, 8), precision="f16")


@pytest.mark.skipif(not installed, reason="openvino is an extra of its own")
def test_a_file_is_timed_in_openvino(tmp_path):
    path = export_onnx(nn.Conv2d(3, 4, 3), tmp_path / "a.onnx", (1, 3, 8, 8))
    for precision, name in (("f32", "openvino"), ("default", "openvino default")):
        found = openvino_latency(path, (2, 3, 16, 16), threads=1, precision=precision, repeats=2, min_seconds=0)
        assert found.median_ms > 0
        assert (found.runtime, found.threads) == (name, 1)
    with refused(r"OpenVINO cannot run a\.onnx with pictures of shape \[1, 4, 8, 8\]"):
        openvino_latency(path, (1, 4, 8, 8))
    with refused("There is no file"):
        openvino_latency(tmp_path / "b.onnx", (1, 4, 8, 8))


@pytest.mark.skipif(not installed, reason="openvino is an extra of its own")
def test_no_telemetry_is_loaded():
    program = (
        "import sys; from gancomp_core.measure.openvino_runtime import openvino_runtime; openvino_runtime();"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
