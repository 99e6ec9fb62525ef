"""Rivals: what a teacher gives for nothing, and what usual tools make of it; one clock, two runtimes."""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import pandas as pd
import pytest
import torch

from factories import pictures, random_resnet, refused
from gancomp_core import Budget, files
from gancomp_core.data import load_task
from gancomp_core.lab import benchmark, names, planned, results
from gancomp_core.lab.benchmark.compressed import in_int8
from gancomp_core.lab.benchmark.rows import member
from gancomp_core.lab.rivals import forms, pages, rows, tables, timing
from gancomp_core.lab.rivals.pruning import depgraph
from gancomp_core.measure import OnnxGenerator, OpenvinoGenerator, export_onnx, latency, psnr
from gancomp_core.methods.architecture_search import LatencyTable, search
from gancomp_core.nets import ArchitectureSpace, ResnetArchitecture, SearchSpace

QUICK = {"warmup": 1, "repeats": 2, "min_seconds": 0.0, "threads": 1}
OPENVINO, NNCF, PRUNING = (
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is an extra of its own")
    for name in ("openvino", "nncf", "torch_pruning")
)


# ---- one clock, two runtimes ----------------------------------------------------------------------------------------


@OPENVINO
def test_a_module_and_its_file_are_timed_in_every_runtime(tmp_path):
    network = random_resnet()
    shape = (1, network.architecture.in_channels, 16, 16)
    path = export_onnx(network, tmp_path / "a.onnx", shape)
    for runtime in ("onnxruntime", "openvino", "openvino default"):
        for given in (network, path, str(path)):
            found = latency(given, shape, runtime=runtime, **QUICK)
            assert (found.runtime, found.threads, found.repeats) == (runtime, 1, 2)
    assert latency(network, shape, **QUICK).runtime == "eager"


def test_what_cannot_be_timed_is_refused(tmp_path):
    with refused("needs the input_shape"):
        latency(tmp_path / "a.onnx")
    with refused("PyTorch runs no files"):
        latency(tmp_path / "a.onnx", (1, 3, 8, 8))
    with refused("no runtime 'tvm'"):
        latency(random_resnet(), (1, 3, 8, 8), runtime="tvm")
    with refused("Files are timed on the CPU"):
        latency(random_resnet(), (1, 3, 8, 8), runtime="onnxruntime", device="cuda")


@OPENVINO
def test_the_shipped_file_runs_in_openvino_unchanged():
    file, test = benchmark.headline_files()["network"], load_task("edges2shoes").test.batch(slice(0, 64))
    here, there = OnnxGenerator(file, threads=1)(test.source), OpenvinoGenerator(file, threads=1)(test.source)
    assert psnr(here, there).mean() > 40
    assert (psnr(here, test.target) - psnr(there, test.target)).mean().abs() < 0.05


SPACE = ArchitectureSpace(
    ResnetArchitecture("16_16_16_16_16_16_16_16", blocks=1, in_channels=1, out_channels=1),
    SearchSpace(((16, 8),) + ((16,),) * 6 + ((16, 8),)),
)


@OPENVINO
def test_a_search_keeps_a_budget_of_milliseconds_in_openvino(tmp_path):
    table = LatencyTable.build(SPACE, (16, 16), threads=1, runtime="openvino")
    assert table.runtime == "openvino"
    assert table.line != (0.0, 1.0)
    table.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == table
    table = dataclasses.replace(table, line=(1.0, 0.0))  # every network takes 1 ms
    found = search(SPACE, lambda network: network.cost(16, 16).macs, Budget(latency_ms=1.0, runtime="openvino"),
                   "brute force", pixels=table)  # fmt: skip
    assert len(found) == SPACE.size
    assert set(found.table.latency_ms) == {1.0}
    with refused("in onnxruntime, and the latency table of those in openvino"):
        search(SPACE, len, Budget(latency_ms=2.0, runtime="onnxruntime"), pixels=table)


def test_a_budget_names_its_runtime():
    budget = Budget(latency_ms=0.5, runtime="openvino")
    assert str(budget) == "at most 0.5 ms (openvino)"
    assert budget.limits == {"latency_ms": 0.5}
    with refused("no runtime of a budget 'tvm'"):
        Budget(latency_ms=1, runtime="tvm")


# ---- free forms and pruned networks ---------------------------------------------------------------------------------


def test_half_the_resolution_is_a_quarter_of_the_pixels():
    seen = []
    network = forms.HalfResolution(lambda x: seen.append(x) or x)
    source = pictures(2, 1, 8, 8)
    assert network(source).shape == source.shape
    assert torch.equal(seen[0], source.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5)))


