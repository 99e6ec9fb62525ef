"""The answers behind notebook 07's checks are what the library does."""

import pytest
import torch

from gancomp_core.course.exercises import nb07
from gancomp_core.methods.quantization import AffineMap, Range, asymmetric, mse
from gancomp_core.methods.quantization import straight_through as straight_through_of_the_library


@pytest.mark.parametrize("given", nb07.AFFINE_QUANTIZE.inputs, ids=lambda given: str(given[1:]))
def test_the_ruler_is_the_library_s(given):
    x, low, high, bits = given
    q, scale, zero_point = nb07.affine_quantize(x, low, high, bits)
    by = asymmetric(Range(torch.tensor(low), torch.tensor(high)), bits)
    assert by.scale == pytest.approx(scale)
    assert by.zero_point == zero_point
    assert torch.equal(by.quantize(x).float(), q)


def test_the_chosen_range_errs_little_more_than_the_library_s():
    """The library also moves each end alone."""
    for seed, bits in enumerate((2, 3, 4, 6)):
        values = torch.randn(2000, generator=torch.Generator().manual_seed(seed)) ** 3
        ends = nb07.clipping_range(values, [share / 64 for share in range(1, 65)], bits)
        spans = [tuple(map(float, span)) for span in (ends, mse(values, bits))]
        ours, theirs = (nb07._squared(nb07._error(values, span, bits)) for span in spans)
        assert theirs <= ours * 1.0001


def test_the_staircase_and_its_slope_are_the_library_s():
    for scale, zero_point, least, greatest in ((0.02, 100, 0, 255), (0.5, 0, -4, 3)):
        bits, signed = (greatest - least + 1).bit_length() - 1, least < 0
        by = AffineMap(torch.tensor(scale), torch.tensor(zero_point, dtype=torch.int32), bits, signed)
        x = 3 * torch.randn(500, generator=torch.Generator().manual_seed(2))
        wanted = straight_through_of_the_library(x, by)
        assert torch.allclose(nb07.straight_through(x, scale, zero_point, least, greatest), wanted, atol=1e-5)
