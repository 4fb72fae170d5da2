"""Deterministic training mixtures: speech, rooms, noise, levels, band limits and defects.

Every linear step of a clip (equalizer, room, low-pass) is a product in the frequency domain, so a
clip costs a few FFTs of one fixed length. All lengths are in samples at 48 kHz.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from . import synthetic
from .audio import RATE_HZ, active_level_db, amplitude, power_db
from .mixture import Mixture
from .pickers import EVENT_SECONDS, NoisePicker, SpeechPicker
from .store import Clip, Store

EDGE = 240  # 5 ms fade at every cut
LOW_PASS_HZ = (2500.0, 3400.0, 4000.0, 5500.0, 7000.0, 8000.0, 11000.0, 12000.0, 16000.0)
EQ_POINTS = 128
ATTEMPTS = 8


@lru_cache(maxsize=4)
def _edges() -> tuple[np.ndarray, np.ndarray]:
    rise = np.linspace(0.0, 1.0, EDGE, dtype=np.float32)
    return rise, rise[::-1].copy()


def _fade_edges(signal: np.ndarray) -> np.ndarray:
    """Fade both ends of `signal` in place."""
    if len(signal) > 2 * EDGE:
        rise, fall = _edges()
        signal[:EDGE] *= rise
        signal[-EDGE:] *= fall
    return signal


def _uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds))


class Mixer:
    """Makes batch number `step` of a run with this `seed`; equal arguments give equal batches.

    `rirs` is a file from `make_rirs`, an array [count, samples] of room impulse responses, or None
    for no rooms. A mixer can be pickled, and any process can make any step.
    """

    def __init__(
        self,
        store: Store,
        rirs: Path | str | np.ndarray | None,
        split: str = "train",
        seconds: float = 3.0,
        seed: int = 0,
        mixture: Mixture = Mixture(),
    ) -> None:
        self.store = store
        self.mixture = mixture
        self.seed = seed
        self.length = round(seconds * RATE_HZ)
        if isinstance(rirs, (str, Path)):
            with np.load(rirs) as archive:
                rirs = archive["rirs"]
        self.rirs = rirs
        speech = [
            clip
            for clip in store.clips("speech", split)
            if clip.snr_est_db is None or clip.snr_est_db >= mixture.min_speech_snr_db
        ]
        if mixture.clean_targets and not store.has_targets:
            raise ValueError(f"clean_targets: {store.out} has no targets; write them with `targets`")
        self._speech = SpeechPicker(speech, mixture.wideband_share)
        self._noise = NoisePicker(store.clips("noise", split))
        tail = rirs.shape[1] if rirs is not None else RATE_HZ // 10
        self._size = next_fast_len(self.length + tail, real=True)
        self._size += self._size % 2
        self._bins = self._size // 2 + 1
        self._bin_hz = RATE_HZ / self._size
        self._speech_sizes = self._fft_sizes(mixture.speed_range)
        self._noise_sizes = self._fft_sizes(mixture.noise_speed_range)
        # Position of every bin between the points of a log-frequency grid, for equalizers.
        grid = np.geomspace(20.0, RATE_HZ / 2, EQ_POINTS)
        self._octave = np.log2(np.maximum(np.arange(self._bins) * self._bin_hz, 20.0))
        position = np.interp(self._octave, np.log2(grid), np.arange(EQ_POINTS))
        self._eq_octave = np.log2(grid / 1000.0)
        self._eq_index = np.minimum(position.astype(np.intp), EQ_POINTS - 2)
        self._eq_fraction = (position - self._eq_index).astype(np.float32)

    def _fft_sizes(self, speeds: tuple[float, float]) -> list[int]:
        """FFT sizes of signals played at `speeds`, evenly spread over the range."""
        low, high = (round(bound * self._size) for bound in speeds)
        sizes = []
        size = next_fast_len(low, real=True)
        while size <= high:
            if size % 2 == 0:
                sizes.append(size)
            size = next_fast_len(size + 1, real=True)
        return sizes

    def batch(self, step: int, n: int) -> dict[str, np.ndarray]:
        """Batch `step` of `n` clips: `noisy` and `target` float32 [n, T], `bandwidth_hz` [n].

        Above `bandwidth_hz` the target has no valid content.
        """
        noisy = np.empty((n, self.length), np.float32)
        target = np.empty((n, self.length), np.float32)
        bandwidth_hz = np.empty(n, np.float32)
        for row in range(n):
            rng = np.random.default_rng([self.seed, step, row])
            noisy[row], target[row], bandwidth_hz[row] = self._clip(rng)
        return {"noisy": noisy, "target": target, "bandwidth_hz": bandwidth_hz}

    def _clip(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """One clip: noisy, target [T] and bandwidth in Hz."""
        mixture = self.mixture
        kind = rng.random()
        noise_only = kind < mixture.noise_only_p
        clean_only = not noise_only and kind < mixture.noise_only_p + mixture.clean_only_p
        edges = self._draw_band_edges(rng)
        high_snr = rng.random() < mixture.high_snr_p
        snr_db = _uniform(rng, mixture.high_snr_db if high_snr else mixture.snr_db)
        level_db = _uniform(rng, mixture.level_db)
        if noise_only:
            target = np.zeros(self.length, np.float32)
            noise, _ = self._noise_signal(rng, None, edges, RATE_HZ / 2)
            noise_db = power_db(noise)
            if noise_db > -100.0:
                noise *= amplitude(level_db - snr_db - noise_db)
            noisy, bandwidth_hz = noise, RATE_HZ / 2
        else:
            with_room = not clean_only and rng.random() < mixture.room_p
            speech, bandwidth_hz, talker = self._speech_signal(rng, edges, with_room)
            speech *= amplitude(level_db - active_level_db(speech[-1]))
            noisy, target = speech[0].copy(), speech[-1].copy()
            if not clean_only:
                noise, in_band_db = self._noise_signal(rng, talker, edges, bandwidth_hz)
                # Noise with little energy inside the speech band must not become too loud outside it.
                lift_db = min(level_db - snr_db - in_band_db, level_db + 20.0 - power_db(noise))
                if math.isfinite(lift_db):
                    noisy += noise * amplitude(lift_db)
        self._defects(rng, noisy, target)
        return noisy, target, bandwidth_hz

    def _draw_band_edges(self, rng: np.random.Generator) -> tuple[float, float]:
        """Lower and upper limit of the channel in Hz; (0, 24000) for none."""
        mixture = self.mixture
        low_hz, high_hz = 0.0, RATE_HZ / 2
        if rng.random() < mixture.low_cut_p:
            low_hz = synthetic.log_uniform(rng, *mixture.low_cut_hz)
        if rng.random() < mixture.band_limit_p:
            high_hz = LOW_PASS_HZ[rng.integers(len(LOW_PASS_HZ))]
        return low_hz, high_hz

    # Speech

    def _speech_signal(
        self, rng: np.random.Generator, edges: tuple[float, float], with_room: bool
    ) -> tuple[np.ndarray, float, str]:
        """Speech at the microphone [rows, T], its bandwidth in Hz and its talker.

        The first row is the recording, the last one its cleaned copy if the mixture has them. The target includes the room: a denoiser that also removes reverberation changes voices.
        """
        size = self._draw_size(rng, self.mixture.speed_p, self._speech_sizes)
        speed = size / self._size
        samples, bandwidth_hz, talker = self._utterances(rng, round(self.length * speed))
        spectrum = self._spectrum(samples, size)
        bandwidth_hz = min(bandwidth_hz * speed, RATE_HZ / 2, edges[1])
        self._resonate(rng, spectrum)
        self._equalize(rng, spectrum)
        self._limit_band(spectrum, edges)
        if with_room and self.rirs is not None:
            spectrum *= rfft(self.rirs[rng.integers(len(self.rirs))], self._size)
        return irfft(spectrum, self._size)[:, : self.length], bandwidth_hz, talker

    def _draw_size(self, rng: np.random.Generator, changed_p: float, sizes: list[int]) -> int:
        """FFT size before resampling: one of `sizes` with probability `changed_p`, else the mixer's size."""
        if rng.random() >= changed_p:
            return self._size
        return sizes[rng.integers(len(sizes))]

    def _spectrum(self, samples: np.ndarray, size: int) -> np.ndarray:
        """Spectrum of `samples` [..., n] after resampling from `size` to the mixer's FFT size.

        To cut or extend the spectrum of a zero-padded signal is band-limited interpolation.
        """
        spectrum = rfft(samples, size)
        if size == self._size:
            return spectrum
        scaled = np.zeros((*spectrum.shape[:-1], self._bins), np.complex64)
        kept = min(self._bins, spectrum.shape[-1])
        scaled[..., :kept] = spectrum[..., :kept]
        scaled *= np.float32(self._size / size)
        scaled[..., -1] = 0.0
        return scaled

    def _utterances(
        self, rng: np.random.Generator, length: int, avoid: str | None = None
    ) -> tuple[np.ndarray, float, str]:
        """Samples [rows, `length`] of one talker with pauses, their bandwidth in Hz, the talker.

        One row, or with clean targets two. Draws again, up to 8 times, if the excerpt has hardly any speech.
        """
        for _ in range(ATTEMPTS):
            clips = self._speech.talker(rng, avoid)
            samples, bandwidth_hz, expected_db = self._fill(rng, clips, length)
            if active_level_db(samples[0]) > expected_db - 12.0:
                break
        return samples, bandwidth_hz, clips[0].talker

    def _fill(
        self, rng: np.random.Generator, clips: list[Clip], length: int
    ) -> tuple[np.ndarray, float, float]:
        """Utterances of one talker with pauses: samples [rows, `length`], bandwidth in Hz, level of the
        first."""
        first = clips[rng.integers(len(clips))]
        # Later utterances may lower the bandwidth of the clip by a tenth at most.
        floor_hz = 0.9 * first.bandwidth_hz
        allowed = bisect_left(clips, floor_hz, key=lambda clip: clip.bandwidth_hz)
        bandwidth_hz = first.bandwidth_hz
        readers = [self.store.read, self.store.read_target][: 1 + self.mixture.clean_targets]
        samples = np.zeros((len(readers), length), np.float32)
        clip = first
        position = start = 0
        if rng.random() < self.mixture.leading_pause_p:
            position = int(rng.integers(length // 2))
        else:
            start = int(rng.integers(max(1, first.length - min(first.length // 2, RATE_HZ))))
        while position < length:
            for row, read in zip(samples, readers):
                part = _fade_edges(read(clip.index, start, length - position))
                row[position : position + len(part)] = part
            bandwidth_hz = min(bandwidth_hz, clip.bandwidth_hz)
            long = rng.random() < self.mixture.long_pause_p
            pause_s = _uniform(rng, self.mixture.long_pause_s if long else (0.0, 0.6))
            position += len(part) + int(pause_s * RATE_HZ)
            clip = clips[rng.integers(allowed, len(clips))]
            start = 0
        return samples, bandwidth_hz, first.active_db

    # Noise

    def _noise_signal(
        self,
        rng: np.random.Generator,
        talker: str | None,
        edges: tuple[float, float],
        bandwidth_hz: float,
    ) -> tuple[np.ndarray, float]:
        """Noise [T] at an arbitrary level, and its level in dB inside the band of the speech."""
        mixture = self.mixture
        kind = rng.random()
        babble_from = mixture.synthetic_p + mixture.music_p
        calls_from = babble_from + mixture.babble_p
        size = self._size
        rumble = synthetic.rumble(rng, self.length) if rng.random() < mixture.rumble_p else None
        # No draw without hum: mixtures of earlier recipes stay what they are.
        has_hum = mixture.hum_p > 0.0 and rng.random() < mixture.hum_p
        hum = synthetic.hum(rng, self.length) if has_hum else None
        if rumble is not None and rng.random() < 0.5:
            samples, rumble = rumble, None
        elif hum is not None and rng.random() < 0.5:
            samples, hum = hum, None
        elif kind < mixture.synthetic_p:
            samples = synthetic.background(rng, self.length)
        elif kind < babble_from:
            samples = synthetic.music(rng, self.length)
        elif kind < calls_from and self._speech.talkers - {talker}:
            samples = self._babble(rng, talker)
        elif calls_from <= kind < calls_from + mixture.calls_p:
            samples = synthetic.calls(rng, self.length)
        else:
            size = self._draw_size(rng, mixture.noise_speed_p, self._noise_sizes)
            samples = self._recorded(rng, round(self.length * size / self._size))
            if rng.random() < mixture.noise_reversed_p:
                samples = samples[::-1].copy()
        if rng.random() < mixture.modulation_p:
            samples *= synthetic.draw_envelope(rng, len(samples))
        spectrum = self._spectrum(samples, size)
        self._equalize(rng, spectrum)
        for added, range_db in ((rumble, mixture.rumble_db), (hum, mixture.hum_db)):
            if added is not None and (added_db := power_db(added)) > -80.0:
                lift_db = power_db(samples) + _uniform(rng, range_db) - added_db
                spectrum += rfft(added * amplitude(lift_db), self._size)
        self._limit_band(spectrum, edges)
        if self.rirs is not None and rng.random() < mixture.noise_room_p:
            spectrum *= rfft(self.rirs[rng.integers(len(self.rirs))], self._size)
        noise = irfft(spectrum, self._size)[: self.length]
        # By Parseval the energy inside the band follows from the spectrum.
        bins = slice(round(edges[0] / self._bin_hz), round(bandwidth_hz / self._bin_hz) + 1)
        inside, total = (float(np.vdot(part, part).real) for part in (spectrum[bins], spectrum))
        share_db = 10.0 * math.log10(inside / total) if inside > 0.0 else -math.inf
        return noise, power_db(noise) + share_db

    def _recorded(self, rng: np.random.Generator, length: int) -> np.ndarray:
        """Sum of one to three recorded noises with levels within 10 dB."""
        total = np.zeros(length, np.float32)
        for _ in range(1 + rng.integers(3)):
            for _ in range(ATTEMPTS):
                clip = self._noise.clip(rng)
                if clip.length < EVENT_SECONDS * RATE_HZ:
                    samples = self._repeat_events(rng, clip, length)
                else:
                    samples = self._loop(rng, clip, length)
                level_db = power_db(samples)
                if level_db > -80.0:
                    total += samples * amplitude(float(rng.uniform(-10.0, 0.0)) - level_db)
                    break
        return total

    def _loop(self, rng: np.random.Generator, clip: Clip, length: int) -> np.ndarray:
        """A random excerpt of `clip`; a short clip is repeated from a random start."""
        if clip.length >= length:
            start = int(rng.integers(clip.length - length + 1))
            return self.store.read(clip.index, start, length)
        once = _fade_edges(self.store.read(clip.index))
        start = int(rng.integers(clip.length))
        rounds = -(-(start + length) // clip.length)
        return np.tile(once, rounds)[start : start + length]

    def _repeat_events(self, rng: np.random.Generator, clip: Clip, length: int) -> np.ndarray:
        """Short events from the source of `clip` at random times, such as typing."""
        samples = np.zeros(length, np.float32)
        mean_gap = float(rng.uniform(0.08, 0.6))
        position = int(rng.uniform(0.0, mean_gap) * RATE_HZ)
        while position < length:
            part = self.store.read(clip.index, 0, length - position)
            samples[position : position + len(part)] += part * amplitude(rng.uniform(-6.0, 0.0))
            position += max(480, int(rng.exponential(mean_gap) * RATE_HZ))
            clip = self._noise.event(clip.source, rng)
        return samples

    def _babble(self, rng: np.random.Generator, talker: str | None) -> np.ndarray:
        """Three to six other talkers, within 6 dB of each other."""
        total = np.zeros(self.length, np.float32)
        for _ in range(rng.integers(3, 7)):
            samples, _, _ = self._utterances(rng, self.length, avoid=talker)
            level_db = active_level_db(samples[0])
            if level_db > -80.0:
                total += samples[0] * amplitude(float(rng.uniform(-6.0, 0.0)) - level_db)
        return total

    # Filters

    def _resonate(self, rng: np.random.Generator, spectrum: np.ndarray) -> None:
        """With probability resonance_p one sharp peak, constant or intermittent, in place."""
        mixture = self.mixture
        if rng.random() >= mixture.resonance_p:
            return
        center_hz = synthetic.log_uniform(rng, *mixture.resonance_hz)
        width = _uniform(rng, mixture.resonance_octaves)
        peak_db = _uniform(rng, mixture.resonance_db)
        bell = np.exp(-0.5 * ((self._octave - math.log2(center_hz)) / width) ** 2)
        added = spectrum * (10.0 ** (peak_db / 20.0 * bell) - 1.0).astype(np.float32)
        if rng.random() < mixture.resonance_passing_p:
            gain = synthetic.draw_intervals(rng, self._size, mixture.resonance_s, mixture.resonance_pause_s)
            added = rfft(irfft(added, self._size) * gain, self._size)
        spectrum += added

    def _equalize(self, rng: np.random.Generator, spectrum: np.ndarray) -> None:
        """With probability eq_p a smooth random gain, in place: a tilt and a few bells in log-frequency."""
        if rng.random() >= self.mixture.eq_p:
            return
        strong = rng.random() < self.mixture.strong_eq_p
        max_db = self.mixture.strong_eq_db if strong else self.mixture.eq_db
        octave = self._eq_octave
        curve_db = rng.uniform(-1.0, 1.0) * octave
        for _ in range(rng.integers(1, 5)):
            center, width = rng.uniform(-4.0, 4.5), rng.uniform(0.3, 2.0)
            bell = np.exp(-0.5 * ((octave - center) / width) ** 2)
            curve_db += rng.uniform(-max_db, max_db) * bell
        curve_db = np.clip(curve_db, -max_db, max_db)
        gain = (10.0 ** (curve_db / 20.0)).astype(np.float32)
        low = gain[self._eq_index]
        spectrum *= low + np.diff(gain)[self._eq_index] * self._eq_fraction

    def _limit_band(self, spectrum: np.ndarray, edges: tuple[float, float]) -> None:
        """Zero `spectrum` outside `edges` (Hz) in place, with raised-cosine transitions inside."""
        low_hz, high_hz = edges
        if high_hz < RATE_HZ / 2:
            stop = round(high_hz / self._bin_hz)
            start = round(0.94 * high_hz / self._bin_hz)
            spectrum[..., start:stop] *= _raised_cosine(stop - start)[::-1]
            spectrum[..., stop:] = 0.0
        if low_hz > 0.0:
            stop = round(low_hz / self._bin_hz)
            start = round(0.6 * low_hz / self._bin_hz)
            spectrum[..., :start] = 0.0
            spectrum[..., start:stop] *= _raised_cosine(stop - start)

    # Defects of the whole clip

    def _defects(self, rng: np.random.Generator, noisy: np.ndarray, target: np.ndarray) -> None:
        """Level step, digital silence and clipping, in place."""
        mixture = self.mixture
        if rng.random() < mixture.level_step_p:
            gain = self._draw_level_step(rng)
            noisy *= gain
            target *= gain
        if rng.random() < mixture.silence_p:
            length = int(rng.uniform(0.1, 0.5) * self.length)
            place = rng.integers(3)  # before, after, inside
            start = (0, self.length - length, int(rng.integers(self.length - length)))[place]
            noisy[start : start + length] = 0.0
            target[start : start + length] = 0.0
        peak = max(float(np.abs(noisy).max()), float(np.abs(target).max()))
        if peak > 1.0:
            noisy *= np.float32(0.999 / peak)
            target *= np.float32(0.999 / peak)
        if rng.random() < mixture.clipping_p:
            limit = np.float32(rng.uniform(0.1, 0.7) * np.abs(noisy).max())
            np.clip(noisy, -limit, limit, out=noisy)

    def _draw_level_step(self, rng: np.random.Generator) -> np.ndarray:
        """Gain over time [T] with one step of up to +-level_step_db, ramped over 20 ms."""
        ramp = round(0.02 * RATE_HZ)
        start = int(rng.integers(1, self.length - ramp))
        gain = np.ones(self.length, np.float32)
        step_db = rng.uniform(-self.mixture.level_step_db, self.mixture.level_step_db)
        gain[start : start + ramp] = 10.0 ** (np.linspace(0.0, step_db, ramp) / 20.0)
        gain[start + ramp :] = amplitude(step_db)
        return gain


@lru_cache(maxsize=64)
def _raised_cosine(count: int) -> np.ndarray:
    """Half a cosine from 0 to 1 in `count` points."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)).astype(np.float32)
