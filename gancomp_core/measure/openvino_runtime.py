"""OpenVINO, an optional second runtime for ONNX files, with its telemetry off."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gancomp_core.errors import GancompError, at_least, one_of
from gancomp_core.measure.running import first_line

PRECISIONS = ("f32", "default")
#: The package that sends events over the network; where it cannot be imported, openvino replaces it by empty functions.
TELEMETRY = "openvino_telemetry"


def openvino_runtime() -> ModuleType:
    """The package openvino, with its telemetry off.

    Raises:
        GancompError: When it is not installed.
    """
    absent = sys.modules.setdefault(TELEMETRY, None) is None  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise GancompError(
            "Timing files in OpenVINO needs the package openvino; pip install 'gancomp_core[openvino]', or take "
            "onnx_latency."
        ) from error
    finally:
        if absent:
            sys.modules.pop(TELEMETRY, None)


def in_openvino(
    path: Path | str, pictures: Tensor, threads: int, precision: Literal["f32", "default"] = "f32"
) -> Callable[[], object]:
    """A call that runs an ONNX file in OpenVINO on these pictures; see :class:`OpenvinoGenerator`."""
    request = OpenvinoGenerator(path, threads, precision).request(tuple(pictures.shape))
    array = pictures.numpy()
    return lambda: request.infer([array])


class OpenvinoGenerator:
    """A file of a generator, run by OpenVINO on the CPU: takes a tensor [N, C, H, W] in [-1, 1] and returns a tensor.

    It is compiled for each shape when that comes first, of fixed sizes, as its users do for speed.

    Args:
        path: An ONNX file, or an ``.xml`` of OpenVINO.
        threads: OpenVINO's thread count; None takes PyTorch's.
        precision: "f32" computes float layers in float32; "default" leaves it to OpenVINO, which takes bfloat16 where
            the processor has it.

    Raises:
        GancompError: When OpenVINO is not installed, for a file or a shape that it refuses, and for another precision.
    """

    def __init__(
        self, path: Path | str, threads: int | None = None, precision: Literal["f32", "default"] = "f32"
    ) -> None:
        one_of(precision, PRECISIONS, "precision of OpenVINO")
        threads = torch.get_num_threads() if threads is None else threads
        at_least(1, threads, "threads", "leave it out for PyTorch's")
        self.openvino, self.path = openvino_runtime(), Path(path)
        if not self.path.is_file():
            raise GancompError(f"There is no file {path}; write it with export_onnx first.")
        self._settings: dict[str, object] = {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip
        if precision == "f32":
            self._settings["INFERENCE_PRECISION_HINT"] = "f32"
        self._requests: dict[tuple[int, ...], Any] = {}

    def request(self, shape: tuple[int, ...]) -> Any:
        """OpenVINO's request for pictures of this shape, which has run once."""
        if shape not in self._requests:
            try:
                model = self.openvino.Core().read_model(str(self.path))
                model.reshape(list(shape))
                request = self.openvino.Core().compile_model(model, "CPU", self._settings).create_infer_request()
                request.infer([np.zeros(shape, np.float32)])
            except Exception as error:  # OpenVINO raises RuntimeError for all
                raise GancompError(
                    f"OpenVINO cannot run {self.path.name} with pictures of shape {list(shape)} ({first_line(error)}); "
                    "give the shape it was made for."
                ) from error
            self._requests[shape] = request
        return self._requests[shape]

    def __call__(self, pictures: Tensor) -> Tensor:
        found = self.request(tuple(pictures.shape)).infer([pictures.detach().cpu().numpy()])
        return torch.from_numpy(found[0].copy())
