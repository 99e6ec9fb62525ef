"""The catalog of tasks: every name that :func:`load_task` knows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from gancomp_core.data import emoji, photos, planet, public, shoes
from gancomp_core.data.tasks import Task
from gancomp_core.errors import GancompError
from gancomp_core.files import cache_root, data_root

# each loader gets the folder ``data``
_SHIPPED: dict[str, Callable[[Path], Task]] = {
    "edges2shoes": shoes.edges2shoes,
    "edges2shoes_unpaired": shoes.edges2shoes_unpaired,
    "photos_x4": photos.photos_x4,
    "landcover2satellite": planet.landcover2satellite,
    "summer2winter": planet.summer2winter,
    "flat2gloss": functools.partial(emoji.emoji_task, name="flat2gloss"),
    "flat2gloss_128": functools.partial(emoji.emoji_task, name="flat2gloss", size=128),
    "flat2gloss_unpaired": emoji.flat2gloss_unpaired,
    "lines2gloss": functools.partial(emoji.emoji_task, name="lines2gloss"),
    "lines2gloss_128": functools.partial(emoji.emoji_task, name="lines2gloss", size=128),
}


def task_names() -> list[str]:
    """Names of the shipped tasks."""
    return sorted(_SHIPPED)


def load_task(name: str) -> Task:
    """A task by name, read and verified once per process.

    Args:
        name: A shipped task, or a public set such as "public:horse2zebra", which is downloaded into the cache at first.

    Returns:
        The task.

    Raises:
        GancompError: For an unknown name, for a missing or damaged file, and for a download that fails.
    """
    if str(name).startswith(public.PREFIX):
        return _public(name, cache_root())
    if name not in [*_SHIPPED]:
        raise GancompError(
            f"There is no task '{name}'; the shipped ones are: {_listing()}, and folder_task(path) reads your own."
        )
    return _load(name, data_root())


@functools.cache
def _public(name: str, root: Path) -> Task:  # root: another cache, another copy
    return public.public_task(name)


def _listing() -> str:
    return ", ".join(f"'{name}'" for name in task_names())


@functools.cache
def _load(name: str, root: Path) -> Task:
    return _SHIPPED[name](root)
