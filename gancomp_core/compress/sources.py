"""Where a teacher comes from: a module, a Python file, an ONNX file, a checkpoint, or the zoo."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from gancomp_core import zoo
from gancomp_core.compress.onnx_files import OnnxModule
from gancomp_core.compress.probing import outputs
from gancomp_core.compress.value_ranges import USUAL
from gancomp_core.errors import GancompError, shown
from gancomp_core.files import sha256
from gancomp_core.importers import Assumptions, import_checkpoint
from gancomp_core.importers.foreign_files import read_foreign
from gancomp_core.importers.tidying import networks
from gancomp_core.measure.running import copied, first_line
from gancomp_core.nets import Generator
from gancomp_core.nets.blocks import instance_norm
from gancomp_core.nets.ranges import OtherRange

UNKNOWN_LICENCE = "unknown: the teacher states none"


@dataclass(frozen=True)
class Source:
    """Where a teacher comes from.

    Attributes:
        network: The network in its own value range.
        name: What reports call it.
        kind: "module", "file.py", "onnx", "checkpoint" or "zoo".
        licence: Of its weights.
        file: The ONNX file of a black box, else None.
        assumed: What was found out or decided about it, in sentences.
        value_range: Where it is known without trying.
        code: A digest of code that the weights do not show.
    """

    network: nn.Module
    name: str
    kind: str
    licence: str = UNKNOWN_LICENCE
    file: Path | None = None
    assumed: tuple[str, ...] = ()
    value_range: str | None = None
    code: str = ""


def open_source(
    source: nn.Module | str | Path,
    weights: Path | str | None,
    constants: Mapping[str, object] | None,
    part: str | None,
    assume: Assumptions,
) -> Source:
    """The network behind a module, or a name; see :func:`gancomp_core.compress.open_teacher`."""
    if isinstance(source, nn.Module):
        return own_module(source, type(source).__name__, "module", weights)
    name = str(source)
    file, colon, function = name.rpartition(":")
    if colon and file.lower().endswith(".py"):
        return _python_file(Path(os.path.expanduser(file)), function, weights)
    if weights is not None:
        raise GancompError(f"{name} brings its own weights; weights= goes with a module or with 'file.py:function'.")
    path = Path(os.path.expanduser(name))
    if not path.is_file():
        return _of_the_zoo(name)
    if path.suffix.lower() == ".py":
        functions = ", ".join(f"'{name}:{each}'" for each in _functions(path)) or "it has none"
        raise GancompError(f"{name} is Python code; name the function in it that returns the network ({functions}).")
    if path.suffix.lower() == ".onnx":
        return Source(OnnxModule(path, constants), path.stem, "onnx", file=path)
    network = import_checkpoint(path, part=part, assume=assume, quiet=True)
    read = Source(network, path.stem, "checkpoint", assumed=(str(network.imported),), value_range=USUAL)
    if isinstance(network, OtherRange) and network.takes == network.makes:
        return replace(read, network=network.net, value_range=network.takes)
    return read


def own_module(module: nn.Module, name: str, kind: str, weights: Path | str | None = None) -> Source:
    """A copy of a reader's module on the CPU, in float32 and eval mode, without gradients."""
    inner = getattr(module, "_orig_mod", module)  # of torch.compile
    inner = inner.module if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel) else inner
    if isinstance(inner, Generator):
        inner = inner.standalone()
    if isinstance(inner, torch.jit.ScriptModule):
        raise GancompError(f"{name} is TorchScript, which is not read; give the nn.Module it was made from, or ONNX.")
    for key, value in inner.state_dict().items():
        if not isinstance(value, Tensor) or is_lazy(value) or value.is_meta:
            raise GancompError(
                f"The entry '{key}' of {name} is no tensor with values; run the network once or load its weights, "
                "or give the float network that it was made from."
            )
    assumed = []
    kinds = {str(each.dtype)[6:] for each in (*inner.parameters(), *inner.buffers()) if each.is_floating_point()}
    if others := sorted(kinds - {"float32"}):
        assumed.append(f"Its weights were {' and '.join(others)} and are used as float32.")
    modes = (part for part in inner.modules() if part.training and isinstance(part, _BatchNorm | _DropoutNd))
    if changing := sorted({type(part).__name__ for part in modes}):
        assumed.append(
            f"It was in training mode and is used in eval mode: {' and '.join(changing)} then use recorded statistics "
            "and no chance."
        )
    network = copied(inner).cpu().float()
    if weights is not None:
        _load(network, Path(os.path.expanduser(weights)), name)
    return Source(network.eval().requires_grad_(False), name, kind, assumed=tuple(assumed))


