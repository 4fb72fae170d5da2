"""A differentiable approximation of wideband PESQ, on spectra.

The perceptual model of ITU-T P.862 with the wideband input filter of P.862.2. Bark powers are
equalized for the channel and for gain and converted to loudness. The difference of two loudnesses
outside a dead zone is the disturbance; added energy counts more than removed energy. There is no
time alignment (training pairs are aligned), levels are set in the spectrum, and the tables are
those of the standard's 16 kHz model. Its 32 ms windows are 1536 samples at 48 kHz, which gives the
same 31.25 Hz bins.
"""

from __future__ import annotations

import numpy as np
import torch

WINDOW = 1536
HOP = 768
BINS = 256  # 0..8 kHz
BIN_HZ = 31.25

# Bins of each Bark band, its width in Bark, its correction of power density and the hearing
# threshold as power: P.862, Annex A source, `pesqpar.h`, 16 kHz.
# fmt: off
BAND_BINS = (
    1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4,
    3, 4, 5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20,
)
BAND_BARK = (
    0.157344, 0.317994, 0.322441, 0.326934, 0.331474, 0.336061, 0.340697, 0.345381, 0.350114,
    0.354897, 0.359729, 0.364611, 0.369544, 0.374529, 0.379565, 0.384653, 0.389794, 0.394989,
    0.400236, 0.405538, 0.410894, 0.416306, 0.421773, 0.427297, 0.432877, 0.438514, 0.444209,
    0.449962, 0.455774, 0.461645, 0.467577, 0.473569, 0.479621, 0.485736, 0.491912, 0.498151,
    0.504454, 0.510819, 0.517250, 0.523745, 0.530308, 0.536934, 0.543629, 0.550390, 0.557220,
    0.564119, 0.571085, 0.578125, 0.585232,
)
BAND_CORRECTION = (
    100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 50.0, 100.0, 100.0, 100.0, 100.0,
    100.0, 53.047077, 110.000046, 117.991989, 65.0, 68.760147, 69.999931, 71.428818, 75.000038,
    76.843384, 80.968781, 88.646126, 63.864388, 68.155350, 72.547775, 75.584831, 58.379192,
    80.950836, 64.135651, 54.384785, 73.821884, 64.437073, 59.176456, 65.521278, 61.399822,
    58.144047, 57.004543, 64.126297, 54.311001, 61.114979, 55.077751, 56.849335, 55.628868,
    53.137054, 54.985844, 79.546974,
)
BAND_THRESHOLD = (
    51286152.0, 2454709.5, 70794.59375, 4897.788574, 1174.897705, 389.045166, 104.71286, 45.70882,
    17.782795, 9.772372, 4.897789, 3.090296, 1.905461, 1.258925, 0.977237, 0.724436, 0.562341,
    0.457088, 0.389045, 0.331131, 0.295121, 0.269153, 0.25704, 0.251189, 0.251189, 0.251189,
    0.251189, 0.263027, 0.288403, 0.30903, 0.338844, 0.371535, 0.398107, 0.436516, 0.467735,
    0.489779, 0.501187, 0.501187, 0.512861, 0.524807, 0.524807, 0.524807, 0.512861, 0.47863,
    0.42658, 0.371535, 0.363078, 0.416869, 0.537032,
)
# fmt: on
POWER_SCALE = 6.910853e-6  # Sp of the standard
LOUDNESS_SCALE = 0.1866055  # Sl of the standard
LEVEL = 1e7  # mean square in 325..3250 Hz that both signals are set to


