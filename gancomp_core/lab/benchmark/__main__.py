"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable

from gancomp_core.errors import GancompError
from gancomp_core.lab.benchmark import COMPRESSED, TASKS, TIMES, compressed, entries, headline, table, timed
from gancomp_core.lab.benchmark.claims import ledger, write_claims
from gancomp_core.lab.benchmark.compressed import LIGHTER, LIGHTER_FORMS, compressed_key, lighter, lighter_key
from gancomp_core.lab.benchmark.entries import TEACHER, Entry, Member
from gancomp_core.lab.benchmark.pictures import write_headline
from gancomp_core.lab.benchmark.tables import HEADLINES
from gancomp_core.lab.benchmark.timing import ROUNDS, THREADS, network_key, timing_keys
from gancomp_core.lab.runs import record
from gancomp_core.lab.runs import table as recorded_runs

log = logging.getLogger("gancomp")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gancomp_core.lab.benchmark", description="All methods under one teacher and one clock."
    )
    parser.add_argument("action", choices=[*OF_A_TASK, *WHOLE])
    parser.add_argument("tasks", nargs="*", default=[], help=f"of {', '.join(TASKS)}; all when none is named")
    parser.add_argument(
        "--write", action="store_true", help="of claims: decide anew, and write data/claims.yml and README"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        if options.tasks and options.action in WHOLE:
            raise GancompError(f"'{options.action}' is for all tasks together; name none.")
        if options.write and options.action != "claims":
            raise GancompError(f"'--write' belongs to claims; leave it out of '{options.action}'.")
        for task in options.tasks or TASKS:
            if options.action in OF_A_TASK:
                OF_A_TASK[options.action](task)
        if options.action == "claims" and options.write:
            write_claims()
        if options.action in WHOLE:
            print(WHOLE[options.action]())
        elif options.action == "do":  # last, with nothing else to do
            timed()
    except GancompError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _list(task: str) -> None:
    tables = (recorded_runs(), COMPRESSED.rows(), LIGHTER.rows(), TIMES.rows())
    runs, small, light, times = (set(rows.get("key", ())) for rows in tables)
    keys = timing_keys()
    for entry in entries(task):
        members = entry.members
        trained = sum(member.key in runs for member in members) if entry.runs else len(members)
        packed = sum(compressed_key(member) in small for member in members)
        clocked = all(keys[ROUNDS, network_key(entry), threads] in times for threads in THREADS)
        tried = sum(lighter_key(member, form) in light for member, form in _lighter_of(entry))
        print(
            f"{task}, {entry.label}: {trained} of {len(members)} trained, {packed} of "
            f"{min(entry.seeds_int8, len(members))} in int8, "
            + (f"{tried} of {len(LIGHTER_FORMS)} in lighter weights, " if entry.label == TEACHER else "")
            + ("timed" if clocked else "not timed on this machine")
        )


def _lighter_of(entry: Entry) -> list[tuple[Member, str]]:
    """Teachers alone are tried in lighter weights."""
    return [(member, form) for member in entry.members for form in LIGHTER_FORMS if entry.label == TEACHER]


def _do(task: str) -> None:
    """Train what is not trained, and quantise what is not quantised."""
    for entry in entries(task):
        for run in entry.runs:
            log.info("%s", run)
            record(run)
        for member in entry.members[: entry.seeds_int8]:
            row = compressed(entry, member)
            log.info("%s, seed %d: int8 keeps %.1f dB", entry.label, member.seed, row["psnr_to_float"])
        for member, form in _lighter_of(entry):
            row = lighter(entry, member, form)
            log.info("%s, %s: keeps %.1f dB", entry.label, form, row["psnr_to_float"])


def _show(task: str) -> None:
    rows = table(task).round(3)
    words = {"scores": rows.filter(regex="^(seeds|steps|fd|kid|psnr|ssim|perceptual)")}
    words |= {"costs": rows.filter(regex="^(seeds|macs|params|bytes|times|torch|ms|p95|memory)")}
    for word, part in words.items():
        print(f"{task}: {word}\n{part.dropna(axis=1, how='all').to_string()}\n")
    if task in HEADLINES:
        print(headline(task), end="\n\n")


def _time() -> str:
    return f"{timed().network.nunique()} networks are timed"


OF_A_TASK: dict[str, Callable[[str], None]] = {"list": _list, "do": _do, "show": _show}
WHOLE: dict[str, Callable[[], object]] = {
    "time": _time,
    "headline": write_headline,
    "claims": lambda: ledger().to_string(max_colwidth=70),
}

if __name__ == "__main__":
    sys.exit(main())
