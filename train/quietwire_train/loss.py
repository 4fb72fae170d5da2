"""What training minimises."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .frontend import Analysis
from .opinion import Opinion
from .perceptual import PerceptualDistance


@dataclass(frozen=True)
class LossWeights:
    """Shares of the parts. `lost_speech` weighs a bin whose speech was taken away; 1: like any other."""

    compression: float = 0.3
    magnitude: float = 0.7
    complex: float = 0.3
    lost_speech: float = 1.0
    sdr: float = 0.015
    perceptual: float = 0.02
    opinion: float = 0.0  # of the noisier half of the clips in each call
    background: float = 0.0  # the same clips' scores of the background alone
    worse: float = 0.0  # what noisy clips lose against their input, in PESQ points and tenths of a dB
    taught: float = 0.6  # share of spectrum and ratio measured to a teacher's result, where there is one
    vad: float = 0.05
    high_bin: float = 0.35  # weight of a bin above 8 kHz, which counts less for the ear


# The opinion score hears powers in decibels, whose slope has no bound where little is left: it is
# given the result with the input 30 dB below it, and its slope, as one of the mask, has a largest norm.
OPINION_DRY = 10 ** (-30 / 20)
OPINION_SLOPE = 5.0
# A clip whose input is cleaner than that loses by whatever is done to it.
NOISY_DB = -20.0
# What has not become that much more like the speech is not asked for its opinion score: it may have become
# more like a voice that is the noise.
OPINION_GAIN_DB = 3.0


def _steady(estimate: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
    """Spectra [n, hops, bins] -> the estimates as the opinion score is to hear them."""
    size = noisy.abs()

    def limit(slope: torch.Tensor) -> torch.Tensor:
        norms = (slope.abs() * size).norm(dim=(1, 2), keepdim=True)
        return slope * (OPINION_SLOPE / norms.clamp_min(OPINION_SLOPE))

    heard = estimate * (1 - OPINION_DRY) + OPINION_DRY * noisy
    if heard.requires_grad:
        heard.register_hook(limit)
    return heard


def _mean(values: torch.Tensor, loud: torch.Tensor) -> torch.Tensor:
    """Of the clips [n] with speech; 0 when there are none."""
    return (values * loud).sum() / loud.sum().clamp_min(1)


class Loss:
    """Compressed complex spectrum (Braun & Tashev 2021) with a penalty on lost speech,
    a signal-to-distortion ratio, a perceptual distance of the resynthesised clip, a speech detector's
    cross-entropy and, where they have a weight, the clip's predicted opinion scores and what it loses
    against its input in ratio and distance."""

    def __init__(
        self,
        analysis: Analysis,
        weights: LossWeights,
        device: torch.device | str = "cpu",
        bf16: bool = False,
    ):
        self.analysis, self.front, self.weights = analysis, analysis.front, weights
        front = self.front
        self.perceptual = PerceptualDistance(device)
        self.opinion = Opinion(device, bf16) if weights.opinion or weights.background else None
        bins = torch.arange(front.bins, device=device)
        self.hz = bins * (front.rate_hz / front.window)
        self.bin_weight = torch.where(self.hz > 8000, weights.high_bin, 1.0)

    def __call__(
        self,
        noisy: torch.Tensor,
        target: torch.Tensor,
        estimate: tuple[torch.Tensor, torch.Tensor],
        vad_logit: torch.Tensor,
        bandwidth_hz: torch.Tensor,
        teacher: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Spectra [n, hops, bins]; `bandwidth_hz` [n]: bins above it say nothing, and are left
        out, or the model would learn to delete highs that the clean recording never had. `teacher` is
        what another network makes of `noisy`, in all bins."""
        w = self.weights
        # Loud and quiet clips count the same.
        mean_square = (noisy.real.square() + noisy.imag.square()).mean((1, 2), keepdim=True)
        scale = torch.rsqrt(mean_square + 1e-12)
        scaled = (estimate[0] * scale, estimate[1] * scale)
        known = (self.hz[None, :] <= bandwidth_hz[:, None])[:, None, :].float()
        magnitude, phase, sdr, ratio_db, signal, loud = self._distances(scaled, target * scale, known)

        # The sound of the result: what overlapping frames leave of each other's corrections.
        wave = self.analysis.synthesis(torch.complex(*estimate))
        reference = self.analysis.synthesis(target)
        distances = self.perceptual(reference, wave, bandwidth_hz)
        distance = _mean(distances, loud)

        speech = self.speech_hops(target)
        vad = torch.nn.functional.binary_cross_entropy_with_logits(vad_logit, speech)

        spectral = w.magnitude * magnitude + w.complex * phase + w.sdr * sdr
        agreed = torch.tensor(0.0)
        if teacher is not None:
            every = torch.ones_like(known)
            magnitude_to, phase_to, agreed, *_ = self._distances(scaled, teacher * scale, every)
            to_teacher = w.magnitude * magnitude_to + w.complex * phase_to + w.sdr * agreed
            spectral = (1 - w.taught) * spectral + w.taught * to_teacher
        total = spectral + w.vad * vad + w.perceptual * distance
        worse = background = opinion = torch.tensor(0.0)
        if w.worse or self.opinion is not None:
            with torch.no_grad():
                left = ((noisy - target).abs() * scale).square() * known
                left_db = 10 * torch.log10(left.sum((1, 2)) / signal.clamp_min(1e-6) + 1e-3)
        if w.worse:
            with torch.no_grad():
                heard = self.perceptual(reference, self.analysis.synthesis(noisy), bandwidth_hz)
            lost = torch.relu(distances - heard) + 0.1 * torch.relu(ratio_db - left_db)
            worse = _mean(lost * (left_db > NOISY_DB), loud)
            total = total + w.worse * worse
        if self.opinion is not None:
            gained = loud & (left_db - ratio_db.detach() > OPINION_GAIN_DB)
            if gained.any():
                # Where there is most noise, most of the opinion is to be won, and least else to be lost.
                noisiest = torch.where(gained, left_db, -math.inf).argsort(descending=True)
                at = noisiest[: min((len(noisy) + 1) // 2, int(gained.sum()))]
                heard = _steady(torch.complex(*estimate)[at], noisy[at])
                background, opinion = self.opinion(self.analysis.synthesis(heard)).mean(0)
                total = total - w.opinion * opinion - w.background * background
        parts = {
            "loss": total.item(),
            "magnitude": magnitude.item(),
            "complex": phase.item(),
            "sdr_db": -sdr.item(),
            "agreed_db": -agreed.item(),
            "perceptual": distance.item(),
            "worse": worse.item(),
            "background": background.item(),
            "opinion": opinion.item(),
            "vad": vad.item(),
        }
        return total, parts

    def _distances(
        self, estimate: tuple[torch.Tensor, torch.Tensor], reference: torch.Tensor, known: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Compressed magnitude and spectrum, mean noise-to-signal ratio in dB; that ratio, the power of
        `reference` and whether there is any, each [n]: of the bins where `known` [n, 1, bins] is 1."""
        w = self.weights
        est_re, est_im = estimate
        ref_re, ref_im = reference.real, reference.imag
        weight = known * self.bin_weight
        weight_sum = weight.sum() * reference.shape[1]
        est_power = est_re.square() + est_im.square() + 1e-8
        ref_power = ref_re.square() + ref_im.square() + 1e-8
        # |X|^c and the factor that compresses X keeping its phase
        est_factor = est_power.pow((w.compression - 1) / 2)
        ref_factor = ref_power.pow((w.compression - 1) / 2)
        est_mag = est_power.sqrt() * est_factor
        ref_mag = ref_power.sqrt() * ref_factor
        lost = torch.where(est_mag < ref_mag, w.lost_speech, 1.0)
        magnitude = ((est_mag - ref_mag).square() * lost * weight).sum() / weight_sum
        difference = (est_re * est_factor - ref_re * ref_factor).square() + (
            est_im * est_factor - ref_im * ref_factor
        ).square()
        phase = (difference * weight).sum() / weight_sum

        error = (((est_re - ref_re).square() + (est_im - ref_im).square()) * known).sum((1, 2))
        signal = (ref_power * known).sum((1, 2))
        loud = signal > 1e-3 * reference.shape[1] * reference.shape[2]
        # The soft floor of -30 dB keeps clips that are already clean from ruling the batch.
        ratio_db = 10 * torch.log10(error / signal.clamp_min(1e-6) + 1e-3)
        return magnitude, phase, _mean(ratio_db, loud), ratio_db, signal, loud

    def speech_hops(self, target: torch.Tensor) -> torch.Tensor:
        """[n, hops, bins] clean spectrum -> [n, hops] 1 where speech is within 35 dB of the
        clip's loudest hop and above -75 dBFS."""
        power = (target.real.square() + target.imag.square()).sum(-1) * self.front.power_scale
        power_db = 10 * torch.log10(power + 1e-12)
        loudest = power_db.amax(-1, keepdim=True)
        return ((power_db > loudest - 35) & (power_db > -75)).float()
