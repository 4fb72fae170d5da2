"""The training loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .dnsmos_torch import Dnsmos
from .frontend import Analysis
from .perceptual import PerceptualDistance


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss; a part with weight 0 is not computed, unless it is logged."""

    compression: float = 0.3  # exponent of the compressed spectra
    magnitude: float = 0.7  # compressed magnitude
    complex: float = 0.3  # compressed complex spectrum
    multi_resolution: float = 0.0  # share of both, 0 to 1, measured on spectra of the clip, see Loss
    lost_speech: float = 1.0  # factor on magnitude errors where the estimate is below the target
    sdr: float = 0.015  # per dB of signal-to-distortion ratio
    perceptual: float = 0.02  # perceptual distance, see perceptual.py
    noise_residue: float = 0.0  # per dB of what is left of noise where there is no speech, see noise_residue_db
    dnsmos: float = 0.0  # DNSMOS OVRL, of the noisier half of the clips of a call
    dnsmos_bak: float = 0.0  # DNSMOS BAK, of the same clips
    regression_penalty: float = 0.0  # amount by which noisy clips end below their input, see Loss
    distillation: float = 0.6  # share of spectrum and SDR measured to a teacher, if there is one
    vad: float = 0.05  # cross-entropy of the speech detector
    high_bin: float = 0.35  # weight of a bin above 8 kHz, which matters less to listeners


# Parts of the loss by their names before 0.2.
OLD_WEIGHT_NAMES = {
    "opinion": "dnsmos",
    "background": "dnsmos_bak",
    "worse": "regression_penalty",
    "taught": "distillation",
}

# Windows of the spectra of a resynthesized clip, samples at 48 kHz: 5 to 43 ms. DeepFilterNet
# (Schroeter et al. 2022) uses the same.
RESOLUTIONS = (256, 512, 1024, 2048)

# DNSMOS takes the logarithm of powers, whose gradient has no bound near silence. The input is
# therefore added 30 dB below the estimate, and the gradient of each clip is limited in norm.
DNSMOS_DRY = 10 ** (-30 / 20)
DNSMOS_MAX_GRADIENT = 5.0
# The regression penalty counts clips whose input has a noise-to-signal ratio above this. Cleaner
# clips lose with any processing.
REGRESSION_MIN_NSR_DB = -20.0
# DNSMOS counts only clips whose SDR has improved by this much: it also rewards noise that sounds
# like a voice.
DNSMOS_MIN_GAIN_DB = 3.0


# The noise residue is measured in blocks of hops, half a second long, of which at least half have no speech
# and a target this far below the input.
RESIDUE_BLOCK = 50
RESIDUE_MIN_NOISE_DB = 20.0
# It counts from this attenuation on, up to RESIDUE_MAX_DB above. The compressed spectra hardly see a line 40 dB
# below the input, and the other parts see all that is louder than 20 dB below.
RESIDUE_ATTENUATION_DB = 50.0
RESIDUE_MAX_DB = 30.0
# Power of a bin in dBFS that counts as none.
RESIDUE_FLOOR_DBFS = -130.0


