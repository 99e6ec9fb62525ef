"""Any generator that runs, as a teacher: opened, tried on small pictures, and described."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.compress.onnx_files import OnnxModule
from gancomp_core.compress.probing import MOST_MADE, Facts, OneOutput, Trials, noise, probe_facts
from gancomp_core.compress.sources import Source, open_source, with_group_norms
from gancomp_core.compress.value_ranges import USUAL, Watch, find_range, input_evidence, output_evidence, split_range
from gancomp_core.errors import GancompError
from gancomp_core.importers import Assumptions
from gancomp_core.measure import OnnxGenerator, export_onnx
from gancomp_core.measure.running import first_line, measuring
from gancomp_core.nets import Architecture, Generator
from gancomp_core.nets.ranges import OtherRange
from gancomp_core.nets.values import as_fraction
from gancomp_core.train.config import default_device, fastest_precision
from gancomp_core.train.identity import digest

NOTHING = Assumptions()
LARGEST_ROUNDING = 0.5  # gray levels by which bfloat16 may change pictures on average
SAME = 0.01  # gray levels on average below which two paintings are the same
MOST_APART = 1e-3  # of pictures in [-1, 1] that two forms of one network make, on average
MOST_SIDE = 256  # of pictures on which a teacher is tried
MOST_NUMBERS = 2**26  # in the widest layer at once, 256 MB: what a batch of pictures may take


@dataclass(frozen=True, eq=False)
class Teacher(Source, Facts):
    """A generator whose pictures a student learns: where it comes from, what it takes and makes, and how it is run.

    Attributes:
        network: float32 [N, in_channels, H, W] in [-1, 1] to [N, out_channels, scale * H, scale * W]; in eval mode and
            without gradients. An ONNX file is wrapped in a module, too.
        value_range: What the network itself takes, "[-1, 1]", "[0, 1]" or "[0, 255]"; "A -> B" where it makes others.
        widest: Numbers in its widest layer for each pixel of the picture that goes in.
        bfloat16: Whether :meth:`paint` lets layers run in bfloat16, as it does where pictures stay the same.
    """

    value_range: str = USUAL
    widest: int = 64
    bfloat16: bool = False

    @property
    def generator(self) -> Generator | None:
        """The network, where it is one of ours for [-1, 1], whose features and weights a student can begin with."""
        return self.network if isinstance(self.network, Generator) else None

    @functools.cached_property
    def identity(self) -> str:
        """A digest of an ONNX file, or of weights, architecture and code; with how pictures go in and out."""
        box = _black_box(self.network)
        built = box.digest if box else f"{getattr(self.network, 'architecture', '')} {digest(self.network)}"
        return hashlib.sha256(f"{built} {self.network!r} {self.code} {self.bfloat16}".encode()).hexdigest()[:16]

    def only_multiples_of(self, step: int) -> bool:
        """Whether the sides of all pictures that it takes are multiples of this."""
        return all(side % step == 0 for side in self.fixed or (self.multiple,))

    def float_file(self, path: Path, canvas: tuple[int, int]) -> Path:
        """Write the teacher as one ONNX file, for costs, times and 8 bits: float32 [N, C, H, W] in [-1, 1] to the same.

        Args:
            path: Where to write it.
            canvas: A height and width that the teacher takes; a module's file takes no other.

        Returns:
            The path.

        Raises:
            GancompError: For a network that cannot be written so.
        """
        box, shape = _black_box(self.network), (1, self.in_channels, *canvas)
        if box is None:
            return export_onnx(self.network, path, shape, dynamic=False)
        example = noise(self.in_channels, *canvas)
        box.write(path, *split_range(self.value_range), example)
        apart = float((OnnxGenerator(path)(example) - self.network(example)).abs().mean())
        if not apart < MOST_APART:
            raise GancompError(
                f"{self.name} makes other pictures (by {apart:.2g}) once its file is rewritten for float32 "
                "[N, C, H, W] in [-1, 1]; export it for these."
            )
        return path

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
        wanted = (self.out_channels, *(int(self.scale * side) for side in pictures.shape[2:]))
        device = torch.device("cpu" if self.file else default_device())
        batch = min(64, max(1, MOST_NUMBERS // (self.widest * pictures.shape[2] * pictures.shape[3])))
        painted = []
        half = torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16)
        with measuring(device, self.network), half:
            for group in pictures.split(batch):
                try:
                    made = self.network(group.to(device, copy=True))
                except Exception as error:  # foreign code raises anything
                    raise GancompError(
                        f"{self.name} fails on pictures of shape {list(pictures.shape)} ({first_line(error)}); take "
                        "another size, or mend its forward()."
                    ) from error
                painted.append(_checked(made, wanted, self.name))
        return torch.cat(painted)

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
    weights: Path | str | None = None,
    part: str | None = None,
    assume: Assumptions = NOTHING,
    constants: Mapping[str, object] | None = None,
    output: str | None = None,
    value_range: str | None = None,
    in_channels: int | None = None,
    probe: Tensor | None = None,
) -> Teacher:
    """A generator as a teacher, tried on small pictures.

    Args:
        source: A module, which is copied; "file.py:function", whose function takes no arguments and returns a module;
            an ONNX file; a checkpoint that :func:`gancomp_core.importers.import_checkpoint` reads; or a model of the
            zoo, such as "edges2shoes/teacher".
        weights: A file of weights for a module or a function: safetensors or a state dict of torch.save.
        part: Which network of a checkpoint that holds several.
        assume: What no tensor of a checkpoint shows and you know.
        constants: Values for the inputs of an ONNX file that are no pictures, by name: numbers or arrays.
        output: Which output is the picture, by its name or number, where there are several.
        value_range: What the network takes and makes: "[-1, 1]", "[0, 1]" or "[0, 255]"; "[0, 1] -> [-1, 1]" where the
            two differ. None finds out.
        in_channels: Channels of the pictures that it takes; None finds out.
        probe: A few real pictures, float32 [N, C, H, W] in [-1, 1], of a size that it takes; they decide about the
            value range where its operations do not show it.

    Returns:
        The teacher; ``assumed`` says what was found out.

    Raises:
        GancompError: For a source that is no teacher: it does not run, or what it makes are not pictures.
    """
    opened = open_source(source, weights, constants, part, assume)
    network, trials = opened.network, Trials(opened.network, opened.name, output)
    facts = _facts(trials, in_channels)
    if isinstance(network, OnnxModule):
        network.output = trials.output
    elif not isinstance(network, Generator):
        network = with_group_norms(network, noise(facts.in_channels, *facts.example))
        network = OneOutput(network, trials.output) if trials.output else network
    pictures = None if probe is None else _as_taken(probe, facts)
    takes, makes, *said = _range(opened, network, facts, value_range, pictures)
    found = {
        "network": network if (takes, makes) == (USUAL, USUAL) else OtherRange(network, takes, makes),
        "value_range": takes if takes == makes else f"{takes} -> {makes}",
        "assumed": (*opened.assumed, *said),
    }
    teacher = Teacher(**vars(opened) | vars(facts) | found)
    return _tried(teacher, noise(facts.in_channels, *facts.example, 2) * 2 - 1 if pictures is None else pictures)


def _black_box(network: nn.Module) -> OnnxModule | None:
    """The ONNX file in a teacher's network."""
    return next((part for part in network.modules() if isinstance(part, OnnxModule)), None)


