"""An ONNX file as a module: onnxruntime runs it, and pictures go in and out as everywhere here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from gancomp_core.compress.value_ranges import Evidence, between
from gancomp_core.errors import GancompError
from gancomp_core.measure.onnx_runtime import onnx_runtime
from gancomp_core.measure.running import first_line

TYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
}
MOST_CHANNELS = 6  # of the last axis of pictures [N, H, W, C]
PASSED_ON = {"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}  # same numbers
SUMS = ("Add", "Sub", "Mul", "Div")
BOUNDED = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0)}


class OnnxModule(nn.Module):
    """A network in an ONNX file, on the CPU: float pictures [N, C, H, W] of its own range to a picture or several.

    Files that take [N, H, W, C], float16, float64 or uint8, or a fixed number of pictures, get that.

    Args:
        path: The file.
        constants: Values of the inputs that are no pictures, by name.

    Attributes:
        channels: That it takes, where the file says so.
        size: Height and width that it takes, where the file says so.
        names: Its outputs.

    Raises:
        GancompError: For a file that onnxruntime does not run, and for inputs without a value.
    """

    def __init__(self, path: Path, constants: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self.path = path
        self.session = _session(path)
        inputs = {each.name: each for each in self.session.get_inputs()}
        self.constants = {name: _constant(inputs, name, value, path) for name, value in (constants or {}).items()}
        picture = _picture_input([each for name, each in inputs.items() if name not in self.constants], path)
        self.picture, self.dtype = str(picture.name), TYPES[picture.type]
        sides = [side if isinstance(side, int) else None for side in picture.shape]
        first, last = sides[1], sides[3]
        self.channels_last = last is not None and last <= MOST_CHANNELS and (first is None or first > MOST_CHANNELS)
        count, *size = sides
        self.channels = size.pop(2 if self.channels_last else 0)
        self.size = (size[0], size[1]) if size[0] and size[1] else None
        self.count = count
        self.names = [each.name for each in self.session.get_outputs()]
        self.whole_numbers = {each.name for each in self.session.get_outputs() if each.type == "tensor(uint8)"}

    def __deepcopy__(self, memo: dict[int, object]) -> OnnxModule:
        return self  # nothing in it changes, and a session cannot be copied

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        made = [self._run(group) for group in x.split(self.count or max(1, len(x)))]
        joined = {name: torch.cat([each[name] for each in made]) for name in self.names}
        return joined if len(joined) > 1 else joined[self.names[0]]

    def _run(self, x: Tensor) -> dict[str, Tensor]:
        kept = len(x)
        if self.count and kept < self.count:  # a file for so many pictures alone
            x = torch.cat([x, x[-1:].expand(self.count - kept, -1, -1, -1)])
        if self.dtype == torch.uint8:
            x = x.round().clamp(0, 255)
        x = x.movedim(1, -1) if self.channels_last else x
        feeds = {self.picture: np.ascontiguousarray(x.detach().cpu().to(self.dtype).numpy()), **self.constants}
        found = zip(self.names, self.session.run(None, feeds), strict=True)
        return {name: _channels_first(torch.from_numpy(np.asarray(made)))[:kept].float() for name, made in found}

    def input_evidence(self) -> Evidence:
        """The range that it takes, where its kind of numbers shows it."""
        return Evidence("[0, 255]", "it takes uint8 numbers") if self.dtype == torch.uint8 else Evidence()

    def output_evidence(self, output: str) -> Evidence:
        """The range of an output, where its kind of numbers or its last operation shows it."""
        if output in self.whole_numbers:
            return Evidence("[0, 255]", "it makes uint8 numbers")
        last = _last_operation(self.path, output)
        return between(last[1], last[2], last[0], self.path.stem) if last else Evidence()

    def extra_repr(self) -> str:
        return f"{self.path.name}, input={self.picture!r}"


def _channels_first(made: Tensor) -> Tensor:
    last = made.ndim == 4 and made.shape[3] <= 4 < made.shape[1]
    return made.movedim(-1, 1) if last else made


def _session(path: Path) -> Any:
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, torch.get_num_threads()
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise GancompError(
            f"onnxruntime does not run {path} ({first_line(error)[:200]}); export the network again, with its weights "
            "beside the file and standard operators alone."
        ) from error


def _constant(inputs: Mapping[str, Any], name: str, value: object, path: Path) -> np.ndarray[Any, Any]:
    if name not in inputs:
        raise GancompError(f"{path} has no input {name!r} to be constant; it has {', '.join(map(repr, inputs))}.")
    kind = inputs[name].type.removeprefix("tensor(").removesuffix(")")
    array = np.asarray(value, dtype={"float": "float32", "double": "float64"}.get(kind, kind))
    sides = [side if isinstance(side, int) else 1 for side in inputs[name].shape]
    return np.broadcast_to(array, sides) if array.ndim == 0 else array  # a number goes everywhere


def _picture_input(inputs: list[Any], path: Path) -> Any:
    likely = [each for each in inputs if len(each.shape) == 4 and each.type in TYPES]
    listed = ", ".join(f"{each.name!r} {each.type} {each.shape}" for each in inputs)
    if len(inputs) == 1 and likely:
        return likely[0]
    if len(inputs) > 1:
        raise GancompError(
            f"{path} takes {len(inputs)} inputs ({listed}), and a teacher takes pictures alone; give the others values "
            "by open_teacher(..., constants={'name': value})."
        )
    raise GancompError(
        f"{path} takes {listed or 'nothing'}, and a teacher takes pictures [N, C, H, W] or [N, H, W, C] of float or "
        "uint8 numbers; export it so."
    )


def _last_operation(path: Path, output: str) -> tuple[str, float, float] | None:
    """The tanh, sigmoid or clip that bounds an output, and its ends after what is added or multiplied behind it."""
    graph = onnx.load(str(path), load_external_data=False).graph
    makers = {name: node for node in graph.node for name in node.output}
    numbers = {each.name: each for each in graph.initializer if not each.external_data}
    numbers |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}

    def number(name: str) -> float | None:
        found = numpy_helper.to_array(numbers[name]) if name in numbers else np.empty(0)
        return float(found.flat[0]) if found.size == 1 else None

    after: list[tuple[str, float, bool]] = []
    while (node := makers.get(output)) is not None:
        first, second, third = (*(number(each) for each in node.input[:3]), None, None, None)[:3]
        if node.op_type in PASSED_ON:
            output = node.input[0]
        elif node.op_type in SUMS and first is None and second is not None:
            after.append((node.op_type, second, False))
            output = node.input[0]
        elif node.op_type in SUMS and first is not None and second is None:
            after.append((node.op_type, first, True))
            output = node.input[1]
        elif node.op_type == "Clip" and second is not None and third is not None:
            return "Clip", _applied(second, after), _applied(third, after)
        else:
            ends = BOUNDED.get(node.op_type)
            return ends and (node.op_type, _applied(ends[0], after), _applied(ends[1], after))
    return None


def _applied(value: float, after: list[tuple[str, float, bool]]) -> float:
    """What the operations after it make of a number; those that ran last stand first."""
    for kind, by, constant_first in reversed(after):
        a, b = (by, value) if constant_first else (value, by)
        value = {"Add": a + b, "Sub": a - b, "Mul": a * b, "Div": a / (b or math.nan)}[kind]
    return value
