"""python -m gancomp_core.lab.rivals {forms,do,time,show,write} [TASK ...]: see docs/rivals.md."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable

from gancomp_core.lab.rivals import pages, rows, tables, timing
from gancomp_core.lab.rivals.rows import OURS


def main(arguments: list[str] | None = None) -> None:
    """Carry out one command."""
    commands: dict[str, Callable[[str], object]] = {
        "forms": lambda task: rows.do(task, train=False),
        "do": rows.do,
        "time": timing.timed,
        "show": lambda task: print(f"{task}\n{tables.table(task).to_string()}"),
    }
    parser = argparse.ArgumentParser(prog="python -m gancomp_core.lab.rivals")
    parser.add_argument("command", choices=[*commands, "write"])
    parser.add_argument("tasks", nargs="*", default=list(OURS), help="for example edges2shoes; default: all")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.command == "write":
        pages.write()
    for task in options.tasks if options.command != "write" else ():
        commands[options.command](task)


if __name__ == "__main__":
    main()
