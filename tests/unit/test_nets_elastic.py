"""Elastic generators: what is cut out of the shared weights is exactly the network that it says it is."""

import copy
import functools
import itertools
import json
import math
import pickle
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from factories import is_one_sentence
from gancomp_core.errors import GancompError
from gancomp_core.measure import OnnxGenerator, cost, export_onnx, layer_costs
from gancomp_core.nets import (
    Architecture,
    ArchitectureSpace,
    ElasticGenerator,
    ResnetArchitecture,
    ResnetGenerator,
    SearchSpace,
    SpadeArchitecture,
    SpadeGenerator,
    build_generator,
    sort_channels,
)
from gancomp_core.nets.channel_groups import channel_groups

RESNET_CHANNELS = SearchSpace(((8, 16), (4, 8), (2, 4), (2, 4, 6), (2, 4), (2, 4), (4, 8), (8, 16)))
SPADE_CHANNELS = SearchSpace(((8, 16), (4, 8), (2, 4), (2, 4), (2, 4), (2, 4), (4, 8), (8, 16)))
RESNET = ResnetArchitecture("16_8_4_6_4_4_8_16", blocks=7, in_channels=1, out_channels=2)
SPADE = SpadeArchitecture("16_8_4_4_4_4_8_16", upsampling="normal", label_channels=4, out_channels=2)
DEPTHS, KERNELS = (1, 2, 3, 5, 7), (3, 5, 7)

