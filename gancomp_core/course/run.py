"""Execute notebooks without a browser: ``gancomp course run [numbers] --profile fast``.

Each notebook runs in its own process through papermill; its executed copy, HTML and log go to ``build/notebooks``.
"""

from __future__ import annotations

import ast
import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import nbformat
import psutil
from nbformat import NotebookNode

from gancomp_core.course import notebook_files as files
from gancomp_core.course import web_page
from gancomp_core.course.profiles import Profile
from gancomp_core.errors import GancompError, at_least, one_of
from gancomp_core.executors import cores
from gancomp_core.files import REPOSITORY, cache_root, scratch

OUT = REPOSITORY / "build" / "notebooks"
MEMORY_EACH = 3_000_000_000  # bytes set aside for a notebook when deciding how many run side by side
POLL_SECONDS = 0.2


@dataclass
class Outcome:
    """How the execution of one notebook went."""

    name: str
    minutes: float
    memory_mb: float
    disk_mb: float = 0.0  # what the cache grew by
    error: str = ""  # empty when every cell ran

    @property
    def passed(self) -> bool:
        return not self.error


@dataclass
class _Running:
    source: Path
    executed: Path  # what papermill writes, cell by cell
    result: Path
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    started: float
    peak: int = 0  # bytes
    cache_before: int = field(default_factory=lambda: _folder_bytes(cache_root()))


