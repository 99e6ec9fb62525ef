"""A complete text for any value: equal texts mean equal trainings.

A checkpoint must only be continued by the training that wrote it. So everything that determines a training is written
out, including arguments of terms and functions; what cannot be written out is refused instead of left out.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence, Set

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError

PLAIN = (type(None), bool, int, float, complex, str, bytes, range, enum.Enum, os.PathLike, torch.dtype, torch.device)


def describe(value: object) -> str:
    """The complete text of a value.

    Plain values are themselves, collections and dataclasses their parts (fields with ``repr=False`` left out), tensors
    and networks a digest of their content. A function that can be imported is its name; any other, such as a lambda,
    its code with its defaults and the values that it takes from around it. An object may name itself by a method
    ``identity() -> str``.

    Raises:
        GancompError: For any other object, because two of them could not be told apart.
    """
    if isinstance(value, PLAIN) or isinstance(value, type | types.ModuleType):
        return repr(value)
    if hasattr(value, "identity") and not isinstance(value, type):
        return str(value.identity())
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)} {value.dtype} {_sha(_bytes(value))}"
    if isinstance(value, nn.Module):
        return f"{type(value).__name__} {digest(value)}"
    if dataclasses.is_dataclass(value):
        shown = (field.name for field in dataclasses.fields(value) if field.repr)
        return f"{type(value).__qualname__}({_pairs({name: getattr(value, name) for name in shown})})"
    if isinstance(value, Mapping):
        return f"{{{_pairs(value)}}}"
    if isinstance(value, Set):
        return f"{{{', '.join(sorted(map(describe, value)))}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(describe, value))}]"
    if isinstance(value, functools.partial):
        return f"{describe(value.func)} of ({describe(value.args)}, {describe(value.keywords)})"
    if isinstance(value, types.MethodType):
        return f"{describe(value.__func__)} of {describe(value.__self__)}"
    if isinstance(value, types.BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, types.FunctionType):
        return _function(value)
    raise GancompError(
        f"A checkpoint must know which training it belongs to, and a {type(value).__qualname__} has no complete text; "
        "turn it into a frozen dataclass, or give it a method identity() that returns one."
    )


def digest(network: nn.Module) -> str:
    """SHA-256 of the names, shapes and values of a network's weights and buffers (16 hexadecimal digits)."""
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        found.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode() + _bytes(tensor))
    return found.hexdigest()[:16]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _pairs(values: Mapping[object, object]) -> str:
    return ", ".join(sorted(f"{name}={describe(value)}" for name, value in values.items()))


def _function(function: types.FunctionType) -> str:
    name = f"{function.__module__}.{function.__qualname__}"
    if _importable(function):
        return name
    around = inspect.getclosurevars(function)
    taken = {**around.globals, **around.nonlocals}
    others = {key: value for key, value in taken.items() if value is not function}
    defaults = (function.__defaults__, function.__kwdefaults__)
    return f"{name} {_sha(_code(function.__code__).encode())} {describe(defaults)} with {describe(others)}"


def _importable(function: Callable[..., object]) -> bool:
    """Whether the module of a function holds it under its name; "__main__" may hold another one tomorrow."""
    found = vars(sys.modules.get(function.__module__, object)).get(function.__qualname__)
    return function.__module__ != "__main__" and callable(found) and inspect.unwrap(found) is function


def _code(code: types.CodeType) -> str:
    constants = [_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"
