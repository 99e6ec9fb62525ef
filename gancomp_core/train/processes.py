"""Many processes, one training: each computes its share of every batch, and all of them move the same weights.

Process r of P gets the r-th part of the batch of a step. A loss that is a mean over pictures is the mean of the
processes' losses, and so is its gradient; therefore averaging gradients after ``backward`` gives the step that one
process would make, up to rounding. What is no mean over pictures (BatchNorm, an image pool, a ratio of two means) asks
its peers by :func:`mean_of_all` and :func:`whole`. In a single process all functions here return what they are given.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gancomp_core.errors import GancompError
from gancomp_core.train.config import fastest_precision, single_process
from gancomp_core.train.lost import exchanging

BUCKET = 1 << 23  # numbers that are averaged at once: 32 MB of float32
LONGEST = timedelta(days=1)  # that a process waits for another one, which may be scoring pictures
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what it sets


@dataclass(frozen=True)
class Together:
    """The processes of a training: how many there are, and which one this is (``rank``, 0 to ``count - 1``)."""

    rank: int = 0
    count: int = 1


ALONE = Together()
_now: ContextVar[Together] = ContextVar("processes of the training", default=ALONE)


def together() -> Together:
    """The processes of the training that runs now; a single one outside of trainings."""
    return _now.get()


def many_processes(precision: str = "auto") -> Fabric:
    """A Fabric of all processes that ``torchrun`` or ``fabric run`` started; without them, that of a single process.

    They talk by NCCL where every one of them has a GPU, else by gloo; on a single machine over its loopback alone.

    Args:
        precision: As for :class:`TrainConfig`.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or not all(name in os.environ for name in TORCHRUN):
        return single_process(precision)
    count, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    enough = torch.cuda.is_available() and torch.cuda.device_count() >= local
    device = os.environ.get("LT_ACCELERATOR", "cuda" if enough else "cpu")  # what 'fabric run' was told
    if count == local and sys.platform in LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    if not dist.is_initialized():
        dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=LONGEST)
    chosen = fastest_precision("cpu" if device == "cpu" else "cuda") if precision == "auto" else precision
    how = {"strategy": "ddp", "devices": local, "num_nodes": count // local, "precision": chosen}
    fabric = Fabric(accelerator=device, plugins=[TorchElasticEnvironment()], **how)  # type: ignore[arg-type]
    if "LT_CLI_USED" not in os.environ:  # 'fabric run' has launched it
        fabric.launch()
    return fabric


@contextlib.contextmanager
def joined(fabric: Fabric) -> Iterator[None]:
    """Within, the functions of this module speak for the processes of ``fabric``.

    Raises:
        GancompError: For processes that do not hold whole networks.
    """
    count = fabric.world_size
    if count > 1 and not isinstance(fabric.strategy, DDPStrategy):
        raise GancompError(
            f"Several processes train with Fabric's strategy 'ddp', not with {type(fabric.strategy).__name__}; use "
            "many_processes() or Fabric(strategy='ddp')."
        )
    before = _now.set(Together(fabric.global_rank, count))
    try:
        yield
    finally:
        _now.reset(before)


# ---- tensors --------------------------------------------------------------------------------------------------------


def share(everything: Tensor) -> Tensor:
    """This process's part of a tensor [N, ...] that belongs to the whole batch."""
    now = together()
    size = len(everything) // now.count
    return everything[now.rank * size : (now.rank + 1) * size]


def whole(part: Tensor) -> Tensor:
    """The parts [n, ...] of all processes, one after the other: [count * n, ...], differentiable as a batch is."""
    now = together()
    return part if now.count == 1 else cast(Tensor, _Whole.apply(part, now))  # type: ignore[no-untyped-call]


class _Whole(torch.autograd.Function):
    """A batch in which every process has its part, whose gradient is the sum of what all of them make of it."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, now: Together) -> Tensor:
        ctx.now, part = now, part.contiguous()
        parts = [torch.empty_like(part) for _ in range(now.count)]
        with exchanging():
            dist.all_gather(parts, part)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        now: Together = ctx.now
        return _averaged(gradients[0], now.count).chunk(now.count)[now.rank] * now.count, None


@torch.no_grad()
def of_first(value: Tensor) -> Tensor:
    """What the first process gives here."""
    if together().count == 1:
        return value
    found = value.clone(memory_format=torch.contiguous_format)
    with exchanging():
        dist.broadcast(found, src=0)
    return found


def mean_of_all(value: Tensor) -> Tensor:
    """The mean of what every process gives here, differentiable; all of them must ask, in the same order."""
    count = together().count
    return value if count == 1 else cast(Tensor, _Mean.apply(value, count))  # type: ignore[no-untyped-call]


class _Mean(torch.autograd.Function):
    """A mean over processes, whose losses are averaged in turn: so the gradient is the mean of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, count: int) -> Tensor:
        ctx.count = count
        return _averaged(value, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _averaged(gradients[0], ctx.count), None


def _averaged(value: Tensor, count: int) -> Tensor:
    found = value.detach().clone(memory_format=torch.contiguous_format)
    with exchanging():
        dist.all_reduce(found)
    return found.div_(count)


def wait_for_all() -> None:
    """Go on when all processes have come so far."""
    if together().count > 1:
        with exchanging():
            dist.barrier()


def number_of_first(number: float) -> float:
    """The number that the first process gives here."""
    return number if together().count == 1 else float(of_first(_tensor(number)))


def check_same_step(step: int) -> None:
    """Check that all processes go on from one step.

    Raises:
        GancompError: Where they read different checkpoints.
    """
    steps = [int(each) for each in whole(_tensor(step))]
    if len(set(steps)) > 1:
        raise GancompError(
            f"The processes would go on from different steps, {', '.join(map(str, steps))}; put the checkpoint into a "
            "folder that all machines share."
        )


def _tensor(number: float) -> Tensor:
    """A number in float64, [1], where the processes can exchange it."""
    on_gpu = together().count > 1 and dist.get_backend() == "nccl"
    return torch.tensor([number], dtype=torch.float64, device="cuda" if on_gpu else "cpu")


# ---- networks -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def start_alike(networks: Iterable[nn.Module]) -> None:
    """Give every process the weights and buffers of the first one."""
    if together().count > 1:
        for network in networks:
            for tensor in network.state_dict().values():
                tensor.copy_(of_first(tensor))


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients of this process by their mean over all processes.

    A parameter that has no gradient here counts as zero, and keeps none if no process has one: parts of an elastic
    network that no process ran do not move.
    """
    if together().count == 1:
        return
    with exchanging():
        waiting = [_sent(bucket) for bucket in _buckets(p for p in parameters if p.requires_grad)]
        for bucket, sums, work in waiting:
            work.wait()
            _received(bucket, sums)


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one type and device in a row, up to a size."""
    bucket: list[nn.Parameter] = []
    size = 0
    for p in parameters:
        if bucket and (size + p.numel() > BUCKET or (p.dtype, p.device) != (bucket[0].dtype, bucket[0].device)):
            yield bucket
            bucket, size = [], 0
        bucket.append(p)
        size += p.numel()
    if bucket:
        yield bucket


def _sent(bucket: Sequence[nn.Parameter]) -> tuple[Sequence[nn.Parameter], Tensor, Any]:
    """The sum of all gradients of a bucket, on its way; behind them, how many processes have each."""
    flat = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in bucket]
    sums = torch.cat([*flat, flat[0].new_tensor([p.grad is not None for p in bucket])])
    return bucket, sums, dist.all_reduce(sums, async_op=True)


