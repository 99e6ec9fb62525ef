"""Elastic networks: one set of weights for every network of a space (Cai et al., ICLR 2020, arXiv 1908.09791).

A smaller network is *cut* from the shared weights: the leading channels, the first blocks of each third, the center of
the kernels. It runs in the same generator class as every other network of the library, so there is no second definition
of any layer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.nets.architecture import NO_COLUMNS, Architecture, Columns, Gene, Generator, StagedGenerator, added
from gancomp_core.nets.blocks import ResidualBlock
from gancomp_core.nets.blueprint import INSTANCE_NORM, ONE_PIXEL_NORM, Axis, Blueprint
from gancomp_core.nets.channel_config import SearchSpace
from gancomp_core.nets.space import Choices, Space
from gancomp_core.nets.staged import THIRDS, GeneratorArchitecture


@dataclass(frozen=True)
class ArchitectureSpace(Space[GeneratorArchitecture], Architecture, family="elastic"):
    """All ResNet or SPADE generators that differ from ``base`` in what may be chosen; it builds an elastic generator.

    An empty choice keeps the value of ``base``.

    Attributes:
        base: What all networks have in common.
        channels: Choices for each entry of the channel configuration (:func:`gancomp_core.nets.search_space`).
        depths: Choices for the number of blocks (ResNet) or of middle blocks (SPADE).
        kernels: Choices for the kernel size in each third of the blocks.
        separable: Whether each third may be dense (False), separable (True) or either.
        resolutions: Choices for the share of the picture's size.
    """

    base: GeneratorArchitecture
    channels: SearchSpace
    depths: tuple[int, ...] = added(())
    kernels: tuple[int, ...] = added(())
    separable: tuple[bool, ...] = added(())
    resolutions: tuple[float, ...] = added(())

    title = "elastic generator"

    def __post_init__(self) -> None:
        for name in ("depths", "kernels", "separable", "resolutions"):  # what is named twice is one choice
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        channels = tuple(tuple(dict.fromkeys(choice)) for choice in self.channels.choices)
        object.__setattr__(self, "channels", SearchSpace(channels))
        if len(channels) != 8:
            raise GancompError(
                f"A space of architectures has choices for eight entries of the channel config, not {len(channels)}; "
                "repeat c3 for c4 and c5 to write a space of six entries."
            )
        if () in channels:
            raise GancompError(f"Entry c{channels.index(())} has nothing to choose from; give it at least one number.")
        self.base.check_elastic()
        if self.separable and not self.base.separable_by_thirds:
            raise GancompError("A SPADE generator is dense or separable as a whole; leave separable out of its space.")
        first = {name: choice[0] for name, choice in self.choices.items()}
        for name, choice in self.choices.items():  # raises for what no architecture may have
            for gene in choice:
                self.base.with_genes({**first, name: gene})

    @cached_property
    def choices(self) -> Choices:  # a property, computed once
        now = self.base.genes
        given: dict[str, tuple[Gene, ...]] = {f"c{i}": choice for i, choice in enumerate(self.channels.choices)}
        given |= {"depth": self.depths or (now["depth"],)}
        given |= {f"kernel{i}": self.kernels or (now[f"kernel{i}"],) for i in THIRDS}
        given |= {f"separable{i}": self.separable or (now[f"separable{i}"],) for i in THIRDS}
        return given | {"resolution": self.resolutions or (self.base.resolution,)}

    @property
    def in_channels(self) -> int:
        return self.base.in_channels

    @property
    def out_channels(self) -> int:
        return self.base.out_channels

    @property
    def summary(self) -> str:
        return f"{self.title}: {self.size:,} networks between {self.narrowest.summary} and {self.widest.summary}"

    def network(self) -> ElasticGenerator:
        return ElasticGenerator(self)

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        raise GancompError("A space has no cost of its own; choose one of its networks, such as space.widest, first.")

    @classmethod
    def _read(cls, values: Json) -> Self:
        base, channels = values.get("base"), values.get("channels")
        rest = values.keys() - {"base", "channels"}
        given: dict[str, object] = {name: tuple(values[name]) for name in rest}
        if isinstance(base, Mapping):
            given["base"] = Architecture.from_dict(dict(base))
        if channels is not None:
            given["channels"] = SearchSpace(tuple(map(tuple, channels)))
        return super()._read(given)


class ElasticGenerator(Generator):
    """Every generator of an :class:`ArchitectureSpace`, in the weights of the widest one.

    :meth:`activate` chooses the network that ``forward`` runs (at first the widest); :meth:`extract` returns it as a
    separate generator, whose output is the same to the last bit. ``forward`` takes and returns what the generator does.
    Where smaller kernels may be chosen, each is the center of the next larger one times a learned matrix, which starts
    as the identity and is shared by all channels of a layer.
    """

    architecture: ArchitectureSpace

    def __init__(self, space: ArchitectureSpace) -> None:
        super().__init__()
        if not isinstance(space, ArchitectureSpace):
            raise GancompError(
                f"An elastic generator is made of an ArchitectureSpace, not of a {type(space).__name__}; say what may "
                "be chosen with ArchitectureSpace(base, channels, ...)."
            )
        self.architecture = space
        self.active: GeneratorArchitecture = space.widest
        self.full = space.widest.network()
        elastic = {f"full.{name}" for name in _elastic_weights(space.widest)}
        if {True, False} <= set(space.separable):  # the separable form of every block, next to the dense one
            separable: GeneratorArchitecture = replace(cast(Any, space.widest), separable=True)
            stages = cast(nn.Sequential, separable.network().stages)
            self.twins = nn.ModuleDict(
                {name: stage for name, stage in stages.named_children() if isinstance(stage, ResidualBlock)}
            )
            elastic |= {name.replace("stages", "twins", 1) for name in _elastic_weights(separable)}
        self.kernel_maps = nn.ParameterDict(
            {
                _map_name(layer, smaller): torch.eye(smaller**2)
                for layer, weight in self.named_parameters()
                for smaller in space.kernels
                if layer in elastic and smaller < weight.shape[-1]
            }
        )
        self._templates: dict[GeneratorArchitecture, _Template] = {}

    @property
    def space(self) -> ArchitectureSpace:
        """The networks that can be chosen; the one that runs is :attr:`active`."""
        return self.architecture

    @property
    def running(self) -> GeneratorArchitecture:
        return self.active

    def standalone(self) -> StagedGenerator:
        return self.extract()

    def activate(self, architecture: GeneratorArchitecture) -> None:
        """Choose the network that runs.

        Raises:
            GancompError: For an architecture outside the space.
        """
        if architecture not in self.space:
            raise GancompError(
                f"{architecture} is none of the {len(self.space):,} networks of this elastic generator"
                f"{self.space.difference(architecture)}."
            )
        self.active = architecture

    def forward(self, x: Tensor, features: Collection[str] = ()) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Picture, or picture and features by stage, of the active network; see the generator's own ``forward``."""
        template, weights = self._template(self.active), self.cut(self.active)
        template.fit(self.active)
        network = template.network.train(self.training)
        made: Tensor | tuple[Tensor, dict[str, Tensor]]
        made = functional_call(network, weights, (x,), {"features": features})
        return made

    def extract(self, architecture: GeneratorArchitecture | None = None) -> StagedGenerator:
        """A generator with its own copy of the weights.

        Args:
            architecture: One of the space; None takes the active network.

        Returns:
            The generator, on the same device and in the same precision.

        Raises:
            GancompError: For an architecture outside the space.
        """
        before, chosen = self.active, architecture or self.active
        self.activate(chosen)
        self.active = before
        with torch.device("meta"):  # draws no random numbers
            network = chosen.network()
        own = {name: weight.detach().clone() for name, weight in self.cut(chosen).items()}
        network.load_state_dict(own, assign=True)  # keeps device and precision
        network.pixels = self.pixels
        return network.train(self.training)

    def cut(self, architecture: GeneratorArchitecture) -> dict[str, Tensor]:
        """Weights of one network by the names in its generator: views of the shared weights where possible."""
        ours, sizes, found = self.state_dict(keep_vars=True), architecture.group_sizes, {}
        for part in self._template(architecture).parts:
            weight = ours[part.shared]
            for dim, group, _ in part.axes:
                if sizes[group] < weight.shape[dim]:
                    weight = weight.narrow(dim, 0, sizes[group])
            found[part.name] = self._smaller_kernel(part.shared, weight, part.kernel) if part.kernel else weight
        return found

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_templates": {}}  # copies and files make their own when they need them

    def _smaller_kernel(self, layer: str, weight: Tensor, kernel: int) -> Tensor:
        """Step by step: the center of the kernel, flattened, times the matrix of this layer and size."""
        with torch.autocast(weight.device.type, enabled=False):  # the same numbers inside a training as extracted
            for size in sorted(self.space.kernels, reverse=True):
                if kernel <= size < weight.shape[-1]:
                    margin = (weight.shape[-1] - size) // 2
                    center = weight[:, :, margin : margin + size, margin : margin + size]
                    matrix = self.kernel_maps[_map_name(layer, size)]
                    weight = (center.flatten(2) @ matrix).unflatten(2, (size, size))
        return weight

    def _template(self, architecture: GeneratorArchitecture) -> _Template:
        structure = replace(cast(Any, architecture), channels=self.space.widest.channels)
        if structure not in self._templates:
            twins = self.twins.keys() if hasattr(self, "twins") else ()
            self._templates[structure] = _Template(structure, self.space.widest, twins)
        return self._templates[structure]


