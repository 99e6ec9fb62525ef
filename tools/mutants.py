"""Mutation testing: one small fault at a time in the arithmetic of the library, and the tests have to notice it.

    python tools/mutants.py                     # every group, and the solutions of the exercises
    python tools/mutants.py costs exercises     # some of them
    python tools/mutants.py --sample 0 dwt      # every mutant of a module, not a sample
    python tools/mutants.py dwt --again LOG     # those alone that a former output calls survivors

A mutant is a module with one operator, constant, condition, argument or call changed in one function. Tests are
collected once; each mutant is tried in a fork of that process, in which the function's code is exchanged, by the tests
that run the changed line, the fastest first. Survivors and why they live are in tests/trust/survivors.yml; a group with
less than 90 % caught, or a survivor without a reason there, is a failure. Needs Linux:
elsewhere libraries do not stand a fork.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import gc
import importlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows, which does not fork either
    resource = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SAMPLE, LEAST, SECONDS = 60, 0.9, 8.0  # mutants of a module, share to be caught, processor time of the tests of one
SURVIVORS = ROOT / "tests" / "trust" / "survivors.yml"
EXERCISES = "exercises"
FOR_ALL = ("trust/test_sharp_cases", "trust/test_cross_checks")

#: Modules of each group, the tests that answer for them, and which of those (as pytest's -k).
GROUPS: dict[str, tuple[list[str], list[str], str]] = {
    "costs": (
        ["measure/cost", "nets/blueprint"],
        ["unit/test_cost", "unit/test_blueprint", "parity/test_costs"],
        "",
    ),
    "onnx costs": (["measure/onnx_cost"], ["unit/test_comparison"], "file or matrix or packed"),
    "distances": (
        ["measure/distances", "measure/similarity", "measure/super_resolution"],
        ["unit/test_quality", "unit/test_quality_perceptual", "unit/test_super_resolution_scores"],
        "",
    ),
    "losses": (
        ["train/objectives", "methods/feature_distillation", "methods/wavelet_distillation"],
        ["unit/test_training", "unit/test_distillation", "unit/test_feature_terms", "unit/test_once_for_all",
         "unit/test_objectives"],
        "objective or terms or judged or plain or compared or distillation or logit or bands or content or style or "
        "difference or gradients or gram or variation or channels or critic or asks_the_teacher",
    ),
    "dwt": (["measure/wavelets"], ["unit/test_wavelets"], ""),
    "elastic": (
        ["nets/elastic", "nets/channel_groups", "nets/channel_config"],
        ["unit/test_nets_elastic", "unit/test_channel_config"],
        "not onnx and not bfloat16",
    ),
    "search": (
        [f"methods/architecture_search/{name}" for name in
         ("strategies", "candidates", "frontier", "budget", "predictor")] + ["nets/space"],
        ["unit/test_search_rules", "unit/test_architecture_search", "unit/test_channel_config",
         "unit/test_nets_elastic"],
        "search_rules or budget or frontier or pareto or predictor or costs or evolution or controller or seed or "
        "space or twice or evaluations or choices or limits or sampl",
    ),
    "agd": (["methods/agd/choices"], ["unit/test_agd"], "macs or channels or widths or budget or price or first"),
    "quantization": (
        [f"methods/quantization/{name}" for name in ("affine", "simulated", "sensitivity")],
        ["unit/test_quantization"],
        "maps or halves or range or bits or zeros or outlier or averages or shares or gradients or weight_of or "
        "simulat or agds or calibrat or float_network or sensitiv or budget or pictures_lose or decay",
    ),
    "int8": (
        [f"methods/quantization/{name}" for name in ("int8", "small_weights", "graph")],
        ["unit/test_quantization", "unit/test_int8_within"],
        "",
    ),
    "intervals": (["measure/statistics", "lab/benchmark/verdicts"], ["unit/test_statistics", "unit/test_verdicts"], ""),
    "ledger": (
        ["lab/benchmark/claims", "lab/benchmark/tables", "course/ledger"],
        ["unit/test_claims", "unit/test_ledger", "unit/test_benchmark_tables", "unit/test_benchmark",
         "unit/test_verdicts"],
        "not timed and not timing and not paints and not command",
    ),
    "checks": (["course/exercise", "course/answers"], ["unit/test_exercise", "notebooks/test_exercises"], ""),
}  # fmt: skip


# ---- mutants ------------------------------------------------------------------------------------------------------

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or,
    ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Mult,
}  # fmt: skip
RENAMED = {
    "min": "max", "amin": "amax", "sum": "mean", "floor": "ceil", "any": "all", "cumsum": "cumprod", "argmin": "argmax",
    "rows": "columns", "median": "mean", "minimum": "maximum", "zeros_like": "ones_like", "zeros": "ones",
}  # fmt: skip
RENAMED |= {new: old for old, new in RENAMED.items()}
RENAMED |= {"round": "floor", "rint": "floor"}
REMOVED = {
    "abs", "clamp", "clip", "square", "sqrt", "log", "log2", "exp", "round", "detach", "mT", "flip", "sort", "sorted",
    "ceil", "reversed", "contiguous_", "softmax", "expand", "transpose", "relu",
}  # fmt: skip
UNCHANGED_KEYWORDS = {"strict", "encoding", "device", "cache", "maxsize", "stacklevel"}
WORDS = {"__repr__", "__str__", "_repr_html_", "_ipython_display_"}
SYMMETRIC = {"isinstance", "getattr", "range", "min", "max", "minimum", "maximum", "l1_loss", "mse_loss", "equal"}
Parent = tuple[Any, str, int | None]


@dataclass(frozen=True)
class Mutant:
    """A place in a module's tree, and the node that replaces it in the function ``owner``."""

    name: str
    owner: ast.FunctionDef
    path: str
    line: int
    where: Parent
    new: Any

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The tree with the fault in it."""
        node, field, place = self.where
        old = getattr(node, field) if place is None else getattr(node, field)[place]
        for value in (self.new, old):
            if place is None:
                setattr(node, field, value)
            else:
                getattr(node, field)[place] = value
            if value is self.new:
                yield


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that may stand in the place of this one, each with one fault."""
    match node:
        case ast.BinOp(left, op, right):
            if type(op) in SWAPPED:
                yield ast.BinOp(left, SWAPPED[type(op)](), right)
            if isinstance(op, ast.Sub | ast.Div | ast.FloorDiv | ast.Pow | ast.MatMult):
                yield ast.BinOp(right, op, left)
            yield from (left, right)
        case ast.Compare(left, [op], [right]) if type(op) in SWAPPED:
            yield ast.Compare(left, [SWAPPED[type(op)]()], [right])
            if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                yield ast.Compare(right, [op], [left])
        case ast.BoolOp(op, values):
            yield ast.BoolOp(SWAPPED[type(op)](), values)
            yield from values[:2]
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Constant(value) if isinstance(value, bool):
            yield ast.Constant(not value)
        case ast.Constant(value) if isinstance(value, int | float):
            yield ast.Constant(value + 1 if isinstance(value, int) or value == 0 else 2 * value)
        case ast.Call(function, arguments, keywords):
            plain = [each for each in arguments if not isinstance(each, ast.Starred)]
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if len(plain) == len(arguments) >= 2 and called not in SYMMETRIC:
                yield ast.Call(function, [arguments[1], arguments[0], *arguments[2:]], keywords)
            if called in RENAMED:
                other = RENAMED[called]
                if isinstance(function, ast.Attribute):
                    yield ast.Call(ast.Attribute(function.value, other, ast.Load()), arguments, keywords)
                elif other in ("min", "max", "any", "all"):
                    yield ast.Call(ast.Name(other, ast.Load()), arguments, keywords)
            if called in REMOVED:
                of_module = isinstance(function, ast.Name) or getattr(getattr(function, "value", 0), "id", "") in (
                    "torch", "math", "np", "F")  # fmt: skip
                if of_module and arguments:
                    yield arguments[0]
                elif isinstance(function, ast.Attribute) and not of_module:
                    yield function.value
            for place, keyword in enumerate(keywords):
                if keyword.arg not in UNCHANGED_KEYWORDS | {None}:
                    yield ast.Call(function, arguments, keywords[:place] + keywords[place + 1 :])
        case ast.AugAssign(target, op, value) if type(op) in SWAPPED:
            yield ast.AugAssign(target, SWAPPED[type(op)](), value)
        case ast.If(test, body, orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Expr(ast.Call()):
            yield ast.Pass()
        case ast.comprehension(target, source, [test, *others], is_async):
            yield ast.comprehension(target, source, [ast.UnaryOp(ast.Not(), test), *others], is_async)


def places(function: ast.FunctionDef) -> Iterator[tuple[Parent, ast.AST, int]]:
    """Every node of a function that may be changed, what holds it, and the line on which it runs."""

    def below(node: ast.AST, line: int) -> Iterator[tuple[Parent, ast.AST, int]]:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "format_spec", "type_params"):
                continue
            for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.Assert | ast.JoinedStr):
                    continue
                if isinstance(child, ast.keyword) and child.arg in UNCHANGED_KEYWORDS:
                    continue
                at = getattr(child, "lineno", line)
                yield (node, field, place), child, at
                yield from below(child, at)

    yield from below(function, function.lineno)


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods by qualified name; what is nested in one belongs to it."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{each.name}", each) for each in node.body if isinstance(each, ast.FunctionDef))


