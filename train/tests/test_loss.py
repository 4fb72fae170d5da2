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


def test_a_steady_line_in_a_pause_counts_by_its_level(analysis: Analysis) -> None:
    time_s = torch.arange(96000) / 48000
    noisy = analysis.spectrum(noise(1, 96000) + 0.1 * torch.sin(2 * torch.pi * 150 * time_s)[None])
    target = torch.zeros_like(noisy)
    loss = Loss(analysis, LossWeights(noise_residue=0.01))

    def residue_db(left: torch.Tensor) -> float:
        estimate = (left.real.clone().requires_grad_(), left.imag.clone().requires_grad_())
        found = loss.noise_residue_db(noisy, target, estimate)
        found.backward()
        assert all(part.grad.isfinite().all() for part in estimate)
        return found.item()

    assert residue_db(noisy * 10 ** (-55 / 20)) == 0.0
    assert residue_db(noisy * 10 ** (-38 / 20)) == pytest.approx(12.0, abs=0.01)
    assert residue_db(noisy) == pytest.approx(30.0, abs=1e-3)  # the other parts see it
    line = noisy * 10 ** (-55 / 20)
    line[..., 3] *= 10 ** (20 / 20)  # 35 dB below the input
    assert residue_db(line) == pytest.approx(
        15.0 * (loss.critical_bands[3] / loss.critical_bands.sum()).item(), rel=1e-2
    )


def test_speech_and_clean_input_have_no_noise_residue(analysis: Analysis) -> None:
    speech = analysis.spectrum(noise(1, 96000))
    loss = Loss(analysis, LossWeights(noise_residue=0.01))
    for noisy in (speech, speech + analysis.spectrum(noise(2, 96000))):
        assert loss.noise_residue_db(noisy, speech, (noisy.real, noisy.imag)) == 0.0
    # A target that hisses is no reason to count its hiss.
    quiet = 1e-3 * speech
    quiet[:, :5] *= 1000
    noisy = quiet + 0.1 * speech
    assert loss.noise_residue_db(noisy, quiet, (quiet.real, quiet.imag)) == 0.0
    assert loss.noise_residue_db(noisy, quiet, (noisy.real, noisy.imag)) > 5.0
    short = speech[:, :20]
    assert loss.noise_residue_db(short, 0 * short, (short.real, short.imag)) == 0.0
