"""Weights and training states on disk: written atomically, read without executing anything in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from gancomp_core.errors import GancompError, shown
from gancomp_core.files import Json, atomic_write


def save_weights(module: nn.Module, path: Path | str, about: Json | None = None) -> None:
    """Write a module's weights as safetensors.

    Args:
        module: The network.
        path: The file.
        about: JSON values for the header.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    metadata = {key: json.dumps(value) for key, value in (about or {}).items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def read_about(path: Path | str) -> Json:
    """The header that :func:`save_weights` wrote."""
    with _opened(Path(path)) as file:
        return decode_about(file.metadata() or {})


def decode_about(metadata: Mapping[str, str]) -> Json:
    """The values that :func:`save_weights` was given, from the metadata of a safetensors header."""
    return {key: _decoded(value) for key, value in metadata.items()}


def _decoded(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # other programs write plain words into their headers
        return value


def load_weights(module: nn.Module, path: Path | str) -> nn.Module:
    """Fill a module with weights from a safetensors file.

    Args:
        module: The network, which is changed.
        path: The file.

    Returns:
        The module.

    Raises:
        GancompError: When the file is missing, damaged, or belongs to another architecture (naming the first tensor
            that does not fit).
    """
    path = Path(path)
    with _opened(path) as file:
        names = list(file.keys())
        check_shapes(module, {name: tuple(file.get_slice(name).get_shape()) for name in names}, path)
        tensors = {name: file.get_tensor(name) for name in names}
    module.load_state_dict(tensors)
    return module


def check_shapes(module: nn.Module, found: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Compare the shapes of tensors in a file with those of a module, which may be on the meta device.

    Args:
        module: The network that the tensors are for.
        found: Shapes by the tensor's name.
        path: The file, for the message.

    Raises:
        GancompError: Naming the first tensor that does not fit.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if expected != found:
        name = next(n for n in (*expected, *found) if expected.get(n) != found.get(n))
        raise GancompError(
            f"The weights in {path} belong to another architecture: tensor '{shown(name)}' is "
            f"{_shape(found.get(name))} in the file and {_shape(expected.get(name))} in the {type(module).__name__}; "
            "build the network from the architecture stored with the weights."
        )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else "x".join(map(str, shape)) or "a scalar"


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise GancompError(f"There are no weights at {path}; check the path, or train them first.")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise GancompError(
            f"{path} cannot be read as safetensors weights ({error}); "
            "restore it with 'git checkout -- <file>' or save it again."
        ) from error


def save_state(state: Json, path: Path | str) -> None:
    """Write a training state (nested dicts and lists of tensors and plain values)."""
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path | str) -> Json:
    """Read a training state; only tensors and plain values are accepted (``weights_only=True``)."""
    if Path(path).exists() and not Path(path).is_file():
        raise GancompError(f"The checkpoint {path} is no plain file; give the path of one.")
    try:
        state: Json = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except PermissionError as error:
        raise GancompError(f"No permission to read the checkpoint {path}; change its permissions.") from error
    except Exception as error:  # torch raises a different type for every kind of damage
        raise GancompError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}); delete it to start that training again."
        ) from error
