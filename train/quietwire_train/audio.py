"""Reading, resampling and levels of recordings."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.ndimage import maximum_filter1d
from scipy.signal import firwin, resample_poly

try:
    import av
except ImportError:  # optional: only some Opus files need it
    av = None

RATE_HZ = 48000
AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif"}
LEVEL_BLOCK = 480  # 10 ms at 48 kHz
HANGOVER_BLOCKS = 20  # ITU-T P.56: a sample stays active for 200 ms
MARGIN_DB = 15.9  # ITU-T P.56: the threshold is 15.9 dB below the active level
# Errors of `read_mono`. PyAV has errors of its own, and some codecs raise LookupError for unknown names.
DECODE_ERRORS = (soundfile.SoundFileError, OSError, ValueError, LookupError)
if av is not None:
    DECODE_ERRORS += (av.FFmpegError,)


def active_level_db(signal: np.ndarray) -> float:
    """Active speech level of `signal` (float, full scale 1, 48 kHz) in dB relative to 1 rms.

    ITU-T P.56 method B: total energy divided by the time in which the envelope (with a 200 ms
    hangover) is at most 15.9 dB below the result. The envelope here is the rms of 10 ms blocks
    instead of the standard's two-stage smoother. Returns -inf for silence.
    """
    count = len(signal) // LEVEL_BLOCK
    if count == 0:
        return power_db(signal)
    blocks = signal[: count * LEVEL_BLOCK].reshape(count, LEVEL_BLOCK)
    energy = np.einsum("ij,ij->i", blocks, blocks).astype(np.float64)
    total = energy.sum()
    if total <= 0.0:
        return -math.inf
    # A trailing maximum of the envelope is the hangover, for all thresholds together.
    held = maximum_filter1d(energy, HANGOVER_BLOCKS + 1, origin=HANGOVER_BLOCKS // 2)
    held = np.sort(held)[::-1]
    active_db = 10 * np.log10(total / np.arange(1, count + 1))
    threshold_db = 10 * np.log10(held + 1e-30)
    # The difference grows towards low thresholds; the standard searches from that side.
    margin_db = active_db - threshold_db
    under = np.nonzero(margin_db <= MARGIN_DB)[0]
    chosen = under[-1] if len(under) else int(np.argmin(margin_db))
    return float(active_db[chosen] - 10 * np.log10(LEVEL_BLOCK))


def amplitude(level_db: float) -> np.float32:
    """The factor that raises a signal by `level_db`."""
    return np.float32(10.0 ** (level_db / 20.0))


def power_db(signal: np.ndarray) -> float:
    """Mean power of `signal` in dB relative to full scale 1. Returns -inf for silence."""
    power = float(np.dot(signal, signal)) / len(signal) if len(signal) else 0.0
    return 10 * math.log10(power) if power > 0.0 else -math.inf


def measure_bandwidth_hz(signal: np.ndarray, source_rate_hz: int) -> float:
    """Highest frequency with content in `signal` (48 kHz), in Hz, rounded up to 500 Hz.

    A band has content when its long-term power is less than 75 dB below the strongest band and more
    than 6 dB above the weakest: stop bands of resamplers and codecs are not.
    """
    size = 2048
    if len(signal) < size:
        return min(source_rate_hz, RATE_HZ) / 2
    windows = np.lib.stride_tricks.sliding_window_view(signal, size)[:: size * 2]
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(size), axis=1)) ** 2
    band_bins = round(500 / (RATE_HZ / size))
    usable = spectrum.shape[1] // band_bins * band_bins
    bands = spectrum.mean(axis=0)[:usable].reshape(-1, band_bins).mean(axis=1)
    level_db = 10 * np.log10(bands + 1e-20)
    full = np.nonzero((level_db > level_db.max() - 75) & (level_db > level_db.min() + 6))[0]
    top_hz = (full[-1] + 1) * band_bins * RATE_HZ / size if len(full) else RATE_HZ / 2
    return float(min(math.ceil(top_hz / 500) * 500, source_rate_hz / 2, RATE_HZ / 2))


@lru_cache(maxsize=8)
def _resample_window(up: int, down: int) -> np.ndarray:
    # 32 zero crossings and a Kaiser beta of 10 keep images below -90 dB with a transition band of a
    # tenth of the band edge. The default filter of resample_poly attenuates much less.
    ratio = max(up, down)
    return firwin(2 * 32 * ratio + 1, 0.95 / ratio, window=("kaiser", 10.0))


def resample(signal: np.ndarray, rate_hz: int, target_hz: int = RATE_HZ) -> np.ndarray:
    """`signal` (one channel) at `rate_hz`, converted to `target_hz`; float32."""
    if rate_hz == target_hz:
        return signal.astype(np.float32)
    shared = math.gcd(rate_hz, target_hz)
    up, down = target_hz // shared, rate_hz // shared
    window = _resample_window(up, down)
    return resample_poly(signal, up, down, window=window).astype(np.float32)


def _read_with_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    """Decode `path` to mono float32 at its own rate (Hz) with FFmpeg's decoders, through PyAV."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        to_mono = av.AudioResampler(format="flt", layout="mono")
        blocks = [out for block in container.decode(stream) for out in to_mono.resample(block)]
        blocks += to_mono.resample(None)
        return np.concatenate([block.to_ndarray()[0] for block in blocks]), stream.rate


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    """Decode `path` to mono float32 at 48 kHz. Also returns the file's own rate in Hz.

    libsndfile 1.2.2 refuses some valid Opus files with large pages ("malformed"). FFmpeg reads
    them and is tried next if PyAV is installed.
    """
    try:
        samples, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
        signal = samples.mean(axis=1)
    except soundfile.SoundFileError:
        if av is None:
            raise
        signal, rate_hz = _read_with_ffmpeg(path)
    return resample(signal, rate_hz), rate_hz
