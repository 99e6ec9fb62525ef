"""Files of ``torch.save`` read without torch's unpickler and without running anything in them.

A pickle names Python objects and asks to call them. Here every name stands for an inert object that keeps what the file
says of it and does nothing; only tensors are put together, by the code below. So the weights beside an
``argparse.Namespace``, or inside a whole pickled module, can be read, and a file that asks for the tools of an attack
is refused by name.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

MAGIC = 0x1950A86A20F9469CFC6C  # torch's files before 1.6 begin with this number
#: Nothing in a checkpoint needs these. That they would not be run does not depend on this list.
HOSTILE = frozenset(
    "os posix nt subprocess sys shutil socket runpy importlib pty ctypes webbrowser commands pip timeit pdb bdb".split()
)
ALWAYS = 2**16  # bytes that are read at once without a look at how many are left
HOSTILE_BUILTINS = frozenset("eval exec compile __import__ open execfile breakpoint input apply".split())
DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Untyped": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}


class Refused(Exception):
    """A pickle asks for what no checkpoint needs; the argument names it."""


class Unreadable(Exception):
    """A file is damaged or holds tensors of another kind; the argument says what."""


class Inert:
    """Stands for an object of the file's own: keeps what the file says of it, does nothing."""

    path = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: object, **named: object) -> Inert:
        made = super().__new__(cls)
        made.args, made.state = args, None
        return made

    def __init__(self, *args: object, **named: object) -> None:
        """Accepts all that a file gives."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        """Items of a foreign mapping are not kept."""

    def __call__(self, *args: object) -> Inert:
        return self

    def append(self, item: object) -> None:
        """Items of a foreign list are not kept."""

    def extend(self, items: Iterable[object]) -> None:
        """Items of a foreign list are not kept."""

    add = append


class _Bounded:
    """A file that refuses to read many more bytes than it holds, before memory is taken for them."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.readline = file, file.readline

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer where less than ``ALWAYS`` are asked for at the end of the file."""
        if count > ALWAYS and count > _bytes_left(self.file):
            raise Unreadable("it is cut off or damaged")
        return self.file.read(count)


class _Unpickler(pickle._Unpickler):
    """Knows tensors, ordered and plain mappings and sets; everything else becomes :class:`Inert`.

    It derives from the one written in Python, whose memory a file cannot exhaust by numbering one object 2**31.
    """

    def __init__(self, file: BinaryIO, storage: Callable[[torch.dtype, str, int], Tensor]) -> None:
        super().__init__(_Bounded(file), encoding="latin1")
        self.storage, self.names = storage, dict[str, None]()
        # made for each file, so that nothing that a file does to them is seen by another
        tensor: Callable[..., object] = lambda s, offset, size, stride, *_: _view(s, offset, size, stride)  # noqa: E731
        first: Callable[..., object] = lambda value, *_: value  # noqa: E731
        new: Callable[..., object] = lambda kind, *args: kind(*args)  # noqa: E731
        self.known: dict[str, Any] = {
            "torch._utils._rebuild_tensor": tensor,
            "torch._utils._rebuild_tensor_v2": tensor,
            "torch._utils._rebuild_parameter": first,
            "torch._utils._rebuild_parameter_with_state": first,
            "torch._tensor._rebuild_from_type_v2": lambda make, _kind, args, *_: make(*args),
            "torch.storage._load_from_bytes": lambda data: _read_stream(io.BytesIO(data))[0],
            "torch.Size": first,
            "_codecs.encode": lambda text, *_: text.encode("latin1"),  # bytes in protocols before 3
            "collections.OrderedDict": OrderedDict,
            "collections.defaultdict": lambda *_: {},
            **{
                f"{builtins}.{kind.__name__}": kind
                for builtins in ("builtins", "__builtin__")
                for kind in (set, frozenset)
            },
            **{f"{module}.__newobj__": new for module in ("copyreg", "copy_reg")},
            **{f"{module}._reconstructor": lambda kind, *_: kind() for module in ("copyreg", "copy_reg")},
        }

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        root = module.partition(".")[0]
        if root in HOSTILE or (root in ("builtins", "__builtin__") and name.partition(".")[0] in HOSTILE_BUILTINS):
            raise Refused(path)
        if path in self.known:
            return self.known[path]
        if root == "torch" and name.endswith("Storage"):
            return type(name, (Inert,), {"path": path})
        if root == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        if path.startswith("torch._utils._rebuild"):
            raise Unreadable(f"it holds a tensor of another kind than dense weights ({name})")
        self.names[path] = None
        return type("Inert", (Inert,), {"path": path})

    def load_bytearray8(self) -> None:
        """As pickle's own, but the bytes are there before memory is taken for them."""
        count = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.append(bytearray(self.read(count)))  # type: ignore[attr-defined]

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }

    def persistent_load(self, saved: Any) -> Any:
        kind, what, *rest = saved
        if kind == "module":  # torch before 1.6 put a class and its source here
            return what
        key, _, count, *view = rest
        dtype = DTYPES.get(what.__name__.removesuffix("Storage").removesuffix("Typed"))
        if kind != "storage" or dtype is None:
            raise Unreadable(f"it holds numbers of another kind than those of weights ({what.__name__})")
        stored = self.storage(dtype, str(key), int(count))
        if view and view[0] is not None:
            _, offset, length = view[0]
            return _view(stored, offset, (length,), (1,))
        return stored


