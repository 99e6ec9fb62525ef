"""gancomp: image-generating GANs made 10-20 times cheaper, and a course that shows how."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gancomp_core.compress.run import compress as compress
    from gancomp_core.verbs import (
        Budget,
        compare,
        export_int8,
        fine_tune,
        load_model,
        load_task,
        search,
        train_supernet,
    )

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "compare",
    "compress",
    "export_int8",
    "fine_tune",
    "load_model",
    "load_task",
    "search",
    "train_supernet",
]


def __getattr__(name: str) -> object:
    """The verbs, loaded when one of them is first asked for: they bring PyTorch, which takes seconds."""
    if name == "compress":  # a package that can be called
        return importlib.import_module("gancomp_core.compress")
    if name in __all__:
        return getattr(importlib.import_module("gancomp_core.verbs"), name)
    raise AttributeError(f"module 'gancomp_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
