"""From what a file holds to the tensors of one network, named as a layout expects them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gancomp_core.errors import GancompError, shown
from gancomp_core.importers.pickles import Inert

Tensors = Mapping[str, Tensor]
LARGEST_COUNT = 500_000_000  # numbers in all tensors together: 40 times the published ResNet-9
DEEPEST = 8  # mappings inside one another
LEFTOVERS = ("total_ops", "total_params", "n_averaged")
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
#: Names under which programs keep a generator beside other networks in one flat state dict.
GENERATOR = re.compile(
    r"(net|model)?_?(g|gen|generator)(_?[a-z0-9]{1,2})?(2[a-z0-9]+)?(_\w+)?|\w*(generator|ema)\w*", re.I
)


@dataclass(frozen=True)
class Tidied:
    """The tensors of one network: no component common to all names, norms of weights folded, float32."""

    tensors: dict[str, Tensor]
    prefix: str
    skipped: tuple[str, ...]
    folded: tuple[str, ...]


# --- choosing the network


def networks(content: object) -> dict[str, Tensors]:
    """All state dicts that a file holds, by where they are (``"netG_A2B"``, ``"model.state_dict"``, ``""``)."""
    return {".".join(place): tensors for place, tensors in _state_dicts(content, (), DEEPEST)}


def _state_dicts(value: object, place: tuple[str, ...], deepest: int) -> Iterator[tuple[tuple[str, ...], Tensors]]:
    if deepest == 0:
        return
    if isinstance(value, Inert):
        if tensors := dict(_of_module(value, 4 * DEEPEST)):
            yield place, tensors
        return
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping) or {"state", "param_groups"} <= set(value):
        return
    inside = [found for name, inner in value.items() for found in _state_dicts(inner, (*place, str(name)), deepest - 1)]
    tensors = {name: tensor for name, inner in value.items() if isinstance(name, str) for tensor in _tensor(inner)}
    if not inside and any(tensor.ndim for tensor in tensors.values()):
        yield place, tensors
    yield from inside


def _tensor(value: object) -> list[Tensor]:
    """The tensor that a value is, or that an old Parameter has; empty for all others."""
    if isinstance(value, Inert) and value.path.endswith((".Parameter", ".Variable")):
        state = value.state if isinstance(value.state, tuple) else ()
        return next(([inner] for inner in (*value.args, *state) if isinstance(inner, Tensor)), [])
    return [value] if isinstance(value, Tensor) else []


def _of_module(module: object, deepest: int) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a module that was pickled whole, named as its state dict would name them."""
    state = module.state if isinstance(module, Inert) and isinstance(module.state, Mapping) else {}
    for kind in ("_parameters", "_buffers"):
        for name, inner in dict(state.get(kind) or {}).items():
            for tensor in _tensor(inner):
                yield str(name), tensor
    for name, inner in dict(state.get("_modules") or {}).items() if deepest else ():
        for below, tensor in _of_module(inner, deepest - 1):
            yield f"{name}.{below}", tensor


def chosen(
    found: Mapping[str, Tensors], part: str | None, source: str, fits: Callable[[Tensors], bool]
) -> tuple[str, Tensors]:
    """One network of those in a file.

    Args:
        found: State dicts by place.
        part: The network that the user wants: a place, its last component, or the beginning of names in a flat dict.
        source: Name of the file in errors.
        fits: Whether some layout reads these (tidied) tensors.

    Returns:
        Where it is, and its tensors.

    Raises:
        GancompError: There is none, or several and no part was given.
    """
    if part is not None:
        return _wanted(found, part.strip("."), source)
    readable = {}
    for place, tensors in found.items():
        if fits(_quickly(tensors)):
            readable[place] = tensors
            continue
        for name, inside in _groups(tensors).items():
            if GENERATOR.fullmatch(name.rpartition(".")[2]) and fits(_quickly(inside)):
                readable[f"{place}.{name}".strip(".")] = inside
    if len(readable) > 1:
        raise GancompError(
            f"{source} holds several networks that can be read ({few(readable)}); choose one, for example with "
            f"part='{shown(next(iter(readable)))}'."
        )
    if readable:
        return next(iter(readable.items()))
    if len(found) > 1:
        raise GancompError(
            f"{source} holds several state dicts ({few(found)}), and none is a generator that can be read; to see what "
            f"one of them is, choose it, for example with part='{shown(next(iter(found)))}'."
        )
    return next(iter(found.items()))


def _quickly(tensors: Tensors) -> dict[str, Tensor]:
    return tidied(tensors, "", numbers=False).tensors


def _groups(tensors: Tensors) -> dict[str, dict[str, Tensor]]:
    """The networks of a flat state dict: its tensors by the first component in which their names differ."""
    common = common_components(tensors)
    cut = [name.split(".") for name in tensors]
    groups: dict[str, dict[str, Tensor]] = {}
    for parts, (name, tensor) in zip(cut, tensors.items(), strict=True):
        if len(parts) > common + 1:
            start = ".".join(parts[: common + 1])
            groups.setdefault(start, {})[name.removeprefix(f"{start}.")] = tensor
    return groups


