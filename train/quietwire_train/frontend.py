"""The analysis front end: spectrum and features, computed as the Rust runtime computes them.

Golden vectors (`golden.py`) hold this file and the Rust runtime to equal results; change both or
neither.

The features do not depend on the input level: powers are relative to a running level of the same
stream, and phase advances have no level.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

POWER_FLOOR = 1e-20  # -200 dB: below every clamp, only keeps the logarithm finite


@dataclass(frozen=True)
class FrontEnd:
    """Parameters of the features. An export writes them into `model.toml`."""

    rate_hz: int = 48_000
    window: int = 960  # samples
    hop: int = 480  # samples
    linear_bins: int = 65  # lowest bands, each one bin wide
    erb_step: float = 0.45  # spacing of the wider bands, in ERB numbers
    phase_bins: int = 64  # bins 1 to phase_bins have a phase advance
    level_first_bin: int = 2  # bins below 75 Hz do not count in the level
    level_attack: float = 0.1  # share of the distance per hop, upwards
    level_release_db: float = 0.03  # dB per hop (3 dB/s)
    level_floor_db: float = -100.0  # dBFS
    range_low_db: float = -80.0  # relative to the level; lower values are clamped
    range_high_db: float = 20.0  # relative to the level; higher values are clamped
    range_step_db: float = 20.0  # dB per unit of the feature
    range_offset: float = 2.0

    @property
    def bins(self) -> int:
        return self.window // 2 + 1

    @property
    def centers(self) -> list[int]:
        """Band centers in bins: one bin apart at first, then `erb_step` ERB numbers apart.

        ERB number of a frequency: Glasberg & Moore 1990, 21.4 log10(1 + 0.00437 f).
        """
        bin_hz = self.rate_hz / self.window
        centers = list(range(self.linear_bins))
        erb = 21.4 * np.log10(1 + 0.00437 * (centers[-1] * bin_hz))
        while True:
            erb += self.erb_step
            center = round(((10 ** (erb / 21.4) - 1) / 0.00437) / bin_hz)
            center = max(center, centers[-1] + 1)
            if center >= self.bins - 2:
                return [*centers, self.bins - 1]
            centers.append(center)

    @property
    def bands(self) -> int:
        return len(self.centers)

    @property
    def features(self) -> int:
        return self.bands + 2 * self.phase_bins

    def band_matrix(self) -> np.ndarray:
        """[bands, bins] triangular bands. Each column sums to 1, so unit gains give unit bin gains."""
        centers = self.centers
        matrix = np.zeros((len(centers), self.bins), dtype=np.float32)
        for band, (low, high) in enumerate(zip(centers, centers[1:])):
            for k in range(low, high):
                matrix[band, k] = (high - k) / (high - low)
                matrix[band + 1, k] = (k - low) / (high - low)
        matrix[-1, -1] = 1.0
        return matrix

    def window_values(self) -> np.ndarray:
        """[window] square root of a periodic Hann window: analysis times synthesis overlap-adds to 1."""
        n = np.arange(self.window, dtype=np.float64)
        return np.sin(np.pi * n / self.window).astype(np.float32)

    @property
    def power_scale(self) -> float:
        """Factor from |X|^2 summed over one-sided bins to the mean square of the window (Parseval)."""
        window = np.sin(np.pi * np.arange(self.window) / self.window)
        return float(2.0 / (self.window * np.sum(window**2)))

    def as_dict(self) -> dict:
        return asdict(self)


class Analysis:
    """Waveform to spectrum and features on one device."""

    def __init__(self, front: FrontEnd, device: torch.device | str = "cpu"):
        self.front = front
        self.window = torch.from_numpy(front.window_values()).to(device)
        self.bands = torch.from_numpy(front.band_matrix()).to(device)
        sign = 1.0 - 2.0 * (torch.arange(1, front.phase_bins + 1) % 2).float()
        # A hop of half a window advances the phase of bin k by k pi. Without that, the offset of the
        # signal from the bin's center frequency is left.
        self.sign = sign.to(device)

    def spectrum(self, wave: torch.Tensor) -> torch.Tensor:
        """[n, samples] -> [n, hops, bins] complex. The window of hop t ends at sample (t + 1) * hop.

        Samples before the first one count as zero.
        """
        front = self.front
        padded = torch.nn.functional.pad(wave, (front.window - front.hop, 0))
        windows = padded.unfold(-1, front.window, front.hop) * self.window
        return torch.fft.rfft(windows)

    def synthesis(self, spectrum: torch.Tensor) -> torch.Tensor:
        """[n, hops, bins] complex -> [n, hops * hop], one hop later than the input."""
        front = self.front
        windows = torch.fft.irfft(spectrum, n=front.window) * self.window
        head, tail = windows[..., : front.hop], windows[..., front.hop :]
        previous_tail = torch.nn.functional.pad(tail, (0, 0, 1, 0))[..., :-1, :]
        return (head + previous_tail).flatten(-2)

    def level(self, power: torch.Tensor) -> torch.Tensor:
        """[n, hops, bins] power -> [n, hops] running level in dBFS.

        A peak follower: fast attack, slow release. The first hop above the floor sets the level.
        """
        front = self.front
        now = 10 * torch.log10(power[..., front.level_first_bin :].sum(-1) + POWER_FLOOR)
        now = now.cpu().numpy().astype(np.float32)
        level = np.full(now.shape[0], front.level_floor_db, dtype=np.float32)
        started = np.zeros(now.shape[0], dtype=bool)
        out = np.empty_like(now)
        for hop in range(now.shape[1]):
            p = now[:, hop]
            up = level + np.float32(front.level_attack) * (p - level)
            down = np.maximum(level - np.float32(front.level_release_db), p)
            moved = np.where(p > level, up, down)
            level = np.where(started, moved, np.where(p > front.level_floor_db, p, level))
            started |= p > front.level_floor_db
            level = np.maximum(level, np.float32(front.level_floor_db))
            out[:, hop] = level
        return torch.from_numpy(out).to(power.device)

    def features(self, spectrum: torch.Tensor) -> torch.Tensor:
        """[n, hops, bins] complex -> [n, hops, features]."""
        front = self.front
        power = (spectrum.real.square() + spectrum.imag.square()) * front.power_scale
        level = self.level(power).unsqueeze(-1)
        band_db = 10 * torch.log10(power @ self.bands.T + POWER_FLOOR)
        relative = (band_db - level).clamp(front.range_low_db, front.range_high_db)
        relative = relative / front.range_step_db + front.range_offset

        now = spectrum[..., 1 : front.phase_bins + 1]
        before = torch.nn.functional.pad(now, (0, 0, 1, 0))[..., :-1, :]
        cross = now * before.conj()
        floor = torch.pow(10.0, (level + front.range_low_db) / 10) / front.power_scale
        norm = self.sign / (now.abs() * before.abs() + floor)
        return torch.cat([relative, cross.real * norm, cross.imag * norm], dim=-1)
