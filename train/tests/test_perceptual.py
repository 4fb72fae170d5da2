"""The differentiable approximation of PESQ against PESQ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from quietwire_train.audio import resample
from quietwire_train.measures import pesq_wideband
from quietwire_train.perceptual import PerceptualDistance

SAMPLE = Path(__file__).parents[2] / "samples" / "office-fan.clean.flac"


def speech() -> np.ndarray:
    samples, rate_hz = soundfile.read(SAMPLE, dtype="float32")
    assert rate_hz == 48_000
    return samples


def distance(clean: np.ndarray, signal: np.ndarray, bandwidth_hz: float = 24_000.0) -> float:
    distance_of = PerceptualDistance()
    pair = (torch.from_numpy(x)[None] for x in (clean, signal))
    return float(distance_of(*pair, torch.tensor([bandwidth_hz]))[0])


def score(value: float) -> float:
    """Distance to the scale of P.862.2."""
    return float(0.999 + 4 / (1 + np.exp(-1.3669 * (4.5 - value) + 3.8224)))


def test_it_follows_wideband_pesq() -> None:
    clean = speech()
    rng = np.random.default_rng(1)
    white = rng.standard_normal(len(clean)).astype(np.float32)
    low = np.cumsum(white).astype(np.float32)
    low -= np.convolve(low, np.ones(4800) / 4800, "same").astype(np.float32)
    found, expected = [], []
    for noise in (white, low):
        for snr_db in (0, 10, 20, 30, 40):
            gain = np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
            signal = clean + noise * np.float32(gain)
            found.append(score(distance(clean, signal)))
            expected.append(pesq_wideband(*(resample(x, 48_000, 16_000) for x in (clean, signal))))
    assert np.corrcoef(found, expected)[0, 1] > 0.98, (found, expected)
    assert np.abs(np.subtract(found, expected)).mean() < 0.2, (found, expected)


def test_level_does_not_matter_and_equal_clips_have_no_distance() -> None:
    clean = speech()
    assert distance(clean, clean) < 0.01
    assert distance(clean, clean * np.float32(0.1)) < 0.01


def test_bands_above_the_bandwidth_do_not_count() -> None:
    clean = speech()
    rng = np.random.default_rng(2)
    spectrum = np.fft.rfft(rng.standard_normal(len(clean)))
    spectrum[: round(5000 / 24_000 * len(spectrum))] = 0
    signal = clean + 0.01 * np.fft.irfft(spectrum, len(clean)).astype(np.float32)
    assert distance(clean, signal) > 0.2
    assert distance(clean, signal, 4000.0) < 0.02


def test_the_gradient_is_finite_for_silence_and_for_equal_signals() -> None:
    clean = torch.from_numpy(speech()[:96_000])[None]
    for signal in (torch.zeros_like(clean), clean.clone(), torch.full_like(clean, 1e-12)):
        signal.requires_grad_()
        PerceptualDistance()(clean, signal, torch.tensor([24_000.0])).sum().backward()
        assert torch.isfinite(signal.grad).all()
