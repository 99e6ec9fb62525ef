"""The answers behind notebook 05's checks are what the library does, and its drawings show what they say."""

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from gancomp_core.course import figures
from gancomp_core.course.exercises import nb05
from gancomp_core.methods import agd
from gancomp_core.nets import translation_supernet
from gancomp_core.nets.agd import CELL_OPERATORS

SPACE = translation_supernet(8, 2, 1, 1)


def test_a_straight_through_draw_is_pytorch_s_with_the_same_noise():
    pull = torch.randn(5, generator=torch.Generator().manual_seed(1))
    for seed in range(5):
        ours, theirs = (torch.linspace(-1, 1, 5).requires_grad_() for _ in range(2))
        torch.manual_seed(seed)
        library = F.gumbel_softmax(theirs, hard=True)
        torch.manual_seed(seed)
        drawn = nb05.straight_through_sample(ours, -torch.empty(5).exponential_().log())
        assert torch.allclose(drawn, library)
        for value in (drawn, library):
            (value * pull).sum().backward()
        assert torch.allclose(ours.grad, theirs.grad)


def test_kept_channels_are_the_library_s():
    choices, widths = torch.rand(5), SPACE.layers[3].widths
    for width in widths:
        assert torch.equal(nb05.kept_channels(choices, widths, width), agd.kept_channels(choices, widths, width))


def test_expected_macs_are_the_library_s():
    table = agd.MacTable(SPACE, 16, 16)
    shares = [torch.rand(len(layer.widths)).double().softmax(0) for layer in SPACE.layers]
    operators = [0, 0, 0, 2, 3, 0, 0]
    tables = [each[operator] for each, operator in zip(table.tables, operators, strict=True)]
    ours = nb05.expected_macs(shares, tables) + table.tail @ shares[-1]
    assert torch.isclose(ours, table.of_widths(operators, shares))


def test_the_next_price_is_the_library_s():
    for price, macs, low, high in nb05.NEXT_PRICE.inputs:
        published = agd.Controller(low, high, price, two_sided=False)
        assert published.next_price(price, macs) == pytest.approx(nb05.next_price(price, macs, low, high))


def test_layer_bars_name_the_operators_that_were_chosen():
    derived = SPACE.chosen([0, 0, 0, 2, 3, 0, 0], [0, 1, 2, 3, 4, 0, 1])
    figure = figures.layer_bars(agd.describe(derived, 16, 16), [layer.widths[-1] for layer in SPACE.layers])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert f"{derived.layers[3].widths[0]} residual" in texts
    assert f"{derived.layers[4].widths[0]} dwsblock" in texts
    assert str(derived.layers[0].widths[0]) in texts  # no choice of operator, no name
    assert len({bar.get_hatch() for bar in figure.axes[0].patches}) >= 3
    _, axes = plt.subplots()
    assert isinstance(figures.layer_bars(agd.describe(derived, 16, 16), axes=axes), Figure)
    plt.close("all")


def test_the_operator_diagram_shows_every_convolution():
    figure = figures.operator_diagram(16, 16)
    assert [axes.get_title() for axes in figure.axes] == list(CELL_OPERATORS)
    kernels = {axes.get_title(): [t.get_text() for t in axes.texts if "x" in t.get_text()] for axes in figure.axes}
    assert kernels["residual"] == ["3x3", "3x3"]
    assert kernels["dwsblock"] == ["1x1", "3x3\ndepthwise", "1x1"]
    plt.close("all")
