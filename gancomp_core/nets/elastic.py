"""Elastic networks: one set of weights that holds every network of a space (Cai et al., ICLR 2020, arXiv 1908.09791).

A smaller network is *cut* from the shared weights: the leading channels, the first blocks of each third, the centre of
the kernels. What is cut runs in the generator class that every other network of the library is, so there is no second
definition of any layer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gancomp_core.errors import GancompError
from gancomp_core.nets.blocks import ResidualBlock
from gancomp_core.nets.channel_config import kept_blocks
from gancomp_core.nets.channel_groups import channel_groups, group_sizes
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator
from gancomp_core.nets.space import ArchitectureSpace, GeneratorArchitecture
from gancomp_core.nets.spade import SpadeArchitecture, SpadeGenerator


class ElasticGenerator(nn.Module):
    """Every generator of an :class:`ArchitectureSpace`, in the weights of the widest one.

    :meth:`activate` chooses the network that ``forward`` runs (at first the widest); :meth:`extract` returns it as a
    generator of its own, whose output is the same to the last bit. ``forward`` takes and returns what the generator
    does. Where smaller kernels may be chosen, each is the centre of the next larger one times a learned matrix, which
    starts as the identity and is shared by all channels of a layer.
    """

    def __init__(self, space: ArchitectureSpace) -> None:
        super().__init__()
        if not isinstance(space, ArchitectureSpace):
            raise GancompError(
                f"An elastic generator is made of an ArchitectureSpace, not of a {type(space).__name__}; say what may "
                "be chosen with ArchitectureSpace(base, channels, ...)."
            )
        self.space = space
        self.active: GeneratorArchitecture = space.widest
        self.full = _generator(space.widest)
        if {True, False} <= set(space.separable):  # the separable twin of every block, beside the dense one
            separable = _generator(replace(space.widest, separable=True))  # type: ignore[call-arg]
            self.twins = nn.ModuleDict(
                {name: stage for name, stage in separable.stages.named_children() if isinstance(stage, ResidualBlock)}
            )
        self.kernel_maps = nn.ParameterDict(
            {
                _map_name(layer, smaller): torch.eye(smaller**2)
                for layer, weight in self.named_parameters()
                for smaller in space.kernels
                if _shrinks(layer, weight) and smaller < weight.shape[-1]
            }
        )
        self._skeletons: dict[GeneratorArchitecture, _Skeleton] = {}

    @property
    def architecture(self) -> ArchitectureSpace:
        """What builds this module: its space; the network that runs is :attr:`active`."""
        return self.space

    def activate(self, architecture: GeneratorArchitecture) -> None:
        """Choose the network that runs; raises :class:`GancompError` for one outside the space."""
        if architecture not in self.space:
            raise GancompError(
                f"{architecture} is none of the {len(self.space):,} networks of this elastic generator"
                f"{self.space.first_difference(architecture)}."
            )
        self.active = architecture

    def forward(self, x: Tensor, features: Collection[str] = ()) -> Any:
        """Picture, or picture and features by stage, of the active network; see the generator's own ``forward``."""
        skeleton, weights = self._skeleton(self.active), self.cut(self.active)
        skeleton.fit(weights)
        return functional_call(skeleton.network.train(self.training), weights, (x,), {"features": features})

    def extract(self, architecture: GeneratorArchitecture | None = None) -> ResnetGenerator | SpadeGenerator:
        """A generator with its own copy of the weights, of ``architecture`` or else the active network."""
        before, chosen = self.active, architecture or self.active
        self.activate(chosen)
        self.active = before
        with torch.device("meta"):  # draws no random numbers
            network = _generator(chosen)
        own = {name: weight.detach().clone() for name, weight in self.cut(chosen).items()}
        network.load_state_dict(own, assign=True)  # keeps device and precision
        return network.train(self.training)

    def cut(self, architecture: GeneratorArchitecture) -> dict[str, Tensor]:
        """Weights of one network by the names that its generator gives them: views of the shared ones if possible."""
        ours, sizes, found = self.state_dict(keep_vars=True), group_sizes(architecture), {}
        for part in self._skeleton(architecture).parts:
            weight = ours[part.shared]
            for dim, group in part.groups:
                if sizes[group] < weight.shape[dim]:
                    weight = weight.narrow(dim, 0, sizes[group])
            found[part.name] = self._smaller_kernel(part.shared, weight, part.kernel) if part.kernel else weight
        return found

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_skeletons": {}}  # copies and files make their own when they need them

    def _smaller_kernel(self, layer: str, weight: Tensor, kernel: int) -> Tensor:
        """Step by step: the centre of the kernel, flattened, times the matrix of this layer and size."""
        with torch.autocast(weight.device.type, enabled=False):  # the same numbers inside a training as extracted
            for size in sorted(self.space.kernels, reverse=True):
                if kernel <= size < weight.shape[-1]:
                    margin = (weight.shape[-1] - size) // 2
                    centre = weight[:, :, margin : margin + size, margin : margin + size]
                    matrix = self.kernel_maps[_map_name(layer, size)]
                    weight = (centre.flatten(2) @ matrix).unflatten(2, (size, size))
        return weight

    def _skeleton(self, architecture: GeneratorArchitecture) -> _Skeleton:
        structure = replace(architecture, channels=self.space.widest.channels)
        if structure not in self._skeletons:
            twins = self.twins.keys() if hasattr(self, "twins") else ()
            self._skeletons[structure] = _Skeleton(structure, self.full.architecture, twins)
        return self._skeletons[structure]


