"""The core path of a notebook and its deeper sections: how each is marked, and which names each may use.

The core comes first and ends with ``## Recap``. A cell ``## Going deeper`` follows, then sections ``## Deeper: TITLE``
that nothing later needs: any of them runs after the core alone.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from gancomp_core.course.notebook_files import tags

Cells = list[tuple[int, NotebookNode]]  # with their number, counted from 1 over all cells of the notebook

CORE, GOING_DEEPER, DEEPER = "", "Going deeper", "Deeper: "
FOLDED = "jp-MarkdownHeadingCollapsed"  # JupyterLab's own mark of a folded heading
CORE_PATH = re.compile(
    r"^\*\*Core path:\*\* sections (\d+) to (\d+), about (\d+) minutes\. \*\*Deeper:\*\* (.+)$", re.M
)


def parts(notebook: NotebookNode) -> dict[str, Cells]:
    """The cells of the core under :data:`CORE`, the cell that introduces the rest, and each deeper section's cells.

    Args:
        notebook: A notebook of the course.

    Returns:
        Heading -> cells, in their order. A notebook without deeper sections has a core alone.
    """
    found: dict[str, Cells] = {CORE: []}
    at = CORE
    for number, cell in enumerate(notebook.cells, 1):
        for heading in headings(cell):
            at = heading if heading.startswith((GOING_DEEPER, DEEPER)) else at
        found.setdefault(at, []).append((number, cell))
    return found


def headings(cell: NotebookNode) -> list[str]:
    """The titles and headings of sections, ``# ...`` and ``## ...``, in a markdown cell."""
    if cell.cell_type != "markdown":
        return []
    return re.findall(r"^##? +(.+?) *$", re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL), flags=re.MULTILINE)


def anchor(heading: str) -> str:
    """What a link to the heading says after ``#``, in JupyterLab and on GitHub."""
    return heading.replace(" ", "-")


def breaches(
    notebook: NotebookNode, cells: tuple[int, int] = (25, 40), lines: int = 20, minutes: int = 45
) -> Iterator[str]:
    """What is wrong with the division of a notebook into core and deeper sections, one sentence each.

    Args:
        notebook: A notebook of the course.
        cells: The smallest and the largest core, header and recap included.
        lines: The longest code cell of the core that is not folded, without blank lines.
        minutes: The longest core path.
    """
    divided = parts(notebook)
    deeper = {heading: found for heading, found in divided.items() if heading.startswith(DEEPER)}
    if not deeper:
        yield f"it has no deeper sections: what nothing later needs belongs below '## {GOING_DEEPER}'."
        return
    yield from _core(divided[CORE], cells, lines)
    yield from _order(divided)
    yield from _marks(deeper)
    yield from _core_path(divided[CORE], list(deeper), minutes)
    yield from _names(divided[CORE], deeper)


def _core(core: Cells, cells: tuple[int, int], lines: int) -> Iterator[str]:
    if not cells[0] <= len(core) <= cells[1]:
        yield f"the core has {len(core)} cells; {cells[0]} to {cells[1]} are wanted before '## {GOING_DEEPER}'."
    for number, cell in core:
        length = sum(1 for line in cell.source.splitlines() if line.strip())
        folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        if cell.cell_type == "code" and length > lines and not folded:
            yield f"cell {number} of the core shows {length} lines of code; at most {lines} are wanted, or fold it."
    last = [heading for _, cell in core for heading in headings(cell)][-1:]
    if last != ["Recap"]:
        yield f"the core ends with the section {''.join(last)!r}; '## Recap' must be its last."
    numbers = _numbers(core)
    if numbers != list(range(numbers[0], numbers[0] + len(numbers)) if numbers else []):
        yield f"the sections of the core are numbered {numbers}; count them without a gap."


def _numbers(core: Cells) -> list[int]:
    """The numbers of the sections: ``## 3 Evolution``."""
    return [int(heading.split()[0]) for _, cell in core for heading in headings(cell) if re.match(r"\d+ ", heading)]


def _order(divided: dict[str, Cells]) -> Iterator[str]:
    introduction = divided.get(GOING_DEEPER, [])
    if [cell.cell_type for _, cell in introduction] != ["markdown"] or list(divided)[1] != GOING_DEEPER:
        yield f"one markdown cell '## {GOING_DEEPER}' must stand between the recap and the first deeper section."


def _marks(deeper: dict[str, Cells]) -> Iterator[str]:
    for heading, cells in deeper.items():
        number, first = cells[0]
        if not first.metadata.get(FOLDED):
            yield f"cell {number}, {heading!r}, is not folded: set its metadata {FOLDED!r} to true."
        if "deeper" not in tags(first):
            yield f"cell {number}, {heading!r}, is not tagged 'deeper'."
        if not first.source.startswith(f"## {heading}"):
            yield f"cell {number} must begin with its heading, '## {heading}'."
        for later, cell in cells:
            for other in headings(cell):
                if other != heading:
                    yield f"cell {later}: {other!r} is below '## {GOING_DEEPER}'; name it '## {DEEPER}...' or '###'."