def _wanted(found: Mapping[str, Tensors], part: str, source: str) -> tuple[str, Tensors]:
    matches = {place: tensors for place, tensors in found.items() if place == part or place.endswith(f".{part}")}
    if part in matches:
        matches = {part: matches[part]}
    for place, tensors in found.items():
        for start in (f"{part}.", f"{part}.".removeprefix(f"{place}.")):
            inside = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            if inside and not matches:
                matches[part] = inside
    if len(matches) == 1:
        return next(iter(matches.items()))
    if matches:
        raise GancompError(
            f"{source} holds '{shown(part)}' more than once ({few(matches)}); give one of these as part."
        )
    there = [place for place in found if place] or [name for tensors in found.values() for name in _groups(tensors)]
    raise GancompError(f"{source} holds no part '{shown(part)}'; it holds {few(there)}.")


def few(names: Iterable[str]) -> str:
    """The first names as they may stand in a message."""
    names = list(names)
    return ", ".join(map(shown, names[:6])) + (", ..." if len(names) > 6 else "")


# --- tidying its names


def tidied(tensors: Tensors, source: str, numbers: bool = True) -> Tidied:
    """Tensors as layouts expect them.

    Args:
        tensors: A state dict.
        source: Name of the file in errors.
        numbers: Whether values matter; without them nothing is checked, converted or computed, which is quick.

    Returns:
        The tensors, and the names of those that were skipped and folded.

    Raises:
        GancompError: A tensor is of a kind that weights are not, or there are too many numbers.
    """
    if numbers:
        _check_kinds(tensors, source)
    skipped = tuple(name for name in tensors if name.rpartition(".")[2] in LEFTOVERS)
    kept = {name: tensor for name, tensor in tensors.items() if name not in skipped}
    unwrapped = {".".join(p for p in name.split(".") if p not in WRAPPERS): tensor for name, tensor in kept.items()}
    kept = unwrapped if len(unwrapped) == len(kept) else kept
    kept = {
        name: tensor.detach().float() if numbers and tensor.is_floating_point() else tensor
        for name, tensor in kept.items()
    }
    kept, folded = _folded(kept, numbers)
    common = common_components(kept)
    prefix = ".".join(next(iter(kept), "").split(".")[:common])
    return Tidied({name.split(".", common)[-1]: tensor for name, tensor in kept.items()}, prefix, skipped, folded)


def common_components(names: Iterable[str]) -> int:
    """How many dotted components all names begin with; the last component of a name does not count."""
    parts = [name.split(".")[:-1] for name in names]
    shortest = min(map(len, parts), default=0)
    return next((i for i in range(shortest) if len({p[i] for p in parts}) > 1), shortest)


def _check_kinds(tensors: Tensors, source: str) -> None:
    if sum(tensor.numel() for tensor in tensors.values()) > LARGEST_COUNT:
        raise GancompError(
            f"{source} holds more than {LARGEST_COUNT // 10**6} million numbers, which no generator here has; "
            "save the generator's state dict alone."
        )
    for name, tensor in tensors.items():
        what = "complex" if tensor.is_complex() else ""
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            what = "not finite (NaN or infinity)"
        if what:
            raise GancompError(
                f"The tensor '{shown(name)}' in {source} is {what}; weights must be finite real numbers, so get the "
                "file again or train again."
            )


# --- folding norms of weights

#: Kind of norm: what its tensors are called after the name of the layer; the first is the one that is replaced.
NORMS = {
    "spectral norm": ("weight_orig", "weight_u", "weight_v"),
    "weight norm": ("weight_v", "weight_g", ""),
    "spectral norm of parametrizations": (
        "parametrizations.weight.original",
        "parametrizations.weight.0._u",
        "parametrizations.weight.0._v",
    ),
    "weight norm of parametrizations": ("parametrizations.weight.original1", "parametrizations.weight.original0", ""),
}


def _folded(tensors: dict[str, Tensor], numbers: bool) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights that spectral or weight norm keeps in pieces, put together as the norm does in eval mode."""
    made, done = dict(tensors), []
    for kind, (main, second, third) in NORMS.items():
        for name in list(made):
            layer = name.removesuffix(main)
            if not name.endswith(main) or (layer and not layer.endswith(".")) or f"{layer}{second}" not in made:
                continue
            pieces = [made.pop(f"{layer}{end}", None) for end in (main, second, third) if end]
            weight, by = pieces[0], pieces[1]
            if weight is None or by is None:  # both were found above
                continue
            made[f"{layer}weight"] = (
                weight
                if not numbers
                else (_spectral(weight, by, pieces[2]) if kind.startswith("spectral") else _by_length(weight, by))
            )
            done.append(f"{layer}weight ({kind.removesuffix(' of parametrizations')})")
    return made, tuple(done)


def _spectral(weight: Tensor, u: Tensor, v: Tensor | None) -> Tensor:
    """Divided by the stored estimate of the largest singular value, of the kernel seen as a matrix.

    The outputs are axis 0 of a convolution and axis 1 of a transposed one. Where both have as many, the larger
    estimate is the right one: the vectors belong together there.
    """
    estimates = []
    for axis in (0, 1):
        if weight.ndim > axis and weight.shape[axis] == u.numel():
            matrix = weight.transpose(0, axis).flatten(1)
            right = torch.nn.functional.normalize(matrix.T @ u, dim=0) if v is None else v
            if right.numel() == matrix.shape[1]:
                estimates.append(u @ matrix @ right)
    return weight / max(estimates) if estimates else weight


def _by_length(direction: Tensor, length: Tensor) -> Tensor:
    kept = [axis for axis, side in enumerate(length.shape) if side > 1] if length.ndim == direction.ndim else []
    axes = [axis for axis in range(direction.ndim) if axis not in kept]
    return direction * length / direction.square().sum(axes, keepdim=True).sqrt()
