"""The perceptual distance of a picture from its target."""

import math

import pytest
import torch
import torch.nn.functional as F

from factories import blur
from gancomp_core import data
from gancomp_core.errors import GancompError
from gancomp_core.measure import PerceptualDistance, perceptual_distance, psnr


@pytest.fixture(scope="module")
def shoes():
    """16 real shoes, float [16, 1, 32, 32] in [-1, 1]."""
    return data.load_task("edges2shoes").test.batch(slice(0, 16)).target


@pytest.fixture(scope="module")
def distance():
    return PerceptualDistance()


def test_equal_pictures_have_distance_nothing_and_any_order_the_same(shoes):
    assert perceptual_distance(shoes, shoes).tolist() == [0.0] * 16
    torch.testing.assert_close(perceptual_distance(shoes, blur(shoes, 3)), perceptual_distance(blur(shoes, 3), shoes))


def test_more_blur_is_further_and_another_shoe_further_than_a_shifted_one(shoes):
    blurred = [float(perceptual_distance(blur(shoes, width), shoes).mean()) for width in (3, 5, 7)]
    assert 0 < blurred[0] < blurred[1] < blurred[2] < 4
    shifted, other = shoes.roll(1, -1), shoes.roll(1, 0)
    assert bool((perceptual_distance(shifted, shoes) < perceptual_distance(other, shoes)).all())


def test_it_disagrees_with_psnr_where_people_do(shoes):
    """A shoe moved by one pixel is nearly the same shoe; a blurred one is not, though PSNR prefers it."""
    shifted, blurred = shoes.roll(1, -1), blur(shoes, 3)
    assert psnr(shifted, shoes).mean() < psnr(blurred, shoes).mean()
    assert perceptual_distance(shifted, shoes).mean() < perceptual_distance(blurred, shoes).mean()


def test_it_is_the_formula_of_its_definition(shoes, distance):
    a, b = shoes[:2], shoes[2:4]

    def maps(x):
        x = F.interpolate(x, size=(96, 96), mode="bilinear").expand(-1, 3, -1, -1)
        return distance.network.maps((x * 127.5 + 127.5 - 127) / 128, (0, 2, 4, 10, 15))

    expected = 0
    for p, q in zip(maps(a), maps(b), strict=True):
        expected = expected + 2 * (1 - F.cosine_similarity(p, q)).mean((1, 2)) / 5  # |p - q|^2 of unit vectors
    torch.testing.assert_close(distance(a, b), expected, rtol=1e-4, atol=1e-5)


def test_batches_color_and_values_beyond_the_range_change_nothing(shoes):
    expected = perceptual_distance(blur(shoes, 3), shoes)
    torch.testing.assert_close(perceptual_distance(blur(shoes, 3), shoes, batch_size=3), expected)
    rgb = [x.expand(-1, 3, -1, -1) for x in (blur(shoes, 3), shoes)]
    torch.testing.assert_close(perceptual_distance(*rgb), expected)
    beyond = shoes * 2
    torch.testing.assert_close(perceptual_distance(beyond, shoes), perceptual_distance(beyond.clamp(-1, 1), shoes))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(perceptual_distance(blur(shoes, 3), shoes), expected)


def test_as_a_loss_it_moves_a_picture_to_its_target_and_leaves_its_weights(shoes, distance):
    target = shoes[:2]
    picture = blur(target, 5).requires_grad_()
    optimizer = torch.optim.Adam([picture], 0.01)
    before = distance(picture, target).detach()
    for _ in range(20):
        optimizer.zero_grad()
        distance(picture, target).sum().backward()
        optimizer.step()
    assert bool((distance(picture, target) < 0.7 * before).all())
    assert all(not p.requires_grad and p.grad is None for p in distance.parameters())


def test_its_gradient_is_finite_where_pictures_are_equal_and_where_they_are_flat(distance):
    for picture in (torch.zeros(1, 3, 16, 16), -torch.ones(1, 3, 16, 16)):
        x = picture.clone().requires_grad_()
        distance(x, picture).sum().backward()
        assert bool(x.grad.isfinite().all())
        x.grad = None
        distance(x, picture.clone().fill_(0.5)).sum().backward()
        assert bool(x.grad.isfinite().all())


def test_under_autocast_the_loss_is_nearly_the_same_and_in_float32(shoes, distance):
    with torch.autocast("cpu", torch.bfloat16):
        found = distance(blur(shoes, 5), shoes)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, distance(blur(shoes, 5), shoes), rtol=0.1, atol=0.02)


def test_mistakes_are_told_in_a_sentence(shoes):
    with pytest.raises(GancompError, match="must have the same shape"):
        perceptual_distance(shoes, shoes[:4])
    with pytest.raises(GancompError, match=r"\[N, 1 or 3, H, W\]"):
        perceptual_distance(shoes.expand(-1, 4, -1, -1), shoes.expand(-1, 4, -1, -1))
    with pytest.raises(GancompError, match="batch_size is a whole number from 1"):
        perceptual_distance(shoes, shoes, batch_size=0)
    with pytest.raises(GancompError, match="NaN or infinite"):
        perceptual_distance(shoes * math.nan, shoes)
