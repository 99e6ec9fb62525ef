"""Milliseconds: what is timed, and what stands beside them."""

import os
import platform
import time
from functools import partial

import pytest
import torch
from torch import nn

from gancomp_core.errors import GancompError
from gancomp_core.measure import Latency, eager_latency, export_onnx, latency, machine_class, onnx_latency
from gancomp_core.measure.latency import ROUNDS, Timed, latencies
from gancomp_core.measure.running import evaluating

QUICK = {"warmup": 1, "repeats": 3, "min_seconds": 0.0}


def test_median_and_percentile_are_those_of_the_call():
    pauses = iter([0.03] * 2 + [0.01] * 9 + [0.05])  # two to warm up, then ten
    found = latency(lambda: time.sleep(next(pauses)), warmup=2, repeats=10, min_seconds=0)
    assert found.repeats == 10
    assert 9.9 < found.median_ms < 20
    assert found.p95_ms > found.median_ms
    assert found.quartiles_ms[0] <= found.median_ms <= found.quartiles_ms[1] < found.p95_ms


def test_the_median_of_two_calls_lies_between_them():
    pauses = iter([0.01, 0.05])
    found = latency(lambda: time.sleep(next(pauses)), warmup=0, repeats=2, min_seconds=0)
    assert found.median_ms > 25  # between 10 and 50; the lower of the two would be some 10


def test_a_quick_call_is_repeated_until_the_seconds_are_full():
    start = time.perf_counter()
    found = latency(lambda: time.sleep(0.001), warmup=0, repeats=1, min_seconds=0.1)
    assert time.perf_counter() - start >= 0.1
    assert found.repeats > 5


def test_threads_are_set_for_the_call_and_restored():
    before = torch.get_num_threads()
    seen = []
    found = latency(lambda: seen.append(torch.get_num_threads()), threads=before + 1, **QUICK)
    assert set(seen) == {before + 1}
    assert found.threads == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError):
        latency(lambda: 1 / 0, threads=before + 1, **QUICK)
    assert torch.get_num_threads() == before


def test_a_module_is_timed_in_eval_mode_without_gradients_and_keeps_its_mode():
    class Probe(nn.Module):
        def forward(self, x):
            assert not self.training
            assert not torch.is_grad_enabled()
            assert x.shape == (1, 3, 8, 8)
            return x

    module = Probe().train()
    found = eager_latency(module, (1, 3, 8, 8), **QUICK)
    assert module.training
    assert (found.runtime, found.device, found.repeats) == ("eager", "cpu", 3)


def test_parts_that_were_frozen_stay_frozen_when_a_network_in_training_is_measured(tmp_path):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    module[1].eval()
    flags = [part.training for part in module.modules()]
    eager_latency(module, (1, 1, 8, 8), **QUICK)
    assert [part.training for part in module.modules()] == flags == [True, True, False]
    export_onnx(module, tmp_path / "net.onnx", (1, 1, 8, 8))
    assert [part.training for part in module.modules()] == flags
    with pytest.raises(ZeroDivisionError), evaluating(module):
        assert not any(part.training for part in module.modules())
        1 / 0  # noqa: B018
    assert [part.training for part in module.modules()] == flags


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_module_comes_back_from_the_device_it_was_measured_on_and_can_be_trained():
    module = nn.Conv2d(1, 2, 3)
    eager_latency(module, (1, 1, 8, 8), device="cuda", **QUICK)
    with torch.inference_mode(), evaluating(module, "cuda"):
        assert module.weight.is_cuda
    assert module.weight.device.type == "cpu"
    module(torch.zeros(1, 1, 8, 8)).sum().backward()


def test_more_work_takes_longer():
    small, large = (nn.Conv2d(3, width, 3) for width in (4, 256))
    assert eager_latency(small, (1, 3, 96, 96)).median_ms < eager_latency(large, (1, 3, 96, 96)).median_ms


def test_onnxruntime_is_timed_with_the_threads_asked_for(tmp_path):
    path = export_onnx(nn.Conv2d(1, 2, 3), tmp_path / "net.onnx", (1, 1, 8, 8))
    found = onnx_latency(path, (2, 1, 16, 16), threads=1, **QUICK)
    assert (found.runtime, found.threads) == ("onnxruntime", 1)
    assert found.median_ms > 0
    with pytest.raises(GancompError, match=r"cannot take pictures of shape \[1, 3, 8, 8\]"):
        onnx_latency(path, (1, 3, 8, 8), **QUICK)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 0, 8, 8), ()])
def test_a_bad_shape_shows_a_good_one(shape):
    with pytest.raises(GancompError, match=r"such as \(1, 3, 256, 256\)"):
        eager_latency(nn.Identity(), shape)


def test_a_shape_that_the_network_cannot_take_is_named():
    with pytest.raises(GancompError, match=r"cannot take an input of shape \(1, 3, 8, 8\)"):
        eager_latency(nn.Conv2d(1, 2, 3), (1, 3, 8, 8))


def test_zero_repeats_zero_threads_and_absent_devices_are_refused():
    with pytest.raises(GancompError, match="at least 1 repeat"):
        latency(lambda: None, repeats=0)
    with pytest.raises(GancompError, match="threads is a whole number from 1, not 0"):
        latency(lambda: None, threads=0)
    with pytest.raises(GancompError, match="'nonsense' is unknown; use 'cpu' or 'cuda'"):
        latency(lambda: None, device="nonsense")
    with pytest.raises(GancompError, match="is not there .*use device='cpu'"):
        latency(lambda: None, device="cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_waited_for():
    found = eager_latency(nn.Conv2d(3, 256, 9), (8, 3, 512, 512), device="cuda", **QUICK)
    assert found.device == "cuda"
    assert found.median_ms > 0.5


def test_a_latency_reads_as_a_sentence():
    text = "1.50 ms (95th percentile 2.25; 20 calls, eager, 1 thread)"
    assert str(Latency(1.5, 2.25, 20, 1, "cpu", "eager")) == text
    assert "cuda)" in str(Latency(1.5, 2.25, 20, 1, "cuda", "eager"))


def test_the_machine_class_tells_cores_and_memory_and_no_name():
    text = machine_class()
    assert "cores" in text
    assert "GB" in text
    assert not platform.node() or platform.node() not in text
    assert int(text.split()[0]) <= (os.cpu_count() or 1)


def test_what_is_timed_in_turns_is_called_in_every_round_in_changing_orders():
    called = []
    timed = {name: Timed(partial(called.append, name), threads, "a") for name, threads in (("one", 1), ("two", 2))}
    found = latencies(timed, 0.0)
    assert [(each.repeats, each.threads) for each in found.values()] == [(ROUNDS, 1), (ROUNDS, 2)]
    rounds = [tuple(called[place : place + 2]) for place in range(len(called) - 2 * ROUNDS, len(called), 2)]
    assert set(rounds) == {("one", "two"), ("two", "one")}
    low, high = found["one"].quartiles_ms
    assert low <= found["one"].median_ms <= high
