"""Bring the translated notebooks in step with their originals: ``python tools/translations.py``.

Code cells are the original's, without outputs. Prose stays as it was translated; where the original has changed since,
the cell is named, so that somebody can look at it and run ``python tools/translations.py --done``.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from gancomp_core.files import atomic_write

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--done", action="store_true", help="the translations named before have been looked at")
    done = parser.parse_args().done
    for path in sorted((NOTEBOOKS / "translations").glob("*/*.ipynb")):
        translated = nbformat.read(path, 4)
        refreshed, stale = in_step(translated, nbformat.read(NOTEBOOKS / path.name, 4), done)
        with atomic_write(path) as temporary:
            nbformat.write(refreshed, temporary)
        print(f"{path.relative_to(NOTEBOOKS)}: {', '.join(stale) or 'no'} cells to look at")


def in_step(translated: NotebookNode, original: NotebookNode, done: bool = False) -> tuple[NotebookNode, list[str]]:
    """A translation with the code of its original.

    Args:
        translated: The translation as it is; its first cell says that it is a draft.
        original: The notebook that it translates.
        done: Whether the prose is as good as the original's present state.

    Returns:
        The translation, and the ids of cells whose original has changed since they were translated, or is new.
    """
    known, stale = {cell.id: cell for cell in translated.cells}, []
    cells = [translated.cells[0]]
    for cell in original.cells:
        made = cell.copy()
        if cell.cell_type == "code":
            made |= {"outputs": [], "execution_count": None}
        else:
            mark = hashlib.sha256(cell.source.encode()).hexdigest()[:16]
            prose = known.get(cell.id, cell)
            if prose.metadata.get("of") != mark and not done:
                stale.append(cell.id)
            of = mark if done or prose is cell else prose.metadata.get("of")
            kept = {key: value for key, value in cell.metadata.items() if key != "of"}  # a fold, tags
            made |= {"source": prose.source, "metadata": kept | ({"of": of} if prose is not cell else {})}
        cells.append(made)
    return NotebookNode({**original, "cells": cells}), stale


if __name__ == "__main__":
    main()