@pytest.mark.parametrize(
    "name",
    ["int8 by onnxruntime", "int8 by onnxruntime, as advised", pytest.param(forms.NNCF, marks=[OPENVINO, NNCF])],
)
def test_a_free_form_paints_nearly_the_same(name, tmp_path):
    network = random_resnet()
    sources = pictures(4, network.architecture.in_channels, 16, 16)
    file = forms.FORMS[name].write(network, tmp_path, sources)
    made = rows.PAINTS[forms.FORMS[name].runtime](file)(sources)
    assert psnr(made, network(sources)).mean() > 20


@PRUNING
def test_depgraph_keeps_whole_channels_of_the_teacher():
    teacher = random_resnet(SPACE.base)
    small = dataclasses.replace(teacher.architecture, channels="8_8_8_8_8_8_8_8")
    student = depgraph(small, teacher)
    given = {name: set(weight.flatten().tolist()) for name, weight in teacher.state_dict().items()}
    assert all(set(weight.flatten().tolist()) <= given[name] for name, weight in student.state_dict().items())
    with refused("DepGraph removes no layers"):
        depgraph(dataclasses.replace(small, blocks=3), teacher)


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_every_trained_rival_can_be_found_and_rounded():
    every = [each for task in rows.OURS for each in rows.trained(task)]
    assert {f"{each.task}/{each.label}" for each in every} == set(names("rivals"))
    for each in every:
        assert member(each.experiments[0].key) == each.experiments[0]
        assert in_int8(each, each.experiments[0]).spec == {"of": each.experiments[0].key}


def test_pruned_rivals_take_the_headlines_steps_and_hardly_more_macs():
    for name in names("rivals"):
        task, _, label = name.partition("/")
        ours, (rival, *_) = benchmark.row(task, rows.OURS[task]), planned(name, "rivals")
        if label.startswith("pruned"):
            side = load_task(task).size
            of = [each.architecture.cost(side, side).macs for each in (benchmark.Row(task, label, (rival,)), ours)]
            assert 1 <= of[0] / of[1] < 1.1
            assert rival.steps == ours.steps


@pytest.fixture
def timed(monkeypatch):
    """Rounds in which everything takes 1 ms, ours half, and NNCF's form of the teacher 0.8; the third is slow."""

    def ms(label, form):
        return 0.8 if (label, form) == (benchmark.TEACHER, forms.NNCF) else 0.5 if label != benchmark.TEACHER else 1.0

    def recorded(kind=(), task=None):
        if kind != "rival latency":
            return original(kind, task)
        of = {name: {json.dumps(each): slow * ms(*each) for each in timing.contestants(task)} for name, slow in ROUNDS}
        about = {"spec": json.dumps({"among": "all", "machine": "here"}), "machine": "here", "when": "today"}
        return pd.DataFrame([{**about, "times": json.dumps(times)} for times in of.values()])

    original = results.rows
    monkeypatch.setattr(results, "rows", recorded)


ROUNDS = [("first", 1), ("second", 1), ("third", 9)]


def test_ours_is_compared_with_both_the_float_teacher_and_its_best_free_form(timed, monkeypatch):
    monkeypatch.setattr(
        tables, "free_forms", lambda task: [each for each in rows.free_forms(task) if each["form"] == forms.NNCF]
    )
    good = {"macs": 1.0, "bytes": 1.0, "fd": 1.0, "kid": 0.01, "psnr": 20.0}
    original = results.row
    ours = {each.key for each in rows.free_forms("edges2shoes")}
    monkeypatch.setattr(results, "row", lambda key: good if key in ours else original(key))
    found = tables.against("edges2shoes")
    assert found.than_float == (2.0, 2.0, 2.0), "the slow round slows both"
    assert found.than_free == pytest.approx((1.6, 1.6, 1.6))
    assert (found.free, found.machine) == (forms.NNCF, "here")
    assert "2.0 times faster" in str(found)
    good["fd"] = 1e9  # a form that is worse than ours is no baseline
    assert tables.against("edges2shoes").free != forms.NNCF
    assert pages.picture("edges2shoes").axes[0].get_xlabel().startswith("milliseconds")


def test_the_page_is_the_one_that_the_rows_give():
    assert (files.REPOSITORY / "docs" / "rivals.md").read_text(encoding="utf-8") == pages.page()


def test_free_forms_are_scored_by_the_measures_of_the_benchmark():
    for task in rows.OURS:
        for each in rows.free_forms(task):
            if (row := results.row(each.key)) is not None:
                assert {"kid", "psnr", "psnr_to_float", "bytes", "machine", "minutes"} <= set(row)
