"""Where a teacher comes from: a module, a Python file, an ONNX file, a checkpoint, or the zoo."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gancomp_core import zoo
from gancomp_core.errors import GancompError
from gancomp_core.nets import Generator

UNKNOWN_LICENCE = "unknown: the teacher states none"


@dataclass(frozen=True)
class Source:
    """An opened teacher before it is tried; the fields are those of :class:`gancomp_core.compress.Teacher`."""

    network: nn.Module
    name: str
    kind: str
    licence: str = UNKNOWN_LICENCE
    file: Path | None = None
    assumed: tuple[str, ...] = ()
    value_range: str | None = None


def open_source(source: nn.Module | str | Path) -> Source:
    """The network behind a module, or a name; see :func:`gancomp_core.compress.open_teacher`."""
    if isinstance(source, nn.Module):
        return own_module(source, type(source).__name__, "module")
    if str(source) in zoo.shown():
        network = zoo.load(str(source)).generator
        return Source(network, str(source), "zoo", zoo.card(str(source))["licence"], value_range="[-1, 1]")
    raise GancompError(
        f"There is no teacher {str(source)!r}; give a module, or a model of the zoo ({', '.join(zoo.names()[:3])} ...)."
    )


def own_module(module: nn.Module, name: str, kind: str) -> Source:
    """A copy of a reader's module on the CPU, in float32 and eval mode, without gradients."""
    inner = getattr(module, "_orig_mod", module)  # of torch.compile
    inner = inner.module if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel) else inner
    if isinstance(inner, Generator):
        inner = inner.standalone()
    tensors = [*inner.parameters(), *inner.buffers()]
    assumed = []
    kinds = sorted({str(each.dtype) for each in tensors if each.is_floating_point() and each.dtype.itemsize != 4})
    if kinds:
        assumed.append(f"Its weights were {' and '.join(kinds)} and are used as float32.")
    if places := sorted({each.device.type for each in tensors} - {"cpu"}):
        assumed.append(f"Its weights were on {' and '.join(places)}; a copy of it on the CPU is used.")
    modes = [part for part in inner.modules() if part.training and isinstance(part, _BatchNorm | _DropoutNd)]
    if changing := sorted({type(part).__name__ for part in modes}):
        assumed.append(
            f"It was in training mode and is used in eval mode: {' and '.join(changing)} then use recorded statistics "
            "and no chance."
        )
    return Source(_copy(inner).cpu().float().eval().requires_grad_(False), name, kind, assumed=tuple(assumed))


def _copy(module: nn.Module) -> nn.Module:
    """A deep copy, also of a module that keeps results of its last run, which torch refuses to copy."""
    kept = (value for part in module.modules() for value in vars(part).values())
    memo = {id(each): each.detach().clone() for each in kept if isinstance(each, Tensor) and not each.is_leaf}
    return copy.deepcopy(module, memo)
