"""A reader's own method in the benchmark: one Python file with a card and a function, kept beside the results.

The card is read and never executed. The function runs only while its method is trained.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from gancomp_core import files, zoo
from gancomp_core.errors import GancompError
from gancomp_core.lab.catalogue import LIST, whole
from gancomp_core.lab.experiment import PROTOCOLS, Experiment, Spec, kind
from gancomp_core.lab.kinds import Job, begun
from gancomp_core.train import Trained

SEEDS = range(5)
#: Entries of a card with their defaults; None stands for none.
CARD = {"name": None, "task": None, "network": "student", "begin": "l1", "paper": ""}
ARGUMENTS = ("student", "teacher", "task", "config", "discriminator", "callbacks")
LARGEST = 200_000  # bytes of a file


@dataclass(frozen=True)
class Method:
    """What a file says of its method.

    Attributes:
        name: Label of its row.
        about: The first line of the file's docstring.
        task: The task of the benchmark.
        network: The student, as in ``experiments.yml``.
        begin: "random", or "l1" for the teacher's most important channels.
        paper: Where it comes from, free text.
        text: The file.
    """

    name: str
    about: str
    task: str
    network: Any
    begin: str
    paper: str
    text: str

    @property
    def file(self) -> Path:
        """Where the benchmark keeps it."""
        return folder() / f"{re.sub(r'[^a-z0-9]+', '_', self.name.lower()).strip('_')}.py"

    @property
    def code(self) -> str:
        """SHA-256 of the file: another text is another method, with rows of its own."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def experiments(self) -> tuple[Experiment, ...]:
        """One training a seed."""
        about = {"method": self.file.stem, "code": self.code, "teacher": f"{self.task}/teacher", "begin": self.begin}
        spec = whole({**about, "network": self.network}, self.task)
        return tuple(
            Experiment(name=f"{self.task}/{self.name}", kind="added", task=self.task, spec=spec, seed=seed)
            for seed in SEEDS
        )


def folder() -> Path:
    """Where the files of added methods are."""
    return files.data_root() / "results" / "methods"


def methods(task: str) -> list[Method]:
    """The methods that were added to a task, by name of their file."""
    found = [_read(path, path.stat().st_mtime_ns) for path in sorted(folder().glob("*.py"))]
    return [each for each in found if each.task == task]


def state() -> tuple[tuple[str, int], ...]:
    """What changes when a method is added, changed or removed."""
    return tuple((path.name, path.stat().st_mtime_ns) for path in sorted(folder().glob("*.py")))


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Method:
    return read_method(path)


def read_method(path: Path) -> Method:
    """What a file says of its method, without executing it.

    Args:
        path: A Python file with a docstring, ``CARD = {"name": ..., "task": ...}`` and a function
            ``train(student, teacher, task, config, discriminator, callbacks)``.

    Returns:
        The method.

    Raises:
        GancompError: For a file that is none, naming what it lacks.
    """
    text = _text(path)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GancompError(f"{path} is not Python ({error}); run 'python {path}' to see where.") from error
    given = next((node.value for node in tree.body if isinstance(node, ast.Assign) and _names(node) == ["CARD"]), None)
    try:
        card = ast.literal_eval(given) if given is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise GancompError(f"The CARD of {path} may hold plain values alone: texts, numbers, lists, dicts.") from error
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    functions = {node.name: [each.arg for each in node.args.args] for node in defined}
    if functions.get("train") != list(ARGUMENTS):
        raise GancompError(f"{path} needs a function 'train({', '.join(ARGUMENTS)})', which returns what it trained.")
    about = (ast.get_docstring(tree) or "").partition("\n")[0].strip()
    if not about:
        raise GancompError(f"{path} needs a docstring: one sentence on what the method does.")
    return Method(about=about, text=text, **_checked(card, path))


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise GancompError(f"There is no file {path}; name a Python file with a CARD and a function 'train'.")
        if path.stat().st_size > LARGEST:
            raise GancompError(f"{path} has {path.stat().st_size:,} bytes; a method has at most {LARGEST:,}.")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # a path with NUL, or bytes that are not UTF-8
        raise GancompError(f"{path} cannot be read ({error}); name a Python file in UTF-8.") from error