def read_pickled(file: BinaryIO) -> tuple[object, tuple[str, ...], str]:
    """What a file of ``torch.save`` or ``pickle.dump`` holds.

    Args:
        file: The open file, at its beginning.

    Returns:
        Its content, in which tensors are tensors and objects of other kinds :class:`Inert`; the names of these; and the
        kind of file.

    Raises:
        Refused: It asks for tools of an attack.
        Unreadable: It is damaged, or holds what is not weights.
    """
    return _read_zip(file) if zipfile.is_zipfile(file) else _read_stream(file)


def _read_stream(file: BinaryIO) -> tuple[object, tuple[str, ...], str]:
    file.seek(0)
    begins = _Unpickler(file, _no_storage).load()
    return _read_legacy(file) if begins == MAGIC else _read_bare(file)


def _read_zip(file: BinaryIO) -> tuple[object, tuple[str, ...], str]:
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        root = min((name for name in names if name.endswith("data.pkl")), key=len).removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise Unreadable("its numbers are big-endian")
        kept: dict[str, Tensor] = {}

        def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
            if key not in kept:
                kept[key] = _numbers(archive.read(f"{root}data/{key}"), dtype, count)
            return kept[key]

        unpickler = _Unpickler(io.BytesIO(archive.read(f"{root}data.pkl")), storage)
        return unpickler.load(), tuple(unpickler.names), "a zip file of torch.save"


def _read_legacy(file: BinaryIO) -> tuple[object, tuple[str, ...], str]:
    """Four pickles (magic number, version, machine, content), the keys of the storages, and their numbers."""
    _Unpickler(file, _no_storage).load()
    machine = _Unpickler(file, _no_storage).load()
    if not isinstance(machine, dict) or not machine.get("little_endian", True):
        raise Unreadable("its numbers are big-endian")
    kept: dict[str, Tensor] = {}
    left = _bytes_left(file)

    def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
        if key not in kept:
            if not 0 <= count * dtype.itemsize <= left:
                raise Unreadable("it is cut off or damaged")
            kept[key] = torch.empty(count, dtype=dtype)
        return kept[key]

    unpickler = _Unpickler(file, storage)
    content = unpickler.load()
    for key in _Unpickler(file, _no_storage).load():
        count = int.from_bytes(file.read(8), "little")
        stored = kept[key]
        if count != stored.numel():
            raise Unreadable("it is cut off or damaged")
        stored.copy_(_numbers(file.read(count * stored.dtype.itemsize), stored.dtype, count))
    return content, tuple(unpickler.names), "a file of torch.save from before torch 1.6"


def _read_bare(file: BinaryIO) -> tuple[object, tuple[str, ...], str]:
    file.seek(0)
    unpickler = _Unpickler(file, _no_storage)
    return unpickler.load(), tuple(unpickler.names), "a pickle"


def _no_storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
    raise Unreadable("it names numbers that it does not hold")


def _bytes_left(file: BinaryIO) -> int:
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end - here


def _numbers(data: bytes, dtype: torch.dtype, count: int) -> Tensor:
    if len(data) != count * dtype.itemsize:
        raise Unreadable("it is cut off or damaged")
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _view(stored: Tensor, offset: int, size: Iterable[int], stride: Iterable[int]) -> Tensor:
    """A tensor over stored numbers, none of which is outside them."""
    sides, steps = tuple(islice(size, 9)), tuple(islice(stride, 9))
    if not isinstance(stored, Tensor) or len(sides) != len(steps) or len(sides) > 8:
        raise Unreadable("it is cut off or damaged")
    if any(not isinstance(n, int) or n < 0 for n in (offset, *sides, *steps)):
        raise Unreadable("it is cut off or damaged")
    if 0 in sides:
        return torch.empty(sides, dtype=stored.dtype)
    if offset + sum((n - 1) * step for n, step in zip(sides, steps, strict=True)) >= stored.numel():
        raise Unreadable("it is cut off or damaged")
    return stored.as_strided(sides, steps, offset)
