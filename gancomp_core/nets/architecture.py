"""Descriptions of networks, and the base class of all generators.

A family of generators is one file: a frozen dataclass that derives from :class:`Architecture` with ``family="name"``,
and a module that derives from :class:`Generator`. Cost, plain values, stages and taps follow.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field, fields, is_dataclass
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError, explaining
from gancomp_core.files import Json
from gancomp_core.nets.blueprint import Blueprint, Cost
from gancomp_core.nets.channel_config import ChannelConfig, SearchSpace
from gancomp_core.nets.initialization import initialize

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Gene = int | float | bool | str
#: Numbers of channels by width gene, where one is a column of numbers: see :meth:`Architecture.blueprint`.
Columns = Mapping[str, int]
NO_COLUMNS: Columns = {}
FAMILIES: dict[str, type[Architecture]] = {}
"""The families of networks by name; a class that derives from :class:`Architecture` adds itself."""


def added(default: T) -> T:
    """The default of a field that a family got after its first weights were written.

    Such a field is left out of the plain values at its default, so that these, and all keys made of them, stay.
    """
    return field(default=default, metadata={"added": True})


class Architecture(ABC):
    """Everything that determines a network: an immutable value, equal to another one where the networks are alike.

    Derive a frozen dataclass from it, with ``family="name"``; fields whose values are lists in JSON become tuples, and
    the checks belong into ``__post_init__``.
    """

    family: ClassVar[str]
    title: ClassVar[str] = "generator"

    def __init_subclass__(cls, family: str = "") -> None:
        super().__init_subclass__()
        if family:
            cls.family = family
            FAMILIES[family] = cls

    # --- what a family says ------------------------------------------------------------------------------------------

    @abstractmethod
    def network(self) -> nn.Module:
        """A network of this architecture with torch's own random weights; :func:`build` gives one with a seed."""

    @abstractmethod
    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        """The layers of the network for pictures of ``height`` x ``width`` pixels that go in.

        ``columns`` may give width genes (:attr:`width_genes`) as columns of numbers, one a network; then costs are
        columns, too. Raises :class:`GancompError` for sizes that the network cannot take.
        """

    def initialize(self, network: nn.Module, seed: int) -> None:
        """Draw the weights that a training begins with, in place: as :func:`initialize` unless a family has its own."""
        initialize(network, seed)

    @property
    def in_channels(self) -> int:
        """Channels of the pictures that go in."""
        return 3

    @property
    def out_channels(self) -> int:
        """Channels of the pictures that come out."""
        return 3

    @property
    def multiple(self) -> int:
        """Height and width of pictures are multiples of this."""
        return 1

    @property
    def smallest(self) -> int:
        """The least height and width of pictures."""
        return self.multiple

    @property
    def scale(self) -> float:
        """How many times larger the picture becomes each way; 1 / 2 halves it."""
        return 1

    @property
    def taps(self) -> tuple[str, ...]:
        """The stages whose features distillation compares; none where a network does not hand them out."""
        return ()

    @property
    def genes(self) -> dict[str, Gene]:
        """What a space may choose, by name; see :class:`gancomp_core.nets.Space`."""
        return {}

    @property
    def width_genes(self) -> tuple[str, ...]:
        """Those genes that do nothing but set numbers of channels."""
        return ()

    def with_genes(self, genes: Mapping[str, Gene]) -> Self:
        """The architecture that has these genes, all of them, and is like this one otherwise."""
        raise GancompError(f"A {self.title} has nothing to choose from.")

    def place_in(self, wider: Architecture, stage: str) -> str:
        """The stage of a ``wider`` network of the family that a stage of this one is a part of."""
        return stage

    # --- what follows ------------------------------------------------------------------------------------------------

    def cost(self, height: int, width: int) -> Cost:
        """What one picture of ``height`` x ``width`` pixels costs, without building anything."""
        return _cost(self, height, width)

    @property
    def summary(self) -> str:
        """One line for a reader: the title, and all plain values that are not False."""
        told = {key.replace("_", " "): value for key, value in self.as_dict().items() if key != "family"}
        parts = [key if value is True else f"{key} {value}" for key, value in told.items() if value is not False]
        return f"{self.title}: {', '.join(parts)}"

    @property
    def group_sizes(self) -> dict[str, int]:
        """How many channels there are of each name; those of pictures left out."""
        return _group_sizes(self)

    @property
    def stage_channels(self) -> dict[str, int]:
        """How many channels leave each stage."""
        return {stage.name: stage.channels for stage in self.blueprint(self.smallest, self.smallest).stages}

    def check_size(self, height: int, width: int) -> None:
        """Raise :class:`GancompError` unless pictures may have this size."""
        if height % self.multiple or width % self.multiple or min(height, width) < self.smallest:
            least = f" and at least {self.smallest}" if self.smallest > self.multiple else ""
            allowed = f"that are multiples of {self.multiple}{least}" if self.multiple > 1 else "of at least 1 pixel"
            raise GancompError(f"This {self.title} takes heights and widths {allowed}, not {height} x {width}.")

    def as_dict(self) -> Json:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        values = {each.name: getattr(self, each.name) for each in fields(cast("DataclassInstance", self))}
        late = {each.name: each.default for each in fields(cast("DataclassInstance", self)) if "added" in each.metadata}
        kept = {name: value for name, value in values.items() if name not in late or value != late[name]}
        return {"family": self.family} | {name: _plain(value) for name, value in kept.items()}

    @classmethod
    def from_dict(cls, values: Json) -> Self:
        """The architecture whose :meth:`as_dict` gave these values; those that are missing keep their defaults.

        Values without a family are those of a ResNet generator. Raises :class:`GancompError` for a family that is
        unknown or another one, and for values that do not describe a network of it.
        """
        if not isinstance(values, Mapping):
            raise GancompError(f"{str(values)[:80]!r} does not describe a network; write it with its as_dict().")
        name, own = values.get("family"), getattr(cls, "family", "")
        if name is not None and own and name != own:
            raise GancompError(f"A {cls.__name__} has family '{own}', not '{name}'.")
        name = name or own or "resnet"
        if name not in [*FAMILIES]:
            raise GancompError(f"There is no family of networks {name!r}; choose one of {', '.join(sorted(FAMILIES))}.")
        with explaining(
            lambda error: (
                f"{str(values)[:200]} does not describe a network ({error}); "
                f"write it with {FAMILIES[name].__name__}.as_dict()."
            ),
            *(AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError),
        ):
            found = FAMILIES[name]._read({key: value for key, value in values.items() if key != "family"})
            hash(found)  # costs are kept by architecture, and a list in the place of a value has no hash
            return cast(Self, found)

    @classmethod
    def _read(cls, values: Json) -> Self:
        """:meth:`from_dict` of this family."""
        known = [each.name for each in fields(cast("type[DataclassInstance]", cls))]
        if unknown := sorted(set(values) - set(known)):
            raise GancompError(
                f"A {cls.__name__} has no value '{unknown[0]}'; it has {', '.join(known)}, "
                f"and {cls.__name__}.as_dict() writes them."
            )
        switches = {each.name for each in fields(cast("type[DataclassInstance]", cls)) if each.type == "bool"}
        if wrong := [name for name in values if name in switches and not isinstance(values[name], bool)]:
            raise GancompError(
                f"The value '{wrong[0]}' of a {cls.__name__} is true or false, not {values[wrong[0]]!r}."
            )
        return cls(**values)