def _facts(trials: Trials, in_channels: int | None) -> Facts:
    """What a network takes and makes: known of our own generators, probed of others."""
    network = trials.net
    own = getattr(network, "architecture", None)
    if isinstance(network, OnnxModule):
        return probe_facts(trials, in_channels or network.channels, network.size)
    if not (isinstance(network, Generator) and isinstance(own, Architecture)):
        return probe_facts(trials, in_channels)
    if own.out_channels > MOST_MADE:
        raise GancompError(
            f"{trials.name} makes {own.out_channels} channels, and a picture has 1 to {MOST_MADE}; take a generator of "
            "pictures."
        )
    return Facts(own.in_channels, own.out_channels, as_fraction(own.scale), None, own.multiple, own.smallest)


def _range(
    opened: Source, network: nn.Module, facts: Facts, stated: str | None, pictures: Tensor | None
) -> tuple[str, ...]:
    """The range that a network takes, the one it makes, and a sentence about them unless they are known."""
    if known := stated or opened.value_range:
        return split_range(known)
    if isinstance(network, OnnxModule):
        taken, made = network.input_evidence(), network.output_evidence()
    else:
        example = noise(facts.in_channels, *facts.example)
        taken, made = input_evidence(network, example), output_evidence(network, opened.name, example)
    return find_range(network, opened.name, pictures, taken, made)


def _as_taken(probe: Tensor, facts: Facts) -> Tensor:
    """At most four pictures with the channels and of a size that a network takes."""
    side = max(facts.smallest, min(min(probe.shape[2:]), MOST_SIDE))
    size = facts.fixed or (side // facts.multiple * facts.multiple,) * 2
    pictures = F.interpolate(probe[:4].float(), size, mode="bilinear", antialias=True)
    if pictures.shape[1] != facts.in_channels:
        pictures = pictures.mean(1, keepdim=True).expand(-1, facts.in_channels, -1, -1)
    return pictures.contiguous()


def _tried(teacher: Teacher, pictures: Tensor) -> Teacher:
    """The teacher, in batches and in bfloat16 where these change nothing, with what is said about that."""
    alone, watch = replace(teacher, widest=MOST_NUMBERS), Watch()
    with watch:
        painted = alone.paint(pictures)

    def apart(other: Teacher, count: int | None = None) -> float:
        """Gray levels, on average, by which pictures that are painted otherwise differ; infinite where that fails."""
        try:
            return float((other.paint(pictures[:count]) - painted[:count]).abs().mean()) * 127.5
        except GancompError:
            return math.inf

    if teacher.file is None:
        teacher = replace(teacher, widest=max(1, watch.widest // pictures[0, 0].numel()))
    if (found := apart(alone, 1)) > SAME:
        said = f"Two runs over the same picture differ by {found:.2g} gray levels on average: it draws at random."
    elif apart(teacher) > SAME:
        teacher = alone
        said = "It gets one picture at a time, because pictures of one batch change each other or fail."
    elif teacher.file or fastest_precision() != "bf16-mixed":
        return teacher
    elif (found := apart(faster := replace(teacher, bfloat16=True))) < LARGEST_ROUNDING:
        teacher = faster
        said = f"It paints in bfloat16, {found:.2g} gray levels on average from float32."
    else:
        return teacher
    return replace(teacher, assumed=(*teacher.assumed, said))


def _checked(made: Tensor, wanted: tuple[int, ...], name: str) -> Tensor:
    """Pictures on the CPU, clamped, after a look at their shape and values."""
    if made.shape[1:] != wanted:
        raise GancompError(
            f"{name} makes pictures of shape {list(made.shape[1:])} where {list(wanted)} were expected; take pictures "
            "of another size."
        )
    if not made.isfinite().all():
        raise GancompError(f"{name} makes NaN or infinite values; check its weights and its value range.")
    return made.float().clamp(-1, 1).cpu().clone()  # a clone outside of inference mode can be trained with
