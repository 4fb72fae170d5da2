"""Moved formants: what moves, and what must not."""

import numpy as np
import pytest
from scipy.signal import lfilter

from quietwire_train.data import RATE_HZ, power_db
from quietwire_train.tract import move_formants

FORMANTS_HZ = (700.0, 1200.0, 2600.0)


def vowel(first_hz: float, last_hz: float) -> np.ndarray:
    """Four seconds of pulses through three resonances, the pitch gliding."""
    count = 4 * RATE_HZ
    phase = np.cumsum(np.linspace(first_hz, last_hz, count)) / RATE_HZ
    signal = (np.diff(np.floor(phase), prepend=0.0) > 0.0).astype(float)
    for centre_hz, width_hz in zip(FORMANTS_HZ, (80.0, 90.0, 120.0)):
        radius = np.exp(-np.pi * width_hz / RATE_HZ)
        turn = 2.0 * radius * np.cos(2.0 * np.pi * centre_hz / RATE_HZ)
        signal = lfilter([1.0 - radius], [1.0, -turn, radius**2], signal)
    return (0.3 * signal / np.abs(signal).max()).astype(np.float32)


def peaks_hz(signal: np.ndarray, near_hz: list[float]) -> np.ndarray:
    """Where the long-term spectrum, smoothed over 120 Hz, is highest within 15 % of each frequency."""
    power = np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) ** 2
    bin_hz = RATE_HZ / len(signal)
    smooth = np.convolve(power, np.hanning(round(120.0 / bin_hz)), "same")
    found = []
    for hz in near_hz:
        low, high = round(0.85 * hz / bin_hz), round(1.15 * hz / bin_hz)
        found.append((low + np.argmax(smooth[low:high])) * bin_hz)
    return np.array(found)


@pytest.mark.parametrize("factor", [0.87, 1.15])
def test_formants_move_and_the_pitch_stays(factor: float) -> None:
    moved = move_formants(vowel(80.0, 140.0), factor, RATE_HZ / 2)
    wanted = [factor * hz for hz in FORMANTS_HZ]
    np.testing.assert_allclose(peaks_hz(moved, wanted), wanted, rtol=0.06)

    steady = move_formants(vowel(110.0, 110.0), factor, RATE_HZ / 2)
    lines = np.abs(np.fft.rfft(steady[RATE_HZ : 2 * RATE_HZ] * np.hanning(RATE_HZ)))[:3000]
    assert np.argmax(lines) % 110 == 0
    between = np.concatenate([lines[k + 30 : k + 80] for k in range(110, 2800, 110)])
    assert between.max() < 0.05 * lines.max()


def test_nothing_moves_by_a_factor_of_one() -> None:
    signal = vowel(180.0, 260.0)
    assert power_db(move_formants(signal, 1.0, 8000.0) - signal) < power_db(signal) - 100.0


@pytest.mark.parametrize("factor", [0.85, 1.18])
def test_the_end_of_the_band_and_silence_stay(factor: float) -> None:
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft(rng.standard_normal(2 * RATE_HZ))
    spectrum[2 * 8000 :] = 0.0
    noise = 0.1 * np.fft.irfft(spectrum).astype(np.float32)
    noise[RATE_HZ:] = 0.0
    moved = move_formants(noise, factor, 8000.0)
    assert len(moved) == len(noise)
    assert not moved[RATE_HZ + 2048 :].any()
    power = np.abs(np.fft.rfft(moved[:RATE_HZ] * np.hanning(RATE_HZ))) ** 2
    assert power[8200:].max() < 1e-4 * power[:8000].mean()
    assert power[7700:7950].mean() > 0.5 * power[3000:5000].mean()