@dataclass(frozen=True)
class _Part:
    """One tensor of a network: its name there and here, the groups its dimensions belong to, its kernel if elastic."""

    name: str
    shared: str
    groups: tuple[tuple[int, str], ...]
    kernel: int


class _Skeleton:
    """A generator without weights for all networks that differ in nothing but their widths."""

    def __init__(self, structure: GeneratorArchitecture, full: GeneratorArchitecture, twins: Collection[str]) -> None:
        with torch.device("meta"):
            self.network = _generator(structure)
        tensors = self.network.state_dict(keep_vars=True)
        names = {id(tensor): name for name, tensor in tensors.items()}
        groups: dict[str, list[tuple[int, str]]] = {name: [] for name in tensors}
        for group in channel_groups(self.network):
            for tensor, dim in (*group.carried, *group.read):
                groups[names[id(tensor)]].append((dim, group.name))
        self.parts = [
            _Part(
                name,
                _shared_name(name, structure, full, twins),
                tuple(groups[name]),
                tensor.shape[-1] if _shrinks(name, tensor) else 0,
            )
            for name, tensor in tensors.items()
        ]
        self.norms = list(_norms(self.network))
        self.depthwise = [
            (name, layer)
            for name, layer in self.network.named_modules()
            if isinstance(layer, nn.Conv2d) and layer.groups > 1
        ]

    def fit(self, weights: dict[str, Tensor]) -> None:
        """Tell the layers that count channels how many there are."""
        for norm, writer, dim in self.norms:
            norm.num_groups = weights[f"{writer}.weight"].shape[dim]
        for name, layer in self.depthwise:
            layer.groups = len(weights[f"{name}.weight"])


def _norms(network: nn.Module) -> Any:
    """Every InstanceNorm with the name of the convolution before it, and the dimension in which that one writes."""
    for path, parent in network.named_modules():
        if not isinstance(parent, nn.Sequential):
            continue
        before = ""
        for name, layer in parent.named_children():
            if isinstance(layer, nn.GroupNorm):
                yield layer, before, int(isinstance(network.get_submodule(before), nn.ConvTranspose2d))
            inside = [n for n, m in layer.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
            if inside:
                before = ".".join(filter(None, (path, name, inside[-1])))


def _shared_name(
    name: str, structure: GeneratorArchitecture, full: GeneratorArchitecture, twins: Collection[str]
) -> str:
    """Where a tensor of a smaller network lies in an :class:`ElasticGenerator`."""
    stage, _, rest = name.removeprefix("stages.").partition(".")
    if isinstance(structure, SpadeArchitecture) or not stage.startswith("block"):
        return f"full.{name}"
    assert isinstance(full, ResnetArchitecture)
    block = int(stage.removeprefix("block")) - 1
    place = f"block{kept_blocks(structure.blocks, full.blocks)[block] + 1}"
    is_twin = place in twins and structure.in_third(block)[0]
    return f"twins.{place}.{rest}" if is_twin else f"full.stages.{place}.{rest}"


def _shrinks(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is the weight of a convolution whose kernel is elastic: those of ResNet and SPADE blocks."""
    return tensor.ndim == 4 and any(part in name for part in (".body.", ".conv_0.", ".conv_1."))


def _map_name(layer: str, kernel: int) -> str:
    return f"{layer.replace('.', '/')}/{kernel}"


def _generator(architecture: GeneratorArchitecture) -> ResnetGenerator | SpadeGenerator:
    return (ResnetGenerator if isinstance(architecture, ResnetArchitecture) else SpadeGenerator)(architecture)  # type: ignore[arg-type]