def run_notebooks(
    notebooks: Sequence[Path],
    profile: str = "fast",
    *,
    out: Path = OUT,
    jobs: int | None = None,
    parameters: Sequence[tuple[str, str]] = (),
    drive_widgets: bool = False,
    html: bool = True,
    states: bool = False,
) -> list[Outcome]:
    """Execute notebooks, several at once where memory allows. An interrupt ends every kernel before it is raised again.

    Args:
        notebooks: Their paths.
        profile: "fast", "standard" or "full".
        out: The folder for executed copies, web pages and logs.
        jobs: How many run at once; None: by cores and free memory.
        parameters: Further papermill parameters as (name, value) text.
        drive_widgets: Append a cell that moves every control to both ends and the middle.
        html: Whether to write web pages.
        states: Whether explorers keep pictures of their settings, which move on web pages (seconds for each).

    Returns:
        The outcome of each.

    Raises:
        GancompError: Before anything runs, for parameters that a notebook does not have or that are of another kind,
            and for a folder that cannot be written to.
    """
    Profile.named(profile)
    for notebook in notebooks:
        check_parameters(notebook, parameters)
    if jobs is not None:
        at_least(1, jobs, "--jobs", "leave it out to have it chosen by cores and memory")
    jobs = min(jobs or default_jobs(), len(notebooks))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GancompError(f"The folder {out} cannot be made ({error.strerror}); give another --out.") from error
    waiting = list(notebooks)
    running: list[_Running] = []
    outcomes: list[Outcome] = []
    with scratch() as folder:
        environment = _environment(folder, threads=max(cores() // max(jobs, 1), 1))
        environment |= {"GANCOMP_STATES": "1"} if states else {}
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    source = waiting.pop(0)
                    given = _driven(source, folder) if drive_widgets else source
                    asked = [("PROFILE", profile), *parameters]
                    running.append(_start(source, given, folder / "executed", out, environment, asked))
                    print(f"{running[-1].source.stem}: running in the {profile} profile", flush=True)
                time.sleep(POLL_SECONDS)
                for job in [job for job in running if not _still_running(job)]:
                    running.remove(job)
                    outcome = _finish(job, html)
                    outcomes.append(outcome)
                    said = "done" if outcome.passed else f"FAILED, {outcome.error}"
                    print(f"{outcome.name}: {said} ({outcome.minutes:.1f} min)", flush=True)
        finally:
            for job in running:
                _end(job)
    return sorted(outcomes, key=lambda outcome: outcome.name)


def default_jobs() -> int:
    """How many notebooks run side by side: one core and 3 GB of free memory for each, at least one."""
    return max(min(cores(), int(psutil.virtual_memory().available) // MEMORY_EACH), 1)


def table(outcomes: Sequence[Outcome]) -> str:
    """Minutes and peak memory of every notebook as plain text."""
    width = max(len(outcome.name) for outcome in outcomes)
    lines = [f"{'notebook':{width}}  minutes  memory MB  result"]
    for outcome in outcomes:
        result = "passed" if outcome.passed else f"FAILED: {outcome.error}"
        lines.append(f"{outcome.name:{width}}  {outcome.minutes:7.1f}  {outcome.memory_mb:9.0f}  {result}")
    return "\n".join(lines)


def write_back(notebook: Path, executed: Path, profile: str, outcome: Outcome) -> None:
    """For maintainers: store the cost, and put the outputs of a standard run into the committed notebook.

    Solutions have no recorded cost, and give the same in every profile.

    Args:
        notebook: The committed notebook.
        executed: Its executed copy.
        profile: The profile of the run.
        outcome: The outcome of the run.
    """
    if notebook.parent.name == "solutions":
        files.write_notebook(files.with_outputs(files.read_notebook(notebook), files.read_notebook(executed)), notebook)
        return
    files.record_cost(notebook.stem, profile, outcome.minutes, outcome.memory_mb, outcome.disk_mb)
    source = files.read_notebook(notebook)
    result = files.with_outputs(source, files.read_notebook(executed)) if profile == "standard" else source
    files.fill_costs(result, files.read_costs().get(notebook.stem, {}))
    files.write_notebook(result, notebook)


def run_and_report(
    chosen: Sequence[str],
    profile: str = "fast",
    *,
    out: Path = OUT,
    jobs: int | None = None,
    parameters: Sequence[tuple[str, str]] = (),
    drive_widgets: bool = False,
    write: bool = False,
) -> int:
    """Execute notebooks as :func:`run_notebooks` does, print a table of how each went.

    Args:
        chosen: Numbers, ranges or names of notebooks (:func:`gancomp_core.course.notebook_files.choose`); all if empty.
        profile: "fast", "standard" or "full".
        out: The folder for executed copies, web pages and logs.
        jobs: How many run at once; None: by cores and free memory.
        parameters: Further papermill parameters as (name, value) text.
        drive_widgets: Move every control to both ends and the middle.
        write: Run one by one, and write outputs and costs back to ``notebooks/``.

    Returns:
        The exit status: 0 passed, 1 a notebook failed, 130 interrupted, with every kernel ended.
    """
    with contextlib.suppress(ValueError):  # not in the main thread, where no signal arrives either
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the kernels, as Ctrl-C does
    notebooks = files.choose(chosen)
    try:
        outcomes = run_notebooks(
            notebooks, profile, out=out, jobs=1 if write else jobs, parameters=parameters, drive_widgets=drive_widgets,
            states=write and profile == "standard",  # what is committed
        )  # fmt: skip
        for notebook, outcome in zip(sorted(notebooks, key=lambda path: path.stem), outcomes, strict=True):
            if write and outcome.passed:
                write_back(notebook, out / notebook.name, profile, outcome)
    except KeyboardInterrupt:
        print("\nInterrupted: the kernels have been ended, nothing was written back.", file=sys.stderr)
        return 130
    print(f"\n{table(outcomes)}\n\nExecuted notebooks, web pages and logs: {out}")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


# --- parameters -----------------------------------------------------------------------------------------------------


def check_parameters(notebook: Path, parameters: Sequence[tuple[str, str]]) -> None:
    """Refuse a parameter that a notebook does not have, and a value of another kind than the one that stands there."""
    if not parameters:
        return
    kinds = {name: kind for cell in files.tagged(files.read_notebook(notebook), "parameters")
             for name, kind in _kinds(cell.source)}  # fmt: skip
    for name, value in parameters:
        kind = kinds[one_of(name, kinds, f"parameter of {notebook.stem} named")]
        try:
            if kind is not str and not 0 <= float(kind(value)) < math.inf:
                raise ValueError
        except (OverflowError, ValueError) as error:
            number = "whole number" if kind is int else "number"
            raise GancompError(f"{name} is {value!r}, and {notebook.stem} takes a {number} from 0 there.") from error


def _kinds(source: str) -> Iterator[tuple[str, type[int] | type[float] | type[str]]]:
    """Names that a cell of parameters sets, each with the kind of its value."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            targets, values = ([*each.elts] if isinstance(each, ast.Tuple) else [each]
                               for each in (statement.targets[0], statement.value))  # fmt: skip
            for target, value in zip(targets, values, strict=True):
                held = [node.value for node in ast.walk(value) if isinstance(node, ast.Constant)]
                text, whole = any(isinstance(each, str) for each in held), isinstance(value, ast.Constant)
                yield ast.unparse(target), str if text else int if whole and isinstance(held[0], int) else float


# --- one execution --------------------------------------------------------------------------------------------------


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """Kernels find this library, share the cores, hold widget errors fatal, leave the learner's answers alone."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # kernels choose their own
    return inherited | {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "GANCOMP_STRICT_WIDGETS": "1",
        "GANCOMP_PREDICTIONS": str(folder / "predictions.json"),
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter"),  # where kernels leave files when they are killed
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the kernel warns in every log
    }


def _start(
    source: Path, given: Path, folder: Path, out: Path, environment: dict[str, str],
    parameters: Sequence[tuple[str, str]],
) -> _Running:  # fmt: skip
    """Start papermill, which writes to ``folder``, on ``given``: the ``source`` or a copy of it with one more cell."""
    folder.mkdir(exist_ok=True)
    executed, result = folder / source.name, out / source.name
    result.unlink(missing_ok=True)
    asked = [word for pair in parameters for word in ("-p", *pair)]
    command = [sys.executable, "-m", "papermill", str(given), str(executed), *asked]
    command += ["--kernel", "python3", "--cwd", str(source.parent), "--log-output", "--no-progress-bar"]
    log = result.with_suffix(".log").open("wb")
    # a session of its own, so that Ctrl-C reaches this process alone and it can end the kernels in good order
    process = subprocess.Popen(
        command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=os.name == "posix"
    )
    return _Running(source, executed, result, process, log, time.monotonic())


def _driven(source: Path, folder: Path) -> Path:
    """A copy of the notebook with a last cell that drives every widget."""
    notebook = files.read_notebook(source)
    lines = "from gancomp_core.course import drive_all_widgets\n\n_ = drive_all_widgets()"
    notebook.cells.append(nbformat.v4.new_code_cell(lines, metadata={"tags": ["drive-widgets"]}))
    files.write_notebook(notebook, folder / source.name)
    return folder / source.name


def _still_running(job: _Running) -> bool:
    ended = job.process.poll() is not None
    if not ended:
        job.peak = max(job.peak, _memory(job.process.pid))
    return not ended


def _memory(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _finish(job: _Running, html: bool) -> Outcome:
    job.log.close()
    minutes = (time.monotonic() - job.started) / 60
    grown = max(_folder_bytes(cache_root()) - job.cache_before, 0)
    outcome = Outcome(job.source.stem, minutes, job.peak / 1e6, grown / 1e6)
    notebook = None
    with contextlib.suppress(GancompError):  # papermill did not begin, or was killed while it wrote
        notebook = files.read_notebook(job.executed)
    if job.process.returncode != 0:
        outcome.error = (notebook and _first_error(notebook)) or f"see {job.result.with_suffix('.log')}"
    if notebook is not None:
        plain = files.cleaned(notebook)
        files.write_notebook(notebook if outcome.error else plain, job.result)
        if html:
            web_page.write(plain, job.result.with_suffix(".html"), folder=job.source.parent)
    return outcome


def _first_error(notebook: NotebookNode) -> str:
    """Which cell failed and with what: "cell 12 (In [9]): ValueError: ...", counted as in the committed notebook."""
    number = code = 0
    for cell in notebook.cells:
        added = files.added_by_running(cell)
        number, code = number + (not added), code + (not added and cell.cell_type == "code")
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                where = f"cell {number} (In [{code}])"
                if added:
                    driven = "drive-widgets" in files.tags(cell)
                    where = "while every widget was driven" if driven else "in the parameters that were given"
                return f"{where}: {output.ename}: {(output.evalue.splitlines() or [''])[0]}"
    return ""


def _end(job: _Running) -> None:
    """End a notebook's processes, kernel and data loaders included."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(job.process.pid)
        family = [*parent.children(recursive=True), parent]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        for process in psutil.wait_procs(family, timeout=5)[1]:
            with contextlib.suppress(psutil.Error):
                process.kill()
    job.log.close()