@torch.no_grad()
def with_group_norms(network: nn.Module, example: Tensor) -> nn.Module:
    """The network with its InstanceNorms written as GroupNorms, which run faster, where that is the same function."""
    faster = copied(network)
    for parent in list(faster.modules()):
        for name, norm in parent.named_children():
            if type(norm) is nn.InstanceNorm2d and not norm.track_running_stats:
                group = instance_norm(norm.num_features, norm.affine)
                group.load_state_dict(norm.state_dict(), assign=True)
                group.eps = norm.eps
                setattr(parent, name, group.eval().requires_grad_(False))
    made, again = (dict(outputs(each(example.clone()))) for each in (network, faster))
    same = all(torch.allclose(made[name], again[name], rtol=1e-4, atol=1e-4, equal_nan=True) for name in made)
    return faster if same else network


def _of_the_zoo(name: str) -> Source:
    if name not in zoo.shown():
        raise GancompError(
            f"There is no file and no model of the zoo {name!r}; give an .onnx file, a checkpoint, 'file.py:function', "
            f"or one of {', '.join(zoo.names())}."
        )
    model = zoo.load(name)
    return Source(model.generator, name, "zoo", str(model.card.get("licence", UNKNOWN_LICENCE)), value_range=USUAL)


# --- a function of the reader's


def _python_file(path: Path, function: str, weights: Path | str | None) -> Source:
    if not path.is_file():
        raise GancompError(f"There is no file {path}; check the path before the colon.")
    if function not in _functions(path):
        there = ", ".join(_functions(path)) or "none"
        raise GancompError(f"{path} has no function {function!r} that needs no arguments; it has {there}.")
    spec = importlib.util.spec_from_file_location(f"teacher_{path.stem}", path)
    assert spec is not None  # of a file that exists
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # where it finds what it imports
    sys.modules[spec.name] = code  # where dataclasses look for their module
    try:
        with torch.random.fork_rng(devices=[]):  # a network begins with random weights
            spec.loader.exec_module(code)
            network = getattr(code, function)()
    except Exception as error:  # the reader's own code raises anything
        raise GancompError(
            f"{path}:{function} failed ({type(error).__name__}: {first_line(error)}); mend it, or what it imports."
        ) from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    if not isinstance(network, nn.Module):
        raise GancompError(f"{path}:{function} returned a {type(network).__name__}; it must return an nn.Module.")
    found = own_module(network, path.stem, "file.py", weights)
    without = "No weights were given: the network is used as its function made it."
    return replace(found, code=sha256(path), assumed=(*found.assumed, *([] if weights else [without])))


def _functions(path: Path) -> list[str]:
    """The functions and classes of a Python file that may need no arguments, read without running it."""
    try:
        parts = ast.parse(path.read_bytes(), str(path)).body
    except (SyntaxError, ValueError) as error:
        raise GancompError(f"{path} is not Python code ({first_line(error)}); mend it first.") from error
    return [
        part.name
        for part in parts
        if isinstance(part, ast.ClassDef)
        or (
            isinstance(part, ast.FunctionDef)
            and len(part.args.posonlyargs) + len(part.args.args) == len(part.args.defaults)
            and None not in part.args.kw_defaults
        )
    ]


# --- weights for it


def _load(network: nn.Module, path: Path, name: str) -> None:
    """Load weights strictly: every tensor of the network and no other."""
    wanted = network.state_dict()
    dicts = [_without_prefix(dict(found), wanted) for found in networks(read_foreign(path).content).values()]
    if not dicts:
        raise GancompError(f"{path} holds no state dict; save it by torch.save(network.state_dict(), path).")
    best = max(dicts, key=lambda found: len(wanted.keys() & found.keys()) - len(found.keys() - wanted.keys()))
    missing, extra = sorted(wanted.keys() - best.keys()), sorted(best.keys() - wanted.keys())
    other = [key for key, tensor in wanted.items() if key in best and tensor.shape != best[key].shape]
    said = [f"lacks {_few(missing)}"] if missing else []
    said += [f"has {_few(extra)} more"] if extra else []
    said += [f"has '{each}' as {list(best[each].shape)}, not {list(wanted[each].shape)}" for each in other[:1]]
    if said:
        raise GancompError(f"{path} is of another network than {name}: it {' and '.join(said)}; give its own weights.")
    network.load_state_dict(best)


def _without_prefix(found: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that DataParallel or torch.compile puts before every name."""
    for prefix in ("module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in found) and not any(name.startswith(prefix) for name in wanted):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _few(names: list[str]) -> str:
    return ", ".join(f"'{shown(name)}'" for name in names[:3]) + (f" and {len(names) - 3} others" if names[3:] else "")
