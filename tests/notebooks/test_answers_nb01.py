"""The answers behind notebook 01's checks, and the bars it draws, are what the library does."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.figure import Figure

from gancomp_core.course import figures
from gancomp_core.course.exercises import nb01
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    ResnetArchitecture,
    ResnetGenerator,
    SearchSpace,
    build,
    initialize,
)
from gancomp_core.nets.channel_groups import channel_groups

WIDEST = ResnetArchitecture(ChannelConfig.uniform(8), 6, in_channels=1, out_channels=1)


def test_a_smaller_kernel_is_the_one_that_an_elastic_generator_extracts():
    space = ArchitectureSpace(WIDEST, SearchSpace(((8,),) * 8), kernels=(3, 5))
    elastic = build(space).requires_grad_(False)
    matrix = elastic.kernel_maps["full/stages/block1/body/0/weight/3"]
    matrix.copy_(torch.randn(9, 9, generator=torch.Generator().manual_seed(0)))
    ours = nb01.smaller_kernel(elastic.full.stages.block1.body[0].weight, 3, matrix)
    assert torch.equal(elastic.extract(space.narrowest).stages.block1.body[0].weight, ours)


@pytest.mark.parametrize("depth", [3, 4, 5, 6])
def test_the_blocks_that_run_are_those_of_the_library(depth):
    space = ArchitectureSpace(WIDEST, SearchSpace(((8,),) * 8), depths=(3, 4, 5, 6))
    elastic = build(space)
    shallow = elastic.extract(replace(WIDEST, blocks=depth))
    for block, place in enumerate(nb01.blocks_that_run(depth, 6)):
        full = elastic.full.stages.get_submodule(f"block{place + 1}")
        assert torch.equal(shallow.stages.get_submodule(f"block{block + 1}").body[0].weight, full.body[0].weight)


def test_the_channels_to_keep_are_the_ones_that_the_library_ranks_first():
    generator = initialize(ResnetGenerator(WIDEST), 0)
    group = next(group for group in channel_groups(generator) if group.name == "stem")
    stem, down = generator.stages.stem[0].weight, generator.stages.down1[0].weight
    assert nb01.channels_to_keep(stem, down, 4).tolist() == group.importance.argsort(descending=True)[:4].tolist()


def test_channel_bars_show_what_runs_and_say_what_is_skipped():
    narrow = replace(WIDEST, channels=ChannelConfig.parse("8_4_4_4_2_2_4_8"), blocks=4)
    figure = figures.channel_bars(narrow, WIDEST)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ["8", "8", "16", "16", "16", "8", "skipped", "8", "skipped", "8", "8"]
    plt.close(figure)
    given, axes = plt.subplots()
    assert isinstance(figures.channel_bars(narrow, WIDEST, axes), Figure)
    plt.close(given)
