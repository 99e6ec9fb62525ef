"""Time of one call on this machine, and the class of the machine.

MACs are not milliseconds: latency is measured, after warm-up, with a stated number of threads, waiting for the GPU, and
given as median and 95th percentile.
"""

from __future__ import annotations

import contextlib
import functools
import math
import platform
import random
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, TypeVar, Unpack

import psutil
import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError, at_least, one_of
from gancomp_core.executors import cores
from gancomp_core.files import scratch
from gancomp_core.measure.onnx_export import OnnxGenerator, export_onnx
from gancomp_core.measure.openvino_runtime import in_openvino
from gancomp_core.measure.running import check_input_shape, evaluating, first_line

Key = TypeVar("Key", bound=Hashable)
#: What runs a network: PyTorch, onnxruntime, OpenVINO in float32 or in the precision that it chooses.
RUNTIMES = ("eager", "onnxruntime", "openvino", "openvino default")
ROUNDS, MOST_CALLS = 7, 10  # of what is timed in turns; calls in one turn


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call, with what they depend on.

    Attributes:
        median_ms: Median over the calls.
        p95_ms: 95th percentile.
        repeats: Number of calls.
        threads: Threads of the runtime.
        device: "cpu" or "cuda".
        runtime: "eager", "onnxruntime", "openvino" or "openvino default".
        quartiles_ms: A quarter of the calls took less than the first, a quarter more than the second.
    """

    median_ms: float
    p95_ms: float
    repeats: int
    threads: int
    device: str
    runtime: str
    quartiles_ms: tuple[float, float] = (math.nan, math.nan)

    def __str__(self) -> str:
        threads = f"{self.threads} thread" + ("s" if self.threads != 1 else "")
        where = threads if self.device == "cpu" else self.device
        calls = f"{self.repeats} calls, {self.runtime}, {where}"
        return f"{self.median_ms:.2f} ms (95th percentile {self.p95_ms:.2f}; {calls})"


class Clock(TypedDict, total=False):
    """How long to measure; see :func:`latency`."""

    warmup: int
    repeats: int
    min_seconds: float


def latency(
    run: Callable[..., object] | Path | str,
    input_shape: Sequence[int] | None = None,
    *,
    warmup: int = 3,
    repeats: int = 20,
    min_seconds: float = 0.5,
    threads: int | None = None,
    device: torch.device | str = "cpu",
    runtime: str = "eager",
) -> Latency:
    """Time a function or a network: some calls unmeasured, then at least ``repeats`` and at least ``min_seconds``.

    Args:
        run: The function; or, with an ``input_shape``, a module or an ONNX file.
        input_shape: (N, C, H, W) of one fixed random input, float32; None for a function.
        warmup: Calls before the measurement, 0 or more.
        repeats: Measured calls, at least 1.
        min_seconds: Least total time of the measured calls.
        threads: PyTorch's threads during the measurement; None leaves them. The setting is restored.
        device: "cpu" or "cuda"; every call on CUDA is waited for.
        runtime: What runs a network, one of :data:`RUNTIMES`; a module is exported where it needs a file. Of a function
            the label of the result.

    Returns:
        The latency.

    Raises:
        GancompError: For a runtime that is unknown, not installed, or cannot run this network; for zero repeats,
            negative warm-up, zero threads, and a CUDA device that does not exist.
    """
    if input_shape is not None:
        clock = Clock(warmup=warmup, repeats=repeats, min_seconds=min_seconds)
        return _network_latency(run, input_shape, runtime, threads, device, clock)
    if not callable(run):
        raise GancompError(f"The latency of {run} needs the input_shape (N, C, H, W) of a picture, (1, 3, 64, 64) say.")
    device = _checked_device(device)
    if repeats < 1 or warmup < 0 or min_seconds < 0:
        raise GancompError(
            f"A latency needs at least 1 repeat, and warm-up and seconds from 0, not repeats={repeats}, "
            f"warmup={warmup}, min_seconds={min_seconds}; the defaults (20, 3, 0.5) suit most networks."
        )
    wait = functools.partial(torch.cuda.synchronize, device) if device.type == "cuda" else _no_wait
    with _torch_threads(threads) as used:
        seconds = _seconds(run, warmup, repeats, min_seconds, wait)
    return _latency(seconds, used, str(device), runtime)


@dataclass(frozen=True)
class Timed:
    """A function that is timed together with others; ``threads`` are PyTorch's, ``runtime`` is a label."""

    run: Callable[[], object]
    threads: int
    runtime: str


