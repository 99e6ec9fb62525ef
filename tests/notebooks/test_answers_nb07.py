"""The answers behind notebook 07's checks are what the library does."""

import pytest
import torch

from gancomp_core.course.exercises import nb07
from gancomp_core.methods.quantization import AffineMap, asymmetric, mse
from gancomp_core.methods.quantization import straight_through as straight_through_of_the_library


@pytest.mark.parametrize("span", nb07._SPANS, ids=str)
def test_the_ruler_is_the_library_s(span):
    by = asymmetric(nb07._span(*span[:2]), span[2])
    assert by.scale == pytest.approx(nb07._scale(*span))
    assert by.zero_point == nb07._zero_point(*span)
    x = 2 * torch.randn(400, generator=torch.Generator().manual_seed(1))
    assert torch.equal(by.quantize(x).float(), nb07._whole(x, *span))


def test_the_chosen_range_errs_little_more_than_the_library_s():
    """The library also moves each end alone."""
    for seed, bits in enumerate((2, 3, 4, 6)):
        values = torch.randn(2000, generator=torch.Generator().manual_seed(seed)) ** 3
        ends = nb07._right_range(values, [share / 64 for share in range(1, 65)], bits)
        ours, theirs = (nb07._mse(values, tuple(map(float, span)), bits) for span in (ends, mse(values, bits)))
        assert theirs <= ours * 1.0001


def test_the_staircase_and_its_slope_are_the_library_s():
    for scale, zero_point, least, greatest in ((0.02, 100, 0, 255), (0.5, 0, -4, 3)):
        bits, signed = (greatest - least + 1).bit_length() - 1, least < 0
        by = AffineMap(torch.tensor(scale), torch.tensor(zero_point, dtype=torch.int32), bits, signed)
        x = 3 * torch.randn(500, generator=torch.Generator().manual_seed(2))
        wanted = straight_through_of_the_library(x, by)
        assert torch.allclose(nb07._rounded(x, scale, zero_point, least, greatest), wanted, atol=1e-5)


def test_the_wrong_values_of_the_suspects_are_wrong():
    """No suspect of the scales or zero points gives the right answers to all spans."""
    for suspects, right in ((nb07._SCALES, nb07._scale), (nb07._ZEROS, nb07._zero_point)):
        for suspect in suspects:
            assert any(suspect.formula(*span) != pytest.approx(right(*span)) for span in nb07._SPANS), suspect.hint