def _names(node: ast.Assign) -> list[str]:
    return [each.id for each in node.targets if isinstance(each, ast.Name)]


def _checked(card: object, path: Path) -> dict[str, Any]:
    """The card with its defaults, each entry in its range."""
    if not isinstance(card, dict):
        raise GancompError(f"{path} needs CARD = {{'name': 'my method', 'task': 'edges2shoes'}} at its top level.")
    if unknown := [str(name) for name in card if name not in CARD]:
        raise GancompError(f"The CARD of {path} has an entry '{unknown[0][:60]}'; it may hold {', '.join(CARD)}.")
    found = {**CARD, **card}
    tasks = [task for task in LIST["benchmark"] if task in PROTOCOLS]
    if found["task"] not in tasks:
        raise GancompError(f"The CARD of {path} needs a 'task' of the benchmark: one of {', '.join(tasks)}.")
    if found["begin"] not in ("l1", "random"):
        raise GancompError(f"'begin' in the CARD of {path} is 'l1' (the teacher's channels) or 'random'.")
    name = found["name"]
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9 ,.'+-]{2,59}", name):
        raise GancompError(f"'name' in the CARD of {path} is 3 to 60 letters, digits and spaces, a letter first.")
    if name in LIST["benchmark"][found["task"]]:
        raise GancompError(
            f"The benchmark of {found['task']} has a row '{name}' already; give the method another name."
        )
    if not isinstance(found["paper"], str) or len(found["paper"]) > 200:
        raise GancompError(f"'paper' in the CARD of {path} is a text of at most 200 characters.")
    try:
        whole({"network": found["network"]}, found["task"])
    except (TypeError, KeyError, AttributeError) as error:
        raise GancompError(
            f"'network' in the CARD of {path} is 'student', 'narrow', or {{'channels': '16_16_...', 'blocks': 3}}."
        ) from error
    return found


def add_method(path: Path) -> Method:
    """Check a file and keep a copy of it beside the results, from where it is trained.

    Args:
        path: As for :func:`read_method`.

    Returns:
        The method; ``experiments`` are its trainings.

    Raises:
        GancompError: As for :func:`read_method`, and where another method has the file's name.
    """
    method = read_method(path)
    if (
        method.file.exists()
        and method.file.resolve() != path.resolve()
        and read_method(method.file).name != method.name
    ):
        raise GancompError(f"Another method is kept in {method.file}; give this one a name with other letters.")
    with files.atomic_write(method.file) as temporary:
        temporary.write_text(method.text, encoding="utf-8", newline="")
    return method


@kind("added", trains=True)
def added(job: Job, *, method: str, code: str, teacher: str, network: Spec, begin: str) -> Trained:
    """The method of a reader's file, which gets a student and its teacher and returns what it trained.

    Args:
        job: The training.
        method: Name of its file, without ".py".
        code: SHA-256 of the file.
        teacher: Name of the teacher's model.
        network: The student.
        begin: "random", or "l1" for the teacher's most important channels.

    Returns:
        The outcome.
    """
    kept = read_method(folder() / f"{method}.py")
    if kept.code != code:
        raise GancompError(f"{kept.file} has changed since its rows were planned; 'gancomp benchmark add' plans it.")
    model = zoo.load(teacher)
    given = (begun(network, begin, model, job.experiment.seed), model.generator, job.task, job.config)
    trained = _function(kept)(*given, model.discriminator, job.callbacks)
    made: Any = trained.averaged.get("generator") if isinstance(trained, Trained) else None
    if not isinstance(trained, Trained) or made is None or made.architecture != given[0].architecture:
        raise GancompError(
            f"'train' of {kept.file} must return what 'distil' and gancomp's other trainings return, with the student "
            "that it was given."
        )
    return trained


def _function(method: Method) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(f"method_{method.file.stem}", method.file)
    assert spec is not None  # of a file that exists
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # what its owner asked to train
    found: Callable[..., Any] = module.train
    return found
