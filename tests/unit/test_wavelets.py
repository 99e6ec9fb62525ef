"""Wavelet transforms equal PyWavelets', go back to the picture, and let gradients through."""

import numpy as np
import pytest
import pywt
import torch

from factories import pictures
from gancomp_core.errors import GancompError
from gancomp_core.measure.wavelets import MODES, band_errors, inverse_wavelet_transform, wavelet_transform

WAVELETS = [name for family in ("haar", "db", "sym", "coif", "bior", "rbio", "dmey") for name in pywt.wavelist(family)]
SIZES = [(32, 32), (33, 20), (17, 31)]


def largest_difference(found, expected):
    """Between our pyramid and the list of PyWavelets, divided by the largest coefficient."""
    low, *details = expected
    pairs = [(found.low, low)]
    for ours, theirs in zip(found.details, reversed(details), strict=True):
        pairs += zip(ours, theirs, strict=True)
    assert all(tuple(ours.shape) == theirs.shape for ours, theirs in pairs)
    return max(np.abs(ours.numpy() - theirs).max() for ours, theirs in pairs) / np.abs(low).max()


@pytest.mark.filterwarnings("ignore:Level value")  # PyWavelets warns of levels whose filters are longer than pictures
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wavelet", WAVELETS)
def test_every_wavelet_and_mode_equals_pywavelets(wavelet, mode):
    for number, size in enumerate(SIZES):
        for levels in (1, 2, 3, 4) if number == 0 else (2 + number,):
            x = pictures(2, 3, *size).double()
            expected = pywt.wavedec2(x.numpy(), wavelet, mode, levels)
            assert largest_difference(wavelet_transform(x, wavelet, levels, mode), expected) < 1e-10
            single = wavelet_transform(x.float(), wavelet, levels, mode)
            assert single.low.dtype == torch.float32
            assert largest_difference(single, expected) < 1e-5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wavelet", ["haar", "db3", "sym4", "coif1", "bior4.4", "rbio1.3"])
def test_the_inverse_gives_the_pictures_back(wavelet, mode):
    for size in SIZES:
        x = pictures(2, 1, *size).double()
        back = inverse_wavelet_transform(wavelet_transform(x, wavelet, 3, mode), size, wavelet, mode)
        torch.testing.assert_close(back, x, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("wavelet", "size"), [("haar", (8, 6)), ("haar", (7, 6)), ("db3", (8, 7))])
def test_gradients_are_right(wavelet, size):
    x = pictures(1, 2, *size).double().requires_grad_()

    def coefficients(x):
        found = wavelet_transform(x, wavelet, 2)
        return found.low, *(band for details in found.details for band in details)

    assert torch.autograd.gradcheck(coefficients, (x,))


def test_constant_pictures_have_no_details_and_edges_answer_in_their_own_band():
    flat = wavelet_transform(torch.full((1, 1, 16, 16), 0.5), "db3", 2)
    assert all(band.abs().max() < 1e-6 for details in flat.details for band in details)
    rows = torch.zeros(1, 1, 16, 16)
    rows[..., 7:, :] = 1  # an edge that lies horizontally
    (details,) = wavelet_transform(rows, "haar", 1).details
    assert details.horizontal.abs().max() > 0.5
    assert details.vertical.abs().max() == details.diagonal.abs().max() == 0


def test_orthogonal_wavelets_keep_the_energy():
    x = pictures(2, 3, 32, 32).double()
    found = wavelet_transform(x, "db2", 3, "periodization")
    energy = found.low.square().sum() + sum(band.square().sum() for details in found.details for band in details)
    torch.testing.assert_close(energy, x.square().sum())


def test_half_precision_is_computed_in_single_and_what_inference_prepared_serves_a_training():
    x = pictures(1, 1, 18, 18)
    with torch.inference_mode():
        wavelet_transform(x, "db5", 1)
    trained = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = wavelet_transform(trained, "db5", 1)
    assert found.low.dtype == torch.float32
    torch.testing.assert_close(found.low, wavelet_transform(x, "db5", 1).low)
    found.low.sum().backward()
    assert trained.grad is not None
    assert wavelet_transform(x.bfloat16(), "haar", 1).low.dtype == torch.float32


def test_band_errors_tell_which_band_is_wrong():
    real = pictures(4, 1, 32, 32).double()
    assert set(band_errors(real, real).values()) == {0.0}
    pyramid = wavelet_transform(real, "haar", 3)
    finest = type(pyramid.details[0])(*(torch.zeros_like(band) for band in pyramid.details[0]))
    blurred = inverse_wavelet_transform(type(pyramid)(pyramid.low, (finest, *pyramid.details[1:])), (32, 32))
    errors = band_errors(blurred, real)
    assert list(errors) == ["low", "level 3", "level 2", "level 1"]
    assert errors["level 1"] == pytest.approx(1)
    assert max(errors[band] for band in ("low", "level 3", "level 2")) < 1e-10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wavelet": "morl"}, "no discrete wavelet 'morl'"),
        ({"mode": "wrap"}, "no border mode 'wrap'; choose one of 'zero', 'symmetric'"),
        ({"levels": 0}, "at least 1 level, not 0"),
        ({"pictures": torch.zeros(1, 1, 1, 8)}, "at least 2 x 2 pixels"),
        ({"pictures": torch.zeros(1, 1, 8, 8, dtype=torch.uint8)}, "floating-point pictures"),
    ],
)
def test_bad_input_gets_one_sentence(change, message):
    with pytest.raises(GancompError, match=message):
        wavelet_transform(**({"pictures": torch.zeros(1, 1, 8, 8)} | change))
