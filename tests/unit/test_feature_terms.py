"""Content, style and total variation: what they see, and what they do not."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from gancomp_core.data import Batch
from gancomp_core.errors import GancompError
from gancomp_core.train import reconstruction
from gancomp_core.train.feature_maps import FeatureMaps, VggMaps
from gancomp_core.train.objectives import content, gram, style, total_variation
from gancomp_core.train.outputs import PairedOutputs

FEATURES = FeatureMaps()


def outputs(fake: Tensor, target: Tensor) -> PairedOutputs:
    return PairedOutputs({"generator": torch.nn.Identity(), "features": FEATURES}, Batch(fake, target))


def values(fake: Tensor, target: Tensor) -> dict[str, float]:
    _, found = (content() + style() + total_variation())(outputs(fake, target))
    return {name: float(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.nn.functional.interpolate(
        torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1, size=64, mode="bilinear"
    )


def test_equal_pictures_have_equal_content_and_style(pictures):
    found = values(pictures, pictures)
    assert found["content"] == found["style"] == 0
    assert found["total_variation"] > 0


def test_style_sees_less_of_where_things_are_than_content(pictures):
    found = values(pictures.roll(16, dims=-1), pictures)
    assert found["style"] < 0.2 * found["content"]


def test_both_grow_with_the_difference(pictures):
    small, large = (values(pictures + noise * torch.randn_like(pictures), pictures) for noise in (0.05, 0.5))
    assert small["content"] < large["content"]
    assert small["style"] < large["style"]


def test_gradients_reach_the_generated_picture_and_not_the_target(pictures):
    fake, target = (pictures * 0.9).requires_grad_(), pictures.clone().requires_grad_()
    total, _ = (content() + style())(outputs(fake, target))
    total.backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert target.grad is None


def test_gram_counts_products_of_channels():
    maps = torch.arange(12.0).view(1, 2, 2, 3)
    flat = maps.flatten(2)[0]
    assert torch.allclose(gram(maps)[0], flat @ flat.T / 6)
    shuffled = maps.flatten(2)[..., torch.randperm(6)].view_as(maps)
    assert torch.allclose(gram(shuffled), gram(maps))


def test_total_variation_is_the_mean_step_to_the_neighbors():
    ramp = torch.arange(4.0).expand(1, 1, 4, 4) / 10
    _, found = total_variation()(SimpleNamespace(fake=ramp))
    assert float(found["total_variation"]) == pytest.approx(0.1)  # nothing down, 0.1 across


def test_maps_of_small_pictures_are_those_of_enlarged_ones(pictures):
    shapes = [tuple(each.shape[1:]) for each in FEATURES(torch.zeros(1, 1, 32, 32))]
    assert shapes == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4)]
    assert [tuple(each.shape[1:]) for each in FEATURES(pictures)] == shapes


def test_the_feature_network_comes_when_a_term_asks_for_it():
    assert set((reconstruction() + 0.1 * style()).auxiliary_networks()) == {"features"}
    assert set(content().auxiliary_networks()) == {"features"}
    assert reconstruction().auxiliary_networks() == {}


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed here")
def test_vgg_without_torchvision_says_how_to_get_it():
    with pytest.raises(GancompError, match="pip install torchvision"):
        VggMaps()
