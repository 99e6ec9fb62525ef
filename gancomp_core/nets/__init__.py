"""Networks: generators, discriminators, and the values that describe them."""

from gancomp_core.nets.agd import (
    AgdArchitecture,
    AgdLayer,
    AgdNetwork,
    super_resolution_supernet,
    translation_supernet,
)
from gancomp_core.nets.architecture import FAMILIES, Architecture, Generator, StagedGenerator, build_generator
from gancomp_core.nets.blueprint import Blueprint, Channels, Cost, Draft
from gancomp_core.nets.channel_config import SEARCH_SPACES, ChannelConfig, SearchSpace, search_space
from gancomp_core.nets.channel_groups import sort_channels
from gancomp_core.nets.discriminators import MultiScaleDiscriminator, PatchDiscriminator
from gancomp_core.nets.elastic import ArchitectureSpace, ElasticGenerator
from gancomp_core.nets.initialization import build, initialize
from gancomp_core.nets.plain import plain_torch
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator
from gancomp_core.nets.segmenter import Segmenter, SegmenterArchitecture
from gancomp_core.nets.space import GeneSpace, Space
from gancomp_core.nets.spade import SpadeArchitecture, SpadeGenerator
from gancomp_core.nets.staged import GeneratorArchitecture
from gancomp_core.nets.super_resolution import (
    RrdbArchitecture,
    RrdbNet,
    Vdsr,
    VdsrArchitecture,
)
from gancomp_core.nets.unet import UnetArchitecture, UnetGenerator

__all__ = [
    "FAMILIES",
    "SEARCH_SPACES",
    "AgdArchitecture",
    "AgdLayer",
    "AgdNetwork",
    "Architecture",
    "ArchitectureSpace",
    "Blueprint",
    "ChannelConfig",
    "Channels",
    "Cost",
    "Draft",
    "ElasticGenerator",
    "GeneSpace",
    "Generator",
    "GeneratorArchitecture",
    "MultiScaleDiscriminator",
    "PatchDiscriminator",
    "ResnetArchitecture",
    "ResnetGenerator",
    "RrdbArchitecture",
    "RrdbNet",
    "SearchSpace",
    "Segmenter",
    "SegmenterArchitecture",
    "Space",
    "SpadeArchitecture",
    "SpadeGenerator",
    "StagedGenerator",
    "UnetArchitecture",
    "UnetGenerator",
    "Vdsr",
    "VdsrArchitecture",
    "build",
    "build_generator",
    "initialize",
    "plain_torch",
    "search_space",
    "sort_channels",
    "super_resolution_supernet",
    "translation_supernet",
]