def mutants(tree: ast.Module) -> list[Mutant]:
    """All mutants of a module that compile, each with a name of its own that survives a move to another line."""
    found, seen = [], Counter[str]()
    for path, function in functions(tree):
        if function.name in WORDS:
            continue
        for where, old, line in places(function):
            for new in variants(old):
                ast.fix_missing_locations(ast.copy_location(new, old))
                if ast.unparse(new) == ast.unparse(old):
                    continue
                said = f"{path}: {_short(old)} -> {_short(new)}"
                seen[said] += 1
                name = said if seen[said] == 1 else f"{said} #{seen[said]}"
                found.append(Mutant(name, function, path, line, where, new))
    return found


def _short(node: ast.AST) -> str:
    if isinstance(node, ast.If):
        return f"if {_short(node.test)}"
    if isinstance(node, ast.comprehension):
        return f"if {_short(node.ifs[0])}"
    said = " ".join(ast.unparse(node).split())
    return said if len(said) <= 90 else f"{said[:50]} ... {said[-35:]}"


def chosen(some: list[Mutant], seed: str, sample: int | None, again: set[str]) -> list[Mutant]:
    """At most ``sample`` of them, the same ones each time, in their order; of those named, if any are."""
    if again or sample is None or len(some) <= sample:
        return [each for each in some if not again or each.name in again]
    order = random.Random(seed).sample(range(len(some)), len(some))  # a smaller sample is a part of a larger one
    return [some[place] for place in sorted(order[:sample])]


