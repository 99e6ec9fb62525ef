"""Everything `make` does, for systems with and without make: `python make.py lab` is `make lab`.

Needs nothing but a Python; this file keeps to what old ones understand, so that one too old is told so in a sentence.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
OLDEST = (3, 11)
EXTRAS = {"site": "lab,test,site", "test": "lab,test,site", "bench": "lab,test,bench"}  # else lab and test


class Refused(Exception):
    """A step cannot be done, for a reason that one sentence explains."""


def main():
    commands = {
        "lab": lab,
        "run": run,
        "test": test,
        "lint": lint,
        "kills": kills,
        "mutants": mutants,
        "bench": bench,
        "fuzz": fuzz,
        "oldest": oldest,
        "site": site,
        "demo": demo,
        "app": app,
        "zoo": zoo,
        "zoo-check": zoo_check,
        "repro": repro,
        "install": None,
    }
    parser = argparse.ArgumentParser(prog="make.py", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=sorted([*commands, "clean"]))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="handed on to the command")
    options = parser.parse_args()
    try:
        if options.command == "clean":
            return clean()
        python = environment(EXTRAS.get(options.command, "lab,test"))
        step = commands[options.command]
        return step(python, options.arguments) if step else 0
    except Refused as error:
        print(f"make: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


# ---- the commands -------------------------------------------------------------------------------------------------


def lab(python, arguments):
    """Rooted in the checkout, so that a reader can open the library beside a notebook; asks for no news and updates.

    A notebook that was only opened does not count as changed.
    """
    first = "notebooks/00_start_here.ipynb"
    page = f"/lab/tree/{first}" if (HERE / first).exists() else "/lab"
    settings = f"--LabApp.app_settings_dir={HERE / 'tools' / 'lab_settings'}"
    files = "--ServerApp.contents_manager_class=tools.lab_contents.Contents"
    return call([python, "-m", "jupyterlab", f"--LabApp.default_url={page}", settings, files, *arguments])


def run(python, arguments):
    return call([python, "-m", "gancomp_core", "course", "run", *arguments])


def test(python, arguments):
    """What `make lint` does, beside the tests; then kernels and browsers, of which fewer fit into the memory."""
    began = time.monotonic()
    lint = (
        None
        if arguments
        else subprocess.Popen(
            [python, "make.py", "lint"], cwd=str(HERE), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    )
    pytest = [python, "-m", "pytest", "--numprocesses=auto", "--dist=worksteal", *arguments]
    codes = [
        call([*pytest, "-m", marks], OMP_NUM_THREADS="1")
        for marks in ("not notebooks and not browser", "notebooks or browser")
    ]
    none = 5  # pytest's way to say that no test was chosen
    passed = set(codes) <= {0, none} and set(codes) != {none}
    if lint:
        print(lint.communicate()[0].decode(errors="replace"))
        passed = passed and lint.returncode == 0
    minutes = (time.monotonic() - began) / 60
    print("make test: {} after {:.1f} minutes".format("passed" if passed else "FAILED", minutes))
    return 0 if passed else max(codes) or 1


def lint(python, arguments):
    """Every tool speaks, also after one has complained."""
    tools = [
        [python, "-m", "ruff", "check"],
        [python, "-m", "ruff", "format", "--check"],
        [python, "-m", "mypy"],
        [python, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    ]
    return max([call(tool) for tool in tools])


def kills(python, arguments):
    script = [python, "tests/faults/kills.py"]
    return call([*script, *(arguments or ["56"])]) or call([*script, "0", "--together", "4"])


def mutants(python, arguments):
    return call([python, "tools/mutants.py", *arguments])


def bench(python, arguments):
    return call([python, "-m", "benchmarks", *arguments])


def fuzz(python, arguments):
    return call([python, "tests/fuzz/fuzzing.py", *arguments], PYTHONPATH=str(HERE / "tests"), OMP_NUM_THREADS="1")


def oldest(python, arguments):
    return call([python, "tools/oldest.py", *arguments])


def site(python, arguments):
    target = HERE / "build" / "site"
    code = call(
        [python, "-m", "sphinx", "--fresh-env", "--fail-on-warning", "--keep-going", "docs", str(target), *arguments]
    )
    if code == 0:
        print("The site is at {}".format(target / "index.html"))
    return code


def demo(python, arguments):
    return call([python, "-m", "gancomp_core", "demo", *arguments])


def app(python, arguments):
    """The drawing pad without a line of code: the page itself, in the reader's browser."""
    return demo(python, ["--open", *arguments])


