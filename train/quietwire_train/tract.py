"""Other vocal tracts: formants moved, pitch and tempo kept.

A change of speed scales pitch, formants and tempo by one factor; people differ in them apart. Here
the spectral envelope of each frame is read at other frequencies, and the spectrum gets the ratio of
the new envelope to the old as a gain: harmonics stay where they are. The envelope is the low
cepstrum, drawn up to the harmonics' peaks as in Roebel and Rodet, "Efficient spectral envelope
estimation" (2005), section 3.1. The map of frequencies is that of Jaitly and Hinton, "Vocal Tract
Length Perturbation improves speech recognition" (2013): linear, then bent so that the end of the
band stays its end.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, rfft

from .data import RATE_HZ

WINDOW = 1024  # 21 ms
HOP = WINDOW // 2
BINS = WINDOW // 2 + 1
ENVELOPE_S = 0.005  # the cepstrum's envelope fades out from half of this period to the whole
PASSES = 3  # over the envelope; each brings it nearer to the peaks
MOST_DB = 15.0  # no bin moves by more: holes between formants must not lift what is noise there
SHADOW_DB = 80.0  # what lies so far below a clip's loudest frame has no envelope worth moving
BEND = 0.75  # of the band's end; formants lie below, and above it the map bends

_SHAPE = np.sqrt(np.hanning(WINDOW + 1)[:-1]).astype(np.float32)


def _lifter() -> np.ndarray:
    """Weights of the cepstrum's first half [BINS]: 1, and half a cosine down to 0 at ENVELOPE_S."""
    last = round(ENVELOPE_S * RATE_HZ)
    start = last // 2
    weights = np.zeros(BINS, np.float32)
    weights[:start] = 1.0
    weights[start:last] = 0.5 + 0.5 * np.cos(np.pi * np.arange(last - start) / (last - start))
    return weights


_LIFTER = _lifter()


def _source_bins(factor: float, band_hz: float) -> np.ndarray:
    """Bin (fractional) at which the old envelope is read for each bin of the new one, [BINS]."""
    bins = np.arange(BINS, dtype=np.float64)
    end = min(band_hz / RATE_HZ * WINDOW, BINS - 1.0)
    bend = BEND * end * min(factor, 1.0)  # where the map bends, in the new envelope
    inside = bend / factor + (bins - bend) * (end - bend / factor) / (end - bend)
    return np.where(bins <= bend, bins / factor, np.where(bins < end, inside, bins))


def move_formants(samples: np.ndarray, factor: float, band_hz: float) -> np.ndarray:
    """`samples` [T] (48 kHz) with all formants at `factor` times their frequency, as from a vocal
    tract shorter by that factor; content ends at `band_hz` before and after."""
    frames = -(-len(samples) // HOP) + 1
    padded = np.zeros((frames + 1) * HOP, np.float32)
    padded[HOP : HOP + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = rfft(windows * _SHAPE, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    floor = np.float32(10.0 ** (-SHADOW_DB / 10.0)) * power.mean(axis=1).max() + np.float32(1e-12)
    peaks = log_power = np.log(power + floor)
    for _ in range(PASSES):
        cepstrum = irfft(peaks, WINDOW, axis=1)[:, :BINS] * _LIFTER
        # The cepstrum is even: its first half gives the envelope as twice the real part, less c0.
        envelope = 2.0 * rfft(cepstrum, WINDOW, axis=1).real - cepstrum[:, :1]
        peaks = np.maximum(log_power, envelope)
    source = _source_bins(factor, band_hz)
    low = np.minimum(source.astype(np.intp), BINS - 2)
    part = (source - low).astype(np.float32)
    moved = envelope[:, low] * (1.0 - part) + envelope[:, low + 1] * part
    most = np.float32(MOST_DB / 20.0 * np.log(10.0))
    gain = np.exp(np.clip(0.5 * (moved - envelope), -most, most))
    blocks = irfft(spectrum * gain, WINDOW, axis=1) * _SHAPE
    out = np.zeros_like(padded)
    out[: frames * HOP] += blocks[:, :HOP].ravel()
    out[HOP:] += blocks[:, HOP:].ravel()
    return out[HOP : HOP + len(samples)]
