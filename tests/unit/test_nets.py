import pytest
import torch
from torch import nn

from gancomp_core.errors import GancompError
from gancomp_core.nets import (
    ChannelConfig,
    PatchDiscriminator,
    ResnetArchitecture,
    ResnetGenerator,
    UnetGenerator,
    initialise,
)

SMALL = ChannelConfig.uniform(8)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("blocks", [1, 3, 5, 9])
def test_generator_returns_pictures_of_the_same_size_in_range(separable, channels, blocks):
    net = ResnetGenerator(ResnetArchitecture(SMALL, blocks, separable, channels, channels))
    picture = net(torch.rand(2, channels, 16, 24) * 2 - 1)
    assert picture.shape == (2, channels, 16, 24)
    assert picture.abs().max() <= 1


def plain_generator(a: ResnetArchitecture) -> nn.Sequential:
    """The same network, written down as CycleGAN's authors draw it: explicit padding, real InstanceNorm."""

    class Block(nn.Module):
        def __init__(self, c: int, inner: int) -> None:
            super().__init__()
            self.f = nn.Sequential(
                *(nn.ReflectionPad2d(1), nn.Conv2d(c, inner, 3), nn.InstanceNorm2d(inner), nn.ReLU()),
                *(nn.ReflectionPad2d(1), nn.Conv2d(inner, c, 3), nn.InstanceNorm2d(c)),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.f(x)

    stem, down1, down2, up1, up2 = a.channels.ends
    return nn.Sequential(
        *(nn.ReflectionPad2d(3), nn.Conv2d(a.in_channels, stem, 7), nn.InstanceNorm2d(stem), nn.ReLU()),
        *(nn.Conv2d(stem, down1, 3, 2, 1), nn.InstanceNorm2d(down1), nn.ReLU()),
        *(nn.Conv2d(down1, down2, 3, 2, 1), nn.InstanceNorm2d(down2), nn.ReLU()),
        *(Block(down2, width) for width in a.channels.inner_widths(a.blocks)),
        *(nn.ConvTranspose2d(down2, up1, 3, 2, 1, 1), nn.InstanceNorm2d(up1), nn.ReLU()),
        *(nn.ConvTranspose2d(up1, up2, 3, 2, 1, 1), nn.InstanceNorm2d(up2), nn.ReLU()),
        *(nn.ReflectionPad2d(3), nn.Conv2d(up2, a.out_channels, 7), nn.Tanh()),
    )


def test_generator_computes_what_the_plain_definition_computes():
    a = ResnetArchitecture(ChannelConfig.parse("8_8_16_8_16_24_16_8"), blocks=4)
    ours, plain = initialise(ResnetGenerator(a), seed=1, std=0.2).double().eval(), plain_generator(a).double()
    plain.load_state_dict(dict(zip(plain.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.rand(2, 3, 32, 40, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=1e-10)


def test_features_come_by_stage_name_and_do_not_change_the_picture():
    a = ResnetArchitecture(SMALL, blocks=6)
    net, x = ResnetGenerator(a).eval(), torch.rand(1, 3, 16, 16)
    picture, features = net(x, features=a.taps)
    assert torch.equal(picture, net(x))
    assert a.taps == ("down2", "block2", "block4", "block6")
    assert {name: tuple(f.shape) for name, f in features.items()} == dict.fromkeys(a.taps, (1, 32, 4, 4))


def test_published_taps_follow_the_second_downsampling_and_blocks_3_6_9():
    assert ResnetArchitecture(SMALL, blocks=9).taps == ("down2", "block3", "block6", "block9")


def test_unknown_feature_is_told_the_stages():
    with pytest.raises(GancompError, match="stem, down1"):
        ResnetGenerator(ResnetArchitecture(SMALL, 1))(torch.zeros(1, 3, 16, 16), features=["blok1"])


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 3, 18, 16), (1, 3, 4, 4), (3, 16, 16)])
def test_pictures_of_a_wrong_shape_are_told_the_right_one(shape):
    with pytest.raises(GancompError, match=r"\[N, 3, H, W\]"):
        ResnetGenerator(ResnetArchitecture(SMALL, 1))(torch.zeros(shape))


def test_architecture_survives_json():
    a = ResnetArchitecture(ChannelConfig.parse("32_32_40_48_16_32", legacy=True), 9, True, 1, 3)
    assert ResnetArchitecture.from_dict(a.as_dict()) == a


@pytest.mark.parametrize(
    "values", [{"blocks": 0}, {"blocks": 99}, {"blocks": 2.5}, {"in_channels": 0}, {"channels": None}]
)
def test_impossible_architectures_are_refused(values):
    with pytest.raises(GancompError):
        ResnetArchitecture(**{"channels": SMALL, **values})


@pytest.mark.parametrize("depth", [3, 5])
def test_unet_returns_pictures_of_the_same_size(depth):
    assert UnetGenerator(1, 3, width=8, depth=depth)(torch.zeros(2, 1, 32, 64)).shape == (2, 3, 32, 64)


def test_unet_refuses_sizes_it_cannot_halve_and_says_which_it_can():
    with pytest.raises(GancompError, match=r"\[N, 3, H, W\] with H and W multiples of 32"):
        UnetGenerator(width=8, depth=5)(torch.zeros(1, 3, 48, 32))


@pytest.mark.parametrize(("strided", "patches"), [(2, 6), (3, 2)])
def test_patch_discriminator_scores_patches(strided, patches):
    assert PatchDiscriminator(2, 8, strided)(torch.zeros(4, 2, 32, 32)).shape == (4, 1, patches, patches)


def test_initialisation_follows_the_seed_and_nothing_else():
    nets = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(nets))  # the global state must not matter
        nets.append(initialise(ResnetGenerator(ResnetArchitecture(SMALL, 2)), seed).state_dict())
    name = "stages.block2.body.3.weight"
    assert torch.equal(nets[0][name], nets[1][name])
    assert not torch.equal(nets[0][name], nets[2][name])
    assert nets[0][name].std().item() == pytest.approx(0.02, rel=0.05)


def test_a_dictionary_of_another_family_is_refused():
    with pytest.raises(GancompError, match="not 'unet'"):
        ResnetArchitecture.from_dict({"family": "unet", "channels": "8_8_8_8_8_8_8_8"})
