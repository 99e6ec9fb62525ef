"""onnxruntime, loaded in this one place, with its telemetry off."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from gancomp_core.errors import GancompError

#: From 1.29 on, onnxruntime queues events and sends them over the network, the first one when it is imported; this
#: variable, read then, turns all of that off. Windows does not read it, but heeds ``disable_telemetry_events``.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}


def onnx_runtime(part: str = "") -> ModuleType:
    """The package onnxruntime, with its telemetry off.

    Args:
        part: A sub-package to import instead, such as "quantization".

    Returns:
        The module.

    Raises:
        GancompError: When onnxruntime is not installed.
    """
    os.environ.update(NO_TELEMETRY)
    try:
        package = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise GancompError(
            "Running ONNX files needs the package onnxruntime; pip install onnxruntime, or run the module in PyTorch."
        ) from error
    package.disable_telemetry_events()
    return importlib.import_module(f"onnxruntime.{part}") if part else package