# ---- a mutant in a running process ----------------------------------------------------------------------------------


def code_of(code: types.CodeType, path: str, line: int) -> types.CodeType | None:
    """The code of a function, by qualified name and first line, in that of its module."""
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            if each.co_qualname == path and each.co_firstlineno == line:
                return each
            if found := code_of(each, path, line):
                return found
    return None


def living(files: Sequence[str]) -> dict[tuple[str, str, int], list[types.FunctionType]]:
    """The functions of some modules by file, qualified name and first line, wherever they are held."""
    found = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and each.__code__.co_filename in files:
            found[each.__code__.co_filename, each.__code__.co_qualname, each.__code__.co_firstlineno].append(each)
    return found


def exchange(tree: ast.Module, file: str, mutant: Mutant, alive: dict[tuple[str, str, int], list[Any]]) -> None:
    """Give the living function the code of the mutant, wherever it was imported to."""
    line = min([mutant.owner.lineno, *(each.lineno for each in mutant.owner.decorator_list)])
    with mutant.applied():
        new = code_of(compile(tree, file, "exec"), mutant.path, line)
    if new is None or not (functions := alive.get((file, mutant.path, line))):
        raise ValueError("the function is not there")
    node, field, place = mutant.where
    for each in functions:
        if node is mutant.owner.args and place is not None:
            value = ast.literal_eval(mutant.new)
            if field == "defaults":
                before = each.__defaults__ or ()
                each.__defaults__ = (*before[:place], value, *before[place + 1 :])
            else:
                each.__kwdefaults__ = {**(each.__kwdefaults__ or {}), mutant.owner.args.kwonlyargs[place].arg: value}
        each.__code__ = new


def forked(work: Callable[[], Any], seconds: int, silent: bool = True) -> Any:
    """What ``work`` returns (as JSON) in a fork of this process; None where it takes too long or dies.

    ``seconds`` are those of the processor, whatever else runs; a fork that only waits gets twenty times as many.
    """
    with tempfile.TemporaryFile("w+") as told:
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            try:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
                for stream in (1, 2) if silent else ():
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
                json.dump(work(), told)
                told.flush()
            finally:
                os._exit(0)
        end = time.monotonic() + 20 * seconds
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return None
            time.sleep(0.005)
        told.seek(0)
        return json.loads(told.read() or "null")


# ---- the tests ------------------------------------------------------------------------------------------------------


