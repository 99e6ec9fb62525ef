"""What is compressed: generators, discriminators and the strings that describe their widths."""

from gancomp_core.nets.blocks import initialise
from gancomp_core.nets.channel_config import SEARCH_SPACES, ChannelConfig, SearchSpace, search_space
from gancomp_core.nets.discriminators import PatchDiscriminator
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator
from gancomp_core.nets.unet import UnetGenerator

__all__ = [
    "SEARCH_SPACES",
    "ChannelConfig",
    "PatchDiscriminator",
    "ResnetArchitecture",
    "ResnetGenerator",
    "SearchSpace",
    "UnetGenerator",
    "initialise",
    "search_space",
]
