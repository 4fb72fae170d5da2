"""DNSMOS with a gradient against the published model, and its part in the loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from quietwire_train.audio import resample
from quietwire_train.dnsmos import SAMPLES, dnsmos
from quietwire_train.dnsmos_torch import Dnsmos, resample_to_16_khz
from quietwire_train.frontend import Analysis, FrontEnd
from quietwire_train.loss import DNSMOS_MAX_GRADIENT, Loss, LossWeights, _dnsmos_input

SAMPLE = Path(__file__).parents[2] / "samples" / "office-fan.clean.flac"


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    samples, rate_hz = soundfile.read(SAMPLE, dtype="float32")
    assert rate_hz == 48_000
    return samples


@pytest.mark.parametrize("snr_db", [0, 15, 60])
def test_it_equals_the_published_score(speech: np.ndarray, snr_db: int) -> None:
    noise = np.random.default_rng(1).standard_normal(len(speech)).astype(np.float32)
    noise *= np.float32(np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20))
    clip = np.resize(resample(speech + noise, 48_000, 16_000), SAMPLES).astype(np.float32)
    with torch.no_grad():
        found = Dnsmos().scores(torch.from_numpy(clip)[None])[0].tolist()
    published = dnsmos(clip)
    assert found == pytest.approx([published["bak"], published["ovrl"]], abs=1e-3)


def test_in_bfloat16_it_is_nearly_the_same(speech: np.ndarray) -> None:
    clip = torch.from_numpy(speech[48_000:144_000])[None]
    clip = clip + 0.02 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for bf16 in (False, True):
        wave = clip.clone().requires_grad_()
        scores = Dnsmos(bf16=bf16)(wave)
        (slope,) = torch.autograd.grad(scores[0, 1], wave)
        found.append((scores.detach(), slope))
    (scores, slope), (rounded, rounded_slope) = found
    torch.testing.assert_close(rounded, scores, atol=0.03, rtol=0)
    assert torch.cosine_similarity(slope, rounded_slope) > 0.7


def test_a_third_of_the_rate_keeps_what_is_below_8_khz() -> None:
    seconds = np.arange(48_000) / 48_000
    low, high = np.sin(2 * np.pi * 1000 * seconds), np.sin(2 * np.pi * 10_000 * seconds)
    found = resample_to_16_khz(torch.from_numpy(low + high)[None])[0].numpy()
    np.testing.assert_allclose(found, low[::3], atol=1e-9)


@pytest.mark.parametrize("level", [0.0, 1e-12, 1.0])
def test_the_gradient_has_a_bound(speech: np.ndarray, level: float) -> None:
    analysis = Analysis(FrontEnd())
    clip = torch.from_numpy(speech[48_000:96_000])[None]
    noisy = analysis.spectrum(
        clip + 0.01 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(1))
    )
    estimate = (analysis.spectrum(clip) * level).requires_grad_()
    Dnsmos()(analysis.synthesis(_dnsmos_input(estimate, noisy))).sum().backward()
    assert torch.isfinite(estimate.grad.abs()).all()
    assert 0 < (estimate.grad.abs() * noisy.abs()).norm() <= DNSMOS_MAX_GRADIENT


def test_each_clip_has_a_bound_of_its_own(speech: np.ndarray) -> None:
    analysis = Analysis(FrontEnd())
    clips = torch.from_numpy(np.stack([speech[48_000:96_000], speech[96_000:144_000]]))
    noisy = analysis.spectrum(
        clips + 0.02 * torch.randn(clips.shape, generator=torch.Generator().manual_seed(1))
    )
    slopes = []
    for at in ([0], [1], [0, 1]):
        estimate = noisy[at].clone().requires_grad_()
        Dnsmos()(analysis.synthesis(_dnsmos_input(estimate, noisy[at])))[:, 1].sum().backward()
        slopes.append(estimate.grad * noisy[at].abs())
    # The gradient through two equal maxima is arbitrary, so single bins may differ.
    joint, single = slopes[2].flatten(1), torch.cat(slopes[:2]).flatten(1)
    similarity = (joint * single.conj()).sum(1).real / (joint.norm(dim=1) * single.norm(dim=1))
    assert similarity.min() > 0.99
    torch.testing.assert_close(joint.norm(dim=1), single.norm(dim=1), atol=0, rtol=0.02)


def test_the_loss_decreases_with_the_score(speech: np.ndarray) -> None:
    analysis = Analysis(FrontEnd())
    clip = torch.from_numpy(speech[48_000:96_000])[None]
    spectrum = analysis.spectrum(clip)
    noisy = 1.5 * spectrum
    estimate = (spectrum.real, spectrum.imag)
    rest = (noisy, spectrum, estimate, torch.zeros(spectrum.shape[:2]), torch.tensor([24_000.0]))
    without, parts = Loss(analysis, LossWeights())(*rest)
    assert "dnsmos_ovrl" not in parts
    total, parts = Loss(analysis, LossWeights(dnsmos=0.5, dnsmos_bak=0.25))(*rest)
    assert 1.0 < parts["dnsmos_ovrl"] < parts["dnsmos_bak"] < 5.0
    weighted = 0.5 * parts["dnsmos_ovrl"] + 0.25 * parts["dnsmos_bak"]
    assert float(without - total) == pytest.approx(weighted, abs=1e-5)


def test_the_noisier_half_of_the_improved_clips_is_scored(speech: np.ndarray) -> None:
    analysis = Analysis(FrontEnd())
    clip = torch.from_numpy(speech[48_000:96_000])
    hiss = torch.randn(clip.shape, generator=torch.Generator().manual_seed(1))
    speech_of = torch.tensor([1, 1, 1, 1, 0, 1])
    hiss_of = torch.tensor([0.03, 0.004, 0.01, 0.2, 0.1, 0.02])
    left_of = torch.tensor([0.3, 0.3, 0.3, 0.9, 0.3, 0.6])
    target = analysis.spectrum(speech_of[:, None] * clip)
    noise = analysis.spectrum(hiss_of[:, None] * hiss)
    noisy, result = target + noise, target + left_of[:, None, None] * noise
    loss = Loss(analysis, LossWeights(dnsmos=1.0))
    with torch.no_grad():
        scores = loss.dnsmos(analysis.synthesis(_dnsmos_input(result, noisy)))[:, 1]
        estimate, vad = (result.real, result.imag), torch.zeros(noisy.shape[:2])
        ovrl = loss(noisy, target, estimate, vad, torch.full((6,), 24_000.0))[1]["dnsmos_ovrl"]
    # The fifth clip has no speech. The fourth has most noise, but has not improved enough.
    assert ovrl == pytest.approx(float(scores[[0, 2, 5]].mean()), abs=1e-4)
    for others in ([0, 3, 5], [0, 1, 2], [0, 1, 2, 5]):
        assert abs(ovrl - float(scores[others].mean())) > 0.005, (others, scores)
