"""Any generator that runs, as a teacher: opened, tried on small pictures, and described."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gancomp_core.compress.probing import MOST_MADE, Facts, OneOutput, Trials, probe_facts
from gancomp_core.compress.sources import open_source
from gancomp_core.errors import GancompError
from gancomp_core.files import sha256
from gancomp_core.measure.running import first_line, measuring
from gancomp_core.nets import Architecture, Generator
from gancomp_core.nets.ranges import OtherRange
from gancomp_core.train.config import default_device
from gancomp_core.train.identity import digest

MOST_NUMBERS = 2**26  # in the widest layer at once, 256 MB: what a batch of pictures may take


@dataclass(frozen=True, eq=False)
class Teacher:
    """A generator whose pictures a student learns.

    Attributes:
        name: What reports call it.
        network: float32 [N, in_channels, H, W] in [-1, 1] to [N, out_channels, scale * H, scale * W]; in eval mode and
            without gradients. An ONNX file is wrapped in a module, too.
        in_channels: Channels of the pictures that go in.
        out_channels: Channels of the pictures that come out, 1 to 4.
        scale: How many times larger a picture becomes each way.
        fixed: The only height and width that it takes, or None.
        multiple: Height and width are multiples of this.
        smallest: The least height and width.
        value_range: What the network itself takes, "[-1, 1]", "[0, 1]" or "[0, 255]"; "A -> B" where it makes others.
        file: The ONNX file of a black box, else None.
        assumed: What was found out or decided about it, in sentences.
        licence: Of its weights.
        kind: "module", "file.py", "onnx", "checkpoint" or "zoo".
    """

    name: str
    network: nn.Module
    in_channels: int
    out_channels: int
    scale: int
    fixed: tuple[int, int] | None
    multiple: int
    smallest: int
    value_range: str
    file: Path | None
    assumed: tuple[str, ...]
    licence: str
    kind: str

    @property
    def generator(self) -> Generator | None:
        """The network, where it is one of ours for [-1, 1], whose features and weights a student can begin with."""
        return self.network if isinstance(self.network, Generator) else None

    @functools.cached_property
    def identity(self) -> str:
        """Of an ONNX file its SHA-256, of other teachers a digest of weights and architecture."""
        if self.file is not None:
            return sha256(self.file)
        built = f"{getattr(self.network, 'architecture', '')} {self.network!r} {digest(self.network)}"
        return hashlib.sha256(built.encode()).hexdigest()[:16]

    def paint(self, pictures: Tensor) -> Tensor:
        """What the teacher makes of pictures.

        Args:
            pictures: float32 [N, in_channels, H, W] in [-1, 1].

        Returns:
            float32 [N, out_channels, scale * H, scale * W] on the CPU, clamped to [-1, 1].

        Raises:
            GancompError: For pictures that it does not take, and for pictures it made that are not finite or of
                another shape.
        """
        self._check(pictures)
        wanted = (self.out_channels, self.scale * pictures.shape[2], self.scale * pictures.shape[3])
        device = torch.device("cpu") if self.file else default_device()
        painted = []
        with measuring(device, self.network):
            for first in range(0, len(pictures), batch := self._batch(pictures)):
                try:
                    made = self.network(pictures[first : first + batch].to(device, copy=True))
                except Exception as error:  # foreign code raises anything
                    raise GancompError(
                        f"{self.name} fails on pictures of shape {list(pictures.shape)} ({first_line(error)}); take "
                        "another size, or mend its forward()."
                    ) from error
                painted.append(_checked(made, wanted, self.name, first))
        return torch.cat(painted) if painted else torch.empty(0, *wanted)

    def _batch(self, pictures: Tensor) -> int:
        numbers = 64 * self.scale**2 * pictures.shape[2] * pictures.shape[3]
        return min(64, max(1, MOST_NUMBERS // numbers))

    def _check(self, pictures: Tensor) -> None:
        """Raise :class:`GancompError` unless the teacher takes these pictures."""
        sizes, step = tuple(pictures.shape[2:]), f" that are multiples of {self.multiple}" if self.multiple > 1 else ""
        allowed = f"H and W of at least {self.smallest}{step}"
        if self.fixed:
            allowed, fits = f"H, W = {self.fixed[0]}, {self.fixed[1]}", sizes == self.fixed
        else:
            fits = all(side >= self.smallest and side % self.multiple == 0 for side in sizes)
        if pictures.ndim != 4 or pictures.shape[1] != self.in_channels or not pictures.is_floating_point() or not fits:
            raise GancompError(
                f"{self.name} takes float pictures [N, {self.in_channels}, H, W] with {allowed}, not "
                f"{str(pictures.dtype).removeprefix('torch.')} {list(pictures.shape)}; convert or resize them."
            )


def open_teacher(
    source: nn.Module | str | Path,
    *,
    value_range: str | None = None,
    in_channels: int | None = None,
    output: str | None = None,
    probe: Tensor | None = None,
) -> Teacher:
    """A generator as a teacher, tried on small pictures.

    Args:
        source: A module, which is copied, or a model of the zoo such as "edges2shoes/teacher".
        value_range: What the network takes and makes: "[-1, 1]", "[0, 1]" or "[0, 255]"; "[0, 1] -> [-1, 1]" where the
            two differ. None finds out.
        in_channels: Channels of the pictures that it takes; None finds out.
        output: Which output is the picture, by its name or number, where there are several.
        probe: A few real pictures, float32 [N, C, H, W] in [-1, 1], on which it is tried as well.

    Raises:
        GancompError: For a source that is no teacher: it does not run, or what it makes are not pictures.
    """
    opened = open_source(source)
    network, trials = opened.network, Trials(opened.network, opened.name, output)
    architecture = getattr(network, "architecture", None)
    if isinstance(network, Generator) and isinstance(architecture, Architecture):
        facts = _known(architecture, opened.name)
    else:
        facts = probe_facts(trials, in_channels)
    if trials.output:
        network = OneOutput(network, trials.output)
    value_range = value_range or opened.value_range or "[-1, 1]"
    takes, _, makes = value_range.partition(" -> ")
    if value_range != "[-1, 1]":
        network = OtherRange(network, takes, makes or takes)
    found = {each.name: getattr(facts, each.name) for each in dataclasses.fields(facts)}
    of_source = {name: getattr(opened, name) for name in ("name", "file", "assumed", "licence", "kind")}
    return Teacher(network=network, value_range=value_range, **found, **of_source)


def _known(architecture: Architecture, name: str) -> Facts:
    """What one of our own generators takes and makes."""
    a = architecture
    if not 1 <= a.out_channels <= MOST_MADE:
        raise GancompError(
            f"{name} makes {a.out_channels} channels, and a picture has 1 to {MOST_MADE}; take a generator of pictures."
        )
    return Facts(a.in_channels, a.out_channels, a.scale, None, a.multiple, a.smallest)


def _checked(made: Tensor, wanted: tuple[int, ...], name: str, first: int) -> Tensor:
    """Pictures on the CPU, clamped, after a look at their shape and values."""
    if made.shape[1:] != wanted:
        raise GancompError(
            f"{name} makes pictures of shape {list(made.shape[1:])} where {list(wanted)} were expected; take pictures "
            "of another size."
        )
    if not made.isfinite().all():
        bad = first + int((~made.isfinite()).flatten(1).any(1).nonzero()[0])
        raise GancompError(
            f"{name} makes NaN or infinite values of picture {bad}; check its weights and its value range."
        )
    return made.float().clamp(-1, 1).cpu().clone()  # a clone outside of inference mode can be trained with
