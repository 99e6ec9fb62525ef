"""The configuration of a training, besides data, networks and objectives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

import torch
from lightning_fabric import Fabric

from gancomp_core.errors import GancompError

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")
Schedule = Callable[[int, int], float]


def linear_decay(step: int, steps: int) -> float:
    """The learning-rate factor: 1 for the first half, then straight down to 0 (CycleGAN's schedule)."""
    return min(1.0, 2.0 * (1.0 - step / steps))


def constant_rate(step: int, steps: int) -> float:
    """The learning-rate factor 1 at every step."""
    return 1.0


@dataclass(frozen=True)
class TrainConfig:
    """How a training runs. None leaves a value to the method.

    Args:
        steps: Number of steps, at least 1.
        batch_size: Pictures a step, over all processes.
        seed: Of weights, of the order of pictures, of everything random.
        precision: "32-true", "bf16-mixed", ... or "auto": the fastest that this machine has.
        ema: Decay of the averaged generator, in [0, 1).
        lr: Learning rate.
        warp: Whether pictures are turned and scaled a little, against learning a small set by heart.
        crop: Side of the random squares of target pixels to train on.
        discriminator_width: Channels of the first layer of a new discriminator.
        schedule: From (step, steps) to the factor of the learning rate (default: falls to 0 in the second half).
        progress: Whether the training shows itself; changes nothing of the result.
        fabric: Devices and processes (default: one GPU or CPU process).
    """

    steps: int
    batch_size: int = 16
    seed: int = 0
    _: KW_ONLY
    precision: str = "auto"
    ema: float = 0.999
    lr: float | None = None
    warp: bool = False
    crop: int | None = None
    discriminator_width: int = 32
    schedule: Schedule = field(default=linear_decay, repr=False)
    progress: bool = field(default=True, repr=False, compare=False)
    fabric: Fabric | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or not 0 <= self.ema < 1:
            raise GancompError(
                f"A training needs steps >= 1, batch_size >= 1 and 0 <= ema < 1, "
                f"not {self.steps}, {self.batch_size} and {self.ema}."
            )
        if self.precision not in PRECISIONS:
            raise GancompError(f"There is no precision '{self.precision}'; use one of {', '.join(PRECISIONS)}.")

    def rate(self, usual: float) -> float:
        """The learning rate, ``usual`` where none is given."""
        return usual if self.lr is None else self.lr


def default_device() -> str:
    """The name "cuda" where there is such a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def fastest_precision(device: str | None = None) -> str:
    """The name "bf16-mixed" where ``device`` (default: :func:`default_device`) computes in bfloat16, else "32-true"."""
    if (device or default_device()) == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # x86 only: elsewhere the query is absent or says no
        has_it = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return "bf16-mixed" if has_it else "32-true"


def single_process(precision: str = "auto") -> Fabric:
    """A Fabric on this machine's GPU, or else its CPU."""
    device = default_device()
    chosen = fastest_precision(device) if precision == "auto" else precision
    return Fabric(accelerator=device, devices=1, precision=chosen)  # type: ignore[arg-type]
