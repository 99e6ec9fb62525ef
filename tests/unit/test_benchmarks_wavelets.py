"""The benchmark of wavelet transforms compares things that do the same."""

import pytest
import torch

from benchmarks import wavelets


@pytest.mark.parametrize("wavelet", wavelets.WAVELETS)
def test_all_libraries_compute_the_same_details_and_gradients(wavelet: str) -> None:
    gradients = []
    for make in (wavelets.gancomp, *wavelets.OTHERS.values()):
        pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        found = make(wavelet)(pictures)
        weights = [torch.rand(band.shape, generator=torch.Generator().manual_seed(1)) for band in found]
        torch.stack([(band * weight).sum() for band, weight in zip(found, weights, strict=True)]).sum().backward()
        gradients.append((found, pictures.grad))
    (ours, ours_grad), *others = gradients
    for theirs, theirs_grad in others:
        assert len(theirs) == len(ours) == 3 * wavelets.LEVELS
        for band, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(band, other, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours_grad, theirs_grad, atol=1e-3, rtol=1e-3)


def test_symmetric_gradients_of_pytorch_wavelets_differ_as_the_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wavelets, "MODE", "symmetric")
    gradients = {}
    for make in (wavelets.gancomp, *wavelets.OTHERS.values()):
        pictures = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
        torch.stack([band.square().sum() for band in make("db3")(pictures)]).sum().backward()
        gradients[make.__name__] = pictures.grad
    torch.testing.assert_close(gradients["gancomp"], gradients["with_ptwt"], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(gradients["gancomp"], gradients["with_pytorch_wavelets"], atol=1e-2)