SPACES = {
    "resnet dense": ArchitectureSpace(RESNET, RESNET_CHANNELS, DEPTHS, KERNELS, (), (1.0, 0.75, 0.5)),
    "resnet separable": ArchitectureSpace(replace(RESNET, separable=True), RESNET_CHANNELS, DEPTHS, KERNELS),
    "resnet of fixed kinds": ArchitectureSpace(
        replace(RESNET, separable=(True, False, True)), RESNET_CHANNELS, DEPTHS, (3, 7)
    ),
    "resnet of any kinds": ArchitectureSpace(RESNET, RESNET_CHANNELS, DEPTHS, (3, 5), (False, True), (1.0, 0.5)),
    "resnet affine": ArchitectureSpace(
        replace(RESNET, affine=True), RESNET_CHANNELS, DEPTHS, KERNELS, (False, True), (1.0, 0.75)
    ),
    "spade": ArchitectureSpace(SPADE, SPADE_CHANNELS, (1, 2), KERNELS, (), (1.0, 0.75, 0.5)),
    "spade separable": ArchitectureSpace(replace(SPADE, separable=True), SPADE_CHANNELS, (1, 2), (3, 5)),
    "spade more": ArchitectureSpace(replace(SPADE, upsampling="more"), SPADE_CHANNELS, (1, 2), KERNELS),
    "spade more separable": ArchitectureSpace(
        replace(SPADE, upsampling="more", separable=True), SPADE_CHANNELS, (1, 2), (), (), (1.0, 0.5)
    ),
}
every_space = pytest.mark.parametrize("name", SPACES)
few = functools.partial(settings, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def shaken(network, seed=1):
    """The network with no weight, kernel matrix or statistic left at its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():  # positive numbers keep variances positive
                tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype) - 0.1)
    return network


def new_elastic(name, seed=1):
    torch.manual_seed(0)
    return shaken(ElasticGenerator(SPACES[name]), seed).eval()


@functools.cache
def shared_elastic(name):
    """One elastic generator for all examples of a test that only reads it."""
    return new_elastic(name)


def plain_generator(architecture):
    kind = ResnetGenerator if isinstance(architecture, ResnetArchitecture) else SpadeGenerator
    return kind(architecture)


def smallest_side(architecture):
    """Of pictures in which the largest kernels fit: at least 4 x 4 pixels for the residual blocks of a ResNet."""
    if isinstance(architecture, SpadeArchitecture):
        return architecture.multiple
    return 16 if architecture.resolution == 1 else 32


def pictures(architecture, count=2, tall=1, wide=1, dtype=torch.float32):
    side = smallest_side(architecture)
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, architecture.in_channels, tall * side, wide * side, generator=generator, dtype=dtype)


def architectures(space):
    return st.tuples(*(st.integers(0, len(choice) - 1) for choice in space.choices.values())).map(space.decode)


def is_spade(name):
    return isinstance(SPACES[name].base, SpadeArchitecture)


# what is cut out


@every_space
@few(max_examples=12)
@given(data=st.data())
def test_extracted_network_gives_the_elastic_generators_pictures_bit_for_bit(name, data):
    space, elastic = SPACES[name], shared_elastic(name)
    architecture = data.draw(architectures(space))
    wide = data.draw(st.sampled_from((1, 2))) if architecture.multiple < 64 else 1
    x = pictures(architecture, data.draw(st.sampled_from((1, 2, 3))), 1, wide)
    elastic.activate(architecture)
    extracted = elastic.extract()
    assert extracted.architecture == architecture
    assert type(extracted) is type(plain_generator(architecture))
    with torch.no_grad():
        expected, expected_features = elastic(x, features=architecture.taps)
        found, found_features = extracted(x, features=architecture.taps)
        assert torch.equal(elastic(x), expected)
    assert torch.equal(found, expected)
    assert expected.shape == (len(x), 2, *x.shape[2:])
    assert expected.std() > 1e-3
    assert all(torch.equal(found_features[tap], expected_features[tap]) for tap in architecture.taps)


@every_space
def test_extracted_network_equals_the_elastic_one_in_training_too(name):
    elastic, rng = new_elastic(name).train(), random.Random(1)
    for _ in range(3):
        architecture = SPACES[name].sample(rng)
        elastic.activate(architecture)
        extracted, x = elastic.extract(), pictures(architecture)
        assert extracted.training
        ours, theirs = elastic(x), extracted(x)
        assert torch.equal(ours, theirs)
        after = elastic.extract().state_dict()
        assert all(torch.equal(after[key], value) for key, value in extracted.state_dict().items())


def test_extracting_another_network_leaves_the_active_one_and_shares_no_weight():
    elastic = new_elastic("resnet of any kinds")
    widest, narrowest = elastic.space.widest, elastic.space.narrowest
    x = pictures(narrowest)
    before = elastic(x)
    extracted = elastic.extract(narrowest)
    assert (elastic.active, extracted.architecture) == (widest, narrowest)
    with torch.no_grad():
        for weight in extracted.parameters():
            weight.zero_()
    assert torch.equal(elastic(x), before)


def test_extracted_network_stays_in_the_precision_of_the_elastic_one():
    elastic = new_elastic("resnet dense").double()
    elastic.activate(elastic.space.narrowest)
    extracted, x = elastic.extract(), pictures(elastic.active, dtype=torch.float64)
    assert {weight.dtype for weight in extracted.parameters()} == {torch.float64}
    assert torch.equal(extracted(x), elastic(x))


def test_extracting_draws_no_random_numbers():
    elastic = new_elastic("resnet dense")
    state = torch.get_rng_state()
    elastic.extract()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_of_the_space_keeps_its_function_whatever_ran_before_it():
    elastic, rng = new_elastic("resnet of any kinds"), random.Random(0)
    a, x = elastic.space.narrowest, pictures(elastic.space.narrowest)
    elastic.activate(a)
    first = elastic(x)
    for _ in range(5):
        other = elastic.space.sample(rng)
        elastic.activate(other)
        elastic(pictures(other))
    elastic.activate(a)
    assert torch.equal(elastic(x), first)


# which weights a network is made of

#: Of a generator with seven blocks (thirds 1-3, 4-5, 6-7) and of one with nine, by depth: the blocks that stay.
KEPT_BLOCKS = {
    7: {
        1: [1],
        2: [1, 4],
        3: [1, 4, 6],
        4: [1, 2, 4, 6],
        5: [1, 2, 4, 5, 6],
        6: [1, 2, 4, 5, 6, 7],
        7: [1, 2, 3, 4, 5, 6, 7],
    },
    9: {
        3: [1, 4, 7],
        4: [1, 2, 4, 7],
        5: [1, 2, 4, 5, 7],
        6: [1, 2, 4, 5, 7, 8],
        7: [1, 2, 3, 4, 5, 7, 8],
        8: [1, 2, 3, 4, 5, 6, 7, 8],
    },
}


@pytest.mark.parametrize(("blocks", "depth"), [(b, d) for b, kept in KEPT_BLOCKS.items() for d in kept])
def test_elastic_depth_keeps_the_first_blocks_of_each_third(blocks, depth):
    base = replace(RESNET, blocks=blocks)
    space = ArchitectureSpace(base, RESNET_CHANNELS, tuple(KEPT_BLOCKS[blocks]) + (blocks,), (3, 5), (False, True))
    elastic = ElasticGenerator(space)
    with torch.no_grad():
        for block in range(1, blocks + 1):
            elastic.full.stages[block + 2].body[0].bias.fill_(block)
            elastic.twins[f"block{block}"].body[0][2].bias.fill_(100 + block)
    dense, separable = (elastic.extract(replace(space.widest, blocks=depth, separable=kind)) for kind in (False, True))
    assert [_mark(dense, f"block{i + 1}.body.0") for i in range(depth)] == KEPT_BLOCKS[blocks][depth]
    kept = [100 + block for block in KEPT_BLOCKS[blocks][depth]]
    assert [_mark(separable, f"block{i + 1}.body.0.2") for i in range(depth)] == kept


def _mark(network, layer):
    (value,) = network.get_submodule(f"stages.{layer}").bias.unique().tolist()
    return value


def test_a_spade_generator_of_one_middle_block_keeps_the_first():
    elastic = new_elastic("spade")
    shallow = elastic.extract(replace(elastic.space.widest, middles=1)).state_dict()
    full = elastic.full.state_dict()
    assert {name.split(".")[1] for name in full} - {name.split(".")[1] for name in shallow} == {"middle_1"}
    assert all(torch.equal(tensor, full[name]) for name, tensor in shallow.items())


def where_it_lies(space, architecture):
    """By name of a shared tensor, a mask of the numbers that the network is made of: written down without the library.

    Leading channels, first blocks of each third, the center that the next smaller kernel is made from.
    """
    spade = isinstance(space.base, SpadeArchitecture)
    largest = max(space.kernels)
    shapes = {name: tensor.shape for name, tensor in ElasticGenerator(space).state_dict().items()}
    masks = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in shapes.items()}
    for name, tensor in plain_generator(architecture).state_dict().items():
        stage, rest = name.removeprefix("stages.").split(".", 1)
        place = f"full.{name}"
        if stage.startswith("block"):
            block = int(stage.removeprefix("block"))
            full_block = KEPT_BLOCKS[space.widest.blocks][architecture.blocks][block - 1]
            third = {1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 2, 7: 2}[full_block]
            separable = architecture.separable
            separable = separable if isinstance(separable, bool) else separable[third]
            twin = separable and True in space.separable
            place = f"twins.block{full_block}.{rest}" if twin else f"full.stages.block{full_block}.{rest}"
        part = [slice(0, size) for size in tensor.shape]
        kernel, elastic_kernel = tensor.shape[-1] if tensor.ndim == 4 else 0, shapes[place][-1:] == (largest,)
        if tensor.ndim == 4 and elastic_kernel and kernel < largest and (spade or stage.startswith("block")):
            next_smaller = max(size for size in space.kernels if size < largest)
            margin = (largest - next_smaller) // 2
            part[2:] = [slice(margin, margin + next_smaller)] * 2
            for size in space.kernels:
                if kernel <= size < largest:
                    matrix = torch.zeros(size, size, dtype=torch.bool)
                    smaller = max((s for s in space.kernels if kernel <= s < size), default=size)
                    inner = slice((size - smaller) // 2, (size + smaller) // 2)
                    matrix[inner, inner] = True  # what the next smaller kernel takes from this one
                    masks[f"kernel_maps.{place.replace('.', '/')}/{size}"][:, matrix.flatten()] = True
        masks[place][tuple(part)] = True
    return masks


def gradients(elastic, architecture):
    elastic.activate(architecture)
    elastic.zero_grad()
    x = pictures(architecture, 4, 2, 2)
    elastic(x).sub(torch.randn(elastic.active.out_channels, 1, 1)).square().sum().backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in elastic.named_parameters()}


GRADIENT_SPACES = [name for name in SPACES if name not in ("spade more", "spade more separable")]


@pytest.mark.parametrize("name", GRADIENT_SPACES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_inactive_weights_get_gradients_of_exactly_zero_and_active_ones_learn(name, seed):
    space, elastic, rng = SPACES[name], new_elastic(name).train(), random.Random(seed)
    architecture = replace(space.narrowest if seed == 0 else space.sample(rng), resolution=1.0)
    masks = where_it_lies(space, architecture)
    for weight, gradient in gradients(elastic, architecture).items():
        inactive = ~masks[weight]
        assert not gradient[inactive].any(), weight
        if gradient.ndim >= 2 and masks[weight].any():
            # small maps do not reach the rim of large kernels: it is channels that have to learn
            learns = (gradient != 0).flatten(2).any(-1) if gradient.ndim == 4 else gradient != 0
            expected = masks[weight].flatten(2).any(-1) if gradient.ndim == 4 else masks[weight]
            assert learns[expected].float().mean() > 0.7, weight  # a ReLU may be off on every pixel


@pytest.mark.parametrize("name", GRADIENT_SPACES)
def test_what_lies_outside_a_network_cannot_reach_its_pictures(name):
    space, elastic, rng = SPACES[name], new_elastic(name), random.Random(3)
    untouched = copy.deepcopy(elastic.state_dict())
    for architecture in (space.narrowest, *(space.sample(rng) for _ in range(4))):
        elastic.load_state_dict(untouched)
        elastic.activate(architecture)
        x = pictures(architecture)
        with torch.no_grad():
            expected = elastic(x)
            for tensor, mask in zip(
                elastic.state_dict().values(), where_it_lies(space, architecture).values(), strict=True
            ):
                if tensor.is_floating_point():
                    tensor[~mask] = math.nan
            assert torch.equal(elastic(x), expected)


# elastic kernels


def plain_smaller(weight, matrix, size):
    """One step from a larger kernel to one of ``size``, kernel by kernel: the center as a row times the matrix."""
    margin = (weight.shape[-1] - size) // 2
    found = torch.empty(*weight.shape[:2], size, size, dtype=weight.dtype)
    for o, i in itertools.product(range(weight.shape[0]), range(weight.shape[1])):
        row = [weight[o, i, margin + k // size, margin + k % size] for k in range(size**2)]
        for k in range(size**2):
            found[o, i, k // size, k % size] = sum(value * matrix[j, k] for j, value in enumerate(row))
    return found


LAYERS = {
    "resnet separable": ("full.stages.block1.body.3.0.weight", "stages.block1.body.3.0.weight"),
    "resnet dense": ("full.stages.block4.body.0.weight", "stages.block2.body.0.weight"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_smaller_kernel_is_the_center_of_the_next_larger_one_times_its_matrix(name):
    space, elastic = SPACES[name], new_elastic(name)
    shared, own = LAYERS[name]
    a = replace(space.narrowest, blocks=3)
    state, found = elastic.state_dict(), {}
    for size in KERNELS:
        found[size] = elastic.extract(replace(a, kernels=(size,) * 3)).state_dict()[own]
    o, i = found[7].shape[:2]
    seven = state[shared][:o, :i]
    five = plain_smaller(seven, state[f"kernel_maps.{shared.replace('.', '/')}/5"], 5)
    three = plain_smaller(five, state[f"kernel_maps.{shared.replace('.', '/')}/3"], 3)
    assert torch.equal(found[7], seven)
    torch.testing.assert_close(found[5], five, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[3], three, rtol=0, atol=1e-5)
    assert five.std() > 0.05


def test_where_five_is_no_choice_three_follows_seven_at_once():
    space = ArchitectureSpace(RESNET, RESNET_CHANNELS, (), (3, 7))
    elastic = shaken(ElasticGenerator(space))
    key = "full.stages.block1.body.0.weight"
    assert {name.rsplit("/")[-1] for name in elastic.kernel_maps} == {"3"}
    expected = plain_smaller(elastic.state_dict()[key], elastic.kernel_maps[f"{key.replace('.', '/')}/3"].detach(), 3)
    found = elastic.extract(replace(space.widest, kernels=(3, 7, 7))).state_dict()["stages.block1.body.0.weight"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_smaller_kernels_begin_as_the_center_of_the_larger_ones():
    elastic = ElasticGenerator(SPACES["resnet dense"])
    small = elastic.extract(replace(elastic.space.widest, kernels=(3, 5, 7))).state_dict()
    for block, margin in ((1, 2), (4, 1), (6, 0)):
        seven = elastic.full.state_dict()[f"stages.block{block}.body.0.weight"]
        center = seven[:, :, margin : 7 - margin, margin : 7 - margin]
        assert torch.equal(small[f"stages.block{block}.body.0.weight"], center)


def test_only_spatial_convolutions_of_residual_blocks_have_kernel_matrices():
    dense, separable = (new_elastic(name).kernel_maps for name in ("resnet dense", "resnet separable"))
    assert len(dense) == len(separable) == 7 * 2 * 2  # blocks, convolutions, smaller sizes
    assert all("/body/" in name for name in (*dense, *separable))
    assert len(new_elastic("spade").kernel_maps) == 7 * 2 * 2
    assert not new_elastic("spade more separable").kernel_maps


# channels in another order


def network_for_sorting(name):
    """A network with every width, both kinds of blocks where a family has both, in float64."""
    widest = SPACES[name].widest
    if name == "resnet of any kinds":
        widest = replace(widest, separable=(False, True, False))
    return shaken(plain_generator(widest).double())


@every_space
def test_sorting_channels_leaves_the_function_and_puts_the_important_ones_first(name):
    network = network_for_sorting(name)
    x = pictures(network.architecture, dtype=torch.float64)
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        expected = network.eval()(x)
        sort_channels(network)
        torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-9)
    assert expected.std() > 1e-3
    for group in channel_groups(network):
        assert (group.importance.diff() <= 1e-9).all(), group.name
    unmoved = {key for key, tensor in network.state_dict().items() if torch.equal(tensor, before[key])}
    no_width = {key for key, tensor in before.items() if not tensor.ndim} | {
        "stages.tail.1.bias" if is_spade(name) else "stages.tail.0.bias"
    }
    assert unmoved == no_width


@every_space
@few(max_examples=2)
@given(seed=st.integers(0, 2**30))
def test_any_order_of_channels_leaves_the_function_also_in_training(name, seed):
    network, generator = network_for_sorting(name).train(), torch.Generator().manual_seed(seed)
    x = pictures(network.architecture, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = network(x)
        for group in channel_groups(network):
            group.reorder(torch.randperm(len(group.importance), generator=generator))
        torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-9)


@every_space
@few(max_examples=10)
@given(data=st.data())
def test_channel_groups_are_as_wide_as_the_architecture_says(name, data):
    architecture = data.draw(architectures(SPACES[name]))
    with torch.device("meta"):
        groups = channel_groups(plain_generator(architecture))
    found = {group.name: {t.shape[dim] for t, dim in (*group.carried, *group.read)} for group in groups}
    assert found == {group: {size} for group, size in architecture.group_sizes.items()}


def test_the_most_important_channel_is_the_one_that_the_next_layer_multiplies_most():
    network = ResnetGenerator(replace(RESNET, blocks=1))
    with torch.no_grad():
        network.stages.down1[0].weight[:, 5] += 3
        marked = network.stages.stem[0].weight[5].clone()
        sort_channels(network)
    assert torch.equal(network.stages.stem[0].weight[0], marked)


def test_the_importance_of_a_channel_is_the_sum_of_all_sizes_of_weights_that_read_it():
    groups = channel_groups(network_for_sorting("resnet of any kinds"))
    assert max(len(group.read) for group in groups) > 1
    for group in groups:
        expected = [0.0] * len(group.importance)
        for weight, dim in group.read:
            assert (weight < 0).any()
            for channel, part in enumerate(weight.detach().numpy().swapaxes(0, dim)):
                expected[channel] += sum(abs(number) for number in part.flat)
        assert group.importance.tolist() == pytest.approx(expected)
        assert not group.importance.requires_grad


# cost


@every_space
@few(max_examples=5)
@given(data=st.data())
def test_the_formula_costs_what_tracing_the_network_costs(name, data):
    architecture = data.draw(architectures(SPACES[name]))
    height, width = smallest_side(architecture), 2 * smallest_side(architecture)
    with torch.device("meta"):
        network = plain_generator(architecture)
    assert cost(architecture, height, width) == cost(network, height, width)


@pytest.mark.parametrize("kind", [False, True, (True, False, False)])
def test_a_resnet_costs_more_with_larger_kernels_and_less_at_a_lower_resolution(kind):
    macs = [cost(replace(RESNET, separable=kind, kernels=(k, 3, 3)), 32, 32).macs for k in KERNELS]
    assert macs == sorted(set(macs))
    full, half = (cost(replace(RESNET, separable=kind, resolution=r), 32, 32) for r in (1.0, 0.5))
    assert (half.macs * 4, half.params) == (full.macs, full.params)


@pytest.mark.parametrize("name", ["resnet of any kinds", "resnet separable", "spade"])
def test_an_elastic_generator_costs_what_its_active_network_does(name):
    elastic = new_elastic(name)
    widest, narrowest = elastic.space.widest, elastic.space.narrowest
    side = max(smallest_side(widest), smallest_side(narrowest))
    assert cost(elastic, side, side) == cost(widest, side, side)
    elastic.activate(narrowest)
    assert cost(elastic, side, side) == cost(narrowest, side, side) == cost(elastic.extract(), side, side)


def test_the_layers_of_an_elastic_generator_are_those_of_its_active_network():
    elastic = new_elastic("resnet of any kinds")
    elastic.activate(elastic.space.narrowest)
    assert layer_costs(elastic, 32, 32) == layer_costs(elastic.extract(), 32, 32)


# spaces


def small_space(base=RESNET, **choices):
    """Few enough networks to count one by one."""
    channels = SearchSpace(((8, 16), (4,), (2,), (2, 4), (4,), (4,), (4,), (8,)))
    return ArchitectureSpace(base, channels, **choices)


SMALL_SPACES = {
    "widths alone": small_space(),
    "kernels and depths": small_space(depths=(3, 4, 7), kernels=(3, 7)),
    "kinds and resolutions": small_space(separable=(False, True), resolutions=(0.5, 0.75, 1.0)),
    "spade": small_space(SPADE, depths=(1, 2), kernels=(5, 3), resolutions=(1.0, 0.5)),
}
SIZES = {"widths alone": 4, "kernels and depths": 4 * 3 * 8, "kinds and resolutions": 4 * 8 * 3, "spade": 4 * 2 * 8 * 2}


@pytest.mark.parametrize("name", SMALL_SPACES)
def test_a_space_counts_every_network_once(name):
    space = SMALL_SPACES[name]
    networks = list(space)
    assert len(space) == len(networks) == len(set(networks)) == SIZES[name]
    assert all(network in space for network in networks)
    assert {space.widest, space.narrowest} <= set(networks)


def test_a_choice_named_twice_does_not_count_twice():
    space = small_space(depths=(3, 3, 4))
    assert len(space) == len(set(space)) == 4 * 2
    twice = SearchSpace(((16, 8, 16, 8), *space.channels.choices[1:]))
    assert len(replace(space, channels=twice)) == len(set(replace(space, channels=twice))) == 4 * 2


@every_space
@few(max_examples=30)
@given(seed=st.integers(0, 2**30))
def test_sampled_networks_lie_in_the_space_and_survive_reading(name, seed):
    space = SPACES[name]
    network = space.sample(random.Random(seed))
    assert network in space
    assert space.decode(space.encode(network)) == network == space.named(space.name(network))
    assert space.sample(random.Random(seed)) == network
    assert Architecture.from_dict(json.loads(json.dumps(network.as_dict()))) == network


def test_sampling_draws_each_choice_equally_often():
    space, rng = SMALL_SPACES["kinds and resolutions"], random.Random(0)
    genes = [space.sample(rng).genes.values() for _ in range(1200)]
    for drawn, choices in zip(zip(*genes, strict=True), space.choices.values(), strict=True):
        for choice in choices:
            assert drawn.count(choice) / len(drawn) == pytest.approx(1 / len(choices), abs=0.06)


@pytest.mark.parametrize("name", [*SPACES, *SMALL_SPACES])
def test_a_space_survives_json(name):
    space = SPACES.get(name) or SMALL_SPACES[name]
    again = Architecture.from_dict(json.loads(json.dumps(space.as_dict())))
    assert again == space
    assert hash(again) == hash(space)
    assert again.choices == space.choices


def test_choices_may_be_lists():
    space = small_space(depths=[7, 3], kernels=[7, 3], separable=[True, False], resolutions=[0.5, 1.0])
    assert space == small_space(depths=(7, 3), kernels=(7, 3), separable=(True, False), resolutions=(0.5, 1.0))
    assert isinstance(hash(space), int)
    assert len(space) == 4 * 2 * 8 * 8 * 2


def test_the_widest_network_takes_the_largest_of_everything_and_the_narrowest_the_smallest():
    space = SPACES["resnet of any kinds"]
    assert space.widest == replace(RESNET, channels="16_8_4_6_4_4_8_16", kernels=(5, 5, 5))
    assert space.narrowest == replace(
        RESNET, channels="8_4_2_2_2_2_4_8", blocks=1, kernels=(3, 3, 3), separable=True, resolution=0.5
    )
    costs = [cost(network, 64, 64).macs for network in SMALL_SPACES["kernels and depths"]]
    widest, narrowest = SMALL_SPACES["kernels and depths"].widest, SMALL_SPACES["kernels and depths"].narrowest
    assert (cost(narrowest, 64, 64).macs, cost(widest, 64, 64).macs) == (min(costs), max(costs))


def test_what_may_not_be_chosen_stays_as_in_the_base():
    base = replace(RESNET, kernels=(3, 5, 7), separable=(True, False, True), resolution=0.75)
    for network in small_space(base):
        assert replace(network, channels=base.channels) == base


@pytest.mark.parametrize(
    "outsider",
    [
        replace(RESNET, blocks=6),
        replace(RESNET, kernels=(3, 7, 3)),
        replace(RESNET, in_channels=3),
        replace(RESNET, affine=True),
        replace(RESNET, channels="24_8_4_6_4_4_8_16"),
        replace(RESNET, channels="16_8_4_6_8_16"),
        SPADE,
        "16_8_4_6_4_4_8_16",
        None,
    ],
    ids=["depth", "kernel", "channels of the picture", "affine", "width", "six entries", "family", "string", "nothing"],
)
def test_a_network_outside_the_space_cannot_be_activated_nor_extracted(outsider):
    elastic = new_elastic("resnet of any kinds")
    assert outsider not in elastic.space
    for choose in (elastic.activate, *([elastic.extract] if outsider is not None else [])):
        with pytest.raises(GancompError, match=r"is none of the [\d,]+ networks of this elastic generator") as refused:
            choose(outsider)
        assert is_one_sentence(str(refused.value))
    assert elastic.active == elastic.space.widest


EIGHT = RESNET_CHANNELS.choices


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: ArchitectureSpace(RESNET, SearchSpace(EIGHT[:6])), "eight entries of the channel config, not 6"),
        (lambda: ArchitectureSpace(RESNET, SearchSpace(((),) * 8)), "c0"),
        (lambda: ArchitectureSpace(RESNET, SearchSpace(((8, 12, 16), *EIGHT[1:]))), "c0 .* is 12"),
        (lambda: small_space(SPADE, separable=(False, True)), "dense or separable as a whole; leave separable out"),
        (lambda: small_space(kernels=(4, 7)), r"kernels .*4.*3, 5 or 7"),
        (lambda: small_space(kernels=(3, 4, 7)), r"kernels .*4.*3, 5 or 7"),
        (lambda: small_space(resolutions=(0.6, 1.0)), r"resolution is 0\.6; it must be one of 1\.0, 0\.75, 0\.5"),
        (lambda: small_space(resolutions=(0.5, 0.6, 1.0)), r"resolution is 0\.6; it must be one of 1\.0, 0\.75, 0\.5"),
        (lambda: small_space(depths=(0, 9)), "1 to 32 residual blocks, not 0"),
        (lambda: small_space(depths=(1, 40, 9)), "1 to 32 residual blocks, not 40"),
        (lambda: small_space(depths=(1, 2.5, 9)), r"1 to 32 residual blocks, not 2\.5"),
        (lambda: small_space(SPADE, depths=(1, 3)), "middles is 3; it must be a whole number from 1 to 2"),
        (lambda: small_space(separable=("yes", "no")), "separable"),
        (lambda: replace(RESNET, kernels=(3, 4, 3)), r"kernels are \(3, 4, 3\); .* 3, 5 or 7"),
        (lambda: replace(RESNET, kernels=(3, 3)), r"kernels are \(3, 3\); give three sizes"),
        (lambda: replace(RESNET, kernels=5), "kernels .*5.*three sizes"),
        (lambda: replace(RESNET, separable=(1, 1, 1)), r"separable is \(1, 1, 1\); give True, False, or one of them"),
        (lambda: replace(RESNET, separable=(True, True)), r"separable is \(True, True\)"),
        (lambda: replace(RESNET, separable=None), "separable is None"),
        (lambda: replace(SPADE, separable=(True, False, True)), "separable"),
        (lambda: replace(RESNET, resolution=0.6), r"resolution is 0\.6; it must be one of 1\.0, 0\.75, 0\.5"),
        (lambda: replace(SPADE, kernels=(3, 3, 9)), r"kernels are \(3, 3, 9\)"),
        (lambda: ElasticGenerator(RESNET), "ArchitectureSpace"),
        (lambda: build_generator({"family": "elastic", "base": "resnet", "channels": EIGHT}), "ArchitectureSpace"),
        (lambda: build_generator({"family": "elastic", "channels": EIGHT}), "'base'.*ArchitectureSpace.as_dict"),
        (lambda: build_generator({**small_space().as_dict(), "depth": [3]}), "'depth'.*ArchitectureSpace.as_dict"),
    ],
)
def test_impossible_choices_are_refused_in_one_sentence(build, told):
    with pytest.raises(GancompError, match=told) as refused:
        build()
    if "channel config" not in str(refused.value):
        assert is_one_sentence(str(refused.value))


@pytest.mark.parametrize(
    ("name", "resolution", "shape", "told"),
    [
        ("resnet dense", 0.75, (1, 1, 24, 32), "multiples of 16 and at least 32, not .*24, 32"),
        ("resnet dense", 0.5, (1, 1, 20, 32), "multiples of 8 and at least 16, not .*20, 32"),
        ("spade", 0.75, (1, 4, 64, 128), "multiples of 128 and at least 128, not .*64, 128"),
        ("spade", 0.5, (1, 4, 32, 64), "multiples of 64 and at least 64, not .*32, 64"),
    ],
)
def test_pictures_that_do_not_fit_a_lower_resolution_are_told_what_fits(name, resolution, shape, told):
    elastic = new_elastic(name)
    elastic.activate(replace(elastic.space.widest, resolution=resolution, kernels=(3, 3, 3)))
    for refuse in (lambda: elastic(torch.zeros(shape)), lambda: elastic.extract()(torch.zeros(shape))):
        with pytest.raises(GancompError, match=told) as refused:
            refuse()
        assert is_one_sentence(str(refused.value))
    with pytest.raises(GancompError, match=f"multiples of {elastic.active.multiple}") as refused:
        cost(elastic, *shape[2:])
    assert is_one_sentence(str(refused.value))


@pytest.mark.parametrize(("kernel", "least"), [(3, 8), (5, 12), (7, 16)])
def test_pictures_in_which_a_large_kernel_does_not_fit_are_refused(kernel, least):
    a = replace(RESNET, kernels=(3, kernel, 3))
    network = ResnetGenerator(a).eval()
    assert network(torch.zeros(1, 1, least, least)).shape == (1, 2, least, least)
    for refuse in (lambda: network(torch.zeros(1, 1, least - 4, least)), lambda: cost(a, least - 4, least)):
        with pytest.raises(GancompError, match=f"at least {least}"):
            refuse()


def test_a_stage_that_a_shallow_spade_generator_lacks_is_told():
    elastic = new_elastic("spade")
    elastic.activate(replace(elastic.space.widest, middles=1, resolution=1.0))
    with pytest.raises(GancompError, match=r"no stage \['middle_1'\]; choose from fc, head, middle_0, up_0"):
        elastic(pictures(elastic.active), features=["middle_1"])


# copies, files, modes


@every_space
def test_an_elastic_generator_is_built_again_from_its_description_and_weights(name):
    elastic = new_elastic(name)
    again = build_generator(json.loads(json.dumps(elastic.architecture.as_dict())))
    assert isinstance(again, ElasticGenerator)
    again.load_state_dict(elastic.state_dict())
    again.eval().activate(elastic.space.narrowest)
    elastic.activate(elastic.space.narrowest)
    x = pictures(elastic.active)
    assert torch.equal(again(x), elastic(x))


@pytest.mark.parametrize("name", ["resnet of any kinds", "spade"])
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"]
)
def test_copies_give_the_same_pictures_and_go_their_own_way(name, duplicate):
    elastic, rng = new_elastic(name), random.Random(0)
    a, b = elastic.space.narrowest, elastic.space.sample(rng)
    elastic.activate(a)
    x, y = pictures(a), pictures(b)
    expected = elastic(x)  # the copy is made after the first use
    other = duplicate(elastic)
    assert other.active == a
    assert torch.equal(other(x), expected)
    other.activate(b)
    shaken(other)
    assert not torch.equal(other(y), elastic.extract(b)(y))
    assert torch.equal(other(y), other.extract()(y))
    assert elastic.active == a
    assert torch.equal(elastic(x), expected)


def test_a_copy_after_many_networks_is_no_larger():
    elastic, rng = new_elastic("resnet of any kinds"), random.Random(0)
    elastic.activate(elastic.space.narrowest)
    before = len(pickle.dumps(elastic))
    for _ in range(10):
        elastic.activate(elastic.space.sample(rng))
        elastic(pictures(elastic.active))
    elastic.activate(elastic.space.narrowest)
    assert len(pickle.dumps(elastic)) <= 1.01 * before


def test_training_moves_the_shared_statistics_of_active_channels_alone():
    elastic = new_elastic("spade").train()
    narrow = replace(elastic.space.narrowest, resolution=1.0)
    elastic.activate(narrow)
    masks, before = where_it_lies(elastic.space, narrow), copy.deepcopy(elastic.state_dict())
    elastic(pictures(narrow))
    after, moved = elastic.state_dict(), 0
    for name, tensor in after.items():
        if "running" in name:
            changed = tensor != before[name]
            assert not changed[~masks[name]].any(), name
            assert changed[masks[name]].all(), name
            moved += int(changed.any())
        elif name.endswith("num_batches_tracked"):
            assert tensor - before[name] == masks[name].item(), name
        else:
            assert torch.equal(tensor, before[name]), name
    assert moved == 2 * (2 * 6 + 4)  # mean and variance of two norms in six blocks, and of four shortcuts
    elastic.eval()(pictures(narrow))
    assert all(torch.equal(tensor, after[name]) for name, tensor in elastic.state_dict().items())


@pytest.mark.parametrize("name", ["resnet of any kinds", "spade"])
def test_two_networks_learn_from_one_backward_pass(name):
    elastic, rng = new_elastic(name).train(), random.Random(5)
    a, b = (replace(elastic.space.sample(rng), resolution=1.0) for _ in range(2))
    target = torch.randn(2, 1, 1)  # a sum of squares has the same gradient however it is summed up

    def loss(architecture):
        elastic.activate(architecture)
        return (elastic(pictures(architecture)) - target).square().mean()

    separately = []
    for architecture in (a, b):
        elastic.zero_grad()
        loss(architecture).backward()
        separately.append([torch.zeros_like(p) if p.grad is None else p.grad for p in elastic.parameters()])
    elastic.zero_grad()
    (loss(a) + loss(b)).backward()
    for p, first, second in zip(elastic.parameters(), *separately, strict=True):
        together = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(together, first + second, rtol=1e-4, atol=1e-5)


def test_a_network_first_used_for_a_measurement_can_be_trained_afterwards():
    elastic = new_elastic("spade")
    x = pictures(elastic.active)
    with torch.inference_mode():
        elastic(x)
    elastic.train()(x).square().sum().backward()
    assert elastic.full.stages["fc"].weight.grad.any()


@pytest.mark.parametrize("name", ["resnet of any kinds", "spade"])
def test_it_trains_in_bfloat16_and_what_is_extracted_agrees_there_too(name):
    elastic, rng = new_elastic(name), random.Random(4)
    a = replace(elastic.space.sample(rng), kernels=(3, 3, 5), resolution=1.0)
    elastic.activate(a)
    x = pictures(a)
    with torch.no_grad():
        exact = elastic(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picture = elastic(x)
        assert torch.equal(elastic.extract()(x), picture)
    assert (picture.float() - exact).abs().mean() < 0.05
    picture.float().square().mean().backward()
    learned = [p.grad for p in elastic.kernel_maps.parameters() if p.grad is not None]
    assert learned
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in learned)


@pytest.mark.parametrize(
    ("name", "changes", "any_size"),
    [
        (
            "resnet affine",
            {"blocks": 3, "kernels": (3, 5, 7), "separable": (True, False, True), "resolution": 0.75},
            True,
        ),
        ("spade", {"middles": 1, "kernels": (5, 3, 3), "resolution": 0.5}, False),  # of any size it takes a minute
    ],
)
def test_an_extracted_network_gives_the_same_pictures_as_an_onnx_file(name, changes, any_size, tmp_path):
    elastic = new_elastic(name)
    architecture = replace(elastic.space.narrowest, **changes)
    network, x = elastic.extract(architecture), pictures(architecture)
    generator = OnnxGenerator(export_onnx(network, tmp_path / "net.onnx", tuple(x.shape), any_size), threads=1)
    for y in (x, pictures(architecture, 3, 2, 1)) if any_size else (x,):
        with torch.no_grad():
            torch.testing.assert_close(generator(y), network(y), rtol=0, atol=1e-4)


def test_every_weight_that_training_sees_is_shared():
    elastic = new_elastic("resnet of any kinds")
    names = {name.split(".")[0] for name, _ in elastic.named_parameters()}
    assert names == {"full", "twins", "kernel_maps"}
    elastic(pictures(elastic.active))
    assert {name.split(".")[0] for name, _ in elastic.named_parameters()} == names
    assert isinstance(elastic.full, nn.Module)
    assert list(elastic.state_dict()) == list(ElasticGenerator(elastic.space).state_dict())


@pytest.mark.parametrize("separable", [(), (False,), (True,)])
def test_a_kind_of_block_that_cannot_be_chosen_has_no_weights(separable):
    names = {name.split(".")[0] for name, _ in ElasticGenerator(small_space(separable=separable)).named_parameters()}
    assert names == {"full"}