def latencies(timed: Mapping[Key, Timed], seconds: float) -> dict[Key, Latency]:
    """Time functions on the CPU in turns, so that a slow moment of the machine hits all alike.

    In each of :data:`ROUNDS` rounds every function is called at least once.

    Args:
        timed: The functions by name.
        seconds: That the measured calls of each function may take together, where these are fast enough.

    Returns:
        Their latencies over all rounds.
    """
    found: dict[Key, list[float]] = {key: [] for key in timed}
    calls = {key: int(seconds / ROUNDS / min(_called(each, 1, 1))) for key, each in timed.items()}
    for number in range(ROUNDS):
        for key in turn_order(timed, number):
            repeats = max(1, min(calls[key], MOST_CALLS))
            found[key] += _called(timed[key], int(repeats > 1), repeats)
    return {key: _latency(found[key], each.threads, "cpu", each.runtime) for key, each in timed.items()}


def turn_order(places: Iterable[Key], number: int) -> list[Key]:
    """The order in which a round with this number goes through what is timed."""
    waiting = list(places)
    return random.Random(number).sample(waiting, len(waiting))


def _called(timed: Timed, warmup: int, repeats: int) -> list[float]:
    with _torch_threads(timed.threads):
        return _seconds(timed.run, warmup, repeats, 0.0, _no_wait)


def _seconds(
    run: Callable[[], object], warmup: int, repeats: int, min_seconds: float, wait: Callable[[], None]
) -> list[float]:
    """What each call took, after some that are not measured."""
    for _ in range(warmup):
        run()
    wait()
    seconds: list[float] = []
    while len(seconds) < repeats or sum(seconds) < min_seconds:
        start = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - start)
    return seconds


def _latency(seconds: list[float], threads: int, device: str, runtime: str) -> Latency:
    found = torch.tensor(seconds, dtype=torch.float64) * 1000
    # Tensor.median() would be the lower of the two values in the middle
    low, median, high, p95 = (float(found.quantile(share)) for share in (0.25, 0.5, 0.75, 0.95))
    return Latency(median, p95, len(seconds), threads, device, runtime, (low, high))


def eager_latency(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    threads: int | None = None,
    device: torch.device | str = "cpu",
    **clock: Unpack[Clock],
) -> Latency:
    """Latency of a module in PyTorch: eval mode, no gradients, one fixed random input.

    Args:
        module: The network; its mode and device are restored.
        input_shape: (N, C, H, W), float32.
        threads: As for :func:`latency`.
        device: Where the module runs.
        clock: ``warmup``, ``repeats`` and ``min_seconds``, as for :func:`latency`.

    Returns:
        The latency.

    Raises:
        GancompError: For a shape that the network cannot take, and as :func:`latency` does.
    """
    device = _checked_device(device)
    x = _input(input_shape).to(device)
    with evaluating(module, device), torch.inference_mode():
        _first_call(lambda: module(x), input_shape)
        return latency(lambda: module(x), threads=threads, device=device, **clock)


def onnx_latency(
    path: Path | str,
    input_shape: Sequence[int],
    *,
    threads: int | None = None,
    **clock: Unpack[Clock],
) -> Latency:
    """Latency of an exported network in onnxruntime on the CPU, with one fixed random input.

    Args:
        path: The ONNX file.
        input_shape: (N, C, H, W), float32.
        threads: onnxruntime's thread count; None takes PyTorch's, so that the two can be compared.
        clock: ``warmup``, ``repeats`` and ``min_seconds``, as for :func:`latency`.

    Returns:
        The latency.

    Raises:
        GancompError: For a file or a shape that onnxruntime refuses, and as :func:`latency` does.
    """
    used = torch.get_num_threads() if threads is None else threads
    run = prepared(path, _input(input_shape), "onnxruntime", used)
    return latency(run, threads=used, runtime="onnxruntime", **clock)


def openvino_latency(
    path: Path | str,
    input_shape: Sequence[int],
    *,
    threads: int | None = None,
    precision: Literal["f32", "default"] = "f32",
    **clock: Unpack[Clock],
) -> Latency:
    """Latency of an ONNX file in OpenVINO on the CPU, with one fixed random input.

    Args:
        path: The ONNX file, in float or in 8 bits.
        input_shape: (N, C, H, W), float32.
        threads: OpenVINO's thread count; None takes PyTorch's, so that the two can be compared.
        precision: "f32" computes float layers in float32; "default" leaves it to OpenVINO, which takes bfloat16 where
            the processor has it.
        clock: ``warmup``, ``repeats`` and ``min_seconds``, as for :func:`latency`.

    Returns:
        The latency; its ``runtime`` is "openvino", or "openvino default" for that precision.

    Raises:
        GancompError: When OpenVINO is not installed, for a file or a shape that it refuses, and for another precision.
    """
    used = torch.get_num_threads() if threads is None else threads
    run = in_openvino(path, _input(input_shape), used, precision)
    runtime = "openvino" if precision == "f32" else "openvino default"
    return latency(run, threads=used, runtime=runtime, **clock)