def _received(bucket: Sequence[nn.Parameter], sums: Tensor) -> None:
    *parts, has = sums.split([*(p.numel() for p in bucket), len(bucket)])
    missing = [p.grad is None for p in bucket]
    anywhere = has.tolist() if any(missing) else [1.0] * len(bucket)  # reading it makes a GPU wait
    sums.div_(together().count)
    for p, part, there in zip(bucket, parts, anywhere, strict=True):
        if there:
            p.grad = torch.empty_like(p) if p.grad is None else p.grad
            p.grad.copy_(part.view_as(p))


@contextlib.contextmanager
def batch_norms_joined(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Within, every BatchNorm in training measures the whole batch instead of this process's part."""
    if together().count == 1:
        yield
        return
    norms = {module for network in networks for module in network.modules() if isinstance(module, _BatchNorm)}
    for norm in norms:
        norm.forward = partial(_normalized, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _normalized(norm: _BatchNorm, x: Tensor) -> Tensor:
    """What ``norm`` makes of x [N, C, ...] with the mean and variance over all processes."""
    if not norm.training:
        return type(norm).forward(norm, x)
    dims, shape = [0, *range(2, x.ndim)], (1, -1) + (1,) * (x.ndim - 2)
    wide = x if x.dtype == torch.float64 else x.float()
    mean = mean_of_all(wide.mean(dims))
    centered = wide - mean.view(shape)
    variance = mean_of_all(centered.square().mean(dims))
    _remember(norm, mean.detach(), variance.detach(), together().count * x.numel() // x.shape[1])
    scale = (variance + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    found = centered * scale.view(shape)
    return (found + norm.bias.view(shape) if norm.affine else found).to(x.dtype)


@torch.no_grad()
def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics as torch does: the variance without bias, a plain mean without momentum."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share_of_now = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share_of_now)
    norm.running_var.lerp_((variance * count / max(count - 1, 1)).to(norm.running_var.dtype), share_of_now)