class Generator(nn.Module):
    """A network that an :class:`Architecture` describes.

    ``pixels`` are height and width of the pictures it is for, where they are known; :attr:`cost` is for those.
    """

    architecture: Architecture
    pixels: tuple[int, int] | None = None

    @property
    def running(self) -> Architecture:
        """The architecture of what :meth:`forward` runs; of an elastic generator that of the active network."""
        return self.architecture

    @property
    def cost(self) -> Cost:
        """What one picture of :attr:`pixels` costs."""
        if self.pixels is None:
            raise GancompError(
                "This generator does not know for which pictures its cost is asked; set generator.pixels = (32, 32), "
                "or ask cost(generator, 32, 32)."
            )
        return self.running.cost(*self.pixels)

    def standalone(self) -> Generator:
        """The network that runs, without others around it."""
        return self

    def steps(self, x: Tensor) -> Iterable[tuple[str, Callable[[Tensor], Tensor]]]:
        """Each stage by name as a function of what the stage before put out; the first takes the pictures ``x``."""
        raise GancompError(f"A {type(self).__name__} does not run stage by stage; take a ResNet or a SPADE generator.")

    def check(self, x: Tensor) -> None:
        """Raise :class:`GancompError` unless ``x`` are pictures that this generator takes."""
        a = self.architecture
        check_picture(x, a.in_channels, a.multiple, a.smallest, a.title)
        check_numbers(x, next(self.parameters(), x), a.title)


