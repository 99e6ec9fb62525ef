"""What a teacher gives for nothing: files that tools make of it in seconds, without training, and their runtimes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.lab.rivals.pruning import installed
from gancomp_core.measure import export_onnx, onnx_runtime
from gancomp_core.measure.onnx_export import silence
from gancomp_core.measure.openvino_runtime import openvino_runtime
from gancomp_core.methods.quantization import export_int8

CALIBRATION = 300  # training pictures, as many as NNCF takes by default


class HalfResolution(nn.Module):
    """A generator that gets the mean of every four pixels, and whose picture is made twice as large, bilinearly."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, source: Tensor) -> Tensor:
        """Pictures [N, C, H, W] of even sides, in [-1, 1]."""
        small: Tensor = self.generator(F.avg_pool2d(source, 2))
        return F.interpolate(small, scale_factor=2.0, mode="bilinear")


@dataclass(frozen=True)
class Given:
    """What a tool gets: a generator, its file in float32, sources to calibrate with, and where to write."""

    generator: nn.Module
    file: Path
    sources: Tensor
    made: Path


def as_it_is(given: Given) -> Path:
    """The file in float32."""
    return given.file


def by_us(given: Given) -> Path:
    """This library's export in 8 bits."""
    return export_int8(given.generator, given.made.with_suffix(".onnx"), given.sources, floating=given.file)


def by_onnxruntime(given: Given, *, advised: bool = False) -> Path:
    """onnxruntime's static quantization, by its defaults or as its documentation advises.

    Source: onnxruntime.ai/docs/performance/model-optimizations/quantization.html: pre-process first, QDQ with signed
    8-bit activations and weights (the default), a scale for each channel where quality is wanting.
    """
    tools, made, file = onnx_runtime("quantization"), given.made.with_suffix(".onnx"), given.file
    with silence():
        if advised:
            file = made.with_name("prepared.onnx")
            onnx_runtime("quantization.shape_inference").quant_pre_process(str(given.file), str(file))
        tools.quantize_static(str(file), str(made), _reader(tools, given.sources), per_channel=advised)
    return made


def by_nncf(given: Given) -> Path:
    """NNCF's post-training quantization by its defaults, as a file of OpenVINO."""
    openvino, nncf, made = openvino_runtime(), installed("nncf", "Quantizing for OpenVINO"), given.made
    with silence():
        model = openvino.Core().read_model(str(given.file))
        quantized = nncf.quantize(model, nncf.Dataset([each[None].numpy() for each in given.sources]))
        openvino.save_model(quantized, str(made.with_suffix(".xml")))
    return made.with_suffix(".xml")


@dataclass(frozen=True)
class Form:
    """A file that is made of a generator, and what runs it.

    Attributes:
        make: Makes the file.
        runtime: "onnxruntime", "openvino" or "openvino default".
        half: Whether the generator paints at half the resolution.
        scored_as: The form of the benchmark whose scores hold for it, because the file is the same.
    """

    make: Callable[[Given], Path]
    runtime: str
    half: bool = False
    scored_as: str = ""

    def write(self, generator: nn.Module, folder: Path, sources: Tensor) -> Path:
        """The file in a folder, which is made if needed and keeps the file in float32 for the next form."""
        folder.mkdir(parents=True, exist_ok=True)
        generator = HalfResolution(generator) if self.half else generator
        file = folder / f"float32{' at half resolution' * self.half}.onnx"
        if not file.exists():
            export_onnx(generator, file, tuple(sources[:1].shape))
        name = self.make.__name__ + " at half resolution" * self.half
        return self.make(Given(generator, file, sources, folder / name))


def advised(given: Given) -> Path:
    """:func:`by_onnxruntime`, as its documentation advises."""
    return by_onnxruntime(given, advised=True)


NNCF = "int8 by NNCF, OpenVINO"
INT8, INT8_IN_OPENVINO = "int8 by this library, onnxruntime", "int8 by this library, OpenVINO"
FLOAT, DEFAULT = "float32, onnxruntime", "default precision, OpenVINO"
#: The forms of a teacher by name.
FORMS: dict[str, Form] = {
    FLOAT: Form(as_it_is, "onnxruntime", scored_as="float32"),
    "float32, OpenVINO": Form(as_it_is, "openvino", scored_as="float32"),
    DEFAULT: Form(as_it_is, "openvino default"),
    INT8: Form(by_us, "onnxruntime", scored_as="int8"),
    INT8_IN_OPENVINO: Form(by_us, "openvino", scored_as="int8"),
    "int8 by onnxruntime": Form(by_onnxruntime, "onnxruntime"),
    "int8 by onnxruntime, as advised": Form(advised, "onnxruntime"),
    NNCF: Form(by_nncf, "openvino"),
    "half resolution, float32, onnxruntime": Form(as_it_is, "onnxruntime", half=True),
    "half resolution, int8 by NNCF, OpenVINO": Form(by_nncf, "openvino", half=True),
}


def _reader(tools: Any, sources: Tensor) -> Any:
    """The calibration data in the form that onnxruntime reads."""
    waiting: Iterator[Tensor] = iter(sources)

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            picture = next(waiting, None)
            return None if picture is None else {"source": picture[None].numpy()}

    return Reader()