class _Power(torch.autograd.Function):
    """Windows [..., WINDOW] -> power [..., BINS].

    PyTorch's gradient of `rfft` is a complex transform of all bins; this one is a real transform.
    """

    @staticmethod
    def forward(ctx, windows: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(windows)[..., :BINS]
        ctx.save_for_backward(spectrum)
        return spectrum.real.square() + spectrum.imag.square()

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:
        (spectrum,) = ctx.saved_tensors
        # d|X_k|^2 / dx_n = 2 Re(X_k e^{2 pi i k n / N}), which `irfft` sums, with 1/N, over k and -k.
        grad = torch.cat([2 * grad[..., :1], grad[..., 1:]], -1)
        return torch.fft.irfft(spectrum * grad, n=WINDOW, norm="forward")


class PerceptualDistance:
    """Distance of a clip from its reference: the PESQ disturbance before the final mapping."""

    def __init__(self, device: torch.device | str = "cpu"):
        def tensor(values) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        self.window = torch.hann_window(WINDOW, device=device)
        edges = np.cumsum((0, *BAND_BINS))
        matrix = np.zeros((BINS, len(BAND_BINS)), np.float32)
        for band, (low, high) in enumerate(zip(edges, edges[1:])):
            matrix[low:high, band] = BAND_CORRECTION[band]
        hz = np.arange(BINS) * BIN_HZ
        self.high_hz = tensor(edges[1:] * BIN_HZ)
        # Input filter of P.862.2 as its reference code has it: one second-order section.
        z = np.exp(-2j * np.pi * hz / 16000)
        shape = (2.740826 - 5.4816519 * z + 2.740826 * z**2) / (1 - 1.9444777 * z + 0.94597794 * z**2)
        # A spectrum at 48 kHz is three times as large as that of the same window at 16 kHz.
        scale = POWER_SCALE * np.abs(shape) ** 2 / 9
        scale[0] = 0.0
        self.matrix = tensor(matrix * scale[:, None])
        # Mean square of the 16 kHz signal in the band that sets the level, from one-sided power.
        in_band = (hz >= 325) & (hz <= 3250)
        self.level = tensor(in_band * 2.0 / (WINDOW * np.sum(np.hanning(WINDOW + 1) ** 2)))
        self.bark = tensor(BAND_BARK)
        self.bark[0] = 0.0  # the standard leaves the lowest band out of all sums
        self.total_bark = float(self.bark.sum())
        self.threshold = tensor(BAND_THRESHOLD)
        center = np.cumsum(BAND_BARK) - np.array(BAND_BARK) / 2
        self.exponent = tensor(np.clip(6 / (center + 2), 1, 2) ** 0.15 * 0.23)

    def spectrum(self, wave: torch.Tensor) -> torch.Tensor:
        """[n, samples] at 48 kHz -> power [n, windows, bins]."""
        return _Power.apply(wave.unfold(-1, WINDOW, HOP) * self.window)

    def __call__(
        self, reference: torch.Tensor, signal: torch.Tensor, bandwidth_hz: torch.Tensor
    ) -> torch.Tensor:
        """Waveforms [n, samples] at 48 kHz, 0.4 s or longer -> distance [n], about 0 to 4.5.

        Bands above `bandwidth_hz` [n] do not count.
        """
        valid = (self.high_hz[None, :] <= bandwidth_hz[:, None]).float()[:, None, :]
        ref = self._bark_power(reference, valid)
        deg = self._bark_power(signal, valid)

        # Channel equalization: the mean of each band over windows with speech, applied to the reference.
        speech = (self._audible(ref, 100.0) >= LEVEL)[..., None]
        audible = self.threshold * 100
        ref_mean = (ref * ((ref > audible) & speech)).mean(1, keepdim=True)
        deg_mean = (deg * ((deg > audible) & speech)).mean(1, keepdim=True)
        ref = ref * ((deg_mean + 1000) / (ref_mean + 1000)).clamp(0.01, 100.0)
        # Gain equalization: the smoothed gain of each window, applied to the signal.
        ratio = (self._audible(ref, 1.0) + 5e3) / (self._audible(deg, 1.0) + 5e3)
        ratio = torch.cat([ratio[:, :1], 0.8 * ratio[:, 1:] + 0.2 * ratio[:, :-1]], 1)
        deg = deg * ratio.clamp(3e-4, 5.0)[..., None]

        ref_loud, deg_loud = self._loudness(ref), self._loudness(deg)
        dead_zone = 0.25 * torch.minimum(ref_loud, deg_loud)
        difference = deg_loud - ref_loud
        disturbance = difference.sign() * (difference.abs() - dead_zone).clamp_min(0)
        asymmetry = ((deg + 50) / (ref + 50)).pow(1.2)
        asymmetry = torch.where(asymmetry < 3, 0.0, asymmetry.clamp_max(12.0))

        weighted = disturbance * self.bark
        symmetric = ((weighted.square().sum(-1) * self.total_bark) + 1e-9).sqrt()
        asymmetric = (weighted * asymmetry).abs().sum(-1)
        importance = ((self._audible(ref, 1.0) + 1e5) / 1e7).pow(0.04)
        return 0.1 * self._over_time(symmetric / importance) + 0.0309 * self._over_time(
            asymmetric / importance
        )

    def _bark_power(self, wave: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        power = self.spectrum(wave)
        # The standard divides by a length with 0.32 s of padding, and by 1.04684.
        seconds = wave.shape[-1] / 48_000
        level = (power @ self.level).mean(1) / (1.04684 * (1 + 0.32 / seconds))
        return (power * (LEVEL / (level + 1e-12))[:, None, None]) @ self.matrix * valid

    def _audible(self, power: torch.Tensor, factor: float) -> torch.Tensor:
        return (power * (power > self.threshold * factor)).sum(-1)

    def _loudness(self, power: torch.Tensor) -> torch.Tensor:
        """Zwicker's law in the form of P.862."""
        excess = (0.5 + 0.5 * power / self.threshold).clamp_min(1.0)
        return LOUDNESS_SCALE * (2 * self.threshold).pow(self.exponent) * (excess.pow(self.exponent) - 1)

    @staticmethod
    def _over_time(values: torch.Tensor) -> torch.Tensor:
        """L6 norm over 20 windows (0.32 s), half overlapping, then L2 norm over those."""
        values = values.clamp_max(45.0)
        parts = values.unfold(-1, 20, 10)
        return ((parts + 1e-6).pow(6).mean(-1)).pow(1 / 3).mean(-1).add(1e-9).sqrt()
