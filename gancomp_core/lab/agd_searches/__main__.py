"""List and do the recorded searches; see :mod:`gancomp_core.lab.agd_searches`."""

from __future__ import annotations

import argparse
import sys

from gancomp_core.errors import GancompError
from gancomp_core.lab.agd_searches import SEARCHES, do, do_by_chance


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gancomp_core.lab.agd_searches", description="Recorded searches for operators and widths."
    )
    parser.add_argument("action", choices=("list", "do", "chance"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    if options.action == "list":
        print("\n".join(SEARCHES))
        return 0
    try:
        for name in options.names or SEARCHES:
            if options.action == "chance":
                print(do_by_chance(name).to_string(index=False))
                continue
            found = do(name)
            print(f"{name}: {found.architecture} ({found.minutes} minutes)")
    except GancompError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
