"""``python -m benchmarks [names...] [--quick]``: measure side by side, print, and keep the tables in README.md."""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import torch

from benchmarks import cost, frechet, loading, training
from benchmarks.side_by_side import FULL, QUICK, Budget, Comparison
from gancomp_core.errors import GancompError
from gancomp_core.files import atomic_write
from gancomp_core.measure import machine_class

SUBJECTS: dict[str, Callable[[Budget], Iterator[Comparison]]] = {
    "cost": cost.run,
    "loading": loading.run,
    "training": training.run,
    "frechet": frechet.run,
}
README = Path(__file__).with_name("README.md")
HEADER = ("what", "threads", "gancomp", "plain", "times as fast")
BUSY = 0.3  # cores that other programs may use before the numbers say so


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subjects named, all by default; a quick run shows its numbers and keeps none. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure gancomp beside the plain way.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {', '.join(SUBJECTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="about a minute, rough, and README.md stays as it is")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in SUBJECTS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; the names are {', '.join(SUBJECTS)}")
    try:
        tables = measure(options.names or list(SUBJECTS), QUICK if options.quick else FULL)
        if not options.quick:
            write(README, tables)
            print(f"Written to {README}")
    except GancompError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def measure(names: Sequence[str], budget: Budget) -> dict[str, str]:
    """The tables by subject, as Markdown; rows are printed as they come."""
    began, tables, where = time.monotonic(), {}, conditions()
    print(where)
    for name in names:
        print(f"\n{name}", flush=True)
        rows = []
        for comparison in SUBJECTS[name](budget):
            rows.append(comparison.cells())
            print("  " + "  |  ".join(rows[-1]), flush=True)
        tables[name] = table(name, rows, where)
    print(f"\n{time.monotonic() - began:.0f} s")
    return tables


def conditions() -> str:
    """What the numbers depend on: machine, PyTorch, threads, and whether others use the machine too."""
    busy = psutil.cpu_percent(interval=1.0) / 100 * (psutil.cpu_count() or 1)
    others = f"; other programs used {busy:.1f} cores, so times are too long" if busy > BUSY else ""
    return f"{machine_class()}; CPU only, PyTorch {torch.__version__}, up to {torch.get_num_threads()} threads{others}"


def table(name: str, rows: Sequence[Sequence[str]], where: str) -> str:
    """Rows as a Markdown table, with where, when and how they were made."""
    lines = [HEADER, ["---"] * len(HEADER), *rows]
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
