"""Damaged files and odd values for everything that reads from outside, in a process that may die of them.

    python tests/fuzz/fuzzing.py                          every reader, 10,000 cases each: what `make fuzz` does
    python tests/fuzz/fuzzing.py pictures onnx --cases 500 --seed 7 --first 1200
    python tests/fuzz/fuzzing.py --record fuzz.json       the same; started again, it goes on where it was ended

Case N of a reader under a seed is always the same one. With a record, readers take turns of :data:`TURN` cases, so that
a run which is ended early has tried them all. A reader must give a valid result or refuse the case in one
sentence of ours; see :func:`judged` for the rest of the rule. What fails is written into ``tests/fuzz/corpus``, whose
files `make test` reads again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
SECONDS = 10  # of CPU that a case may take
WALL_SECONDS = 90  # a case that waits for something that never comes; more than a busy machine needs
MEMORY = 1_500_000_000  # bytes that a case may allocate
LONGEST = 700  # letters of a message
START = os.environ.get("FUZZ_START", "spawn")  # "fork" where everything is imported already
LARGEST_KEPT = 300_000  # bytes of a file in the corpus
ROOM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a folder on a disk takes longer than most cases
TURN = 250  # cases of a reader before the next one has its turn


@dataclass
class Outcome:
    """What became of a case: ``kind`` is "value", "refused", or "FAILED", and ``said`` says more."""

    kind: str
    said: str = ""
    data: bytes = b""


# --- in the process that may die


def case(name: str, seed: int, number: int) -> bytes:
    """The bytes of a case: first the seeds and the bombs of a reader as they are, then mutations."""
    from fuzz_readers import READERS

    reader = READERS[name]
    whole = [*reader.seeds, *reader.bombs]
    if number < len(whole):
        return whole[number]
    rng = random.Random(f"{name} {seed} {number}")
    data = rng.choice(reader.seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        changed = rng.choice(reader.mutators)(rng, data)
        data = changed if len(changed) <= max(len(data), 2**21) else data
    return data


def work(pipe: Any) -> None:
    """Carry out cases until none comes."""
    try:
        _work(pipe)
    except BaseException:
        pipe.send(Outcome("FAILED", f"the harness: {traceback.format_exc()}"))
        raise


def _work(pipe: Any) -> None:
    """(reader, data) or (reader, seed, number), one after the other."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    from fuzz_readers import READERS

    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="gancomp-fuzz-", dir=ROOM) as base:
        while (asked := pipe.recv()) is not None:
            if asked == "readers":
                pipe.send({name: reader.numbers for name, reader in READERS.items()})
                continue
            name, *rest = asked
            data = case(name, *rest) if len(rest) == 2 else rest[0]
            pipe.send(data)  # before it may end this process
            folder = Path(base).resolve() / "case"
            folder.mkdir()
            pipe.send(judged(READERS[name].read, data, folder, watch))
            shutil.rmtree(folder, ignore_errors=True)


def judged(read: Any, data: bytes, folder: Path, watch: Watch) -> Outcome:
    """Read a case, and say what is wrong with how that went: another error than ours, more than one printable sentence,
    too much memory, a file outside the folder, a process or a connection that was started."""
    from gancomp_core.errors import GancompError

    tempfile.tempdir = str(folder)
    limit_memory()
    error: BaseException | None = None
    trace = ""
    try:
        with watch.on(folder):
            read(data, folder)
    except (GancompError, SystemExit) as refused:
        error = refused
    except BaseException as raised:  # noqa: BLE001
        error, trace = raised, "".join(traceback.format_exception(raised)[-12:])
    found = [str(each) for each in chain(error)]
    said = str(error) if error else ""
    memory = any(re.search(r"allocat|bad_alloc|out of memory", each, re.IGNORECASE) for each in found[1:])
    memory = memory or any(isinstance(each, MemoryError) for each in chain(error))
    lift_memory()
    tempfile.tempdir = None
    del error
    if trace or memory:
        return Outcome("FAILED", f"{'memory: ' if memory else ''}{trace or ' <- '.join(found)}")
    if watch.seen:
        return Outcome("FAILED", f"it did {watch.seen[:3]}")
    if said and (len(said) > LONGEST or not said.isprintable()):
        return Outcome(
            "FAILED", f"a message of {len(said)} letters, or with such as are not printable: {said[:1500]!r}"
        )
    return Outcome("refused" if said else "value", said)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def limit_memory() -> None:
    """Linux: no more than :data:`MEMORY` beside what is mapped already."""
    if sys.platform == "linux":
        import resource

        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, -1))