def _dnsmos_input(estimate: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
    """Spectra [n, hops, bins] -> the estimate with some input added and a limited gradient."""
    size = noisy.abs()

    def limit(gradient: torch.Tensor) -> torch.Tensor:
        norms = (gradient.abs() * size).norm(dim=(1, 2), keepdim=True)
        return gradient * (DNSMOS_MAX_GRADIENT / norms.clamp_min(DNSMOS_MAX_GRADIENT))

    mixed = estimate * (1 - DNSMOS_DRY) + DNSMOS_DRY * noisy
    if mixed.requires_grad:
        mixed.register_hook(limit)
    return mixed


def _speech_mean(values: torch.Tensor, has_speech: torch.Tensor) -> torch.Tensor:
    """Mean of `values` [n] over the clips with speech; 0 when there are none."""
    return (values * has_speech).sum() / has_speech.sum().clamp_min(1)


class _Spectrum(torch.autograd.Function):
    """[..., window] -> one-sided spectrum.

    PyTorch's gradient of `rfft` is a complex transform of all bins; this one is a real transform.
    """

    @staticmethod
    def forward(ctx, windows: torch.Tensor) -> torch.Tensor:
        ctx.window = windows.shape[-1]
        return torch.fft.rfft(windows)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:
        # `irfft` adds both halves of the spectrum, but only one is an output.
        grad = torch.cat([grad[..., :1], 0.5 * grad[..., 1:-1], grad[..., -1:]], -1)
        return torch.fft.irfft(grad, n=ctx.window, norm="forward")


class Resolution:
    """Spectra with one window length, half overlapping, on the scale of the analysis spectrum."""

    def __init__(self, window: int, analysis: Analysis, high_bin: float, device: torch.device | str) -> None:
        hann = torch.hann_window(window, device=device)
        # White noise has the same power per bin as in the analysis spectrum.
        self.window = hann * (analysis.window.square().sum() / hann.square().sum()).sqrt()
        self.size = window
        self.hz = torch.arange(window // 2 + 1, device=device) * (analysis.front.rate_hz / window)
        self.bin_weight = torch.where(self.hz > 8000, high_bin, 1.0)

    def spectrum(self, wave: torch.Tensor) -> torch.Tensor:
        """[n, samples] -> [n, windows, bins] complex."""
        return _Spectrum.apply(wave.unfold(-1, self.size, self.size // 2) * self.window)


class Loss:
    """Compressed complex spectrum (Braun & Tashev 2021) with a penalty on lost speech, plus SDR,
    perceptual distance of the resynthesized clip and cross-entropy of the speech detector.

    The compressed spectra are those of the network's front end. `multi_resolution` is the share that
    is measured on spectra of the resynthesized clip instead, as the mean over RESOLUTIONS.

    With a weight: what is left of noise alone, DNSMOS scores of the clip, and the regression penalty, which is
    relu(rise of the perceptual distance over the input's) + 0.1 relu(loss of SDR in dB).
    """

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
        self.dnsmos = Dnsmos(device, bf16) if weights.dnsmos or weights.dnsmos_bak else None
        bins = torch.arange(front.bins, device=device)
        self.hz = bins * (front.rate_hz / front.window)
        self.bin_weight = torch.where(self.hz > 8000, weights.high_bin, 1.0)
        # Critical bands per Hz (Traunmueller 1990), so that every critical band counts alike.
        self.critical_bands = 26.81 * 1960.0 / (1960.0 + self.hz).square()
        self.resolutions = [
            Resolution(window, analysis, weights.high_bin, device)
            for window in (RESOLUTIONS if weights.multi_resolution else ())
        ]

    def __call__(
        self,
        noisy: torch.Tensor,
        target: torch.Tensor,
        estimate: tuple[torch.Tensor, torch.Tensor],
        vad_logit: torch.Tensor,
        bandwidth_hz: torch.Tensor,
        teacher: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss and its parts.

        Spectra are [n, hops, bins], `estimate` as real and imaginary part, `vad_logit` [n, hops].
        `bandwidth_hz` [n]: the target has no valid content above it, and those bins do not count; a
        model trained to match an empty band would learn to delete highs. `teacher` is the estimate of
        another network, valid in all bins.
        """
        w = self.weights
        # Each clip is normalized to its input's power, so that loud and quiet clips count alike.
        mean_square = (noisy.real.square() + noisy.imag.square()).mean((1, 2), keepdim=True)
        scale = torch.rsqrt(mean_square + 1e-12)
        scaled = (estimate[0] * scale, estimate[1] * scale)
        valid = (self.hz[None, :] <= bandwidth_hz[:, None])[:, None, :].float()
        magnitude, phase, sdr, nsr_db, signal, has_speech = self._distances(scaled, target * scale, valid)

        # The resynthesized clip includes the overlap-add of neighboring windows.
        wave = self.analysis.synthesis(torch.complex(*estimate))
        reference = self.analysis.synthesis(target)
        if w.multi_resolution:
            waves = (wave * scale[:, 0], reference * scale[:, 0])
            magnitude_of_clip, phase_of_clip = self._distances_of_clip(*waves, bandwidth_hz)
            magnitude = torch.lerp(magnitude, magnitude_of_clip, w.multi_resolution)
            phase = torch.lerp(phase, phase_of_clip, w.multi_resolution)
        distances = self.perceptual(reference, wave, bandwidth_hz)
        distance = _speech_mean(distances, has_speech)

        speech = self.speech_hops(target)
        vad = torch.nn.functional.binary_cross_entropy_with_logits(vad_logit, speech)

        spectral = w.magnitude * magnitude + w.complex * phase + w.sdr * sdr
        teacher_sdr = torch.tensor(0.0)
        if teacher is not None:
            all_bins = torch.ones_like(valid)
            magnitude_to, phase_to, teacher_sdr, *_ = self._distances(scaled, teacher * scale, all_bins)
            to_teacher = w.magnitude * magnitude_to + w.complex * phase_to + w.sdr * teacher_sdr
            spectral = (1 - w.distillation) * spectral + w.distillation * to_teacher
        total = spectral + w.vad * vad + w.perceptual * distance
        residue_db = torch.tensor(0.0)
        if w.noise_residue:
            residue_db = self.noise_residue_db(noisy, target, estimate)
            total = total + w.noise_residue * residue_db
        regression = bak = ovrl = torch.tensor(0.0)
        if w.regression_penalty or self.dnsmos is not None:
            with torch.no_grad():
                noise = ((noisy - target).abs() * scale).square() * valid
                input_nsr_db = 10 * torch.log10(noise.sum((1, 2)) / signal.clamp_min(1e-6) + 1e-3)
        if w.regression_penalty:
            with torch.no_grad():
                before = self.perceptual(reference, self.analysis.synthesis(noisy), bandwidth_hz)
            lost = torch.relu(distances - before) + 0.1 * torch.relu(nsr_db - input_nsr_db)
            regression = _speech_mean(lost * (input_nsr_db > REGRESSION_MIN_NSR_DB), has_speech)
            total = total + w.regression_penalty * regression
        if self.dnsmos is not None:
            improved = has_speech & (input_nsr_db - nsr_db.detach() > DNSMOS_MIN_GAIN_DB)
            if improved.any():
                # The noisiest clips have most DNSMOS to gain and least of the other parts to lose.
                order = torch.where(improved, input_nsr_db, -math.inf).argsort(descending=True)
                chosen = order[: min((len(noisy) + 1) // 2, int(improved.sum()))]
                mixed = _dnsmos_input(torch.complex(*estimate)[chosen], noisy[chosen])
                bak, ovrl = self.dnsmos(self.analysis.synthesis(mixed)).mean(0)
                total = total - w.dnsmos * ovrl - w.dnsmos_bak * bak
        parts = {
            "loss": total.item(),
            "magnitude": magnitude.item(),
            "complex": phase.item(),
            "sdr_db": -sdr.item(),
            "perceptual": distance.item(),
            "vad": vad.item(),
        }
        if teacher is not None:
            parts["teacher_sdr_db"] = -teacher_sdr.item()
        if w.noise_residue:
            parts["noise_residue_db"] = residue_db.item()
        if w.regression_penalty:
            parts["regression"] = regression.item()
        if self.dnsmos is not None:
            parts |= {"dnsmos_bak": bak.item(), "dnsmos_ovrl": ovrl.item()}
        return total, parts

    def _distances(
        self, estimate: tuple[torch.Tensor, torch.Tensor], reference: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Distances over the bins where `valid` [n, 1, bins] is 1.

        Returns compressed magnitude error, compressed complex error and mean noise-to-signal ratio in
        dB (scalars); then that ratio, the power of `reference` and whether it has speech, each [n].
        """
        est_re, est_im = estimate
        ref_re, ref_im = reference.real, reference.imag
        weight = valid * self.bin_weight
        magnitude, phase = self._compressed(estimate, (ref_re, ref_im), weight)

        error = (((est_re - ref_re).square() + (est_im - ref_im).square()) * valid).sum((1, 2))
        signal = ((ref_re.square() + ref_im.square() + 1e-8) * valid).sum((1, 2))
        has_speech = signal > 1e-3 * reference.shape[1] * reference.shape[2]
        # The soft floor at -30 dB keeps clips that are nearly clean from dominating the batch.
        nsr_db = 10 * torch.log10(error / signal.clamp_min(1e-6) + 1e-3)
        return magnitude, phase, _speech_mean(nsr_db, has_speech), nsr_db, signal, has_speech

    def _distances_of_clip(
        self, wave: torch.Tensor, reference: torch.Tensor, bandwidth_hz: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compressed magnitude and complex errors of a clip [n, samples], means over the resolutions."""
        errors = []
        for one in self.resolutions:
            valid = (one.hz[None, :] <= bandwidth_hz[:, None])[:, None, :].float()
            spectra = (one.spectrum(wave), one.spectrum(reference))
            estimate, target = ((spectrum.real, spectrum.imag) for spectrum in spectra)
            errors.append(torch.stack(self._compressed(estimate, target, valid * one.bin_weight)))
        magnitude, phase = torch.stack(errors).mean(0)
        return magnitude, phase

    def _compressed(
        self,
        estimate: tuple[torch.Tensor, torch.Tensor],
        reference: tuple[torch.Tensor, torch.Tensor],
        weight: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean errors of compressed magnitude and compressed complex spectrum, `weight` [n, 1, bins].

        Spectra are (real, imaginary), each [n, hops, bins].
        """
        w = self.weights
        (est_re, est_im), (ref_re, ref_im) = estimate, reference
        weight_sum = weight.sum() * ref_re.shape[1]
        est_power = est_re.square() + est_im.square() + 1e-8
        ref_power = ref_re.square() + ref_im.square() + 1e-8
        # |X|^c, and the factor that compresses X without changing its phase.
        est_factor = est_power.pow((w.compression - 1) / 2)
        ref_factor = ref_power.pow((w.compression - 1) / 2)
        est_mag = est_power.sqrt() * est_factor
        ref_mag = ref_power.sqrt() * ref_factor
        lost = torch.where(est_mag < ref_mag, w.lost_speech, 1.0)
        magnitude = ((est_mag - ref_mag).square() * lost * weight).sum() / weight_sum
        difference = (est_re * est_factor - ref_re * ref_factor).square() + (
            est_im * est_factor - ref_im * ref_factor
        ).square()
        return magnitude, (difference * weight).sum() / weight_sum

    def noise_residue_db(
        self, noisy: torch.Tensor, target: torch.Tensor, estimate: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """What is left of noise where there is no speech, in dB above its limit, 0 to RESIDUE_MAX_DB: the mean
        over blocks and critical bands.

        The power of a bin is its mean over the hops without speech of a block, so a steady line counts in full.
        The limit is RESIDUE_ATTENUATION_DB below the input, or the target if that is higher. Spectra are
        [n, hops, bins], `estimate` as real and imaginary part. 0 without such a block.
        """
        blocks = noisy.shape[1] // RESIDUE_BLOCK
        if blocks == 0:
            return torch.tensor(0.0, device=noisy.device)
        powers = [re.square() + im.square() for re, im in ((z.real, z.imag) for z in (noisy, target))]
        least = 10 ** (-RESIDUE_MIN_NOISE_DB / 10)
        alone = (self.speech_hops(target) == 0) & (powers[1].sum(-1) < least * powers[0].sum(-1))

        def mean(power: torch.Tensor) -> torch.Tensor:
            inside = (power * alone[..., None])[:, : blocks * RESIDUE_BLOCK].unflatten(1, (blocks, RESIDUE_BLOCK))
            return inside.sum(2) / counts.clamp_min(1)[..., None]

        counts = alone[:, : blocks * RESIDUE_BLOCK].unflatten(1, (blocks, RESIDUE_BLOCK)).sum(2)
        floor = 10 ** (RESIDUE_FLOOR_DBFS / 10) / self.front.power_scale
        limit = torch.maximum(mean(powers[0]) * 10 ** (-RESIDUE_ATTENUATION_DB / 10), mean(powers[1]))
        left = mean(estimate[0].square() + estimate[1].square())
        excess_db = 10 * torch.log10((left + floor) / (limit + floor))
        weight = (counts >= RESIDUE_BLOCK // 2)[..., None] * self.critical_bands
        return (excess_db.clamp(0.0, RESIDUE_MAX_DB) * weight).sum() / weight.sum().clamp_min(1)

    def speech_hops(self, target: torch.Tensor) -> torch.Tensor:
        """[n, hops, bins] clean spectrum -> [n, hops]: 1 where the hop is within 35 dB of the loudest
        hop of the clip and above -75 dBFS."""
        power = (target.real.square() + target.imag.square()).sum(-1) * self.front.power_scale
        power_db = 10 * torch.log10(power + 1e-12)
        loudest = power_db.amax(-1, keepdim=True)
        return ((power_db > loudest - 35) & (power_db > -75)).float()
