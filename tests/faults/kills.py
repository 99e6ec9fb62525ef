"""Kill -9 at random moments, start again until it is done, compare with a run that nobody killed.

``python tests/faults/kills.py 50`` (``make kills``) shares so many kills out among all jobs; names behind the number
choose some of them. It prints a table, and ends with 1 where a result differs, a file is half written or something
stays behind. Every job is real work of the library in a process of its own, with data, cache, temporary folder and
results in one folder. On Linux a process is forked and begins with everything imported, so that a kill meets work
and not imports.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import itertools
import json
import lzma
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
for part in ("tests", "tests/faults", "."):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / part))

import nbformat  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import papermill  # noqa: E402, F401
import pooch  # noqa: E402, F401
import psutil  # noqa: E402
import torch  # noqa: E402
from nbformat.v4 import new_code_cell, new_notebook  # noqa: E402
from PIL import Image  # noqa: E402
from train_forever import run as train  # noqa: E402

from factories import few, noise_task, random_resnet, resnet  # noqa: E402
from gancomp_core import cli, files, verbs  # noqa: E402
from gancomp_core.compress import make_plan, open_teacher  # noqa: E402
from gancomp_core.course import notebook_files, prediction_file  # noqa: E402
from gancomp_core.data import downloads, load_task  # noqa: E402
from gancomp_core.lab import PROTOCOLS, Experiment, catalogue, kinds, record, recording, results, shipped_models  # noqa: E402
from gancomp_core.lab.experiment import kind  # noqa: E402
from gancomp_core.methods.architecture_search import Budget, SupernetScore, search  # noqa: E402
from gancomp_core.nets import ArchitectureSpace, SearchSpace, build  # noqa: E402
from gancomp_core.train import save_weights  # noqa: E402
from gancomp_core.zoo.weights import parse_header  # noqa: E402

DATA = files.data_root()
FEW = 24  # test pictures that are scored
TINY = {"channels": "8_8_8_8_8_8_8_8", "blocks": 1}
TEACHER = """from factories import random_resnet, resnet

def teacher():
    return random_resnet(resnet(16, 3, in_channels=3, out_channels=3))