class Trial:
    """A plugin of pytest that, in place of running the tests, tries mutants on them."""

    def __init__(
        self,
        files: Sequence[str],
        choose: Callable[[list[Mutant], str], list[Mutant]],
        tell: Callable[[str, dict[str, str]], None],
    ) -> None:
        self.files, self.choose, self.tell = files, choose, tell

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run all tests once to see what they reach, then those that reach a mutant."""
        baseline = forked(lambda: self._reached(session.items), 1_000)
        if baseline is None:
            raise RuntimeError("the tests did not come to an end")
        for name in baseline["modules"]:  # what the tests imported on their way, so that no fork has to again
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        if baseline["failed"]:
            print(f"left out, for they fail without any mutant: {', '.join(baseline['failed'])}", flush=True)
        alive = living(self.files)
        gc.freeze()  # so that forks share the memory of what is there
        for file in self.files:
            found = {}
            tree = ast.parse(Path(file).read_text(encoding="utf-8"))
            for mutant in self.choose(mutants(tree), file.removeprefix(str(ROOT))):
                lines = baseline["lines"].get(f"{file}:{mutant.line}", {})
                if mutant.where[0] is mutant.owner.args:  # a default value: what calls the function
                    body = range(mutant.owner.lineno, (mutant.owner.end_lineno or 0) + 1)
                    lines = {k: v for at in body for k, v in baseline["lines"].get(f"{file}:{at}", {}).items()}
                found[mutant.name] = self._tried(tree, file, mutant, session.items, lines, alive)
            self.tell(file, found)
        return True

    def _reached(self, items: Sequence[Any]) -> dict[str, Any]:
        """By file and line: the tests that run it, with their seconds."""
        lines: dict[str, dict[int, float]] = defaultdict(dict)
        failed, here = [], set()

        def trace(frame: types.FrameType, event: str, argument: object) -> Any:
            if frame.f_code.co_filename not in self.files:
                return None
            here.add(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            return trace

        for place, item in enumerate(items):
            here.clear()
            began = time.process_time()
            threading.settrace(trace)
            sys.settrace(trace)
            passed = _passes(item, items[place + 1] if place + 1 < len(items) else None)
            sys.settrace(None)
            if not passed:
                failed.append(item.nodeid)
            for each in here if passed else ():
                lines[each][place] = time.process_time() - began
        return {"lines": lines, "failed": failed, "modules": sorted(set(sys.modules) - {"__main__"})}

    def _tried(
        self,
        tree: ast.Module,
        file: str,
        mutant: Mutant,
        items: Sequence[Any],
        lines: dict[str, float],
        alive: dict[tuple[str, str, int], list[Any]],
    ) -> str:
        order, whole = [], 0.0
        for place, seconds in sorted(lines.items(), key=lambda each: each[1]):
            if order and whole + seconds > SECONDS:
                break
            order.append(items[int(place)])
            whole += seconds
        if not order:
            return "survived (no test runs it)"

        def work() -> str:
            try:
                exchange(tree, file, mutant, alive)
            except (ValueError, SyntaxError, TypeError) as error:
                return f"invalid: {error}"
            following = [*order[1:], None]
            return "survived" if all(map(_passes, order, following)) else "caught"

        return forked(work, 10 + int(4 * whole)) or "caught"


def _passes(item: Any, following: Any) -> bool:
    from _pytest.runner import runtestprotocol

    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def try_tests(group: str, told: Report, choose: Callable[[list[Mutant], str], list[Mutant]]) -> tuple[bool, int, int]:
    """Try the mutants of a group on its tests."""
    import pytest

    modules, tests, among = GROUPS[group]
    trial = Trial([str(ROOT / "gancomp_core" / f"{each}.py") for each in modules], choose, told)
    with tempfile.TemporaryDirectory() as folder:
        options = ["-q", "-s", "-p", "no:cacheprovider", f"--basetemp={folder}/t", "-W", "ignore"]
        options += ["-o", "tmp_path_retention_policy=none", "-m", "not slow and not notebooks and not browser"]
        files = [str(ROOT / "tests" / f"{each}.py") for each in (*tests, *FOR_ALL)]
        options += ["-k", f"cross_checks or sharp_cases or ({among})"] if among else []
        pytest.main([*options, *files], plugins=[trial])
    return told.good, told.tried, told.caught


# ---- the exercises --------------------------------------------------------------------------------------------------


@functools.cache
def solutions() -> dict[str, tuple[str, str]]:
    """By exercise: what its solution's notebook sets up, and the source of the solution."""
    from gancomp_core.course.checks import exercises
    from gancomp_core.course.notebook_files import NOTEBOOKS, read_notebook, tagged

    found = {}
    for name, task in sorted(exercises().items()):
        book = read_notebook(next((NOTEBOOKS / "solutions").glob(f"{task.notebook}_*_solutions.ipynb")))
        set_up = ["import math, statistics, time\nimport numpy as np\nimport torch\nfrom torch import nn"]
        set_up += [cell.source for cell in tagged(book, "exercise-setup")]
        found[name] = ("\n".join(set_up), tagged(book, f"solution:{name}")[0].source)
    return found


