"""The pages of the API reference: one for each package, made from what the packages export and their docstrings."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

import gancomp_core

PARTS = {
    "Library": ["data", "nets", "measure", "train", "methods", "zoo", "importers", "compress", "full"],
    "Laboratory": ["lab"],
    "Course": ["course"],
}
NOT_SHOWN = {"gancomp_core.course.exercises"}  # the answers

FRONT = """# API reference

Everything that the packages export. Pictures are float32 NCHW in [-1, 1] unless said otherwise; MACs are
multiply-accumulates of convolutions and linear layers for one picture; latencies are milliseconds. Errors that a user
can cause are {class}`~gancomp_core.errors.GancompError`, in one sentence.
"""


def write(folder: Path) -> None:
    """Write an index and a page for each package into an empty ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shown: set[type] = set()
    front = [FRONT, *_toctree("The package", ["gancomp_core"])]
    (folder / "gancomp_core.md").write_text(
        _page(gancomp_core, shown, "gancomp_core.comparison", "gancomp_core.errors"), encoding="utf-8"
    )
    for part, packages in PARTS.items():
        present = [name for name in packages if importlib.util.find_spec(f"gancomp_core.{name}")]
        for name in present:
            package = importlib.import_module(f"gancomp_core.{name}")
            (folder / f"{name}.md").write_text(_page(package, shown), encoding="utf-8")
        front += _toctree(part, present)
    (folder / "index.md").write_text("\n".join(front), encoding="utf-8")


def _toctree(caption: str, pages: list[str]) -> list[str]:
    return ["```{toctree}", ":maxdepth: 1", f":caption: {caption}", "", *pages, "```", ""]


def _page(package: ModuleType, shown: set[type], *also: str) -> str:
    modules = [package, *map(importlib.import_module, also)]
    if package is not gancomp_core and not hasattr(package, "__all__"):
        modules += _below(package)
    return "\n".join(
        [f"# {package.__name__}", "", *(line for each in modules for line in _section(each, package, shown))]
    )


def _below(package: ModuleType) -> Iterator[ModuleType]:
    """The modules of a package that exports nothing itself; of a sub-package that does, only the package."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if found.name.rpartition(".")[2].startswith("_") or found.name in NOT_SHOWN:
            continue
        module = importlib.import_module(found.name)
        if not found.ispkg or hasattr(module, "__all__"):
            yield module
        else:
            yield from (module, *_below(module))


def _section(module: ModuleType, package: ModuleType, shown: set[type]) -> Iterator[str]:
    names = sorted(getattr(module, "__all__", _own(module)), key=_order(module))
    if module is not package:
        yield from (f"## {module.__name__}", "")
    yield from ("```{eval-rst}", f".. automodule:: {module.__name__}", "")
    for name in names:
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            continue
        if inspect.isclass(thing):
            again = ["   :no-index:"] if thing in shown else []  # two packages export it
            shown.add(thing)
            yield from (f".. autoclass:: {module.__name__}.{name}", "   :members:", *again, "")
        else:
            kind = "function" if callable(thing) else "data"
            yield from (f".. auto{kind}:: {module.__name__}.{name}", "")
    yield from ("```", "")


def _own(module: ModuleType) -> list[str]:
    """Public functions and classes that a module defines."""
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and name != "main" and getattr(thing, "__module__", None) == module.__name__
    ]


def _order(module: ModuleType):  # type: ignore[no-untyped-def]
    """Functions first, then classes, then the rest, each by name."""

    def place(name: str) -> tuple[int, str]:
        thing = getattr(module, name)
        return (1 if inspect.isclass(thing) else 0 if callable(thing) else 2), name.lower()

    return place


def describe_data(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """A constant is described by the comment (``#:``) where it is defined, not by the docstring of its type."""
    if what == "data":
        lines[:] = _comments().get(name.rpartition(".")[2], [])


@functools.cache
def _comments() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(gancomp_core.__path__, "gancomp_core."):
        if not module.name.endswith("__main__"):
            docs = ModuleAnalyzer.for_module(module.name).find_attr_docs()
            found |= {name: lines for (scope, name), lines in docs.items() if not scope}
    return found


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> nodes.Node | None:
    """A reference by a short name, such as GancompError, where one object of that name is documented."""
    if node.get("refdomain") != "py":
        return None
    wanted = node["reftarget"].lstrip(".")
    objects = env.domains["py"].objects  # type: ignore[attr-defined]
    found = sorted((name for name in objects if name.endswith(f".{wanted}")), key=len)
    if not found:
        return None
    entry = objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, found[0])