def zoo(python, arguments):
    """Trainings go on from their checkpoints in .cache/zoo, and those finished there are only evaluated again."""
    code = call([python, "-m", "gancomp_core", "zoo", "train", *(arguments or ["--all"])])
    return code or call([python, "-m", "gancomp_core", "zoo", "table", "--write"])


def zoo_check(python, arguments):
    return call([python, "-m", "gancomp_core", "zoo", "check", *(arguments or ["--all"])])


def repro(python, arguments):
    """Every shipped result in short, done again."""
    path = os.pathsep.join(filter(None, [str(HERE / "tests"), os.environ.get("PYTHONPATH")]))
    return call([python, "tests/repro/short_results.py", *arguments], PYTHONPATH=path)


def clean():
    """Remove what a minute brings back; environments, trained runs and a learner's own work stay."""
    for folder in [
        "build",
        "docs/notebooks",
        "docs/api",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
        ".hypothesis",
        ".import_linter_cache",
    ]:
        shutil.rmtree(str(HERE / folder), ignore_errors=True)
    for part in ["gancomp_core", "tests", "benchmarks", "docs", "tools"]:
        for folder in list((HERE / part).rglob("__pycache__")):
            shutil.rmtree(str(folder), ignore_errors=True)
    return 0


# ---- the environment ----------------------------------------------------------------------------------------------


def environment(extras):
    """The Python of .venv, with the pinned packages of `extras` in it; made or brought up to date where needed."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not answers(str(python), "import pip"):
        create(suitable_python())
    stamp = VENV / ".gancomp-{}".format(extras.replace(",", "-"))
    wanted = fingerprint(python)
    if not stamp.exists() or stamp.read_text() != wanted:
        install(str(python), extras)
        stamp.write_text(wanted)
    return str(python)


def fingerprint(python):
    """Changes when the packages asked for, the interpreter or the checkout's place change."""
    parts = [(HERE / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    parts += [str(HERE).encode(), str(Path(python).resolve()).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def suitable_python():
    """This Python if it is new enough, else the newest on the path that is."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for minor in range(14, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and answers(found):
            return found
    raise Refused(
        "gancomp needs Python {0}.{1} or newer and found only {2}.{3}; install a newer one and name it, as in "
        "'make lab PYTHON=/path/to/python{0}.{1}' or '/path/to/python{0}.{1} make.py lab'.".format(
            *(OLDEST + sys.version_info[:2])
        )
    )


def answers(python, also="pass"):
    """Whether this Python starts and is new enough: an entry on the path may be a shim that leads nowhere."""
    question = f"import sys; {also}; sys.exit(sys.version_info < {OLDEST!r})"
    try:
        devnull = subprocess.DEVNULL
        return subprocess.call([python, "-c", question], stdout=devnull, stderr=devnull) == 0
    except OSError:
        return False


def create(python):
    print(f"Making {VENV} with {python}", flush=True)
    if subprocess.call([python, "-m", "venv", "--clear", str(VENV)]) != 0:
        raise Refused(
            f"{python} could not make the environment {VENV}; on Debian and Ubuntu run 'apt install python3-venv', "
            "else see the message above."
        )


def install(python, extras):
    """torch first, in a step of its own: so a build chosen by hand (CPU, CUDA, ROCm) is kept by the second step."""
    pip = [python, "-m", "pip", "install"] + ([] if sys.stdout.isatty() else ["--quiet"])
    torch = [line.strip() for line in (HERE / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    pins = ["--constraint", "constraints.txt"]
    index = os.environ.get("TORCH_INDEX")
    print(f"Installing the pinned packages into {VENV}: once, a few minutes", flush=True)
    for step in [
        [*pip, *pins, *torch, *(["--extra-index-url", index] if index else [])],
        [*pip, *pins, "--editable", f".[{extras}]"],
    ]:
        if call(step) != 0:
            raise Refused("The packages could not be installed (see above); mend that and run the same command again.")


def call(command, **variables):
    """Run a command in the checkout; its exit status."""
    return subprocess.call(command, cwd=str(HERE), env=dict(os.environ, **variables))


if __name__ == "__main__":
    sys.exit(main())
