"""Helpers of every measurement: network state while it runs, splits that may be scored, checks of outputs."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from gancomp_core.data import PictureSet, Task
from gancomp_core.errors import GancompError


@contextlib.contextmanager
def evaluating(module: nn.Module, device: torch.device | str | None = None) -> Iterator[nn.Module]:
    """Put a module into eval mode on a device; restore everything afterwards, also after an error.

    The training flag of every sub-module is restored, not only the outermost one: a frozen norm inside a network in
    training stays frozen.

    Args:
        module: The network, which is expected to be on one device.
        device: Where to move it; None leaves it where it is.

    Yields:
        The module.
    """
    flags = [(part, part.training) for part in module.modules()]
    before = device_of(module)
    try:
        _move(module, device)
        yield module.eval()
    finally:
        for part, training in flags:
            part.training = training
        _move(module, before)


@contextlib.contextmanager
def measuring(device: torch.device | str, *networks: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put every module of ``networks`` into eval mode on ``device``, without autocast and without gradients.

    Functions that are not modules are left alone; modules are restored afterwards.
    """
    with contextlib.ExitStack() as stack:
        for network in networks:
            if isinstance(network, nn.Module):
                stack.enter_context(evaluating(network, device))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.autocast(torch.device(device).type, enabled=False))
        yield


def check_input_shape(shape: Sequence[int]) -> None:
    """Check that a shape is that of a batch of pictures.

    Raises:
        GancompError: It has not four sides, or one is below 1.
    """
    if len(shape) != 4 or min(shape) < 1:
        raise GancompError(
            "An input shape is (pictures, channels, height, width), each at least 1, such as (1, 3, 256, 256), "
            f"not {tuple(shape)}."
        )


def check_output(made: Tensor, target: Tensor) -> None:
    """Check that generated pictures are finite and have the shape of their targets.

    Raises:
        GancompError: For another shape, and for NaN or infinite values.
    """
    if made.shape != target.shape:
        raise GancompError(
            f"The network made pictures of shape {list(made.shape)} where the task's targets have "
            f"{list(target.shape)}; evaluate it on the task that it was made for."
        )
    if not made.isfinite().all():
        raise GancompError(
            "The network made NaN or infinite pictures, so it has no quality to measure; "
            "train it again with a lower learning rate."
        )


def scored_split(task: Task, split: str) -> PictureSet:
    """The pictures of a split that may be scored: "test" for reported numbers, "search" for choosing among networks.

    Raises:
        GancompError: For any other split.
    """
    if split not in ("test", "search"):
        raise GancompError(
            f"A network is scored on the split 'test' or 'search', not {split!r}; "
            "the training pictures are what it has learned from."
        )
    return task.test if split == "test" else task.search


def copied(module: nn.Module, device: str | None = None) -> nn.Module:
    """A deep copy, also of a module with tensors that others follow from, such as those of the old weight_norm.

    Args:
        module: The network.
        device: Where the tensors of the copy are; on "meta" they are made without being copied first.

    Returns:
        The copy; its parameters want gradients where the given ones do.
    """
    made: dict[int, object] = {}
    for part in module.modules():
        for tensor in (*part._parameters.values(), *part._buffers.values(), *vars(part).values()):
            if isinstance(tensor, Tensor) and (device == "meta" or not tensor.is_leaf):
                own = tensor.detach().to(device) if device else tensor.detach().clone()
                parameter = isinstance(tensor, nn.Parameter)
                made[id(tensor)] = nn.Parameter(own, tensor.requires_grad) if parameter else own
    found = copy.deepcopy(module, made)
    return found.to(device) if device else found


def check_float32(module: nn.Module) -> None:
    """Raise :class:`GancompError` unless all real weights of a network are float32."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise GancompError(
                f"{type(module).__name__} has weights in {str(tensor.dtype).removeprefix('torch.')} ('{name}'), and "
                "networks are measured and exported in float32 with pictures in [-1, 1]; convert it with .float()."
            )


def device_of(module: nn.Module) -> torch.device | None:
    """The device of a module; None for one without parameters and buffers."""
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            return tensor.device
    return None


def _move(module: nn.Module, device: torch.device | str | None) -> None:
    if device is not None:
        with torch.inference_mode(False):  # parameters copied in inference mode could never be trained again
            module.to(device)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, to be quoted in one of our sentences."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
