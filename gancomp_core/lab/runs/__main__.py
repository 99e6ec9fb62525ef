"""The command line of the recorded runs."""

from __future__ import annotations

import argparse
import logging
import sys

from gancomp_core.errors import GancompError
from gancomp_core.lab.runs import PLANS, do, planned, table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gancomp_core.lab.runs", description="Recorded runs of the course.")
    parser.add_argument("action", choices=("list", "do", "show"))
    parser.add_argument("plans", nargs="*")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        return _act(options.action, options.plans)
    except GancompError as error:
        print(error, file=sys.stderr)
        return 1


def _act(action: str, plans: list[str]) -> int:
    if action == "list":
        known = table()
        minutes = dict(zip(known.get("key", []), known.get("minutes", []), strict=True))
        for name in PLANS:
            keys = [run.key for run in planned(name)]
            spent = [minutes[key] for key in keys if key in minutes]
            print(f"{name}: {len(spent)} of {len(keys)} runs recorded, {sum(spent):.0f} minutes of training")
    elif action == "do":
        if not plans:
            raise GancompError(f"Name a plan; there are {', '.join(PLANS)}.")
        for name in plans:
            columns = ("method", "configuration", "seed", "fd_last", "kid_last", "psnr_last", "minutes")
            print(do(name).filter(columns).to_string(index=False))
    else:
        print(table().to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
