"""What a foreign network takes and makes, found out by running it on small pictures."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.measure.running import first_line

SIDES = (64, 128, 256, 96, 32, 224, 512, 384, 48)  # of the pictures that are tried, in this order
CHANNELS = (3, 1, 4, 2, 6, 5)
MOST_MADE = 4  # channels of a picture that comes out
MOST_TAKEN = 2**27  # numbers of a picture that goes in: half a gigabyte


@dataclass(frozen=True)
class Facts:
    """What a network takes and makes.

    Attributes:
        in_channels: Channels of the pictures that go in.
        out_channels: Channels of the pictures that come out, 1 to 4.
        scale: How many times larger a picture becomes each way; 1/2 where it is halved.
        fixed: The only height and width that it takes, or None.
        multiple: Height and width are multiples of this.
        smallest: The least height and width.
    """

    in_channels: int
    out_channels: int
    scale: Fraction
    fixed: tuple[int, int] | None
    multiple: int
    smallest: int

    @property
    def example(self) -> tuple[int, int]:
        """A small height and width that is taken."""
        side = self.multiple * math.ceil(max(self.smallest, 32) / self.multiple)
        return self.fixed or (side, side)


class Trials:
    """A network that is tried on pictures: what it makes, or why it makes nothing.

    Args:
        net: The network.
        name: What errors call it.
        output: Which of several outputs is the picture; None chooses the only one that is.
    """

    def __init__(self, net: nn.Module, name: str, output: str | None = None) -> None:
        self.net, self.name, self.output = net, name, output
        self.refusals: list[str] = []

    @torch.no_grad()
    def make(self, pictures: Tensor) -> Tensor | None:
        """The picture that is made of ``pictures``; None where the network raises an error."""
        try:
            made = self.net(pictures.clone())  # some networks write into their input
        except Exception as error:  # foreign code raises anything
            self.refusals.append(f"{list(pictures.shape)}: {first_line(error)}")
            return None
        self.output, found = self._picture(made, pictures)
        return found

    def fits(self, channels: int, height: int, width: int, scale: Fraction) -> bool:
        """Whether a picture of this size becomes one of ``scale`` times the size."""
        made = self.make(noise(channels, height, width))
        return made is not None and [*made.shape[2:]] == [height * scale, width * scale] and bool(made.isfinite().all())

    def _picture(self, made: object, pictures: Tensor) -> tuple[str, Tensor]:
        found = dict(outputs(made))
        if self.output and "" not in found:  # as it is where one tensor alone is returned
            if self.output not in found:
                there = ", ".join(map(repr, found)) or "nothing"
                raise GancompError(f"{self.name} has no output {self.output!r}; it has {there}, choose among these.")
            found = {self.output: found[self.output]}
        likely = {name: each for name, each in found.items() if _is_picture(each, pictures)}
        whole = {name: each for name, each in likely.items() if each.shape[2] >= pictures.shape[2]}
        chosen = whole or likely
        if len(chosen) == 1:
            return next(iter(chosen.items()))
        shapes = ", ".join(f"{name or 'output'!r} {list(each.shape)}" for name, each in found.items())
        if chosen:
            raise GancompError(f"{self.name} makes several pictures ({shapes}); choose one by its name as output=.")
        raise GancompError(
            f"{self.name} makes no picture of pictures {list(pictures.shape)}, but {shapes or type(made).__name__}; a "
            f"teacher makes float pictures [N, 1 to {MOST_MADE} channels, H, W] of as many pictures."
        )


def outputs(made: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in what a network returned, by the names or numbers under which they stand there."""
    if isinstance(made, Tensor):
        yield name, made
    elif isinstance(made, Mapping):
        for key, value in made.items():
            yield from outputs(value, f"{name}.{key}" if name else str(key))
    elif isinstance(made, Sequence) and not isinstance(made, str):
        yield from outputs(dict(enumerate(made)), name)


class OneOutput(nn.Module):
    """A network of several outputs that puts out one of them, by its name."""

    def __init__(self, net: nn.Module, output: str) -> None:
        super().__init__()
        self.net, self.output = net, output

    def forward(self, x: Tensor) -> Tensor:
        return dict(outputs(self.net(x)))[self.output]

    def extra_repr(self) -> str:
        return f"output={self.output!r}"


