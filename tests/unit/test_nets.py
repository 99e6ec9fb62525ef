import dataclasses
import json

import pytest
import torch
from torch import nn

from gancomp_core.errors import GancompError
from gancomp_core.measure import OnnxGenerator, cost, export_onnx, onnx_cost
from gancomp_core.nets import (
    Architecture,
    ArchitectureSpace,
    ChannelConfig,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    ResnetArchitecture,
    ResnetGenerator,
    SearchSpace,
    SegmenterArchitecture,
    UnetArchitecture,
    UnetGenerator,
    build,
    build_generator,
    initialize,
    sort_channels,
)
from gancomp_core.nets.blocks import rescaled

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
    ours, plain = initialize(ResnetGenerator(a), seed=1, std=0.2).double().eval(), plain_generator(a).double()
    plain.load_state_dict(dict(zip(plain.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.rand(2, 3, 32, 40, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("scale", "channels"), [(4, (3, 3)), (3, (1, 3)), (1 / 2, (3, 3)), (1 / 3, (3, 1))])
def test_a_generator_that_enlarges_or_shrinks_begins_with_the_resized_picture(scale, channels, tmp_path):
    a = ResnetArchitecture(SMALL, 2, in_channels=channels[0], out_channels=channels[1], scale=scale)
    height, width = a.smallest, a.smallest + a.multiple
    net, x = build(a).eval().requires_grad_(False), torch.rand(1, channels[0], height, width)
    made = net(x)
    assert made.shape[2:] == (round(height * scale), round(width * scale))
    if a.adds:
        assert made.equal(rescaled(x, scale))
    file = export_onnx(net, tmp_path / "net.onnx", x.shape)
    assert OnnxGenerator(file)(x).sub(made).abs().max() < 1e-5
    assert onnx_cost(file, x.shape).macs == cost(net, height, width).macs == a.cost(height, width).macs
    assert Architecture.from_dict(json.loads(json.dumps(a.as_dict()))) == a


@pytest.mark.parametrize("scale", [0, 1.5, 2 / 3, 9, 1 / 9, 0.3333])
def test_other_scales_are_refused(scale):
    with pytest.raises(GancompError, match="whole number from 1 to 8, or 1 divided by one"):
        ResnetArchitecture(SMALL, 2, scale=scale)


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
    assert UnetGenerator(UnetArchitecture(8, depth, 1, 3))(torch.zeros(2, 1, 32, 64)).shape == (2, 3, 32, 64)


@pytest.mark.parametrize("changes", [{}, {"norm": "instance", "affine": False, "bias": True}, {"norm": "none"}])
def test_a_unet_costs_what_its_module_does(changes):
    a = UnetArchitecture(8, 3, 1, 3, **changes)
    network = build(a, 1)
    assert Architecture.from_dict(a.as_dict()) == a
    assert a.cost(16, 24) == cost(nn.Sequential(network), 16, 24)
    assert a.cost(16, 24).params == sum(values.numel() for values in network.parameters())


def test_a_unet_of_an_unknown_norm_is_refused():
    with pytest.raises(GancompError, match="The norm of a U-Net is 'group'; it must be one of batch, instance, none"):
        UnetArchitecture(norm="group")


def test_unet_refuses_sizes_it_cannot_halve_and_says_which_it_can():
    with pytest.raises(GancompError, match=r"\[N, 3, H, W\] with H and W multiples of 32"):
        UnetGenerator(UnetArchitecture(8, 5))(torch.zeros(1, 3, 48, 32))


@pytest.mark.parametrize(("strided", "patches"), [(2, 6), (3, 2)])
def test_patch_discriminator_scores_patches(strided, patches):
    assert PatchDiscriminator(2, 8, strided)(torch.zeros(4, 2, 32, 32)).shape == (4, 1, patches, patches)


def test_features_of_a_discriminator_are_what_follows_each_activation():
    critic, x = PatchDiscriminator(2, 8).eval(), torch.rand(2, 2, 64, 32)
    scores, features = critic(x, features=True)
    assert torch.equal(scores, critic(x))
    assert [tuple(f.shape[1:]) for f in features] == [(8, 32, 16), (16, 16, 8), (32, 8, 4), (64, 7, 3)]
    assert torch.equal(features[0], nn.functional.leaky_relu(critic.layers[0](x), 0.2))
    assert torch.equal(critic.layers[-1](features[-1]), scores)


def test_feature_maps_of_a_discriminator_give_the_gradients_of_plain_layers():
    critic, x = PatchDiscriminator(1, 4, 2).double(), torch.rand(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    _, features = critic(x, features=True)
    found = torch.autograd.grad(sum(f.square().sum() for f in features), x)[0]
    y, total = x, 0.0
    for layer in critic.layers[:-1]:
        y = nn.functional.leaky_relu(y, 0.2) if isinstance(layer, nn.LeakyReLU) else layer(y)
        total = total + y.square().sum() if isinstance(layer, nn.LeakyReLU) else total
    torch.testing.assert_close(found, torch.autograd.grad(total, x)[0])


def test_shipped_weights_of_a_discriminator_keep_their_names():
    names = PatchDiscriminator(2, 8).state_dict()
    assert list(names) == [f"layers.{i}.{part}" for i in (0, 2, 5, 8, 11) for part in ("weight", "bias")]


def test_multi_scale_discriminator_scores_the_picture_and_its_half():
    critic = MultiScaleDiscriminator(3, 8).eval()
    assert critic.settings == {"in_channels": 3, "width": 8, "strided_layers": 3, "scales": 2, "spectral": True}
    x = torch.rand(2, 3, 64, 96)
    fine, coarse = critic(x)
    half = nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    assert torch.equal(fine, critic.discriminators[0](x))
    assert torch.equal(coarse, critic.discriminators[1](half))
    assert (fine.shape, coarse.shape) == ((2, 1, 6, 10), (2, 1, 2, 4))
    for (scores, features), expected in zip(critic(x, features=True), (fine, coarse), strict=True):
        assert torch.equal(scores, expected)
        assert len(features) == 4


@pytest.mark.parametrize("make", [PatchDiscriminator, MultiScaleDiscriminator])
def test_a_discriminator_is_made_again_from_its_settings(make):
    critic = make(2, 8, strided_layers=2, spectral=True)
    again = make(**critic.settings)
    again.load_state_dict(critic.state_dict())
    x = torch.rand(1, 2, 32, 32)
    torch.testing.assert_close(again.eval()(x), critic.eval()(x), rtol=0, atol=0)


def test_spectral_normalization_is_initialized_by_the_seed_and_has_converged():
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(found))  # the global state must not matter
        critic = initialize(MultiScaleDiscriminator(2, 8), seed)
        assert critic.training
        found.append(critic.eval())
    x = torch.rand(1, 2, 64, 64)
    first, again, other = [critic(x)[1] for critic in found]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    layer = found[0].discriminators[1].layers[5]
    assert layer.parametrizations.weight.original.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.1)
    assert not hasattr(found[0].discriminators[0].layers[0], "parametrizations")


@pytest.mark.parametrize(
    ("critic", "shape", "told"),
    [
        (PatchDiscriminator(3, 8), (1, 3, 23, 24), r"PatchGAN takes .*\[N, 3, H, W\] with H and W at least 24, not"),
        (PatchDiscriminator(3, 8, 2), (1, 1, 16, 16), r"not \[1, 1, 16, 16\]; convert the channels"),
        (MultiScaleDiscriminator(3, 8), (1, 3, 64, 46), "multi-scale discriminator takes .* at least 47, not"),
        (MultiScaleDiscriminator(3, 8), (3, 64, 64), "multi-scale discriminator takes"),
    ],
)
def test_a_discriminator_tells_which_pictures_it_takes(critic, shape, told):
    with pytest.raises(GancompError, match=told):
        critic(torch.zeros(shape))


@pytest.mark.parametrize(
    "critic", [PatchDiscriminator(1, 4, 1), PatchDiscriminator(1, 4), MultiScaleDiscriminator(1, 4)]
)
def test_the_smallest_pictures_that_a_discriminator_names_are_scored(critic):
    scores = critic(torch.rand(1, 1, critic.smallest, critic.smallest))
    assert min(scores[-1].shape) >= 1


@pytest.mark.parametrize("scales", [0, 5, 1.5])
def test_impossible_numbers_of_scales_are_refused(scales):
    with pytest.raises(GancompError, match="number of scales of a discriminator is .* from 1 to 4, 2 as published"):
        MultiScaleDiscriminator(3, 8, scales=scales)


def test_a_generator_is_built_from_the_values_of_its_architecture():
    a = ResnetArchitecture(SMALL, blocks=2)
    built = build_generator(a.as_dict())
    assert isinstance(built, ResnetGenerator)
    assert built.architecture == a
    assert build_generator({"channels": "8_8_8_8_8_8_8_8", "blocks": 1}).architecture.blocks == 1


def test_the_segmenter_is_a_family_too_so_that_the_zoo_reads_it():
    a = SegmenterArchitecture(classes=4, width=8)
    assert build_generator(a.as_dict()).architecture == a


def test_an_unknown_family_of_networks_is_told_the_known_ones():
    with pytest.raises(GancompError, match="family of networks 'stylegan'; choose one of agd, .*elastic, resnet, rrdb"):
        build_generator({"family": "stylegan"})


@pytest.mark.parametrize("family", ["resnet", "spade"])
@pytest.mark.parametrize("values", [{}, {"channels": "8_8_8_8_8_8_8_8", "color": 3}, {"channels": 8}])
def test_values_that_describe_no_generator_are_refused_in_one_sentence(family, values):
    with pytest.raises(GancompError, match=r"[.;]") as caught:
        build_generator({"family": family, **values})
    assert "\n" not in str(caught.value)


def test_initialization_follows_the_seed_and_nothing_else():
    nets = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(nets))  # the global state must not matter
        nets.append(initialize(ResnetGenerator(ResnetArchitecture(SMALL, 2)), seed).state_dict())
    name = "stages.block2.body.3.weight"
    assert torch.equal(nets[0][name], nets[1][name])
    assert not torch.equal(nets[0][name], nets[2][name])
    assert nets[0][name].std().item() == pytest.approx(0.02, rel=0.05)


def test_a_dictionary_of_another_family_is_refused():
    with pytest.raises(GancompError, match="not 'unet'"):
        ResnetArchitecture.from_dict({"family": "unet", "channels": "8_8_8_8_8_8_8_8"})


# --- ends that are separable, too


@pytest.mark.parametrize("ends", [("down",), ("up",), ("up", "down")])
@pytest.mark.parametrize("affine", [False, True])
def test_separable_ends_make_pictures_of_the_same_size_for_fewer_macs(ends, affine):
    dense = ResnetArchitecture(ChannelConfig.uniform(8), 1, affine=affine)
    a = dataclasses.replace(dense, separable_ends=ends)
    network = initialize(ResnetGenerator(a), 0)
    assert network(torch.zeros(2, 3, 32, 24)).shape == (2, 3, 32, 24)
    groups = {name.split(".")[1] for name, layer in network.named_modules() if getattr(layer, "groups", 1) > 1}
    assert groups == {f"{end}{number}" for end in ends for number in (1, 2)}
    assert cost(a, 32, 24) == cost(network, 32, 24)
    assert cost(a, 32, 24).macs < cost(dense, 32, 24).macs
    assert ResnetArchitecture.from_dict(json.loads(json.dumps(a.as_dict()))) == a


def test_separable_ends_that_do_not_exist_or_should_be_elastic_are_refused():
    for ends in (("stem",), "down", 3, ([],)):
        with pytest.raises(GancompError, match="'down', 'up' or both"):
            ResnetArchitecture(ChannelConfig.uniform(8), separable_ends=ends)
    a = ResnetArchitecture(ChannelConfig.uniform(8), 3, separable_ends=("up",))
    with pytest.raises(GancompError, match="dense ends"):
        ArchitectureSpace(a, SearchSpace(((8,),) * 8))


def test_channels_of_separable_ends_are_sorted_too_and_the_function_stays():
    network = build(
        ResnetArchitecture(ChannelConfig.uniform(8), 2, separable_ends=("down", "up"), affine=True), 1
    ).eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before, weights = network(x), network.stages.down1[0][2].weight.clone()
        sort_channels(network)
        torch.testing.assert_close(network(x), before, rtol=0, atol=1e-5)
    assert not torch.equal(network.stages.down1[0][2].weight, weights)