def _core_path(core: Cells, deeper: list[str], minutes: int) -> Iterator[str]:
    """The line of the header that says what is core, how long it takes and where each deeper section is."""
    line = CORE_PATH.search(core[0][1].source)
    if line is None:
        yield (
            "the header lacks the line '**Core path:** sections 1 to N, about M minutes. **Deeper:** ...' with a link "
            "to each deeper section."
        )
        return
    first, last, takes = (int(number) for number in line.groups()[:3])
    if [first, last] != _numbers(core)[:: max(len(_numbers(core)) - 1, 1)]:
        yield f"the header speaks of sections {first} to {last}; those of the core are {_numbers(core)}."
    if takes > minutes:
        yield f"the core path takes {takes} minutes; at most {minutes} are wanted."
    linked = re.findall(r"\]\(#([^)]+)\)", line[4])
    if linked != [anchor(heading) for heading in deeper]:
        yield f"the header links to {linked}; the deeper sections are {[anchor(heading) for heading in deeper]}."


# --- names ----------------------------------------------------------------------------------------------------------


@dataclass
class Names:
    """The names of a notebook that code uses: read when it runs, read when its functions are called, and bound."""

    read: set[str] = field(default_factory=set)
    read_later: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)


def names(source: str) -> Names:
    """What the code of a cell reads before it binds it, what its functions read, and what it binds.

    Args:
        source: The source of a code cell; lines for IPython (``%time``) are allowed.
    """
    found = Names()
    _follow(ast.parse(TransformerManager().transform_cell(source)).body, found)
    return found


def _follow(statements: list[ast.stmt], found: Names) -> None:
    """Statements in the order in which they run, those within loops and branches included."""
    for statement in statements:
        match statement:
            case ast.For():
                _use([statement.iter], found)
                _use([statement.target], found)
                _follow([*statement.body, *statement.orelse], found)
            case ast.While() | ast.If():
                _use([statement.test], found)
                _follow([*statement.body, *statement.orelse], found)
            case ast.With():
                for item in statement.items:
                    _use([item.context_expr], found)
                    _use([item.optional_vars] if item.optional_vars else [], found)
                _follow(statement.body, found)
            case ast.Try():
                _follow(statement.body, found)
                for handler in statement.handlers:
                    _use([handler.type] if handler.type else [], found)
                    found.bound |= {handler.name} if handler.name else set()
                    _follow(handler.body, found)
                _follow([*statement.orelse, *statement.finalbody], found)
            case _:
                _use([statement], found)


def _use(nodes: list[ast.expr] | list[ast.stmt], found: Names) -> None:
    """Statements without statements inside, functions and classes, or expressions; a target binds what it names."""
    for node in nodes:
        target = isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", None), ast.Store)
        table = symtable.symtable(f"{ast.unparse(node)} = 0" if target else ast.unparse(node), "cell", "exec")
        symbols = table.get_symbols()
        now, later = {symbol.get_name() for symbol in symbols if symbol.is_referenced()}, set()
        bound = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
        for inner in ast.walk(node):
            if isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Name):
                now |= {inner.target.id} & bound
        for child in table.get_children():
            _inside(child, now, later, bound)
        named = {each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr)}
        found.read |= now - found.bound - named
        found.read_later |= later
        found.bound |= bound


def _inside(table: symtable.SymbolTable, now: set[str], later: set[str], bound: set[str]) -> None:
    """The global names of a function (read when it is called), a comprehension or a class (read at once)."""
    called = table.get_type() == "function" and not table.get_name().endswith(("comp", "genexpr"))
    for symbol in table.get_symbols():
        if symbol.is_global() and symbol.is_referenced():
            (later if called else now).add(symbol.get_name())
        if symbol.is_declared_global() and symbol.is_assigned():
            bound.add(symbol.get_name())
    for child in table.get_children():
        _inside(child, later if called else now, later, bound)


def _names(core: Cells, deeper: dict[str, Cells]) -> Iterator[str]:
    """The core needs no deeper section; a deeper section needs the core and itself alone."""
    used = {heading: [(number, names(cell.source)) for number, cell in cells if cell.cell_type == "code"]
            for heading, cells in {CORE: core, **deeper}.items()}  # fmt: skip
    bound = {heading: {name for _, each in cells for name in each.bound} for heading, cells in used.items()}
    anywhere = set().union(*bound.values())
    for number, each in used[CORE]:
        for name in sorted((each.read | each.read_later) & anywhere - bound[CORE]):
            yield f"cell {number} of the core reads {name!r}, which only a deeper section binds."
    for heading in deeper:
        so_far = set(bound[CORE])
        for number, each in used[heading]:
            missing = (each.read - so_far) | (each.read_later - bound[heading] - bound[CORE])
            for name in sorted(missing & anywhere):
                yield f"cell {number} of {heading!r} reads {name!r}, which neither the core nor a cell above it binds."
            so_far |= each.bound
    yield from _changed(used, bound)


def _changed(used: dict[str, list[tuple[int, Names]]], bound: dict[str, set[str]]) -> Iterator[str]:
    """A name of the core that one deeper section binds and another reads: its value would hang on who ran first."""
    for reader, cells in used.items():
        reads, so_far = set(), set()
        for _, each in cells:
            reads |= each.read - so_far | (each.read_later - bound[reader])
            so_far |= each.bound
        for writer in used if reader != CORE else ():
            changed = bound[writer] & reads & bound[CORE] if writer not in (CORE, reader) else set()
            for name in sorted(changed):
                yield f"{writer!r} changes {name!r}, a name of the core that {reader!r} reads: give it another name."