def noise(channels: int, height: int, width: int, count: int = 1) -> Tensor:
    """The same random pictures each time, in [0, 1], which is inside every range."""
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def probe_facts(trials: Trials, in_channels: int | None, fixed: tuple[int, int] | None = None) -> Facts:
    """What a network takes and makes.

    Args:
        trials: The network.
        in_channels: Channels that are known; None tries those of the first layer, then 3, 1, 4, 2, 6 and 5.
        fixed: The only height and width that are taken, where they are known.

    Raises:
        GancompError: When it makes a picture of nothing that is tried, or pictures of other sizes.
    """
    _check_arguments(trials)
    largest = (in_channels or 1, *(fixed or (max(SIDES), max(SIDES))))
    if math.prod(largest) > MOST_TAKEN:
        raise GancompError(
            f"{trials.name} would be tried on pictures of {' x '.join(map(str, largest))} numbers, and a trial takes "
            f"at most {MOST_TAKEN:,}; give a network of fewer channels or for smaller pictures."
        )
    made, channels, (height, width) = _first_picture(trials, in_channels, fixed)
    out_channels, (tall, wide) = made.shape[1], made.shape[2:]
    scale = Fraction(tall, height)
    if 1 not in (scale.numerator, scale.denominator) or wide != width * scale:
        scale = Fraction(0)
    if fixed is None and scale:
        steps = [step for step in range(1, height + 1) if height % step == 0]
        multiple = next((step for step in steps if _takes_multiples(trials, channels, height, step, scale)), None)
        if multiple is not None:
            smallest = _smallest(trials, channels, height, multiple, scale)
            return Facts(channels, out_channels, scale, None, multiple, smallest)
    # every picture may be made as large as the one it was made for
    if fixed is None and trials.fits(channels, tall, wide, Fraction(1)):
        other = trials.make(noise(channels, 2 * height, 2 * width))
        if other is not None and other.shape[2:] == (tall, wide):
            return Facts(channels, out_channels, Fraction(1), (tall, wide), 1, min(tall, wide))
    if not scale:
        raise GancompError(
            f"{trials.name} makes pictures of {tall} x {wide} from those of {height} x {width} pixels, and a teacher's "
            "pictures are as large as its input, or a whole number of times larger or smaller; resize or pad them in a "
            "module of your own."
        )
    return Facts(channels, out_channels, scale, (height, width), 1, min(height, width))


def _first_picture(
    trials: Trials, in_channels: int | None, fixed: tuple[int, int] | None
) -> tuple[Tensor, int, tuple[int, int]]:
    """The first picture that is made of noise, and the channels and the size of that noise."""
    likely = list(dict.fromkeys((*_first_layer(trials.net), *CHANNELS)))
    for size in [fixed] if fixed else [(side, side) for side in SIDES]:
        for channels in [in_channels] if in_channels else likely:
            made = trials.make(noise(channels, *size))
            if made is not None:
                return made, channels, size
    wanted = f"with {in_channels} channels" if in_channels else "with 1 to 6 channels"
    way_out = "give another in_channels" if in_channels else "give in_channels"
    raise GancompError(
        f"{trials.name} makes no picture of float32 pictures {wanted} of {_sizes(fixed)} pixels ("
        f"{trials.refusals[0]}); {way_out}, or wrap it in a module that takes pictures alone."
    )


def _sizes(fixed: tuple[int, int] | None) -> str:
    return f"{fixed[0]} x {fixed[1]}" if fixed else f"{min(SIDES)} to {max(SIDES)}"


def _check_arguments(trials: Trials) -> None:
    try:
        parameters = inspect.signature(trials.net.forward).parameters.values()
    except (TypeError, ValueError):  # compiled
        return
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in (2, 4)]
    if len(needed) > 1:
        raise GancompError(
            f"The forward() of {trials.name} needs {', '.join(needed)}, and a teacher takes pictures alone; wrap it in "
            "a module that fixes the others."
        )


def _first_layer(net: nn.Module) -> list[int]:
    """The channels that the first convolution takes, where a picture may have so many."""
    taken = (getattr(layer, "in_channels", 0) for layer in net.modules())
    first = next((channels for channels in taken if isinstance(channels, int) and channels), 0)
    return [first] if 1 <= first <= max(CHANNELS) else []


def _takes_multiples(trials: Trials, channels: int, side: int, step: int, scale: Fraction) -> bool:
    if not trials.fits(channels, side + step, side, scale):
        return False
    return step >= 32 or trials.fits(channels, side, side + 3 * step, scale)


def _smallest(trials: Trials, channels: int, side: int, multiple: int, scale: Fraction) -> int:
    """The least side, by halving: what a size refuses all smaller ones refuse."""
    refused, taken = 0, side // multiple
    while taken - refused > 1:
        middle = (taken + refused) // 2
        if trials.fits(channels, middle * multiple, middle * multiple, scale):
            taken = middle
        else:
            refused = middle
    return taken * multiple


def _is_picture(made: Tensor, pictures: Tensor) -> bool:
    return (
        made.ndim == 4
        and (made.is_floating_point() or made.dtype == torch.uint8)
        and made.shape[0] == pictures.shape[0]
        and 1 <= made.shape[1] <= MOST_MADE
    )
