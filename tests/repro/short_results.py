"""`make repro`: every shipped result in short, done again and compared with what was recorded.

The results took days, so each has a short counterpart of the same data, networks, seeds and code, recorded in
``short_results.json``: a training of a few steps, a search of a few networks, a file calibrated with a few pictures. On
the processor and torch that recorded them all is equal to the last bit; elsewhere numbers agree within ``ELSEWHERE``,
and digests are not compared. The first seed of a specification stands for all, and an int8 file for those of its
architecture. Times are not results that can be had again: of a latency row the MACs are.

    make repro                          # all of them
    make repro ARGS="runs: flat2gloss"  # those with it in their name
    make repro ARGS="--record --missing"  # adds those that are not recorded yet
    make repro ARGS=--record            # writes all again: right only when results are meant to change
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from factories import bits_depend_on, few, weights_digest
from gancomp_core import files, zoo
from gancomp_core.data import load_task, to_uint8
from gancomp_core.lab import AgdSearch, Experiment, SupernetSearch, generator_of, names, planned, results
from gancomp_core.lab.benchmark.compressed import WEIGHT_FORMS
from gancomp_core.lab.benchmark.rows import TASKS, Row, member
from gancomp_core.lab.benchmark.rows import rows as rows_of
from gancomp_core.lab.catalogue import is_searched
from gancomp_core.lab.kinds import Job
from gancomp_core.measure import OnnxGenerator, cost, export_onnx
from gancomp_core.methods import agd
from gancomp_core.methods.architecture_search import SupernetScore, search
from gancomp_core.methods.quantization import export_int8, psnr_to_float
from gancomp_core.nets import Segmenter

RECORDED = Path(__file__).with_name("short_results.json")
STEPS, BATCH, NETWORKS, PICTURES = 6, 2, 3, 8
ELSEWHERE = 2e-2  # relative: what other processors may differ by after a few steps of a game
Values = dict[str, float | str]
Results = dict[str, Callable[[], Values]]


def trained(experiment: Experiment) -> Values:
    """The losses of the last of a few steps, and the weights then."""
    last = _trained(experiment)
    losses = {str(term): float(value) for term, value in last.history.iloc[-1].dropna().items() if term != "step"}
    return {**losses, "weights": weights_digest(last.averaged["generator"])}


def _trained(experiment: Experiment) -> Any:
    short = experiment.but(steps=STEPS, batch_size=BATCH, precision="32-true")
    return Job(short, changes={"progress": False}).train()


def searched(experiment: Experiment) -> Values:
    """The scores of a few networks on a few pictures of the search split."""
    chosen, strategy = SupernetSearch(experiment), str(experiment["strategy"])
    score = SupernetScore(zoo.load(chosen.supernet).generator, few(chosen.task, 4 * PICTURES, "search"))
    how: Any = {"pixels": chosen.pixels, "evaluations": NETWORKS, "seed": experiment.seed}
    best = search(chosen.space, score, chosen.budget, strategy.replace("brute force", "random"), **how).best_row
    return {name: float(best[name]) for name in ("macs", "params", "score")}


def searched_by_gradients(experiment: Experiment) -> Values:
    """The losses of the last of a few steps, and the supernet then; at random, a network's short training."""
    chosen = AgdSearch(experiment.but(steps=STEPS, batch_size=BATCH))
    config = dataclasses.replace(chosen.config, precision="32-true", progress=False)
    if experiment["networks"]:
        table, bounds = agd.MacTable(chosen.space, chosen.side, chosen.side), chosen.controller
        (network,) = agd.random_architectures(table, bounds.low, bounds.high, 1)
        found: Any = agd.train_derived(chosen.task, network, config, teacher=chosen.teacher)
        supernet, losses = found.averaged["generator"], found.history
    else:
        found = agd.search(chosen.task, chosen.teacher, chosen.space, config, chosen.controller)
        supernet, losses = found.supernet, found.losses
    last = losses.iloc[-1].dropna()
    plain = {str(name): float(value) for name, value in last.items() if isinstance(value, float)}
    return {**plain, "weights": weights_digest(supernet)}


def rounded(key: str) -> Values:
    """The int8 file of a network, trained for a few steps where it is not shipped, and how close its pictures are."""
    experiment = member(key)
    shipped = experiment.kind == "shipped"
    generator: nn.Module = generator_of(experiment) if shipped else _trained(experiment).averaged["generator"].eval()
    task = load_task(experiment.task)
    with tempfile.TemporaryDirectory() as folder:
        floating = export_onnx(generator, Path(folder, "float32.onnx"), (1, task.source_channels, task.size, task.size))
        int8 = export_int8(generator, Path(folder, "int8.onnx"), task.calibration(PICTURES), floating=floating)
        near = psnr_to_float(int8, generator, task.test.batch(slice(0, PICTURES)).source)
        return {"psnr": float(near.mean()), "float32": files.sha256(floating)[:16], "int8": files.sha256(int8)[:16]}


def lighter(key: str, form: str) -> Values:
    """The weights of a shipped network in another form."""
    experiment = member(key)
    generator = generator_of(experiment)
    source = load_task(experiment.task).test.batch(slice(0, PICTURES)).source
    found = WEIGHT_FORMS[form](generator).report(generator, source)
    return {"bytes": found.bytes, "bytes_xz": found.bytes_xz, "psnr": found.psnr_mean}


