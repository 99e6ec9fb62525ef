"""python -m gancomp_core.lab.rivals {forms,do,time,show,write} [TASK ...]: see docs/rivals.md."""

from __future__ import annotations

import argparse
import logging

from gancomp_core.lab.rivals import rows
from gancomp_core.lab.rivals.rows import OURS


def main() -> None:
    """Carry out one command."""
    commands = {
        "forms": lambda task: rows.do(task, train=False),
        "do": rows.do,
    }
    parser = argparse.ArgumentParser(prog="python -m gancomp_core.lab.rivals")
    parser.add_argument("command", choices=commands)
    parser.add_argument("tasks", nargs="*", default=list(OURS), help="for example edges2shoes; default: all")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for task in options.tasks:
        commands[options.command](task)


main()