@dataclass(frozen=True)
class _Part:
    """One tensor of a network: its name there and here, its named channels by dimension, its kernel if elastic."""

    name: str
    shared: str
    axes: tuple[Axis, ...]
    kernel: int


class _Template:
    """A generator without weights for all networks that differ in nothing but their widths."""

    def __init__(self, structure: GeneratorArchitecture, full: GeneratorArchitecture, twins: Collection[str]) -> None:
        with torch.device("meta"):
            self.network = structure.network()
        plan = structure.blueprint(structure.smallest, structure.smallest)
        layers = {layer.name: layer for layer in plan.layers}
        self.parts = []
        for name in self.network.state_dict():
            path, _, tensor = name.rpartition(".")
            layer = layers[path]
            shared = _shared_name(name, structure, full, twins)
            kernel = layer.kernel if layer.elastic and tensor == "weight" else 0
            self.parts.append(_Part(name, shared, layer.axes.get(tensor, ()), kernel))
        # what counts its channels, and how many there are
        kinds = {layer.name: "groups" for layer in plan.layers if layer.depthwise}
        kinds |= {layer.name: "num_groups" for layer in plan.layers if layer.kind in (INSTANCE_NORM, ONE_PIXEL_NORM)}
        self.counted = [
            (self.network.get_submodule(name), attribute, layers[name].writes.name) for name, attribute in kinds.items()
        ]

    def fit(self, architecture: GeneratorArchitecture) -> None:
        """Tell the layers that count channels how many there are."""
        sizes = architecture.group_sizes
        for layer, attribute, group in self.counted:
            setattr(layer, attribute, sizes[group])


def _elastic_weights(architecture: GeneratorArchitecture) -> set[str]:
    """The weights whose kernels may be chosen."""
    plan = architecture.blueprint(architecture.smallest, architecture.smallest)
    return {f"{layer.name}.weight" for layer in plan.layers if layer.elastic}


def _shared_name(
    name: str, structure: GeneratorArchitecture, full: GeneratorArchitecture, twins: Collection[str]
) -> str:
    """Where a tensor of a smaller network lies in an :class:`ElasticGenerator`."""
    _, stage, rest = name.split(".", 2)
    place = structure.place_in(full, stage)
    is_twin = place in twins and structure.is_separable(stage)
    return f"twins.{place}.{rest}" if is_twin else f"full.stages.{place}.{rest}"


def _map_name(layer: str, kernel: int) -> str:
    return f"{layer.replace('.', '/')}/{kernel}"