def timed(row: Row) -> Values:
    """Of a network that was timed, the MACs."""
    size = load_task(row.task).size
    return {"macs": cost(row.architecture, size, size).macs}


def painted(network: Callable[[torch.Tensor], torch.Tensor], task: str) -> Values:
    """What shipped weights make of the first test pictures."""
    with torch.no_grad():
        pairs = load_task(task).test.batch(slice(0, PICTURES))
        pictures = network(pairs.target if isinstance(network, Segmenter) else pairs.source)
    digest = hashlib.sha256(to_uint8(pictures).numpy().tobytes()).hexdigest()[:16]
    return {"mean": float(pictures.mean()), "spread": float(pictures.std()), "pictures": digest}


def shipped_results() -> Results:
    """Every shipped result by its name: how its short counterpart is made."""
    found: Results = {}
    for section in ("runs", "models", "searches", "agd"):
        seen = set()
        ready = (name for name in names(section) if is_searched(name, section))
        for experiment in (each for name in ready for each in planned(name, section)):
            what = json.dumps([experiment.kind, experiment.task, experiment.spec], sort_keys=True)
            if what not in seen:
                seen.add(what)
                make = {"searches": searched, "agd": searched_by_gradients}.get(section, trained)
                which = f" {experiment.kind} {experiment.key[:8]}" if section == "runs" else ""
                found[f"{section}: {experiment.name}{which}"] = functools.partial(make, experiment)
    for row in results.rows("int8").drop_duplicates(["task", "macs", "params"]).itertuples():
        found[f"int8: {row.task}, {row.name}"] = functools.partial(rounded, json.loads(row.spec)["of"])
    for row in results.rows("compressed weights").itertuples():
        found[f"{row.form}: {row.task}, {row.name}"] = functools.partial(lighter, json.loads(row.spec)["of"], row.form)
    clocked = set(results.rows("latency").network)
    for row in (each for task in TASKS for each in rows_of(task) if each.network in clocked):
        found[f"latency: {row.task}, {row.label}"] = functools.partial(timed, row)
    for name in zoo.names():
        found[f"zoo: {name}"] = lambda name=name: painted(zoo.load(name).generator, zoo.card(name)["task"])
    headline = files.data_root() / "results" / "headline.onnx"
    found["headline.onnx"] = lambda: painted(OnnxGenerator(headline, threads=1), "edges2shoes")
    return found


def again(make: Callable[[], Values]) -> Values:
    """The values of a short result, made with one thread and a cache of its own."""
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        before, os.environ["GANCOMP_CACHE"] = os.environ.get("GANCOMP_CACHE"), folder
        torch.set_num_threads(1)
        try:
            return make()
        finally:
            torch.set_num_threads(threads)
            del os.environ["GANCOMP_CACHE"]
            if before is not None:
                os.environ["GANCOMP_CACHE"] = before


def verdict(recorded: Mapping[str, Any], found: Mapping[str, Any], same_machine: bool) -> str:
    """ "equal", "within 2 %", or what differs."""
    if found == recorded:
        return "equal"
    if set(found) != set(recorded):
        return "has other values"
    numbers = [name for name, value in recorded.items() if not isinstance(value, str)]
    far = [name for name in numbers if abs(found[name] - recorded[name]) > ELSEWHERE * abs(recorded[name]) + 1e-3]
    if far or same_machine:
        return "DIFFERS in " + ", ".join(far or [name for name in recorded if found[name] != recorded[name]])
    return f"within {ELSEWHERE:.0%}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="", help="only results with this in their name")
    parser.add_argument("--record", action="store_true", help="write what is recorded")
    parser.add_argument("--missing", action="store_true", help="with --record: only results that are not recorded yet")
    options = parser.parse_args()
    kept = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"machine": bits_depend_on(), "results": {}}
    same_machine = kept["machine"] == bits_depend_on()
    if options.record and not same_machine and (options.part or options.missing):
        parser.error(f"the others were recorded on {kept['machine']}; record all of them.")
    print(f"recorded on {kept['machine']}\nnow on      {bits_depend_on()}\n")
    failed, wanted = 0, shipped_results()
    for name, make in wanted.items():
        before = kept["results"].get(name)
        if options.part not in name or (before and options.missing) or not (before or options.record):
            continue
        found = json.loads(json.dumps(again(make)))
        said = "recorded now" if before is None else verdict(before, found, same_machine)
        failed += said.startswith(("has", "DIFFERS"))
        shown = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in found.values()]
        was = "" if before is None else before[list(before)[-1]]
        print(f"{name:<90} {was!s:>18} {shown[-1]:>18}  {said}", flush=True)
        if options.record:
            kept["results"][name] = found
            kept["machine"] = bits_depend_on()
            lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in kept["results"].items())
            RECORDED.write_text(f'{{"machine": {json.dumps(kept["machine"])},\n "results": {{\n{lines}\n}}}}\n')
    missing = len([name for name in wanted if name not in kept["results"]])
    print(f"\n{failed} differ; {missing} of {len(wanted)} shipped results have no recorded counterpart yet")
    return 0 if options.record else min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
