"""Tensors that are computed once and stored in the cache folder."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from gancomp_core import files
from gancomp_core.errors import GancompError

log = logging.getLogger("gancomp")


def cached(folder: str, key: tuple[str, ...], make: Callable[[], Tensor]) -> Tensor:
    """The tensor stored under a key in a folder of the cache, computed and stored when it is missing or unreadable.

    A cache that cannot be written costs time, not the value: a warning is logged.

    Args:
        folder: Name of a folder in the cache.
        key: What determines the value; its first word begins the name of the file.
        make: Computes the tensor.

    Returns:
        The tensor.
    """
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()
    path = files.cache_root() / folder / f"{key[0]}-{digest[:32]}.safetensors"
    try:
        return safetensors.torch.load_file(path)["value"]
    except (OSError, KeyError, safetensors.SafetensorError):
        value = make()
    try:
        with files.atomic_write(path) as temporary:
            safetensors.torch.save_file({"value": value.contiguous()}, temporary)
    except (GancompError, OSError, safetensors.SafetensorError):
        _warn_of_cache(path.parent)
    return value


@functools.cache  # once for each folder: an evaluation keeps several tensors, and all of them fail alike
def _warn_of_cache(folder: Path) -> None:
    log.warning(
        "What was computed cannot be kept in %s (no permission, or the disk is full), so it is computed again each "
        "time; set GANCOMP_CACHE to a folder that can be written to.",
        folder,
    )
