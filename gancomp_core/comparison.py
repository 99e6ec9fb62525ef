"""Networks side by side: what each costs, how long it takes, how good its pictures are, and the pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.files import scratch
from gancomp_core.measure import (
    OnnxGenerator,
    cost,
    eager_latency,
    evaluate_generator,
    evaluate_super_resolution,
    export_onnx,
    onnx_cost,
    onnx_latency,
)
from gancomp_core.measure.running import check_output, first_line, measuring
from gancomp_core.train.progress import tile
from gancomp_core.zoo.pictures import picture_rows

Network = nn.Module | Path | str
THREADS = 1
SCORES = ("fd", "kid", "psnr", "ssim")
SMALL = 64  # pictures of up to this many pixels are drawn twice as large


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What :func:`compare` measured; in a notebook it draws itself, elsewhere it prints a table.

    Attributes:
        table: A row for each network, by name: ``macs``, ``params``, ``bytes``; ``ms`` and ``p95_ms``, median and 95th
            percentile for one picture on one thread in onnxruntime; ``torch_ms`` and ``torch_p95_ms`` the same in
            PyTorch, for modules; ``fd``, ``kid``, ``psnr`` and ``ssim`` where the task has them, ``psnr_y`` where it
            enlarges. What could not be measured is missing (NaN), and ``notes`` say why.
        rows: Pictures float32 [N, 1 or 3, H, W] in [-1, 1] by label: given, by each network, real.
        basis: What the scores were measured on.
        notes: A sentence for everything that could not be measured.
    """

    table: pd.DataFrame
    rows: Mapping[str, Tensor]
    basis: str
    notes: tuple[str, ...] = ()

    @cached_property
    def pictures(self) -> Image.Image:
        """All rows as one image: given, by each network, real."""
        return tile(list(self.rows.values()), self._scale)

    @property
    def _scale(self) -> int:
        return 2 if max(row.shape[-1] for row in self.rows.values()) <= SMALL else 1

    @property
    def readable(self) -> pd.DataFrame:
        """The table in words: 11 M (1/12) is a twelfth of the first network's."""
        found = pd.DataFrame(index=self.table.index)
        found["MACs"] = _shares(self.table.macs, _short)
        found["parameters"] = _shares(self.table.params, _short)
        found["size"] = _shares(self.table["bytes"], lambda value: f"{_short(value)}B")
        for column, name in (("ms", "ms"), ("torch_ms", "PyTorch ms")):
            found[name] = _shares(self.table[column], "{:.2f}".format)
            found[f"{name.removesuffix('ms')}95 %"] = self.table[column.replace("ms", "p95_ms")].map("{:.2f}".format)
        for column in self.table.columns.intersection([*SCORES, "psnr_y"]):
            digits = {"fd": 1, "psnr": 2, "psnr_y": 2}.get(column, 3)
            found[column.upper().replace("_", "-")] = self.table[column].map(f"{{:.{digits}f}}".format)
        return found.replace("nan", "")

    def __str__(self) -> str:
        return "\n".join([self.readable.to_string(), self.basis, *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The table, and the pictures of each network in a row with its name."""
        rows = "".join(
            f'<tr><th style="text-align:right">{html.escape(label)}</th><td style="text-align:left">'
            f'<img src="data:image/png;base64,{_png(row, self._scale)}" alt="{html.escape(self._words(label, row))}" '
            'style="max-width:100%"></td></tr>'
            for label, row in self.rows.items()
        )
        said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in (self.basis, *self.notes))
        return f"{self.readable.to_html(border=0)}{said}<table><tbody>{rows}</tbody></table>"

    def _words(self, label: str, row: Tensor) -> str:
        made = f"painted by {label}" if label in self.table.index else label
        return f"{len(row)} test pictures: {made}"


@dataclass
class _Contestant:
    """A network that is to be compared, and what is known of it."""

    name: str
    run: nn.Module | OnnxGenerator
    notes: list[str] = field(default_factory=list)

    def costs(self, shape: Sequence[int]) -> dict[str, float]:
        """MACs, parameters, bytes; of a module with layers that cannot be counted without the MACs."""
        if isinstance(self.run, OnnxGenerator):
            found = onnx_cost(self.run.path, shape)
            return {"macs": found.macs, "params": found.params, "bytes": found.bytes}
        tensors = [*self.run.parameters(), *self.run.buffers()]
        known: dict[str, float] = {
            "params": sum(parameter.numel() for parameter in self.run.parameters()),
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        }
        try:
            return {"macs": cost(self.run, shape[2], shape[3], shape[1]).macs} | known
        except GancompError as error:
            self.notes.append(f"{self.name}: its MACs are not counted. {error}")
            return known

    def times(self, shape: Sequence[int], folder: Path) -> dict[str, float]:
        """Milliseconds in onnxruntime, and of a module in PyTorch; of one that cannot be exported in PyTorch alone."""
        if isinstance(self.run, OnnxGenerator):
            clocked = onnx_latency(self.run.path, shape, threads=THREADS)
            return {"ms": clocked.median_ms, "p95_ms": clocked.p95_ms}
        eager = eager_latency(self.run, shape, threads=THREADS)
        found = {"torch_ms": eager.median_ms, "torch_p95_ms": eager.p95_ms}
        try:
            file = export_onnx(self.run, folder / "network.onnx", shape, dynamic=False)
            clocked = onnx_latency(file, shape, threads=THREADS)
        except GancompError as error:
            self.notes.append(f"{self.name}: timed in PyTorch alone. {error}")
            return found
        return {"ms": clocked.median_ms, "p95_ms": clocked.p95_ms} | found

    def scores(self, task: Task, split: str, n: int | None) -> dict[str, float]:
        found = evaluate_generator(self.run, task, split, n=n).as_dict()
        if task.scale > 1:
            enlarged = evaluate_super_resolution(self.run, task, split, photos=()).as_dict()
            found["psnr_y"] = enlarged["psnr_y_crops"]
        return {name: found[name] for name in (*SCORES, "psnr_y") if name in found}


def compare(
    *networks: Network,
    task: Task,
    names: Sequence[str] | None = None,
    split: str = "test",
    n: int | None = None,
    shown: int = 8,
) -> Comparison:
    """Measure networks side by side: cost, time on one thread, quality, pictures.

    Modules and ONNX files of any origin may be mixed. All are timed in onnxruntime, modules through an exported copy;
    modules in PyTorch, too.

    Args:
        networks: Torch modules and paths of ONNX files that take the task's sources, float32 [N, C, H, W] in [-1, 1],
            and return pictures. Ratios in the printed table are to the first one. Modules are left as they were.
        task: Whose pictures they are measured on.
        names: What the rows are called; by default the name of a model of the zoo, of a file, or of a class.
        split: "test", or "search" for choosing among networks.
        n: Number of pictures to score on, spread evenly over the split; all by default.
        shown: Number of test pictures to draw, evenly spread and not chosen.

    Returns:
        The table, which draws itself in a notebook.

    Raises:
        GancompError: For no network at all, for what is neither a module nor an ONNX file, and for a network that does
            not take the task's sources or whose pictures are not of its targets' shape.
    """
    if not networks:
        raise GancompError("A comparison needs at least one network: torch modules, or paths of ONNX files.")
    given = [_opened(network, place) for place, network in enumerate(networks, start=1)]
    names = [_name(network) for network in networks] if names is None else list(names)
    if len(names) != len(given):
        raise GancompError(f"There are {len(given)} networks and {len(names)} names; give a name for each.")
    contestants = [_Contestant(name, run) for name, run in zip(_distinct(names), given, strict=True)]
    example = task.test.batch(torch.tensor([0]))
    for each in contestants:
        _check(each, example.source, example.target, task)
    shape = tuple(example.source.shape)
    table = []
    with scratch() as folder:
        for each in contestants:
            table.append(each.costs(shape) | each.times(shape, folder) | each.scores(task, split, n))
    columns = ("macs", "params", "bytes", "ms", "p95_ms", "torch_ms", "torch_p95_ms", *SCORES, "psnr_y")
    frame = pd.DataFrame(table, index=[each.name for each in contestants])
    frame = frame.reindex(columns=[name for name in columns if name in frame or name not in (*SCORES, "psnr_y")])
    indices = torch.linspace(0, len(task.test) - 1, min(shown, len(task.test))).long()
    with measuring("cpu", *given):
        rows = picture_rows({each.name: each.run for each in contestants}, task, indices)
    count = len(task.test if split == "test" else task.search) if n is None else n
    return Comparison(
        table=frame,
        rows={label: row.float().clamp(-1, 1) for label, row in rows.items()},
        basis=f"{task.name}, {count:,} pictures of the {split} split; ms: medians for one picture on {THREADS} thread.",
        notes=tuple(note for each in contestants for note in each.notes),
    )


def _opened(network: object, place: int) -> nn.Module | OnnxGenerator:
    if isinstance(network, nn.Module):
        return network
    if isinstance(network, Path | str):
        return OnnxGenerator(network)
    raise GancompError(
        f"Network {place} is a {type(network).__name__}; give torch modules, such as load_model(...) returns, or paths "
        "of ONNX files."
    )


def _name(network: Network) -> str:
    if isinstance(network, Path | str):
        return Path(network).stem
    card = getattr(network, "card", None)
    return str(card["name"]) if isinstance(card, dict) and "name" in card else type(network).__name__


def _distinct(names: Sequence[str]) -> list[str]:
    """The same names, where one occurs twice with a number behind it."""
    return [
        name if names.count(name) == 1 else f"{name} {names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _check(contestant: _Contestant, source: Tensor, target: Tensor, task: Task) -> None:
    """Raise at once, before anything slow, where a network does not fit the task."""
    try:
        with measuring("cpu", contestant.run):
            made = contestant.run(source)
    except Exception as error:  # whatever somebody's module raises
        raise GancompError(
            f"'{contestant.name}' does not take sources of '{task.name}', float32 {list(source.shape)} "
            f"({first_line(error)}); compare it on the task that it was made for."
        ) from error
    if not isinstance(made, Tensor):
        raise GancompError(
            f"'{contestant.name}' returns a {type(made).__name__}, not pictures; wrap it in a module that returns one "
            "tensor [N, C, H, W]."
        )
    check_output(made, target)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _shares(values: pd.Series, say: Callable[[float], str]) -> list[str]:
    """Each value in words, and in brackets its share of the first one."""
    first = values.iloc[0]
    return ["" if pd.isna(value) else say(value) + _share(value / first) for value in values]


def _share(share: float) -> str:
    if pd.isna(share) or share == 1:
        return ""
    return f" (1/{1 / share:.3g})" if share < 1 else f" ({share:.3g} times)"


def _png(row: Tensor, scale: int) -> str:
    buffer = io.BytesIO()
    tile([row], scale).save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