"""
kind("counted")(lambda experiment, *, process, row: None)  # rows that cost nothing
OF_THE_RUN = {"minutes", "when", "commit", "threads"}  # what no two runs share

# ---- the jobs: each works in a folder, writes what is compared to folder/out, and goes on where a kill ended it ------


def data_build(folder: Path) -> None:
    """Unpack an archive that was fetched, and build the maps of the planet from what lies in it."""
    about = importlib.util.spec_from_file_location("build_planet", DATA / "planet" / "build.py")
    script = importlib.util.module_from_spec(about)
    about.loader.exec_module(script)
    script.GRID = (270, 135)
    packed = folder / "cache" / "datasets" / "maps.zip"
    if not packed.exists():
        with files.atomic_write(packed) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for number in range(300):
                content = np.random.default_rng(number).integers(0, 17, (180, 36), dtype=np.uint8).tobytes()
                archive.writestr(zipfile.ZipInfo(f"maps/{number:03}.raw"), content)
    found = downloads.unpacked(downloads.Archive("maps.zip", None, files.sha256(packed))).folder / "maps"
    stripes = [np.fromfile(found / f"{n:03}.raw", np.uint8).reshape(180, 36) for n in range(300)]
    data = b"".join(path.read_bytes() for path in sorted(found.iterdir()))
    script.write(folder / "out", np.concatenate(stripes[:10], axis=1), data[:-1], data)


def training(folder: Path) -> None:
    trained, _ = train("pix2pix", folder / "training.ckpt", 40)
    save_weights(trained.averaged["generator"], folder / "out" / "generator.safetensors")
    with files.atomic_write(folder / "out" / "losses.csv") as temporary:
        trained.history.to_csv(temporary, index=False)


def searching(folder: Path) -> None:
    space = ArchitectureSpace(resnet(), SearchSpace(((8,), *((8, 4),) * 6, (8,))))
    score = SupernetScore(build(space, 0), few(load_task("edges2shoes"), FEW))
    budget = Budget(macs=0.9 * space.widest.cost(32, 32).macs)
    search(space, score, budget, pixels=(32, 32), evaluations=24, seed=1).to_csv(folder / "out" / "search.csv")


def recorded_run(folder: Path) -> None:
    _own_data(folder, "results")
    quick = {"steps": 24, "batch_size": 2, "evaluations": 4, "evaluation_seeds": (0,)}
    PROTOCOLS["edges2shoes"] = dataclasses.replace(PROTOCOLS["edges2shoes"], **quick)
    _few_pictures(recording, kinds)
    asked = catalogue.whole({"network": TINY}, "edges2shoes")
    record(Experiment(name="killed", kind="plain", task="edges2shoes", spec=asked))
    (row,) = results.rows().to_dict("records")
    with files.atomic_write(folder / "out" / "row.json") as temporary:
        temporary.write_text(json.dumps({name: row[name] for name in sorted(row.keys() - OF_THE_RUN)}, default=str))


def quantization(folder: Path) -> None:
    verbs.export_int8(random_resnet(resnet(8, 2)), noise_task(), folder / "out" / "int8.onnx")


def compression(folder: Path) -> None:
    """``gancomp compress``, by a plan that was made before: how long stages take would change it."""
    out, shared = folder / "out", folder.parent / "compression"
    for name in ("report.html", "plan.json"):
        if not (out / name).exists():
            _copy(shared / "begun" / name, out / name)
    teacher = f"{shared / 'teacher.py'}:teacher"
    asked = ["--pictures", str(shared / "pictures"), "--budget", "macs/5", "--minutes", "30", "--out", str(out)]
    assert cli.main(["compress", teacher, *asked]) == 0


def _plan_compression(shared: Path) -> None:
    (shared / "pictures").mkdir(parents=True)
    for number in range(FEW):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(shared / "pictures" / f"{number:02}.png")
    (shared / "teacher.py").write_text(TEACHER)
    plan = make_plan(open_teacher(f"{shared / 'teacher.py'}:teacher"), shared / "pictures", budget="macs/5", minutes=30)
    plan = dataclasses.replace(plan, supernet_steps=12, tuning_steps=12, candidates=8)
    plan.save(shared / "begun" / "plan.json")
    (shared / "begun" / "report.html").write_text("<html></html>")  # reports measure times, which no two runs share


def zoo_build(folder: Path) -> None:
    _own_data(folder, "zoo", "README.md")
    about = {**catalogue.LIST["models"]["edges2shoes/small_student"], "network": TINY, "steps": 20, "batch_size": 2}
    catalogue.LIST["models"]["edges2shoes/tiny"] = about
    _few_pictures(shipped_models.training, kinds)
    card = shipped_models.train("edges2shoes/tiny").card
    for path in (folder / "data/zoo/edges2shoes/tiny").glob("[!.]*"):  # without what another process is writing
        _copy(path, folder / "out" / path.name)
    for name in ("card.json", "card.md"):
        with files.atomic_write(folder / "out" / name) as temporary:
            temporary.write_text(json.dumps(card["quality"] | card["files"]) + "\n")


def _copy(path: Path, to: Path) -> None:
    with files.atomic_write(to) as temporary:
        shutil.copyfile(path, temporary)


def _few_pictures(*modules: Any) -> None:
    """Scores by the real measures, of few pictures."""
    task = load_task("edges2shoes")
    small = dataclasses.replace(few(task, FEW), fingerprint=task.fingerprint)
    for module in modules:
        module.load_task = lambda name: small


def notebook(folder: Path) -> None:
    """``gancomp course run``; papermill and its kernel outlive the process that is killed, and end by themselves."""
    source = folder / "notebooks" / "00_tiny.ipynb"
    if not source.exists():
        cells = [
            'PROFILE = "standard"\nSEED = 0',
            "import time\nprint(PROFILE)",
            *["time.sleep(0.2)"] * 5,
            "print(SEED)",
        ]
        made = new_notebook(cells=[new_code_cell(cell, id=f"c{number}") for number, cell in enumerate(cells)])
        made.cells[0].metadata["tags"] = ["parameters"]
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        with files.atomic_write(source) as temporary:
            nbformat.write(made, temporary)
    notebook_files.choose.__defaults__ = (source.parent,)
    assert cli.main(["course", "run", "0", "-p", "SEED", "7", "--out", str(folder / "out")]) == 0
    (folder / "out" / "00_tiny.log").unlink(missing_ok=True)  # it holds times
    (folder / "out" / "00_tiny.html").unlink(missing_ok=True)


def table_and_predictions(folder: Path) -> None:
    """Rows and answers of several processes, in the two files that all of them share."""
    _own_data(folder, "results")
    os.environ["GANCOMP_PREDICTIONS"] = str(folder / "out" / "predictions.json")
    numbers = range(int(os.environ["PROCESSES"])) if os.environ["PROCESS"] == "all" else [int(os.environ["PROCESS"])]
    for number, each in itertools.product(numbers, range(8)):
        with prediction_file.update() as known:
            name = f"{number}/{each}"
            known[name] = prediction_file.Prediction(name, "How many?", answer=float(each))
        asked = Experiment(name="counted", kind="counted", task="none", spec={"process": number, "row": each})
        results.once(asked, lambda: {"value": 0.5})


def _own_data(folder: Path, *others: str) -> None:
    """The shipped data by links, but for what the job writes itself."""
    (folder / "data").mkdir(exist_ok=True)
    for entry in DATA.iterdir():
        if entry.name not in others:
            with contextlib.suppress(FileExistsError):  # the link of an earlier or of another process
                (folder / "data" / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())
    os.environ["GANCOMP_DATA"] = str(folder / "data")


Row = dict[str, Any]
JOBS: dict[str, Callable[[Path], None]] = {
    "data build": data_build,
    "training": training,
    "search": searching,
    "recorded run": recorded_run,
    "quantization": quantization,
    "compress": compression,
    "zoo build": zoo_build,
    "notebook": notebook,
    "table, answers": table_and_predictions,
}

# ---- processes -------------------------------------------------------------------------------------------------------

START = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _begin(job: Callable[[Path], None], folder: Path, process: str = "all", processes: int = 1) -> None:
    """What a process does: the job, with its folders as those of the library."""
    for name in ("cache", "tmp", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ |= {"GANCOMP_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp"), "TEMP": str(folder / "tmp")}
    os.environ |= {"PROCESS": process, "PROCESSES": str(processes)}
    tempfile.tempdir = None  # look again
    torch.set_num_threads(1)
    try:
        job(folder)
    except BaseException:
        traceback.print_exc()
        raise


def attempt(job: Callable[[Path], None], folder: Path, patience: float | None = None) -> tuple[bool, float]:
    """Let a process do the job, and kill it after so many seconds: whether it was killed, and how long it ran."""
    process, began = START.Process(target=_begin, args=(job, folder)), time.monotonic()
    process.start()
    process.join(patience)
    if process.exitcode is None:
        process.kill()
        process.join()
    _check_ended(process, folder)
    return process.exitcode < 0, time.monotonic() - began


def side_by_side(job: Callable[[Path], None], folder: Path, count: int) -> None:
    """Let several processes do the job in one folder at once."""
    processes = [START.Process(target=_begin, args=(job, folder, str(number), count)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    for process in processes:
        _check_ended(process, folder)


def _check_ended(process: Any, folder: Path) -> None:
    if process.exitcode > 0:
        raise SystemExit(f"The job failed by itself:\n{(folder / 'log.txt').read_text()[-3000:]}")


# ---- what is found afterwards ----------------------------------------------------------------------------------------


def _is_whole(path: Path) -> bool:
    """Whether a file that has its final name can be read to its end."""
    data = path.read_bytes()
    try:
        match path.suffix:
            case ".json" | ".ipynb":
                json.loads(data)
            case ".ckpt" | ".pt" | ".zip":
                return zipfile.ZipFile(io.BytesIO(data)).testzip() is None
            case ".safetensors":
                return parse_header(data).size == len(data)
            case ".xz":
                lzma.decompress(data)
            case ".parquet":
                pd.read_parquet(io.BytesIO(data))
            case ".csv" | ".md":
                return data.endswith(b"\n")
            case ".html":
                return data.rstrip().endswith(b"</html>")
            case ".png" | ".webp":
                Image.open(io.BytesIO(data)).load()
            case ".onnx":
                __import__("onnx").load_model_from_string(data)
    except Exception:  # each reader has its own
        return False
    return True


def broken(folder: Path) -> list[str]:
    """Files that are half written, though they have their final name."""
    own = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    named = [part for part in own if part.parts[0] != "tmp" and not any(name.startswith(".") for name in part.parts)]
    return [str(part) for part in named if not _is_whole(folder / part)]


def left_behind(folder: Path) -> list[str]:
    """Temporary files and folders, after the processes that a killed one had started have ended by themselves."""
    deadline = time.monotonic() + 60
    while any(str(folder) in " ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])):
        if time.monotonic() > deadline:
            return ["a process"]
        time.sleep(0.2)
    hidden = [path for path in folder.rglob(".*") if path.name != ".gancomp.json"]
    return [str(path.relative_to(folder)) for path in [*(folder / "tmp").iterdir(), *hidden]]


def outcome(folder: Path) -> dict[str, str]:
    """What is compared: the digest of every result, but for what says how long it took or where it lies."""
    skipped = ("minutes.json", "painted.json", "plan.json", "decisions.json", "predictions.json", "lock")
    found = sorted(path for path in (folder / "out").rglob("*") if path.is_file() and path.name not in skipped)
    parts = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found
             if path.suffix not in (".pt", ".lock")}  # fmt: skip
    answers, rows = folder / "out" / "predictions.json", folder / "data" / "results" / "results.parquet"
    if answers.exists():  # of which the order is that of the processes
        parts["answers"] = str(sorted(each["id"] for each in json.loads(answers.read_text())["predictions"]))
        parts["rows"] = str(sorted(pd.read_parquet(rows).key))
    return parts


# ---- the table -------------------------------------------------------------------------------------------------------


def killed(name: str, kills: int, root: Path, moments: random.Random) -> Row:
    """One job: done once in peace, then with kills at random moments, several in one run; a row of the table."""
    expected, seconds = _in_peace(name, root, 1)
    row: Row = {"what": name, "kills": 0, "runs": 0, "equal": 0, "faults": []}
    while row["kills"] < kills:
        folder, several = root / f"run{row['runs']}", 0
        while row["kills"] + several < kills and attempt(JOBS[name], folder, moments.uniform(0.02, 1) * seconds)[0]:
            several += 1
            row["faults"] += broken(folder)
        if several:
            attempt(JOBS[name], folder)
            row["kills"] += several
            _judge(row, folder, expected)
        shutil.rmtree(folder, ignore_errors=True)
    return row


def together(name: str, count: int, root: Path) -> Row:
    """One job: done once in peace, then by several processes at once in one folder; a row of the table."""
    expected, _ = _in_peace(name, root, count)
    row: Row = {"what": name, "kills": 0, "runs": 0, "equal": 0, "faults": []}
    side_by_side(JOBS[name], root / "together", count)
    _judge(row, root / "together", expected)
    return row


def _in_peace(name: str, root: Path, count: int) -> tuple[dict[str, str], float]:
    """What the job gives where nothing disturbs it, and how long it takes."""
    if name == "compress":
        attempt(_plan_compression, root / "compression")
    began = time.monotonic()
    process = START.Process(target=_begin, args=(JOBS[name], root / "straight", "all", count))
    process.start()
    process.join()
    _check_ended(process, root / "straight")
    return outcome(root / "straight"), time.monotonic() - began


def _judge(row: Row, folder: Path, expected: dict[str, str]) -> None:
    found = outcome(folder)
    row["runs"] += 1
    row["equal"] += found == expected
    row["faults"] += [f"{part} differs" for part in {**expected, **found} if found.get(part) != expected.get(part)]
    row["faults"] += broken(folder) + left_behind(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, help="how many in all")
    parser.add_argument("names", nargs="*", help=f"jobs: {', '.join(JOBS)}; all if left out")
    parser.add_argument("--together", type=int, metavar="N", help="no kills: N processes at once in one folder")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    chosen, rows = options.names or list(JOBS), []
    for number, name in enumerate(chosen):
        kills = len(range(number, options.kills, len(chosen)))  # as equal as can be
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            root, moments = Path(folder), random.Random(f"{options.seed} {name}")
            row = together(name, options.together, root) if options.together else killed(name, kills, root, moments)
        rows.append(row)
        print("{what:14} {kills:3} kills, {runs:2} runs, {equal:2} equal {faults}".format(**row), flush=True)
    total = {part: sum(row[part] for row in rows) for part in ("kills", "runs", "equal")}
    print("{:14} {kills:3} kills, {runs:2} runs, {equal:2} equal".format("all", **total))
    return int(total["runs"] != total["equal"] or any(row["faults"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
