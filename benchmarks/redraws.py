"""How long the moving pictures of the notebooks take: each run alone, every control moved to its ends and middle."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.side_by_side import FULL, Budget
from gancomp_core.course import notebook_files as files
from gancomp_core.course.run import run_notebooks
from gancomp_core.errors import GancompError

HEADER = ("picture", "first time", "redraws", "median", "slowest")
SAID = re.compile(  # what drive_all_widgets() prints of each
    r"(?P<title>[^\n]+): first picture (?P<first>[^\n]+?), (?P<redraws>\d+) redraws: median (?P<median>[^\n]+?), "
    r"slowest (?P<slowest>[^\n]+)"
)


@dataclass(frozen=True)
class Redraws:
    """What one notebook said of one of its pictures."""

    notebook: str
    said: re.Match[str]

    def cells(self) -> tuple[str, ...]:
        title, *times = self.said.group("title", "first", "redraws", "median", "slowest")
        return f"{self.notebook[:2]} {title}", *times


def run(budget: Budget) -> Iterator[Redraws]:
    """Milliseconds in the kernel, fast profile; the first two notebooks alone for a quick look."""
    for path in files.choose([])[: None if budget == FULL else 2]:
        with tempfile.TemporaryDirectory() as folder:
            [outcome] = run_notebooks([path], "fast", out=Path(folder), jobs=1, drive_widgets=True, html=False)
            if not outcome.passed:
                raise GancompError(f"{path.name} stopped, so its pictures were not timed: {outcome.error}.")
            log = Path(folder, path.stem).with_suffix(".log").read_text(encoding="utf-8")
        yield from (Redraws(path.stem, said) for said in SAID.finditer(log))
