"""Spectra of the clip at several resolutions in the loss."""

import pytest
import torch

from quietwire_train.frontend import Analysis, FrontEnd
from quietwire_train.loss import RESOLUTIONS, Loss, LossWeights, Resolution, _Spectrum


def noise(seed: int, samples: int = 48000) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def analysis() -> Analysis:
    return Analysis(FrontEnd())


def test_the_gradient_of_a_spectrum_equals_pytorchs() -> None:
    grads = []
    for transform in (_Spectrum.apply, torch.fft.rfft):
        x = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        weight = torch.arange(9) + 1j * torch.arange(9).flip(0)
        (transform(x) * weight).abs().pow(1.5).sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)


def test_all_resolutions_have_the_scale_of_the_analysis(analysis: Analysis) -> None:
    wave = noise(1, 480000)
    expected = analysis.spectrum(wave).abs().square().mean()
    for window in RESOLUTIONS:
        found = Resolution(window, analysis, 0.35, "cpu").spectrum(wave).abs().square().mean()
        assert 0.95 < found / expected < 1.05, window


def distances(analysis: Analysis, estimate: torch.Tensor, bandwidth_hz: float, share: float) -> dict:
    target, noisy = analysis.spectrum(noise(1)), analysis.spectrum(noise(1) + noise(2))
    weights = LossWeights(multi_resolution=share)
    rest = (torch.zeros(1, target.shape[1]), torch.tensor([bandwidth_hz]))
    return Loss(analysis, weights)(noisy, target, (estimate.real, estimate.imag), *rest)[1]


def test_the_share_goes_from_one_spectrum_to_the_others(analysis: Analysis) -> None:
    target = analysis.spectrum(noise(1))
    equal = distances(analysis, target, 24000.0, 1.0)
    assert equal["magnitude"] < 1e-6 and equal["complex"] < 1e-6
    # A gain per hop that changes from hop to hop: the overlap-add smooths it, so the clip differs less.
    rough = target * (1 + 0.5 * (torch.arange(target.shape[1]) % 2))[None, :, None]
    zero, half, one = (distances(analysis, rough, 24000.0, share) for share in (0.0, 0.5, 1.0))
    assert one["magnitude"] < zero["magnitude"]
    for part in ("magnitude", "complex"):
        assert half[part] == pytest.approx((zero[part] + one[part]) / 2, rel=1e-4)


def test_bins_above_the_bandwidth_do_not_count(analysis: Analysis) -> None:
    wrong = analysis.spectrum(noise(1))
    wrong[..., 300:] *= 3.0  # above 15 kHz
    inside, outside = (distances(analysis, wrong, hz, 1.0)["magnitude"] for hz in (24000.0, 9000.0))
    assert outside < 1e-3 < 10 * inside