def lift_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))


class Watch:
    """What Python does meanwhile that a reader must not do: write outside a folder, start a process, connect."""

    WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree"}
    RUNS = {
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "socket.connect",
        "pickle.find_class",
    }

    def __init__(self) -> None:
        self.folder, self.seen = None, list[str]()
        sys.addaudithook(self._hear)

    @contextlib.contextmanager
    def on(self, folder: Path) -> Iterator[None]:
        self.seen, self.folder = [], str(folder)
        try:
            yield
        finally:
            self.folder = None

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None or (event in ("os.remove", "os.rmdir") and arguments[1] not in (-1, None)):
            return  # or relative to a folder that shutil.rmtree has opened, which is an event as well
        if event in self.RUNS:
            self.seen.append(f"{event} {arguments!r:.200}")
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        made = slice(1, 2) if event == "os.symlink" else slice(2 if event in ("os.rename", "os.link") else 1)
        for path in arguments[made]:
            if (writes or event in self.WRITES) and isinstance(path, str | bytes | os.PathLike):
                place = os.path.abspath(os.fsdecode(path))
                if not place.startswith(self.folder) and place != os.devnull and "__pycache__" not in place:
                    self.seen.append(f"{event} {place[:200]}")


# --- in the process that watches


@dataclass
class Worker:
    """A process for cases, begun again where one of them ended it."""

    process: Any = None
    pipe: Any = None

    def begin(self) -> None:
        if self.process is None:
            context = multiprocessing.get_context(START)
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=work, args=(theirs,), daemon=True)
            self.process.start()

    def readers(self) -> dict[str, tuple[int, list[int]]]:
        """The readers that there are: how many seeds each has, and the cases that `make test` tries."""
        self.begin()
        self.pipe.send("readers")
        found: dict[str, tuple[int, list[int]]] = self._answer(600)
        return found

    def judge(self, name: str, *asked: Any) -> Outcome:
        self.begin()
        data = b""
        try:
            self.pipe.send((name, *asked))
            answer = self._answer(600)  # the first time everything is imported before
            if isinstance(answer, Outcome):  # the harness failed before it had a case, and its process ends
                self._kill()
                return answer
            data = answer
            outcome = self._answer(WALL_SECONDS, SECONDS)
            outcome.data = data
            return outcome
        except (EOFError, OSError, TimeoutError) as error:
            ended = self._kill()
            said = str(error) if isinstance(error, TimeoutError) else f"the process ended with {ended}"
            return Outcome("FAILED", said, data)

    def _kill(self) -> int:
        """End the process, so that the next case begins another one; returns how it ended."""
        self.process.kill()
        self.process.join()
        ended: int = self.process.exitcode
        self.process = None
        return ended

    def _answer(self, wall: float, cpu: float = 1e9) -> Any:
        process = psutil.Process(self.process.pid)
        began, used = time.monotonic(), sum(process.cpu_times()[:2])
        while not self.pipe.poll(1.0):
            spent = sum(process.cpu_times()[:2]) - used
            if spent > cpu or time.monotonic() - began > wall:
                raise TimeoutError(f"no answer after {spent:.0f} seconds of CPU")
        return self.pipe.recv()

    def end(self) -> None:
        if self.process is not None:
            self.pipe.send(None)
            self.process.join(30)
            self.process.kill()


@dataclass
class Tally:
    """How the cases of a reader went; failures by where they happened."""

    values: int = 0
    refused: int = 0
    failures: dict[str, list[int]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        return sum(map(len, self.failures.values()))

    @property
    def cases(self) -> int:
        return self.values + self.refused + self.failed

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.values} read, {self.refused} refused, {self.failed} failed at "
            f"{len(self.failures)} places ({self.seconds:.0f} s)"
        )


