"""A class on one machine: kernels that run a notebook in the fast profile, started one after the other.

    python tools/class_load.py 30                  # one cache for all, a file of predictions for each
    python tools/class_load.py 30 --together       # one file of predictions too
    python tools/class_load.py 30 --cells 4        # opening it: to the first cell that paints with a network

Every kernel is one that JupyterLab would start. Memory is proportional (PSS on Linux, elsewhere USS), so that libraries
which all kernels share count once. No more kernels are started once free memory falls under ``--keep-free``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from jupyter_client import BlockingKernelClient, KernelManager
from safetensors import safe_open

from gancomp_core.course import notebook_files as files
from gancomp_core.files import REPOSITORY

#: What each student writes at the end, so that an answer lost among many writers is noticed.
ANSWER = """
from gancomp_core.course.prediction_file import Prediction, update
with update() as known:
    known["student/{n}"] = Prediction("student/{n}", "Who?", answer={n})
"""


@dataclass
class Student:
    """One kernel and what became of it; times are seconds since it was asked for."""

    number: int
    pid: int = 0
    first_picture: float | None = None
    seconds: float | None = None
    most_memory: int = 0
    failure: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def since(self) -> float:
        return time.monotonic() - self.began

    @property
    def settled(self) -> bool:
        return self.seconds is not None or bool(self.failure)


@dataclass(frozen=True)
class Class:
    """What a class took, and whether what it shared stayed whole."""

    students: list[Student]
    most_memory: int
    least_free: int
    damaged: list[str]


def cells_of(notebook: str, first: int | None = None) -> list[str]:
    """The (first) code cells of a notebook, set to the fast profile, and :data:`ANSWER`."""
    (path,) = files.choose([notebook])
    code = [cell.source for cell in files.read_notebook(path).cells if cell.cell_type == "code"]
    return [source.replace('PROFILE = "standard"', 'PROFILE = "fast"') for source in code[:first]] + [ANSWER]


def learn(
    student: Student, cells: list[str], environment: dict[str, str], deadline: float, over: threading.Event
) -> None:
    """Run all cells in a kernel of its own, note how it went, and keep the kernel until the class is over."""
    manager = KernelManager()
    try:
        manager.start_kernel(env=environment, cwd=str(REPOSITORY / "notebooks"), stderr=subprocess.DEVNULL)
        student.pid = manager.provisioner.process.pid
        client = manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=max(deadline - time.monotonic(), 1))
        for number, source in enumerate(cells, start=1):
            if failure := executed(client, source.replace("{n}", str(student.number)), student, deadline):
                student.failure = f"cell {number} of {len(cells)}: {failure}"
                return
        student.seconds = student.since
        over.wait()
    except Exception as error:  # whatever ends a kernel is a result here
        alive = manager.has_kernel and manager.is_alive()
        student.failure = f"{'' if alive else 'the kernel died: '}{type(error).__name__}: {error}"
    finally:
        with contextlib.suppress(Exception):
            manager.shutdown_kernel(now=True)


def executed(client: BlockingKernelClient, source: str, student: Student, deadline: float) -> str:
    """Run a cell; what went wrong, or nothing."""
    asked = client.execute(source)
    while True:
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            if not client.is_alive():
                return "the kernel died"
            if time.monotonic() > deadline:
                return "time is up"
            continue
        if message["parent_header"].get("msg_id") != asked:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "error":
            return f"{content['ename']}: {content['evalue']}"
        if student.first_picture is None and shows_picture(content.get("data", {})):
            student.first_picture = student.since
        if kind == "status" and content["execution_state"] == "idle":
            return ""


def shows_picture(data: dict[str, str]) -> bool:
    """Whether an output has a picture in it."""
    return any(kind.startswith("image/") for kind in data) or any(
        mark in data.get("text/html", "") for mark in ("<svg", "<img")
    )


def memory(pid: int) -> int:
    """Bytes that a process takes, each shared page split among those who share it."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_full_info().uss)
    return 0


