"""The families of networks that tell their architecture: which classes an architecture's plain values stand for."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.agd import AgdArchitecture, AgdNetwork
from gancomp_core.nets.elastic import ElasticGenerator
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator
from gancomp_core.nets.segmenter import Segmenter, SegmenterArchitecture
from gancomp_core.nets.space import ArchitectureSpace
from gancomp_core.nets.spade import SpadeArchitecture, SpadeGenerator
from gancomp_core.nets.super_resolution import RrdbArchitecture, RrdbNet, Vdsr, VdsrArchitecture

Architecture = (
    ResnetArchitecture
    | SpadeArchitecture
    | RrdbArchitecture
    | VdsrArchitecture
    | SegmenterArchitecture
    | ArchitectureSpace
    | AgdArchitecture
)


class Family(NamedTuple):
    """The class that describes a network, and the class of the network itself."""

    architecture: Any
    network: Any


FAMILIES = {
    "resnet": Family(ResnetArchitecture, ResnetGenerator),
    "spade": Family(SpadeArchitecture, SpadeGenerator),
    "rrdb": Family(RrdbArchitecture, RrdbNet),
    "vdsr": Family(VdsrArchitecture, Vdsr),
    "segmenter": Family(SegmenterArchitecture, Segmenter),
    "elastic": Family(ArchitectureSpace, ElasticGenerator),
    "agd": Family(AgdArchitecture, AgdNetwork),
}


def read_architecture(values: dict[str, Any]) -> Architecture:
    """The architecture whose ``as_dict`` gave these values.

    Values without a family are those of a ResNet generator. Raises :class:`GancompError` for an unknown family and for
    values that do not describe a network of it.
    """
    described = _family(values).architecture
    try:
        return described.from_dict(values)
    except (AttributeError, KeyError, TypeError) as error:
        raise GancompError(
            f"{values} does not describe a network ({type(error).__name__}: {error}); "
            f"write it with {described.__name__}.as_dict()."
        ) from error


def build_generator(values: dict[str, Any]) -> nn.Module:
    """A network with random weights from its architecture's ``as_dict``; see :func:`read_architecture`."""
    architecture = read_architecture(values)
    return _family(values).network(architecture)


def _family(values: dict[str, Any]) -> Family:
    name = values.get("family", "resnet")
    if name not in FAMILIES:
        raise GancompError(f"There is no family of networks {name!r}; choose one of {', '.join(FAMILIES)}.")
    return FAMILIES[name]