def fuzz(worker: Worker, name: str, seed: int, numbers: range, tally: Tally) -> list[tuple[int, Outcome]]:
    """Judge cases of a reader, and count them; one failure from each new place."""
    failed, began = [], time.monotonic()
    for number in numbers:
        outcome = worker.judge(name, seed, number)
        tally.values += outcome.kind == "value"
        tally.refused += outcome.kind == "refused"
        if outcome.kind == "FAILED":
            place = signature(outcome.said)
            if place not in tally.failures:
                failed.append((number, outcome))
            tally.failures.setdefault(place, []).append(number)
    tally.seconds += time.monotonic() - began
    return failed


def signature(said: str) -> str:
    """Where a failure happened: the last two lines of a trace that name files, and the kind of error."""
    lines = [line.strip() for line in said.splitlines()]
    places = [line for line in lines if line.startswith("File ")][-2:]
    last = lines[-1] if lines else ""
    return " ".join([*places, last.partition(":")[0] if places else last[:60]])


def kept(name: str, data: bytes) -> None:
    """A case in the corpus, where it is small."""
    path = CORPUS / name / hashlib.sha256(data).hexdigest()[:12]
    if data and len(data) <= LARGEST_KEPT:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@dataclass
class Record:
    """How far a run came, in a file if it has one."""

    seed: int
    path: Path | None = None
    tallies: dict[str, Tally] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path | None, seed: int | None) -> Record:
        """The record that a former run left, or a new one."""
        if path is None or not path.exists():
            return cls(int(time.time()) if seed is None else seed, path)
        found = json.loads(path.read_text(encoding="utf-8"))
        if seed not in (None, found["seed"]):
            raise SystemExit(f"{path} holds a run with seed {found['seed']}; leave --seed out, or name another file.")
        return cls(found["seed"], path, {name: Tally(**tally) for name, tally in found["tallies"].items()})

    def table(self) -> str:
        """The rows of SECURITY.md."""
        rows = [
            f"| {name} | {each.cases:,} | {each.values:,} | {each.refused:,} | {each.failed} |"
            for name, each in sorted(self.tallies.items())
        ]
        return "\n".join(["| reader | cases | read | refused | failed |", "|---|---|---|---|---|", *rows])

    def save(self) -> None:
        """Write it, whole or not at all."""
        if self.path is not None:
            whole = json.dumps(asdict(self) | {"path": None}, indent=1)
            beside = self.path.with_name(f".{self.path.name}")
            beside.write_text(whole, encoding="utf-8")
            beside.replace(self.path)


def turns(first: int, last: int, size: int | None) -> Iterator[range]:
    """The numbers from ``first`` up to ``last``, in pieces."""
    yield from (range(start, min(last, start + (size or last))) for start in range(first, last, size or last))


def run(record: Record, names: Iterable[str], first: int, cases: int) -> None:
    """Try the cases of readers, tell what fails, and keep it in the corpus."""
    worker = Worker()
    todo = {name: record.tallies.setdefault(name, Tally()) for name in names or worker.readers()}
    for numbers in turns(first, first + cases, TURN if record.path else None):
        for name, tally in todo.items():
            left = range(max(numbers.start, first + tally.cases), numbers.stop)
            for number, outcome in fuzz(worker, name, record.seed, left, tally):
                kept(name, outcome.data)
                print(f"--- {name} --seed {record.seed} --first {number} --cases 1\n{outcome.said}", flush=True)
            record.save()
            if numbers.stop == first + cases:
                print(f"{name}: {tally}", flush=True)
    worker.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help="default: all")
    parser.add_argument("--cases", type=int, default=10_000, help="of each reader; default: 10000")
    parser.add_argument("--seed", type=int, help="default: the time, or the seed of the record")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to go on with a seed")
    parser.add_argument("--record", type=Path, help="a file that says how far the run came; it goes on from there")
    parser.add_argument("--table", action="store_true", help="only show the record as a table")
    options = parser.parse_args()
    record = Record.of(options.record, options.seed)
    if options.table:
        print(record.table())
        return 0
    print(f"seed {record.seed}", flush=True)
    run(record, options.readers, options.first, options.cases)
    return 1 if any(tally.failed for tally in record.tallies.values()) else 0


if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    raise SystemExit(main())