def teach(
    count: int,
    cells: list[str],
    *,
    together: bool = False,
    stagger: float = 1.0,
    minutes: float = 10,
    keep_free: float = 2e9,
    threads: int = 1,
) -> Class:
    """Let a class run a notebook.

    Args:
        count: Students.
        cells: The code that each runs, cell by cell; "{n}" in it stands for the student's number.
        together: Whether all write one file of predictions.
        stagger: Seconds from one start to the next.
        minutes: After these, whoever is not done has failed.
        keep_free: Bytes of free memory under which no more kernels are started.
        threads: OMP_NUM_THREADS of each kernel.

    Returns:
        What it took.
    """
    deadline = time.monotonic() + 60 * minutes
    students: list[Student] = []
    most, least_free, over = 0, psutil.virtual_memory().available, threading.Event()
    with tempfile.TemporaryDirectory(prefix="gancomp-class-") as folder, ThreadPoolExecutor(count) as kernels:
        next_start = time.monotonic()
        try:
            while len(students) < count or not all(student.settled for student in students):
                if len(students) < count and time.monotonic() >= next_start:
                    student = Student(len(students))
                    students.append(student)
                    next_start += stagger
                    if psutil.virtual_memory().available < keep_free:
                        student.failure = "not started: memory is short"
                        continue
                    given = environment(Path(folder), "all" if together else str(student.number), threads)
                    kernels.submit(learn, student, cells, given, deadline, over)
                time.sleep(0.5)
                taken = 0
                for student in students:
                    now = memory(student.pid) if student.pid else 0
                    student.most_memory, taken = max(student.most_memory, now), taken + now
                most, least_free = max(most, taken), min(least_free, psutil.virtual_memory().available)
        finally:
            over.set()
        kernels.shutdown()
        return Class(students, most, least_free, damage(Path(folder), students, together))


def environment(folder: Path, predictions: str, threads: int) -> dict[str, str]:
    """Kernels share the cache; ``predictions`` names the file of answers."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # kernels choose their own
    return inherited | {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": str(threads),
        "GANCOMP_CACHE": str(folder / "cache"),
        "GANCOMP_PREDICTIONS": str(folder / f"predictions-{predictions}.json"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def damage(folder: Path, students: list[Student], together: bool) -> list[str]:
    """What is not whole in the shared cache and the predictions: nothing, if all is well."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.startswith("."):  # as atomic_write names what is not whole yet
            found.append(f"{path.name} was left behind")
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, "pt") as file:
                    [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
            except Exception as error:
                found.append(f"{path.name} is damaged: {error}")
    for student in (each for each in students if each.seconds is not None):
        path = folder / f"predictions-{'all' if together else student.number}.json"
        answers = {each["id"]: each["answer"] for each in json.loads(path.read_text(encoding="utf-8"))["predictions"]}
        if answers.get(f"student/{student.number}") != student.number:
            found.append(f"the answer of student {student.number} is lost")
    return found


def report(taught: Class) -> str:
    """The class as lines of text."""
    done = [student for student in taught.students if student.seconds is not None]
    pictures = sorted(student.first_picture for student in taught.students if student.first_picture is not None)
    lines = [f"{len(done)} of {len(taught.students)} finished"]
    if done:
        lines += [
            f"memory of a kernel: {statistics.median(s.most_memory for s in done) / 1e6:.0f} MB (median of peaks)",
            f"memory of all at once: {taught.most_memory / 1e9:.1f} GB; least free {taught.least_free / 1e9:.1f} GB",
            f"seconds to the end: {statistics.median(s.seconds or 0 for s in done):.0f} (median), "
            f"{max(s.seconds or 0 for s in done):.0f} (last)",
        ]
    if pictures:
        lines.append(
            f"seconds to the first picture: {statistics.median(pictures):.0f} (median), {pictures[-1]:.0f} (last)"
        )
    lines += [f"student {each.number}: {each.failure}" for each in taught.students if each.failure]
    return "\n".join([*lines, *(taught.damaged or ["cache and predictions are whole"])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--notebook", default="00")
    parser.add_argument("--cells", type=int, help="only the first code cells")
    parser.add_argument("--together", action="store_true", help="one file of predictions for all")
    parser.add_argument("--stagger", type=float, default=1.0, help="seconds between two starts")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep-free", type=float, default=2.0, help="GB of memory that stay free")
    parser.add_argument("--threads", type=int, default=1, help="OMP_NUM_THREADS of each kernel")
    given = parser.parse_args()
    taught = teach(
        given.count, cells_of(given.notebook, given.cells), together=given.together, stagger=given.stagger,
        minutes=given.minutes, keep_free=1e9 * given.keep_free, threads=given.threads,
    )  # fmt: skip
    print(report(taught))
    return int(bool(taught.damaged) or any(each.failure for each in taught.students))


if __name__ == "__main__":
    sys.exit(main())
