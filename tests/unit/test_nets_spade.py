"""The SPADE generator: the published function, its sizes, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F

from gancomp_core.errors import GancompError
from gancomp_core.nets import ChannelConfig, SpadeArchitecture, SpadeGenerator, initialize
from gancomp_core.nets.spade import STAGES

MIXED = "8_16_8_24_8_16_8_16"
KINDS = [(separable, upsampling) for separable in (False, True) for upsampling in ("more", "normal")]


def small(separable: bool = False, upsampling: str = "more", label_channels: int = 5) -> SpadeArchitecture:
    return SpadeArchitecture(ChannelConfig.parse(MIXED), separable, upsampling, label_channels)


def label_maps(count: int, height: int, width: int, labels: int = 5) -> torch.Tensor:
    """One-hot maps of random labels, float64 [count, labels, height, width]."""
    indices = torch.randint(labels, (count, height, width), generator=torch.Generator().manual_seed(0))
    return F.one_hot(indices, labels).movedim(-1, 1).double()


def plain_generator(weights: dict[str, torch.Tensor], a: SpadeArchitecture, labels: torch.Tensor) -> torch.Tensor:
    """GauGAN's generator as operations on named weights, BatchNorm with the statistics of the batch."""

    def conv(name: str, x: torch.Tensor, groups: int = 1) -> torch.Tensor:
        weight = weights[f"{name}.weight"]
        return F.conv2d(x, weight, weights.get(f"{name}.bias"), padding=weight.shape[-1] // 2, groups=groups)

    def modulation(name: str, hidden: torch.Tensor) -> torch.Tensor:
        if not a.separable:
            return conv(name, hidden)
        each = conv(f"{name}.0", hidden, groups=hidden.shape[1])
        mean, variance = each.mean((2, 3), keepdim=True), each.var((2, 3), keepdim=True, unbiased=False)
        return conv(f"{name}.2", (each - mean) / (variance + 1e-5).sqrt())

    def spade(name: str, x: torch.Tensor) -> torch.Tensor:
        step = labels.shape[2] // x.shape[2]
        hidden = conv(f"{name}.shared", labels[:, :, ::step, ::step]).relu()
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        normed = (x - mean) / (variance + 1e-5).sqrt()
        return normed * (1 + modulation(f"{name}.gamma", hidden)) + modulation(f"{name}.beta", hidden)

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        y = conv(f"{name}.conv_0", F.leaky_relu(spade(f"{name}.norm_0", x), 0.2))
        y = conv(f"{name}.conv_1", F.leaky_relu(spade(f"{name}.norm_1", y), 0.2))
        return y + (conv(f"{name}.conv_s", spade(f"{name}.norm_s", x)) if "up" in name else x)

    def twice(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    step = 64 if a.upsampling == "more" else 32
    x = block("stages.head", conv("stages.fc", labels[:, :, ::step, ::step]))
    x = block("stages.middle_0", twice(x))
    x = block("stages.middle_1", twice(x) if a.upsampling == "more" else x)
    for name in ("up_0", "up_1", "up_2", "up_3"):
        x = block(f"stages.{name}", twice(x))
    return conv("stages.tail.1", F.leaky_relu(x, 0.2)).tanh()


@pytest.mark.parametrize(("separable", "upsampling"), KINDS)
def test_generator_computes_what_the_plain_definition_computes(separable, upsampling):
    a = small(separable, upsampling)
    network, labels = initialize(SpadeGenerator(a), 1, std=0.1).double(), label_maps(2, 64, 128)
    with torch.no_grad():
        expected = plain_generator(network.state_dict(), a, labels)
        torch.testing.assert_close(network(labels), expected, rtol=0, atol=1e-9)
    assert expected.std() > 0.01


@pytest.mark.parametrize(("separable", "upsampling"), KINDS)
def test_one_smallest_picture_is_generated_even_though_its_first_map_is_one_pixel(separable, upsampling):
    a = small(separable, upsampling)
    network = initialize(SpadeGenerator(a), 0).eval()
    picture = network(label_maps(1, a.multiple, a.multiple).float())
    assert picture.shape == (1, 3, a.multiple, a.multiple)
    assert picture.isfinite().all()
    assert picture.abs().max() <= 1


@pytest.mark.parametrize("separable", [False, True])
def test_every_weight_learns(separable):
    network = initialize(SpadeGenerator(small(separable)), 0)
    network(label_maps(2, 128, 128).float()).square().mean().backward()
    # the bias of a depthwise convolution is taken away again by the InstanceNorm behind it
    learned = {name: p for name, p in network.named_parameters() if not name.endswith(("gamma.0.bias", "beta.0.bias"))}
    assert [name for name, p in learned.items() if p.grad is None or not p.grad.any()] == []


def test_features_come_by_stage_name_and_do_not_change_the_picture():
    a = small()
    network, labels = SpadeGenerator(a).eval(), label_maps(1, 64, 64).float()
    picture, features = network(labels, features=STAGES)
    assert torch.equal(picture, network(labels))
    assert torch.equal(picture, features["tail"])
    shapes = {name: tuple(f.shape[1:3]) for name, f in features.items()}
    middles = {"fc": (128, 1), "head": (128, 1), "middle_0": (128, 2), "middle_1": (128, 4)}
    assert shapes == {**middles, "up_0": (64, 8), "up_1": (64, 16), "up_2": (16, 32), "up_3": (16, 64), "tail": (3, 64)}
    _, tapped = network(labels, features=a.taps)
    assert tuple(tapped) == a.taps
    assert all(torch.equal(tapped[name], features[name]) for name in a.taps)


def test_unknown_feature_is_told_the_stages():
    with pytest.raises(GancompError, match=r"no stage \['up_9'\]; choose from fc, head, middle_0"):
        SpadeGenerator(small())(label_maps(2, 64, 64).float(), features=["up_9"])


@pytest.mark.parametrize(("separable", "upsampling"), KINDS)
def test_architecture_survives_json(separable, upsampling):
    a = small(separable, upsampling)
    assert SpadeArchitecture.from_dict(a.as_dict()) == a


@pytest.mark.parametrize(
    ("upsampling", "shape", "multiple"),
    [
        ("more", (1, 5, 96, 64), 64),
        ("normal", (1, 5, 48, 32), 32),
        ("more", (1, 4, 64, 64), 64),
        ("more", (64, 64), 64),
    ],
)
def test_label_maps_of_a_wrong_shape_are_told_the_right_one(upsampling, shape, multiple):
    with pytest.raises(GancompError, match=rf"\[N, 5, H, W\] with H and W multiples of {multiple}"):
        SpadeGenerator(small(upsampling=upsampling))(torch.zeros(shape))


def test_training_on_a_single_smallest_picture_is_refused_because_batchnorm_has_one_value():
    network = SpadeGenerator(small())
    with pytest.raises(GancompError, match="cannot train on one picture of 64 x 64 pixels.*batch of at least 2"):
        network(label_maps(1, 64, 64).float())
    assert network(label_maps(2, 64, 64).float()).shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"channels": "32_32_40_48_16_32"}, "channels of a SPADE generator are '32_32_40_48_16_32'; .* eight numbers"),
        ({"channels": None}, "channels is None; it must be a ChannelConfig"),
        ({"channels": "8_8"}, "has 2 numbers"),
        ({"upsampling": "most"}, "is 'most'; it must be 'more' .*or 'normal'"),
        ({"label_channels": 0}, "label_channels is 0; it must be a whole number from 1"),
        ({"out_channels": 1.5}, "out_channels is 1.5; it must be a whole number from 1"),
        ({"family": "resnet"}, "has family 'spade', not 'resnet'"),
        ({"blocks": 9}, "no value 'blocks'; it has channels, separable"),
    ],
)
def test_impossible_architectures_are_refused_in_one_sentence(values, told):
    with pytest.raises(GancompError, match=told):
        SpadeArchitecture.from_dict({"family": "spade", "channels": MIXED, **values})


def test_a_description_without_channels_is_refused():
    with pytest.raises(GancompError, match="not describe a network .*'channels'.*SpadeArchitecture.as_dict"):
        SpadeArchitecture.from_dict({"family": "spade"})
