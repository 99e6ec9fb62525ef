"""What is compressed: generators, discriminators and the strings that describe their widths."""

from gancomp_core.nets.agd import (
    AgdArchitecture,
    AgdLayer,
    AgdNetwork,
    initialise_agd,
    super_resolution_supernet,
    translation_supernet,
)
from gancomp_core.nets.channel_config import SEARCH_SPACES, ChannelConfig, SearchSpace, search_space
from gancomp_core.nets.channel_groups import sort_channels
from gancomp_core.nets.discriminators import MultiScaleDiscriminator, PatchDiscriminator
from gancomp_core.nets.elastic import ElasticGenerator
from gancomp_core.nets.families import FAMILIES, Architecture, build_generator, read_architecture
from gancomp_core.nets.initialisation import initialise
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator
from gancomp_core.nets.segmenter import Segmenter, SegmenterArchitecture
from gancomp_core.nets.space import ArchitectureSpace, GeneratorArchitecture
from gancomp_core.nets.spade import SpadeArchitecture, SpadeGenerator
from gancomp_core.nets.super_resolution import (
    RrdbArchitecture,
    RrdbNet,
    Vdsr,
    VdsrArchitecture,
    initialise_rrdb,
    initialise_vdsr,
)
from gancomp_core.nets.unet import UnetGenerator

__all__ = [
    "FAMILIES",
    "SEARCH_SPACES",
    "AgdArchitecture",
    "AgdLayer",
    "AgdNetwork",
    "Architecture",
    "ArchitectureSpace",
    "ChannelConfig",
    "ElasticGenerator",
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
    "SpadeArchitecture",
    "SpadeGenerator",
    "UnetGenerator",
    "Vdsr",
    "VdsrArchitecture",
    "build_generator",
    "initialise",
    "initialise_agd",
    "initialise_rrdb",
    "initialise_vdsr",
    "read_architecture",
    "search_space",
    "sort_channels",
    "super_resolution_supernet",
    "translation_supernet",
]
