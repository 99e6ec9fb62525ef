"""``python -m benchmarks [names...] [--quick]``: measure side by side, print, and keep the tables in README.md."""

from __future__ import annotations

import argparse
import datetime
import functools
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import psutil
import torch

from benchmarks import (
    agd,
    cost,
    frechet,
    integers,
    loading,
    paper_size,
    redraws,
    supernets,
    teachers,
    training,
    wavelets,
    workers,
)
from benchmarks.side_by_side import FULL, QUICK, Budget
from gancomp_core.errors import GancompError
from gancomp_core.files import atomic_write
from gancomp_core.measure import machine_class


class Row(Protocol):
    """What a subject finds out, one at a time."""

    def cells(self) -> tuple[str, ...]: ...


Subject = Callable[[Budget], Iterator[Row]]
SUBJECTS: dict[str, Subject] = {
    "cost": cost.run,
    "loading": loading.run,
    "training": training.run,
    "teachers": teachers.run,
    "frechet": frechet.run,
    "supernets": supernets.run,
    "published": supernets.run_published,
    "wavelets": wavelets.run,
    "agd": agd.run,
    "integers": integers.run,
    "redraws": redraws.run,
    "paper_size": paper_size.run,
    "workers": workers.run,
}
README = Path(__file__).with_name("README.md")
HEADER = ("what", "threads", "gancomp", "plain", "times as fast")
HEADERS = {  # of those that compare with other things
    "teachers": teachers.HEADER,
    "supernets": supernets.HEADER,
    "published": supernets.HEADER,
    "wavelets": wavelets.HEADER,
    "agd": agd.HEADER,
    "integers": integers.HEADER,
    "redraws": redraws.HEADER,
    "paper_size": paper_size.HEADER,
    "workers": workers.HEADER,
}
BUSY = 0.3  # cores that other programs may use before the numbers say so


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subjects named, all by default; a quick run shows its numbers and keeps none. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure gancomp beside the plain way.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {', '.join(SUBJECTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a few minutes, rough, and README.md stays as it is")
    parser.add_argument("--all-threads", action="store_true", help="teachers: on all threads too, not only on one")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in SUBJECTS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; the names are {', '.join(SUBJECTS)}")
    try:
        names = options.names or list(SUBJECTS)
        tables = measure(names, QUICK if options.quick else FULL, options.all_threads)
        if not options.quick:
            write(README, tables)
            print(f"Written to {README}")
    except GancompError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def measure(names: Sequence[str], budget: Budget, all_threads: bool = False) -> dict[str, str]:
    """The tables by subject, as Markdown; rows are printed as they come."""
    subjects: dict[str, Subject] = {**SUBJECTS, "teachers": functools.partial(teachers.run, all_threads=all_threads)}
    began, tables, where = time.monotonic(), {}, conditions()
    print(where)
    for name in names:
        print(f"\n{name}", flush=True)
        rows = []
        for row in subjects[name](budget):
            rows.append(row.cells())
            print("  " + "  |  ".join(rows[-1]), flush=True)
        tables[name] = table(name, rows, where)
    print(f"\n{time.monotonic() - began:.0f} s")
    return tables


def conditions() -> str:
    """What the numbers depend on: machine, PyTorch, threads, and whether others use the machine too."""
    busy = psutil.cpu_percent(interval=1.0) / 100 * (psutil.cpu_count() or 1)
    others = f"; other programs used {busy:.1f} cores, so times are too long" if busy > BUSY else ""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    return f"{machine_class()}; {gpu}, PyTorch {torch.__version__}, up to {torch.get_num_threads()} threads{others}"


def table(name: str, rows: Sequence[Sequence[str]], where: str) -> str:
    """Rows as a Markdown table, with where, when and how they were made."""
    header = HEADERS.get(name, HEADER)
    lines = [header, ["---"] * len(header), *rows]
    made = f"`python -m benchmarks {name}`, {datetime.date.today().isoformat()}: {where}."
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", made])


def write(path: Path, tables: dict[str, str]) -> None:
    """Put each table between its markers in the file; the rest of the text stays as it is."""
    text = path.read_text(encoding="utf-8")
    for name, content in tables.items():
        begin, end = f"<!-- {name}: written by the command -->", f"<!-- end of {name} -->"
        found = re.search(f"{re.escape(begin)}\n.*?{re.escape(end)}", text, re.DOTALL)
        if not found:
            raise GancompError(f"{path} lacks the lines '{begin}' and '{end}' that its table stands between; add them.")
        text = text.replace(found[0], f"{begin}\n\n{content}\n\n{end}")
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
