"""AutoGAN-Distiller: its spaces, its networks, its price on MACs, and its search."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from factories import in_two_parts, short_config
from gancomp_core import zoo
from gancomp_core.data import Batches, PictureSet, load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root
from gancomp_core.lab import agd_search_of, agd_searches_of, names
from gancomp_core.measure import cost, layer_costs
from gancomp_core.methods import agd
from gancomp_core.methods.teacher_pictures import teacher_pictures
from gancomp_core.nets import (
    AgdArchitecture,
    AgdLayer,
    AgdNetwork,
    ResnetArchitecture,
    ResnetGenerator,
    build,
    build_generator,
    initialize,
    super_resolution_supernet,
    translation_supernet,
)
from gancomp_core.nets.agd import CELL_OPERATORS, AnyConv, AnyUpsamplingConv, Picked, widths
from gancomp_core.nets.blocks import enlarge_bicubically
from gancomp_core.train import TrainConfig

SMALL = translation_supernet(8, 2, 1, 1)
SPACES = {"translation": SMALL, "super-resolution": super_resolution_supernet(8, 2, 2)}


def choices_of(space: AgdArchitecture) -> st.SearchStrategy:
    return st.tuples(
        st.tuples(*(st.integers(0, len(layer.operators) - 1) for layer in space.layers)),
        st.tuples(*(st.integers(0, len(layer.widths) - 1) for layer in space.layers)),
    )


def picked(space: AgdArchitecture, operators, places) -> list[Picked]:
    return [
        Picked(torch.eye(len(layer.operators))[o], layer.widths[w])
        for layer, o, w in zip(space.layers, operators, places, strict=True)
    ]


# --- spaces ---------------------------------------------------------------------------------------------------------


def test_widths_are_the_published_ones():
    assert widths(64) == (24, 32, 40, 56, 64)
    assert widths(128) == (40, 64, 88, 104, 128)
    assert widths(256) == (88, 128, 168, 216, 256)


def test_smaller_bases_keep_the_published_ratios():
    small, published = translation_supernet(16), translation_supernet(64)
    for ours, theirs in zip(small.layers, published.layers, strict=True):
        assert [4 * width for width in ours.widths] == list(theirs.widths)


def test_published_translation_supernet_has_nine_cells_of_four_operators():
    cells = [layer for layer in translation_supernet().layers if layer.name.startswith("cell")]
    assert len(cells) == 9
    assert {layer.operators for layer in cells} == {CELL_OPERATORS}
    assert {layer.widths for layer in cells} == {widths(256)}


def test_published_super_resolution_supernet_has_five_cells_of_five_layers():
    space = super_resolution_supernet()
    assert [len(group) for group in space.groups] == [5] * 5
    assert {group[-1].widths for group in space.groups} == {(64,)}
    assert space.scale == 4


def test_space_counts_its_networks():
    assert SMALL.networks == 5**5 * (4 * 5) ** 2


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_architecture_survives_json_and_text(space):
    derived = space.chosen([0] * len(space.layers), [0] * len(space.layers))
    for architecture in (space, derived):
        assert AgdArchitecture.from_dict(architecture.as_dict()) == architecture
    assert AgdArchitecture.parse(derived.kind, str(derived), derived.in_channels, derived.out_channels) == derived
    assert isinstance(build_generator(derived.as_dict()), AgdNetwork)


def test_bad_architectures_are_refused_with_the_way_out():
    stem = AgdLayer("stem", ("conv7x7",), (8,))
    with pytest.raises(GancompError, match="no operator 'conv9x9'; choose from conv1x1"):
        AgdLayer("cell1", ("conv9x9",), (8,))
    with pytest.raises(GancompError, match="widths in ascending order"):
        AgdLayer("cell1", ("conv3x3",), (16, 8))
    with pytest.raises(GancompError, match="begin with stem, down1, down2 and end with up1, up2"):
        AgdArchitecture("translation", (stem,))
    with pytest.raises(GancompError, match="no kind 'painting'"):
        AgdArchitecture("painting", (stem,))
    with pytest.raises(GancompError, match="no choice 4 and 0"):
        SMALL.chosen([4] * 7, [0] * 7)
    with pytest.raises(GancompError, match="from 8 to 1024"):
        translation_supernet(4)
    with pytest.raises(GancompError, match="is no AGD network"):
        AgdArchitecture.parse("translation", "stem conv7x7")


def test_cells_of_super_resolution_keep_their_outer_width():
    layers = list(SPACES["super-resolution"].layers)
    layers[2] = AgdLayer("cell1.2", ("conv3x3",), (4,))
    with pytest.raises(GancompError, match="one and the same width"):
        AgdArchitecture("super-resolution", tuple(layers))


# --- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_derived_network_equals_the_supernet_at_its_choices(space, data):
    operators, places = data.draw(choices_of(space))
    network = build(space, 1).eval()
    small = network.extract(space.chosen(operators, places))
    x = torch.rand(2, space.in_channels, 16, 12) * 2 - 1
    with torch.no_grad():
        assert torch.equal(small(x), network(x, picked(space, operators, places)))


@pytest.mark.parametrize(
    ("space", "shape"), [(SPACES["translation"], (2, 1, 16, 24)), (SPACES["super-resolution"], (2, 3, 5, 7))]
)
def test_picture_sizes(space, shape):
    network = build(space.chosen([0] * len(space.layers), [0] * len(space.layers)), 0)
    found = network(torch.zeros(shape))
    assert found.shape == (2, shape[1], shape[2] * space.scale, shape[3] * space.scale)


def test_shortcut_adds_the_channels_that_both_sides_have():
    space = SMALL.chosen([0, 0, 0, 2, 2, 0, 0], [0, 0, 2, 0, 4, 0, 0])
    network = build(space, 0)
    for name in ("cell1", "cell2"):
        for weight in network.layers[name].parameters():
            nn.init.zeros_(weight)
    narrow, wide = (network.layers[name] for name in ("cell1", "cell2"))
    x = torch.rand(1, space.layers[2].widths[0], 4, 4)
    assert torch.equal(narrow(x), x[:, : space.layers[3].widths[0]])
    y = wide(narrow(x))
    assert torch.equal(y[:, : space.layers[3].widths[0]], narrow(x))
    assert not y[:, space.layers[3].widths[0] :].any()


def test_untrained_super_resolution_is_nearly_bicubic():
    space = SPACES["super-resolution"]
    network = build(space.chosen([0] * 8, [0] * 8), 0)
    x = torch.rand(1, 3, 8, 8) * 2 - 1
    assert (network(x) - enlarge_bicubically(x, 4)).abs().max() < 0.1


def test_a_supernet_asks_which_network_runs():
    with pytest.raises(GancompError, match="say which one runs"):
        AgdNetwork(SMALL)(torch.zeros(1, 1, 16, 16))


def test_wrong_pictures_are_refused():
    for space, pictures in itertools.product(SPACES.values(), (torch.zeros(1, 2, 16, 16), torch.zeros(3, 16, 16))):
        network = AgdNetwork(space.chosen([0] * len(space.layers), [0] * len(space.layers)))
        with pytest.raises(GancompError, match="takes pictures of shape"):
            network(pictures)


def test_whole_convolutions_slice_nothing():
    """An exported graph would hold a slice of every weight, which no quantizer reads."""
    for layer, channels in ((AnyConv(4, 6, 3), 4), (AnyUpsamplingConv(4, 6, 3), 4)):
        graph = torch.export.export(layer, (torch.zeros(1, channels, 8, 8),)).graph
        assert "slice" not in str(graph)


def test_initialization_depends_on_the_seed_alone():
    space = SPACES["super-resolution"]
    first, again, other = (build(space, seed).tail.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# --- costs ----------------------------------------------------------------------------------------------------------


TABLES = {space: agd.MacTable(space, 16, 12) for space in SPACES.values()}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_table_and_derived_network_have_the_same_macs(space, data):
    operators, places = data.draw(choices_of(space))
    derived = space.chosen(operators, places)
    expected = TABLES[space].exact(operators, places)
    with torch.device("meta"):
        assert cost(AgdNetwork(derived), 16, 12) == cost(derived, 16, 12)
    assert cost(derived, 16, 12).macs == expected
    assert agd.describe(derived, 16, 12).macs.sum() == expected


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_expected_macs_are_the_mean_over_draws(space):
    table, layers = agd.MacTable(space, 16, 16), space.layers
    shares = {
        kind: [torch.rand(len(getattr(layer, kind))).softmax(0).double() for layer in layers]
        for kind in ("operators", "widths")
    }
    fixed = [0] * len(layers)
    for kind, expected in (
        ("operators", table.of_operators(shares["operators"], fixed)),
        ("widths", table.of_widths(fixed, shares["widths"])),
    ):
        drawn = []
        for _ in range(4000):
            places = [int(torch.multinomial(share, 1)) for share in shares[kind]]
            drawn.append(table.exact(places, fixed) if kind == "operators" else table.exact(fixed, places))
        found = torch.tensor(drawn).double()
        assert abs(found.mean() - expected) < 5 * found.std() / 4000**0.5


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_expected_macs_of_certain_choices_are_those_of_the_network(space, data):
    table = TABLES[space]
    operators, places = data.draw(choices_of(space))
    certain = [torch.eye(len(layer.operators))[o] for layer, o in zip(space.layers, operators, strict=True)]
    widths = [torch.eye(len(layer.widths))[w] for layer, w in zip(space.layers, places, strict=True)]
    macs = cost(space.chosen(operators, places), 16, 12).macs
    assert table.of_operators(certain, places).item() == table.of_widths(operators, widths).item() == macs


def test_the_widest_and_the_narrowest_network_have_the_most_and_the_fewest_macs():
    table = agd.MacTable(SMALL, 16, 16)
    operators = list(itertools.product(*(range(len(layer.operators)) for layer in SMALL.layers)))
    for end, found in ((-1, table.widest), (0, table.narrowest)):
        places = [len(layer.widths) - 1 if end else 0 for layer in SMALL.layers]
        macs = [cost(SMALL.chosen(each, places), 16, 16).macs for each in operators]
        assert found == (max(macs) if end else min(macs))


def test_transposed_convolutions_count_input_pixels():
    """The released code halves the size behind two of them, which makes them four times too cheap."""
    derived = SMALL.chosen([0] * 7, [0] * 7)
    table = agd.describe(derived, 16, 16).set_index("layer")
    cell, up1 = derived.layers[4].widths[0], derived.layers[5].widths[0]
    assert table.macs["up1"] == 9 * cell * up1 * 4 * 4
    assert {layer.kind for layer in layer_costs(AgdNetwork(derived), 16, 16)} == {"conv", "transposed conv", "norm"}


def test_a_supernet_has_no_cost_of_its_own():
    for refused in (lambda: cost(SMALL, 16, 16), lambda: agd.describe(SMALL, 16, 16)):
        with pytest.raises(GancompError, match="supernet has no"):
            refused()


def test_random_architectures_stay_in_their_range():
    table = agd.MacTable(SMALL, 16, 16)
    low, high = table.widest / 4, table.widest / 3
    found = agd.random_architectures(table, low, high, 5, seed=1)
    assert all(low <= cost(each, 16, 16).macs <= high for each in found)
    assert found == agd.random_architectures(table, low, high, 5, seed=1)
    assert found != agd.random_architectures(table, low, high, 5, seed=2)
    with pytest.raises(GancompError, match="widen the range"):
        agd.random_architectures(table, 1, 2, 1, tries=10)


# --- choices and their price ----------------------------------------------------------------------------------------


def test_kept_channels_are_ones_whose_gradient_names_the_choices():
    one_hot = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    kept = agd.kept_channels(one_hot, (2, 4, 6), 4)
    assert kept.tolist() == [1, 1, 1, 1]
    (kept * torch.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert one_hot.grad is not None
    assert one_hot.grad.tolist() == [11, 1111, 1111]  # a narrower choice would lose two channels, a wider one nothing


def choices() -> agd.Choices:
    return agd.Choices(agd.MacTable(SMALL, 16, 16))


def control(price: float = 0.05, low: float = 1e5, high: float = 2e5, steps: int = 10, **more) -> agd.PriceControl:
    return agd.PriceControl(choices(), agd.Controller(low, high, price, **more), steps)


def test_first_network_is_the_costliest():
    found = choices()
    assert found.table.exact(found.best("operators"), found.best("widths")) == found.table.widest
    assert found.derived() == SMALL.chosen(found.best("operators"), found.best("widths"))


def test_drawn_widths_follow_their_probabilities():
    found = choices()
    with torch.no_grad():
        found.widths[0].copy_(torch.tensor([0.9, 0.0, 0.0, 0.0, 0.1]).log().clamp_min(-20))
    torch.manual_seed(0)
    drawn = [found.drawn()[0].width for _ in range(400)]
    assert set(drawn) == {SMALL.layers[0].widths[0], SMALL.layers[0].widths[-1]}
    assert 0.85 < drawn.count(SMALL.layers[0].widths[0]) / 400 < 0.95


def test_drawn_widths_keep_their_channels_whole():
    torch.manual_seed(0)
    for layer, picked in zip(SMALL.layers, choices().drawn(), strict=True):
        assert picked.width in layer.widths
        torch.testing.assert_close(picked.kept, torch.ones(picked.width))


def test_first_choices_are_nearly_equally_likely_and_the_dearer_the_likelier():
    found = choices()
    for shares, costs in zip(found.shares("operators"), found.table.tables, strict=True):
        assert (shares - 1 / len(shares)).abs().max() < 1e-3
        assert shares.argsort().tolist() == costs[:, -1, -1].argsort().tolist()
    for shares in found.shares("widths"):
        assert (shares - 1 / len(shares)).abs().max() < 1e-3
        assert (shares.diff() > 0).all()


def test_expected_macs_weigh_operators_and_widths():
    found = choices()
    with torch.no_grad():
        for logits in (*found.operators, *found.widths):
            logits.copy_(torch.randn(len(logits), generator=torch.Generator().manual_seed(len(logits))))
    table, operators, widths = found.table, found.best("operators"), found.best("widths")
    over_operators = table.of_operators(found.shares("operators"), widths).item()
    over_widths = table.of_widths(operators, found.shares("widths")).item()
    assert over_operators != pytest.approx(over_widths, rel=0.01)
    assert found.expected_macs(0.25).item() == pytest.approx(0.25 * over_operators + 0.75 * over_widths)


@pytest.mark.parametrize("two_sided", [True, False])
def test_a_network_exactly_at_the_end_of_its_range_leaves_the_price_alone(two_sided):
    controller = agd.Controller(10, 20, price=0.1, two_sided=two_sided)
    for macs in (10, 15, 20):
        assert controller.next_price(0.02, macs) == 0.02  # within the range, and small


def test_prices_are_updated_at_evenly_spaced_steps_and_written_down():
    found = control(steps=10)
    found.updates = 4
    for _ in range(10):
        found.update()
    assert [row[0] for row in found.record] == [0, 3, 5, 8]
    table = found.history()
    assert list(table.columns) == ["step", "macs", "price", "layer", "kind", "choice", "probability"]
    now = table[table.step == 10]
    assert (now.groupby(["layer", "kind"]).probability.sum() - 1).abs().max() < 1e-6
    expected = [(layer.name, "operator", choice) for layer in SMALL.layers for choice in layer.operators]
    expected += [(layer.name, "width", str(choice)) for layer in SMALL.layers for choice in layer.widths]
    assert list(now[["layer", "kind", "choice"]].itertuples(index=False, name=None)) == expected
    assert (now.macs == found.choices.macs()).all()


def test_budget_falls_when_the_dear_choice_loses():
    price = control(price=1.0)
    found = price.choices
    price.penalty().backward()
    dear = found.table.tables[3][:, -1, -1].argmax()
    for grads in (found.operators[3].grad, found.widths[3].grad):
        assert grads is not None
    assert found.operators[3].grad.argmax() == dear
    assert found.widths[3].grad[-1] > 0 > found.widths[3].grad[0]


@pytest.mark.parametrize(("low", "high", "factor"), [(1, 2, 2.0), (1e11, 1e12, 0.5), (1, 1e12, 1.0)])
def test_published_price_doubles_above_the_range_halves_below_and_rests_within(low, high, factor):
    found = control(0.1, low, high, two_sided=False)
    found.update()
    assert found.price == pytest.approx(0.1)  # nothing has been learned yet
    found.update()
    assert found.price == pytest.approx(0.1 * factor)


def prices(controller: agd.Controller, macs: float, start: float, updates: int = 50) -> list[float]:
    found = [start]
    for _ in range(updates):
        found.append(controller.next_price(found[-1], macs))
    return found


@pytest.mark.parametrize("two_sided", [True, False])
def test_a_price_of_zero_stays_zero(two_sided):
    dead = agd.Controller(1, 2, price=0.0, two_sided=two_sided)
    assert prices(dead, 1e9, 0.0)[-1] == prices(dead, 0.5, 0.0)[-1] == 0


def test_a_two_sided_price_turns_into_a_reward_and_back():
    controller = agd.Controller(1, 2, price=0.1)
    below = prices(controller, 0.5, 0.1)
    assert below[:6] == pytest.approx([0.1, 0.05, 0.025, 0.0125, -0.0125, -0.025])
    assert below[-1] == pytest.approx(-0.8)
    above = prices(controller, 3.0, -0.8)
    assert above[:8] == pytest.approx([-0.8, -0.4, -0.2, -0.1, -0.05, -0.025, -0.0125, 0.0125])
    assert above[-1] == pytest.approx(0.8)
    for price in (0.8, -0.8):
        assert abs(prices(controller, 1.5, price)[-1]) == pytest.approx(0.0125)


def test_record_holds_every_update():
    found = control(steps=4)
    for _ in range(4):
        found.update()
    history = found.history()
    assert sorted(set(history.step)) == [0, 1, 2, 3, 4]
    sums = history.groupby(["step", "layer", "kind"]).probability.sum()
    assert sums.to_numpy() == pytest.approx(1)
    assert set(history[history.layer == "cell1"].choice) == {*CELL_OPERATORS, *map(str, SMALL.layers[3].widths)}
    assert len(set(agd.PriceControl(choices(), agd.Controller(1, 2), 1000).history().step)) == 1


def test_controllers_refuse_what_they_cannot_keep():
    for wrong in ({"low": 2, "high": 1}, {"price": -1}, {"on_operators": 2}, {"warm_up": 2}):
        with pytest.raises(GancompError, match="A controller needs"):
            agd.Controller(**{"low": 1, "high": 2, **wrong})


# --- the search -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shoes():
    task = load_task("edges2shoes_unpaired")
    splits = {name: getattr(task, name) for name in ("train", "search", "test")}
    few = {name: PictureSet(split.sources[:40], split.targets[:40]) for name, split in splits.items()}
    return dataclasses.replace(task, **few, fingerprint=f"{task.fingerprint} a few")


@pytest.fixture(scope="module")
def teacher():
    return initialize(ResnetGenerator(ResnetArchitecture("8_8_8_8_8_8_8_8", 3, False, 1, 1)), 0).eval()


def searched(task, teacher, callbacks=()) -> agd.Search:
    return agd.search(task, teacher, SMALL, short_config(8, 4), agd.Controller(5e5, 8e5), callbacks=callbacks)


def test_search_finds_a_network_of_its_space(shoes, teacher):
    found = searched(shoes, teacher)
    assert found.architecture.derived
    assert cost(found.architecture, 32, 32).macs == found.macs
    assert found.macs in set(found.history.macs)
    assert isinstance(found.history, pd.DataFrame)
    assert {"content", "style", "chosen_content", "budget"} <= set(found.losses)
    moved = [logits for logits in found.choices.operators if len(logits) > 1 and logits.abs().max() > 0]
    assert len(moved) == 2  # both cells learned


def test_what_was_last_within_the_range_is_derived():
    price = control(steps=3)
    found, looks = price.choices, ([0] * len(SMALL.layers), [1] * len(SMALL.layers))
    macs = [found.table.exact(looks[0], each) for each in looks]
    for place in (0, 1, 0):
        with torch.no_grad():
            for logits in found.operators:
                logits.copy_(torch.eye(len(logits))[0])
            for logits in found.widths:
                logits.copy_(torch.eye(len(logits))[min(place, len(logits) - 1)])
        price.update()
    for which in (0, 1):
        controller = agd.Controller(macs[which] - 1, macs[which] + 1)
        assert agd.settled(SMALL, price.history(), controller) == SMALL.chosen(looks[0], looks[which])
    nowhere = agd.Controller(1, 2)
    assert agd.settled(SMALL, price.history(), nowhere) == SMALL.chosen(*[[0] * len(SMALL.layers)] * 2)


@pytest.mark.parametrize("step", [1, 4])  # in the warm-up, after which the step count begins again; in the search
def test_search_is_the_same_again_and_goes_on_where_it_was(shoes, teacher, tmp_path, step):
    whole = searched(shoes, teacher)
    parts = in_two_parts(
        lambda callbacks: searched(shoes, teacher, callbacks=callbacks), tmp_path / "search.ckpt", step
    )
    pd.testing.assert_frame_equal(whole.history, parts.history)
    for name, weight in whole.supernet.state_dict().items():
        assert torch.equal(weight, parts.supernet.state_dict()[name]), name


def test_weights_and_choices_learn_from_their_own_halves_chosen_alike(shoes, teacher):
    config = short_config(1, 2)
    batches = agd.HalvedBatches(shoes, agd.pictures_with_teacher(shoes, teacher), config)
    painted = teacher_pictures(teacher, shoes, "train")
    halves = [PictureSet(shoes.train.sources[part], painted[part]) for part in (slice(0, 20), slice(20, 40))]
    alone = [Batches(half, 2, 0, paired=True).at(3) for half in halves]
    batch, price = batches.at(3), control()
    networks = {"generator": AgdNetwork(SMALL), "choices": price.choices}
    outputs = agd.SearchOutputs(networks, batch, price)
    assert torch.equal(outputs.parts[0].source, alone[0].source)
    assert torch.equal(outputs.chosen.source, alone[1].source)
    assert torch.equal(outputs.chosen.teacher_picture, alone[1].target)
    assert len(outputs.parts) == 3


def test_impossible_ranges_are_refused_with_the_reachable_one(shoes, teacher):
    with pytest.raises(GancompError, match="No network of this space has 1 to 2 MACs: they have"):
        agd.search(shoes, teacher, SMALL, TrainConfig(2, 2), agd.Controller(1, 2))
    with pytest.raises(GancompError, match="from 1 channels to 1, and this architecture 1 times, from 3 to 3"):
        agd.search(shoes, teacher, translation_supernet(8, 2), TrainConfig(2, 2), agd.Controller(1e5, 2e5))


def test_derived_networks_and_others_learn_by_one_recipe(shoes, teacher):
    derived = SMALL.chosen([0] * 7, [0] * 7)
    ready = ResnetGenerator(ResnetArchitecture("8_8_8_8_8_8_8_8", 1, False, 1, 1))
    for student in (derived, initialize(ready, 0)):
        trained = agd.train_derived(shoes, student, short_config(2, 2), teacher=teacher)
        assert set(trained.models) == {"generator", "features"}
        assert trained.history.content.notna().all()


# --- what the course ships ------------------------------------------------------------------------------------------

SHIPPED = ("edges2shoes_unpaired", "flat2gloss_unpaired", "photos_x4")


RECORDED = [each for name in names("agd") for each in agd_searches_of(name) if each.row]


@pytest.mark.parametrize("found", RECORDED, ids=[f"{each.experiment.name} {each.experiment.seed}" for each in RECORDED])
def test_recorded_searches_end_within_their_range(found):
    macs = cost(found.architecture, found.side, found.side).macs
    assert macs in set(found.history.macs)
    assert macs == found.row["macs"]
    assert json.loads(found.row["found"])["layers"] == str(found.architecture)
    if found.controller.price:
        assert found.controller.low <= macs <= found.controller.high
    else:
        assert set(found.history.price) == {0.0}  # a dead controller


@pytest.mark.parametrize("task", SHIPPED)
def test_zoo_networks_are_what_the_recorded_searches_found(task):
    model = zoo.load(f"{task}/agd").models
    assert model["generator"].architecture == agd_search_of(task).architecture
    if "backward_generator" in model:
        assert model["backward_generator"].architecture == agd_search_of(f"{task}, back").architecture


def test_a_search_that_is_not_recorded_names_the_command(monkeypatch, tmp_path):
    (tmp_path / "zoo").symlink_to(data_root() / "zoo", target_is_directory=True)
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    with pytest.raises(GancompError, match="gancomp agd do"):
        _ = agd_search_of("photos_x4").history
    with pytest.raises(GancompError, match="choose one of edges2shoes_unpaired"):
        agd_search_of("horses")