def prepared(path: Path | str, pictures: Tensor, runtime: str, threads: int) -> Callable[[], object]:
    """A call that runs an ONNX file on these pictures, in any of :data:`RUNTIMES` but PyTorch, to be timed."""
    if runtime != "onnxruntime":
        return in_openvino(path, pictures, threads, "default" if runtime == "openvino default" else "f32")
    generator, array = OnnxGenerator(path, threads=threads), pictures.numpy()
    generator(array)  # refuses a shape that the file does not take
    return lambda: generator.run(array)


def _network_latency(
    network: object, input_shape: Sequence[int], runtime: str, threads: int | None, device: object, clock: Clock
) -> Latency:
    one_of(runtime, RUNTIMES, "runtime")
    if runtime == "eager":
        if not isinstance(network, nn.Module):
            raise GancompError(f"PyTorch runs no files; time {network} with runtime='onnxruntime' or 'openvino'.")
        return eager_latency(network, input_shape, threads=threads, device=str(device), **clock)
    if str(device) != "cpu":
        raise GancompError(f"Files are timed on the CPU, not on {device}; leave device out, or take runtime='eager'.")
    used = torch.get_num_threads() if threads is None else threads
    with scratch() as folder:
        if isinstance(network, nn.Module):
            network = export_onnx(network, folder / "float32.onnx", input_shape)
        run = prepared(Path(str(network)), _input(input_shape), runtime, used)
        return latency(run, threads=used, runtime=runtime, **clock)


@functools.cache
def machine_class() -> str:
    """The class of machine in a few words, to be stated with every time; it does not identify the machine.

    For example ``2 cores x86-64, AVX-512 VNNI bf16, 24 GB`` or ``8 cores arm64, NEON, 16 GB``, followed by the GPU's
    model if there is one.
    """
    parts = [f"{cores()} cores {platform.machine().lower().replace('amd64', 'x86_64').replace('x86_64', 'x86-64')}"]
    parts += [text for text in (_vector_units(), _memory()) if text]
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        parts.append((f"{count} x " if count > 1 else "") + torch.cuda.get_device_name(0))
    return ", ".join(parts)


def _vector_units() -> str:
    level = torch.backends.cpu.get_cpu_capability()
    text = {"DEFAULT": "", "NO AVX": "", "AVX512": "AVX-512"}.get(level, level.replace("_", " "))
    if platform.machine().lower() in ("arm64", "aarch64"):
        return text or "NEON"
    extras = (("_is_vnni_supported", "VNNI"), ("_is_avx512_bf16_supported", "bf16"), ("_is_amx_tile_supported", "AMX"))
    found = [name for query, name in extras if getattr(torch.cpu, query, bool)()]  # private names: absent is "no"
    return " ".join([text, *found]).strip()


def _memory() -> str:
    return f"{psutil.virtual_memory().total / 2**30:.0f} GB"


def _no_wait() -> None:
    return None


def _checked_device(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise GancompError(f"The device {device!r} is unknown; use 'cpu' or 'cuda'.") from error
    if found.type not in ("cpu", "cuda"):
        raise GancompError(f"Latency is measured on 'cpu' or 'cuda', not {str(found)!r}; use device='cpu'.")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise GancompError(
            f"The device {str(found)!r} is not there (PyTorch sees {torch.cuda.device_count()} CUDA devices); "
            "use device='cpu'."
        )
    return found


@contextlib.contextmanager
def _torch_threads(threads: int | None) -> Iterator[int]:
    before = torch.get_num_threads()
    if threads is not None:
        at_least(1, threads, "threads", f"leave it out to keep PyTorch's {before}")
    torch.set_num_threads(threads or before)
    try:
        yield threads or before
    finally:
        torch.set_num_threads(before)


def _input(shape: Sequence[int]) -> Tensor:
    check_input_shape(shape)
    return torch.rand(tuple(shape), generator=torch.Generator().manual_seed(0)) * 2 - 1


def _first_call(run: Callable[[], object], shape: Sequence[int]) -> None:
    try:
        run()
    except GancompError:
        raise
    except Exception as error:  # whatever the network raises for a shape it cannot take
        raise GancompError(
            f"The network cannot take an input of shape {tuple(shape)} ({first_line(error)}); "
            "give the shape it was made for."
        ) from error