def refused(name: str, set_up: str, tree: ast.Module, mutant: Mutant) -> str:
    """Whether the exercise's check refuses a mutant of its solution, in a sentence."""
    from gancomp_core.course.checks import exercises, judge

    namespace: dict[str, Any] = {}
    with mutant.applied():
        exec(set_up, namespace)
        exec(compile(tree, f"<{name}>", "exec"), namespace)
    verdict = judge(exercises()[name], namespace[name])
    if verdict.passed:
        return "survived"
    return "caught" if len(verdict.message.split()) >= 6 else f"survived (it says only {verdict.message!r})"


def try_checks(told: Report, choose: Callable[[list[Mutant], str], list[Mutant]]) -> None:
    """Try the mutants of the solutions on the checks of their exercises."""
    gc.freeze()
    for name, (set_up, source) in solutions().items():
        tree = ast.parse(source)
        some = choose(mutants(tree), name)
        told(name, {each.name: forked(partial(refused, name, set_up, tree, each), 20) or "caught" for each in some})


# ---- the report -----------------------------------------------------------------------------------------------------


class Report:
    """What became of mutants, printed module by module; ``good`` while every survivor is explained."""

    def __init__(self, group: str, reasons: dict[str, dict[str, str]]) -> None:
        self.group, self.reasons = group, reasons
        self.tried = self.caught = 0
        self.good = True

    def __call__(self, module: str, became: dict[str, str]) -> None:
        module = module.removeprefix(f"{ROOT}/")
        valid = {name: what for name, what in became.items() if not what.startswith("invalid")}
        alive = {name: what for name, what in valid.items() if what != "caught"}
        print(f"{self.group:13} {module:62} {len(valid) - len(alive):4} of {len(valid):4} caught")
        for name, what in alive.items():
            why = self.reasons.get(module, {}).get(name)
            self.good = self.good and why is not None
            print(f"    {what}: {name}" + (f"  [{why}]" if why else ""))
        self.tried, self.caught = self.tried + len(valid), self.caught + len(valid) - len(alive)
        sys.stdout.flush()

    def enough(self) -> bool:
        """Whether the group caught its share, and its survivors are explained."""
        share = self.caught / max(self.tried, 1)
        print(f"{self.group:13} {'all':62} {self.caught:4} of {self.tried:4} caught, {share:.1%}\n", flush=True)
        return self.good and share >= LEAST


def main() -> int:
    """Try the mutants of the groups that are asked for."""
    import torch
    import yaml

    import gancomp_core.cli  # noqa: F401  (once, and not in the fork of each group)

    torch.set_num_threads(1)

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", help=f"of {', '.join([*GROUPS, EXERCISES])}; all by default")
    parser.add_argument(
        "--sample", type=int, default=SAMPLE, help="mutants of a module; %(default)s by default, 0: all"
    )
    parser.add_argument("--again", metavar="LOG", help="only the survivors that this output of a former run names")
    options = parser.parse_args()
    if unknown := set(options.groups) - {*GROUPS, EXERCISES}:
        parser.error(f"there is no group {sorted(unknown)[0]!r}; choose from {', '.join([*GROUPS, EXERCISES])}")
    if sys.platform != "linux":
        parser.error("mutants are tried in forks of a process, which libraries stand on Linux alone; use Linux")
    reasons = yaml.safe_load(SURVIVORS.read_text(encoding="utf-8")) or {} if SURVIVORS.exists() else {}
    log = Path(options.again).read_text(encoding="utf-8") if options.again else ""
    again = {name.partition("  [")[0] for name in re.findall(r"^    survived[^:]*: (.*)$", log, re.M)}
    choose, good = partial(chosen, sample=options.sample or None, again=again), True
    for group in options.groups or [*GROUPS, EXERCISES]:
        told = Report(group, reasons)
        if group == EXERCISES:
            try_checks(told, choose)
        elif not (of_tests := forked(partial(try_tests, group, told, choose), 100_000, silent=False)):
            print(f"{group}: its tests could not be collected")
            good = False
            continue
        else:
            told.good, told.tried, told.caught = of_tests
        good = told.enough() and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
