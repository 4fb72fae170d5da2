"""The opinion score with a gradient against the published one, and its part in the loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from quietwire_train.data import resample
from quietwire_train.dnsmos import SAMPLES, dnsmos
from quietwire_train.frontend import Analysis, FrontEnd
from quietwire_train.loss import OPINION_SLOPE, Loss, LossWeights, _steady
from quietwire_train.opinion import Opinion, at_16_khz

SAMPLE = Path(__file__).parents[2] / "samples" / "office-fan.clean.flac"


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    samples, rate_hz = soundfile.read(SAMPLE, dtype="float32")
    assert rate_hz == 48_000
    return samples


@pytest.mark.parametrize("snr_db", [0, 15, 60])
def test_it_is_the_published_score(speech: np.ndarray, snr_db: int) -> None:
    noise = np.random.default_rng(1).standard_normal(len(speech)).astype(np.float32)
    noise *= np.float32(np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20))
    clip = np.resize(resample(speech + noise, 48_000, 16_000), SAMPLES).astype(np.float32)
    with torch.no_grad():
        found = Opinion().scores(torch.from_numpy(clip)[None])[0].tolist()
    published = dnsmos(clip)
    assert found == pytest.approx([published["bak"], published["ovrl"]], abs=1e-3)


def test_a_third_of_the_rate_keeps_what_is_below_8_khz() -> None:
    seconds = np.arange(48_000) / 48_000
    low, high = np.sin(2 * np.pi * 1000 * seconds), np.sin(2 * np.pi * 10_000 * seconds)
    found = at_16_khz(torch.from_numpy(low + high)[None])[0].numpy()
    np.testing.assert_allclose(found, low[::3], atol=1e-9)


@pytest.mark.parametrize("level", [0.0, 1e-12, 1.0])
def test_the_gradient_has_a_bound(speech: np.ndarray, level: float) -> None:
    analysis = Analysis(FrontEnd())
    clip = torch.from_numpy(speech[48_000:96_000])[None]
    noisy = analysis.spectrum(
        clip + 0.01 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(1))
    )
    estimate = (analysis.spectrum(clip) * level).requires_grad_()
    Opinion()(analysis.synthesis(_steady(estimate, noisy))).sum().backward()
    assert torch.isfinite(estimate.grad.abs()).all()
    assert 0 < (estimate.grad.abs() * noisy.abs()).norm() <= OPINION_SLOPE


def test_the_loss_falls_with_the_score_that_it_tells(speech: np.ndarray) -> None:
    analysis = Analysis(FrontEnd())
    clip = torch.from_numpy(speech[48_000:96_000])[None]
    spectrum = analysis.spectrum(clip)
    estimate = (spectrum.real, spectrum.imag)
    rest = (spectrum, spectrum, estimate, torch.zeros(spectrum.shape[:2]), torch.tensor([24_000.0]))
    without, parts = Loss(analysis, LossWeights())(*rest)
    assert parts["opinion"] == 0.0
    told, parts = Loss(analysis, LossWeights(opinion=0.5, background=0.25))(*rest)
    assert 1.0 < parts["opinion"] < parts["background"] < 5.0
    said = 0.5 * parts["opinion"] + 0.25 * parts["background"]
    assert float(without - told) == pytest.approx(said, abs=1e-5)
