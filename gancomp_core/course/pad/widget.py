"""The drawing pad in JupyterLab: a teacher and a student of the reader's own paint in the kernel."""

from __future__ import annotations

import base64
import contextlib
import io
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image
from torch import Tensor, nn

from gancomp_core.course.output import html_image, widget_bundle
from gancomp_core.course.pad.demo import demo_task, network_file, starting_drawings, unpacked
from gancomp_core.course.pad.page import script, style
from gancomp_core.data.pictures import to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.measure import OnnxGenerator, cost, onnx_cost
from gancomp_core.measure.running import evaluating

Network = nn.Module | str | Path | Callable[[Tensor], Tensor]
LAST = 15  # paints that a shown time is the median of
WARM = 3  # paints before a time counts


class DrawingPad(anywidget.AnyWidget):
    """A pad to draw on; teacher and student paint each change in the kernel and show their times there.

    Args:
        teacher: A module, an ONNX file, or a function from float32 [1, 1, H, W] in [-1, 1] (a line is -1, paper 1) to
            [1, 1 or 3, H, W] in [-1, 1]; the demo's teacher when left out.
        student: The same; the demo's cheapest student in int8 when left out. ``pad.student = another`` swaps it.
        task: "shoes" or "emoji": gives size and starting drawings.

    Attributes:
        pictures: What teacher and student painted last, by "teacher" and "student".

    Raises:
        GancompError: For an unknown task, and for a network that does not paint drawings of its size.
    """

    _esm = script("pad.js", "widget.js")
    _css = style("pad.css", "widget.css")
    size: traitlets.List[int] = traitlets.List().tag(sync=True)
    pen = traitlets.Int(1).tag(sync=True)
    starts: traitlets.List[Json] = traitlets.List().tag(sync=True)
    drawing = traitlets.Bytes().tag(sync=True, from_json=lambda value, widget: bytes(value or b""))
    teacher_picture = traitlets.Bytes().tag(sync=True)
    student_picture = traitlets.Bytes().tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)

    def __init__(self, teacher: Network | None = None, student: Network | None = None, task: str = "shoes") -> None:
        demo = demo_task(task)
        height, width = self._shape = tuple(demo["size"])
        starts = starting_drawings(demo)
        first = unpacked(starts[0]["pixels"], height * width) if starts else np.zeros(height * width, np.uint8)
        self.pictures: dict[str, Tensor] = {}
        self._answers = 0
        self._painters = {
            "teacher": self._painter("teacher", _demo_network(demo, "teacher") if teacher is None else teacher),
            "student": self._painter("student", _demo_network(demo, "student") if student is None else student),
        }
        super().__init__(
            size=[height, width],
            pen=demo["input"].get("pen", 1),
            starts=starts,
            drawing=first.tobytes(),
        )
        self._paint()
        self.observe(self._paint, "drawing")

    @property
    def student(self) -> Network:
        """The network that paints beside the teacher; setting another one paints again."""
        return self._painters["student"].network

    @student.setter
    def student(self, network: Network) -> None:
        self._painters["student"] = self._painter("student", network)
        self._paint()

    def _painter(self, name: str, network: Network) -> _Painter:
        return _Painter(name, network, self._shape)

    def _paint(self, change: object = None) -> None:
        pixels = np.frombuffer(self.drawing, np.uint8)
        if pixels.size != self._shape[0] * self._shape[1]:
            return  # half a message is no drawing
        numbers = torch.from_numpy(1 - 2 * pixels.astype(np.float32)).view(1, 1, *self._shape)
        self.pictures = {name: painter(numbers) for name, painter in self._painters.items()}
        self._answers += 1
        with self.hold_sync():
            self.teacher_picture, self.student_picture = (
                self.pictures[name].numpy().tobytes() for name in ("teacher", "student")
            )
            self.facts = {name: painter.text for name, painter in self._painters.items()} | {"answer": self._answers}

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict[str, object], dict[str, object]]:
        return widget_bundle(self, self._fallback()), {}

    def _fallback(self) -> str:
        """For readers without a kernel: the drawing and what both made of it."""
        drawn = torch.from_numpy(255 - 255 * np.frombuffer(self.drawing, np.uint8)).view(1, *self._shape)
        shown = {"a drawing": drawn.float() / 127.5 - 1} | {
            f"what the {name} paints of it": picture[0] for name, picture in self.pictures.items()
        }
        images = " ".join(html_image(_png(picture), alt, 160) for alt, picture in shown.items())
        return f"<p>{images}</p><p>Run this cell in JupyterLab to draw: teacher and student paint while you do.</p>"


class _Painter:
    """A network that paints one drawing, its times, and what it costs in words."""

    def __init__(self, name: str, network: Network, size: Sequence[int]) -> None:
        self.network = network
        self._size = tuple(size)
        self._run: Callable[[Tensor], Tensor] = (
            OnnxGenerator(network, threads=1) if isinstance(network, str | Path) else network
        )
        self._times: deque[float] = deque(maxlen=LAST)
        self._check(name)
        self._costs = _costs(network, self._size)

    def __call__(self, numbers: Tensor) -> Tensor:
        module = evaluating(self._run) if isinstance(self._run, nn.Module) else contextlib.nullcontext()
        with module, torch.inference_mode():
            began = time.perf_counter()
            made = self._run(numbers)
            self._times.append(1000 * (time.perf_counter() - began))
        return made.detach().float().clamp(-1, 1).cpu().contiguous()

    @property
    def text(self) -> str:
        ms = statistics.median(self._times)
        return f"{ms:.{0 if ms >= 10 else 1}f} ms in the kernel{self._costs}"

    def _check(self, name: str) -> None:
        """Refuse what does not paint drawings of this size; the first paints are slow and do not count."""
        blank = torch.ones(1, 1, *self._size)
        try:
            shapes = {tuple(self(blank).shape) for _ in range(WARM)}
        except Exception as error:  # a reader's own network raises its own kinds
            raise GancompError(
                f"The {name} does not paint a drawing of shape {list(blank.shape)} ({str(error).splitlines()[0]}); "
                "give a network that takes one gray picture of that size."
            ) from error
        if not shapes <= {(1, channels, *self._size) for channels in (1, 3)}:
            raise GancompError(
                f"The {name} makes {[list(shape) for shape in shapes][0]} of a drawing of shape {list(blank.shape)}; "
                "give a network that paints one gray or color picture of the same height and width."
            )
        self._times.clear()


def _demo_network(task: Json, kind: str) -> Path:
    """The demo's teacher, or its cheapest student, in int8 where there is one."""
    found = [facts for facts in task["networks"] if facts["kind"] == kind]
    return network_file(min(found, key=lambda facts: (facts["macs"], facts["precision"] != "int8")))


def _costs(network: Network, size: tuple[int, ...]) -> str:
    """Multiplications and bytes in words, where they can be counted."""
    try:
        if isinstance(network, str | Path):
            macs, room = onnx_cost(network, (1, 1, *size)).macs, Path(network).stat().st_size
        elif isinstance(network, nn.Module):
            counted = cost(network, size[0], size[1], in_channels=1)
            macs, room = counted.macs, counted.bytes_fp32
        else:
            return ""
    except GancompError:
        return ""  # the times are what the pad is about
    return f", {macs / 1e6:.3g} M MACs, {room / 1e3:,.0f} kB"


def _png(picture: Tensor) -> str:
    """Float [C, H, W] in [-1, 1] as a PNG in base64."""
    pixels = to_uint8(picture).movedim(0, -1).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
