import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancomp_core.errors import GancompError
from gancomp_core.nets import SEARCH_SPACES, ChannelConfig, search_space

entry = st.integers(1, 128).map(lambda n: 8 * n)


@given(st.lists(entry, min_size=8, max_size=8) | st.lists(entry, min_size=6, max_size=6))
def test_a_config_prints_the_string_it_was_parsed_from(entries):
    text = "_".join(map(str, entries))
    assert str(ChannelConfig.parse(text)) == text


def test_eight_entries_set_the_width_of_each_part():
    config = ChannelConfig.parse("8_16_24_32_40_48_56_64")
    assert config.ends == (8, 32, 96, 112, 64)
    assert config.inner_widths(9) == (128, 128, 128, 160, 160, 160, 192, 192, 192)


def test_a_uniform_config_has_its_width_eight_times():
    assert str(ChannelConfig.uniform(24)) == "24_24_24_24_24_24_24_24"


def test_six_entries_use_c3_in_all_blocks():
    config = ChannelConfig.parse("8_16_24_32_40_48")
    assert config.ends == (8, 32, 96, 80, 48)
    assert config.inner_widths(4) == (128,) * 4


def test_legacy_rule_widens_only_the_first_block_of_each_three():
    config = ChannelConfig.parse("8_16_24_32_40_48", legacy=True)
    assert config.inner_widths(6) == (128, 96, 96, 128, 96, 96)


@pytest.mark.parametrize("blocks", range(1, 12))
def test_blocks_fall_into_thirds_in_order(blocks):
    widths = ChannelConfig.parse("8_8_8_16_24_32_8_8").inner_widths(blocks)
    assert len(widths) == blocks
    assert list(widths) == sorted(widths)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("32_32_32", "has 3 numbers"),
        ("", "not a row of whole numbers"),
        ("32_32_32_32_32_32_32_x", "not a row of whole numbers"),
        ("32,32,32,32,32,32,32,32", "not a row of whole numbers"),
        ("32_32_-8_32_32_32_32_32", "not a row of whole numbers"),
        ("30_32_32_32_32_32_32_32", "Entry c0"),
        ("32_32_32_0_32_32_32_32", "Entry c3"),
        ("32_32_32_32_32_32_32_2048", "Entry c7"),
        ("٣٢_32_32_32_32_32_32_32", "not a row of whole numbers"),
        ("1000000_32_32_32_32_32_32_32", "not a row of whole numbers"),
        (None, "not a row of whole numbers"),
    ],
)
def test_a_wrong_string_is_told_the_grammar(text, told):
    with pytest.raises(GancompError, match=told) as caught:
        ChannelConfig.parse(text)
    assert "eight numbers" in str(caught.value)
    assert "for example" in str(caught.value)


def test_legacy_rule_is_refused_for_eight_entries():
    with pytest.raises(GancompError, match="legacy"):
        ChannelConfig.parse("32_32_32_32_32_32_32_32", legacy=True)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet/channels-48", 5_184),
        ("resnet/channels-32", 6_561),
        ("resnet/channels-64-cycleGAN", 390_625),
        ("resnet/channels-64-pix2pix", 5_764_801),
        ("spade/channels-48", 15_552),
        ("spade/channels-64", 128_000),
    ],
)
def test_published_search_spaces_have_their_published_sizes(name, size):
    assert len(search_space(name)) == size


def test_enumeration_yields_every_member_once():
    space = search_space("resnet/channels-48")
    configs = set(space)
    assert len(configs) == len(space)
    assert all(config in space for config in configs)
    assert space.widest in configs
    assert space.narrowest in configs


def test_samples_are_members_and_follow_the_seed():
    for space in SEARCH_SPACES.values():
        drawn = [space.sample(random.Random(3)) for _ in range(2)]
        assert drawn[0] == drawn[1]
        assert drawn[0] in space


def test_unknown_search_space_is_told_the_names():
    with pytest.raises(GancompError, match="resnet/channels-48"):
        search_space("channels-7")