class StagedGenerator(Generator):
    """A generator that runs stage by stage: its :meth:`steps` are all there is to say."""

    def forward(self, x: Tensor, features: Collection[str] = ()) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The generated picture; with ``features`` (stage names) a pair: picture and ``{name: feature map}``."""
        self.check(x)
        found, names = {}, []
        for name, step in self.steps(x):
            x = step(x)
            names.append(name)
            if name in features:
                found[name] = x
        if missing := set(features) - set(found):
            raise GancompError(f"There is no stage {sorted(missing)}; choose from {', '.join(names)}.")
        return (x, found) if features else x


def build_generator(values: Json) -> nn.Module:
    """A network with torch's random weights from its architecture's ``as_dict``; see :meth:`Architecture.from_dict`."""
    found: Architecture = Architecture.from_dict(values)
    return found.network()


def check_picture(x: Tensor, channels: int, multiple: int, smallest: int, title: str = "generator") -> None:
    """Raise :class:`GancompError` unless ``x`` is [N, channels, H, W] with H and W multiples of ``multiple``."""
    if torch.compiler.is_compiling():  # an exported graph has symbolic sizes
        return
    sizes = x.shape[2:]
    if x.ndim != 4 or x.shape[1] != channels or any(size % multiple or size < smallest for size in sizes):
        sizes_of = f"multiples of {multiple} and " if multiple > 1 else ""
        raise GancompError(
            f"This {title} takes pictures of shape [N, {channels}, H, W] with H and W {sizes_of}at least {smallest}, "
            f"not {list(x.shape)}; convert the channels, resize the pictures or add the batch dimension."
        )


def check_numbers(x: Tensor, weight: Tensor, title: str = "generator") -> None:
    """Raise :class:`GancompError` unless pictures are in the precision of the weights, or autocast sees to it."""
    if torch.compiler.is_compiling() or x.dtype == weight.dtype:
        return
    if not x.is_floating_point():
        raise GancompError(
            f"This {title} takes float32 pictures in [-1, 1], not {str(x.dtype).removeprefix('torch.')} ones; "
            "convert whole numbers of 0 to 255 with pictures.float() / 127.5 - 1."
        )
    if not torch.is_autocast_enabled(x.device.type):
        found, held = (str(each.dtype).removeprefix("torch.") for each in (x, weight))
        raise GancompError(
            f"This {title} has {held} weights and was given {found} pictures, and both should be float32, the pictures "
            "in [-1, 1]; convert the network and the pictures with .float()."
        )


@functools.lru_cache(4096)
def _cost(architecture: Architecture, height: int, width: int) -> Cost:
    return architecture.blueprint(height, width).cost


@functools.lru_cache(4096)
def _group_sizes(architecture: Architecture) -> dict[str, int]:
    return architecture.blueprint(architecture.smallest, architecture.smallest).group_sizes


def _plain(value: object) -> object:
    if isinstance(value, Architecture):
        return value.as_dict()
    if isinstance(value, ChannelConfig):
        return str(value)
    if isinstance(value, SearchSpace):
        return _plain(value.choices)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return value
