"""Deterministic training mixtures: speech, rooms, noise, levels, band limits and defects.

Every linear step (equaliser, room, low-pass) of a clip is one product in the frequency domain,
so a clip costs a handful of FFTs of one fixed length. All lengths are in samples at 48 kHz.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from . import synthetic
from .data import RATE_HZ, Clip, Store, active_level_db, amplitude, power_db

WIDEBAND_HZ = 14000.0
CLICK_SECONDS = 1.0  # noise clips shorter than this are single events, repeated at random
EDGE = 240  # 5 ms fade at every cut
LOW_PASS_HZ = (2500.0, 3400.0, 4000.0, 5500.0, 7000.0, 8000.0, 11000.0, 12000.0, 16000.0)
EQ_POINTS = 128
ATTEMPTS = 8


@dataclass(frozen=True)
class Recipe:
    """Probabilities (`_p`) and ranges of the mixture. Levels in dB, times in seconds."""

    wideband_share: float = 0.55
    lead_p: float = 0.4  # talkers who begin after a pause: a stream's first word is not in its middle
    long_pause_p: float = 0.15  # of the pauses between utterances
    long_pause_s: tuple[float, float] = (0.6, 2.0)
    speed_p: float = 0.7
    speed_range: tuple[float, float] = (0.7, 1.4)  # tempo, pitch and vocal tract together
    noise_speed_p: float = 0.85  # of recorded noises
    noise_speed_range: tuple[float, float] = (0.5, 2.0)
    noise_reversed_p: float = 0.25
    resonance_p: float = 0.5  # of voices, one sharp peak: vowels of two harmonics, as some talkers have them
    resonance_passing_p: float = 0.5  # of resonances, those of single vowels; the others stay
    resonance_s: tuple[float, float] = (0.08, 0.5)  # one that passes
    resonance_pause_s: tuple[float, float] = (0.15, 1.5)
    resonance_hz: tuple[float, float] = (250.0, 2500.0)
    resonance_octaves: tuple[float, float] = (0.07, 0.25)
    resonance_db: tuple[float, float] = (8.0, 24.0)
    eq_p: float = 0.8
    eq_db: float = 6.0
    colour_p: float = 0.4  # of equalisers, strong ones: small speakers, masks, far corners
    colour_db: float = 18.0
    room_p: float = 0.4
    noise_room_p: float = 0.2
    synthetic_p: float = 0.2
    babble_p: float = 0.12
    music_p: float = 0.08
    calls_p: float = 0.06
    rumble_p: float = 0.12  # alone, or beneath another noise
    rumble_db: tuple[float, float] = (-5.0, 25.0)  # over that noise
    modulation_p: float = 0.2
    snr_db: tuple[float, float] = (-6.0, 20.0)
    easy_p: float = 0.15  # most real input is nearly clean, and must stay as it is
    easy_snr_db: tuple[float, float] = (20.0, 40.0)
    level_db: tuple[float, float] = (-45.0, -5.0)
    band_limit_p: float = 0.3
    low_cut_p: float = 0.3  # telephones, small microphones, cautious filters: voices without a fundamental
    low_cut_hz: tuple[float, float] = (80.0, 700.0)
    noise_only_p: float = 0.04
    clean_only_p: float = 0.08
    silence_p: float = 0.05
    jump_p: float = 0.05
    jump_db: float = 15.0
    clipping_p: float = 0.05
    min_speech_snr_db: float = 30.0  # recordings with more noise than this teach to keep noise


class _SpeechPicker:
    """Draws a talker and utterances so that bandwidths, sources and talkers are balanced."""

    def __init__(self, clips: list[Clip], wideband_share: float) -> None:
        groups = {True: [], False: []}
        for clip in clips:
            groups[clip.bandwidth_hz >= WIDEBAND_HZ].append(clip)
        shares = {True: wideband_share, False: 1.0 - wideband_share}
        self._talkers: list[list[Clip]] = []
        weights: list[float] = []
        for wide, members in groups.items():
            sources: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
            for clip in members:
                sources[clip.source][clip.talker].append(clip)
            # The square root keeps the longest source from taking over; many talkers are worth
            # more than many sentences of one.
            source_weights = [
                math.sqrt(sum(c.length for own in talkers.values() for c in own))
                * (1.0 + math.log10(len(talkers)))
                for talkers in sources.values()
            ]
            total = sum(source_weights)
            for weight, talkers in zip(source_weights, sources.values()):
                for own in talkers.values():
                    self._talkers.append(sorted(own, key=lambda clip: clip.bandwidth_hz))
                    weights.append(shares[wide] * weight / total / len(talkers))
        if not weights:
            raise ValueError("no speech clips in this split")
        self._cumulative = np.cumsum(weights) / np.sum(weights)

        self.talkers = {own[0].talker for own in self._talkers}

    def talker(self, rng: np.random.Generator, avoid: str | None) -> list[Clip]:
        """Clips of one talker other than `avoid`, drawn by weight, in order of bandwidth."""
        if not self.talkers - {avoid}:
            raise ValueError("no other talker in this split")
        while True:
            place = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
            own = self._talkers[min(place, len(self._talkers) - 1)]
            if own[0].talker != avoid:
                return own


class _NoisePicker:
    """Draws noise clips; a source counts by the square root of its length."""

    def __init__(self, clips: list[Clip]) -> None:
        if not clips:
            raise ValueError("no noise clips in this split")
        self._clips = clips
        seconds = defaultdict(float)
        parts = defaultdict(float)
        for clip in clips:
            seconds[clip.source] += clip.length / RATE_HZ
            parts[clip.source] += math.sqrt(clip.length)
        weights = [math.sqrt(seconds[c.source]) * math.sqrt(c.length) / parts[c.source] for c in clips]
        self._cumulative = np.cumsum(weights) / np.sum(weights)
        self._events = defaultdict(list)
        for clip in clips:
            if clip.length < CLICK_SECONDS * RATE_HZ:
                self._events[clip.source].append(clip)

    def clip(self, rng: np.random.Generator) -> Clip:
        """One clip, drawn by weight."""
        place = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        return self._clips[min(place, len(self._clips) - 1)]

    def event(self, source: str, rng: np.random.Generator) -> Clip:
        """One short clip of `source`."""
        return self._events[source][rng.integers(len(self._events[source]))]


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
    """Makes batch number `step` of a run with this `seed`, the same one every time.

    `rooms` is a file from `make_rooms`, an array [count, samples] of RIRs, or None for no rooms.
    A mixer can be pickled, and any process may ask for any step.
    """

    def __init__(
        self,
        store: Store,
        rooms: Path | str | np.ndarray | None,
        split: str = "train",
        seconds: float = 3.0,
        seed: int = 0,
        recipe: Recipe = Recipe(),
    ) -> None:
        self.store = store
        self.recipe = recipe
        self.seed = seed
        self.length = round(seconds * RATE_HZ)
        if isinstance(rooms, (str, Path)):
            with np.load(rooms) as archive:
                rooms = archive["rirs"]
        self.rooms = rooms
        speech = [
            clip
            for clip in store.clips("speech", split)
            if clip.snr_est_db is None or clip.snr_est_db >= recipe.min_speech_snr_db
        ]
        self._speech = _SpeechPicker(speech, recipe.wideband_share)
        self._noise = _NoisePicker(store.clips("noise", split))
        tail = rooms.shape[1] if rooms is not None else RATE_HZ // 10
        self._size = next_fast_len(self.length + tail, real=True)
        self._size += self._size % 2
        self._bins = self._size // 2 + 1
        self._bin_hz = RATE_HZ / self._size
        self._speech_sizes = self._find_sizes(recipe.speed_range)
        self._noise_sizes = self._find_sizes(recipe.noise_speed_range)
        # Bins of the full spectrum between the points of a log-frequency grid, for equalisers.
        grid = np.geomspace(20.0, RATE_HZ / 2, EQ_POINTS)
        self._octave = np.log2(np.maximum(np.arange(self._bins) * self._bin_hz, 20.0))
        position = np.interp(self._octave, np.log2(grid), np.arange(EQ_POINTS))
        self._eq_octave = np.log2(grid / 1000.0)
        self._eq_index = np.minimum(position.astype(np.intp), EQ_POINTS - 2)
        self._eq_fraction = (position - self._eq_index).astype(np.float32)

    def _find_sizes(self, speeds: tuple[float, float]) -> list[int]:
        """FFT sizes of what is played at `speeds`; evenly spread, so lower ones are as frequent as higher."""
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

        Above `bandwidth_hz` the target has no content, or none that can be trusted.
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
        recipe = self.recipe
        kind = rng.random()
        noise_only = kind < recipe.noise_only_p
        clean_only = not noise_only and kind < recipe.noise_only_p + recipe.clean_only_p
        edges = self._draw_band_edges(rng)
        easy = rng.random() < recipe.easy_p
        snr_db = _uniform(rng, recipe.easy_snr_db if easy else recipe.snr_db)
        level_db = _uniform(rng, recipe.level_db)
        if noise_only:
            target = np.zeros(self.length, np.float32)
            noise, _ = self._noise_signal(rng, None, edges, RATE_HZ / 2)
            noise_db = power_db(noise)
            if noise_db > -100.0:
                noise *= amplitude(level_db - snr_db - noise_db)
            noisy, bandwidth_hz = noise, RATE_HZ / 2
        else:
            with_room = not clean_only and rng.random() < recipe.room_p
            target, bandwidth_hz, talker = self._speech_signal(rng, edges, with_room)
            target *= amplitude(level_db - active_level_db(target))
            noisy = target.copy()
            if not clean_only:
                noise, in_band_db = self._noise_signal(rng, talker, edges, bandwidth_hz)
                # Noise that hardly reaches the speech band stays at a bearable level outside it.
                lift_db = min(level_db - snr_db - in_band_db, level_db + 20.0 - power_db(noise))
                if math.isfinite(lift_db):
                    noisy += noise * amplitude(lift_db)
        self._defects(rng, noisy, target)
        return noisy, target, bandwidth_hz

    def _draw_band_edges(self, rng: np.random.Generator) -> tuple[float, float]:
        """Lower and upper limit of the channel in Hz; (0, 24000) for none."""
        recipe = self.recipe
        low_hz, high_hz = 0.0, RATE_HZ / 2
        if rng.random() < recipe.low_cut_p:
            low_hz = synthetic.log_uniform(rng, *recipe.low_cut_hz)
        if rng.random() < recipe.band_limit_p:
            high_hz = LOW_PASS_HZ[rng.integers(len(LOW_PASS_HZ))]
        return low_hz, high_hz

    # Speech

    def _speech_signal(
        self, rng: np.random.Generator, edges: tuple[float, float], with_room: bool
    ) -> tuple[np.ndarray, float, str]:
        """Speech as it reaches the microphone, its bandwidth in Hz and its talker.

        The room stays in the target: a denoiser that also takes rooms away changes voices.
        """
        size = self._draw_size(rng, self.recipe.speed_p, self._speech_sizes)
        speed = size / self._size
        samples, bandwidth_hz, talker = self._utterances(rng, round(self.length * speed))
        spectrum = self._spectrum(samples, size)
        bandwidth_hz = min(bandwidth_hz * speed, RATE_HZ / 2, edges[1])
        self._resonate(rng, spectrum)
        self._equalise(rng, spectrum)
        self._limit_band(spectrum, edges)
        if with_room and self.rooms is not None:
            spectrum *= rfft(self.rooms[rng.integers(len(self.rooms))], self._size)
        return irfft(spectrum, self._size)[: self.length], bandwidth_hz, talker

    def _draw_size(self, rng: np.random.Generator, changed_p: float, sizes: list[int]) -> int:
        """FFT size of what will be played at the mixer's size: at times one of `sizes`, or the same."""
        if rng.random() >= changed_p:
            return self._size
        return sizes[rng.integers(len(sizes))]

    def _spectrum(self, samples: np.ndarray, size: int) -> np.ndarray:
        """Spectrum of `samples` after resampling from `size` to the mixer's FFT size.

        Cutting or extending the spectrum of a zero-padded signal is band-limited interpolation.
        """
        spectrum = rfft(samples, size)
        if size == self._size:
            return spectrum
        scaled = np.zeros(self._bins, np.complex64)
        kept = min(self._bins, len(spectrum))
        scaled[:kept] = spectrum[:kept]
        scaled *= np.float32(self._size / size)
        scaled[-1] = 0.0
        return scaled

    def _utterances(
        self, rng: np.random.Generator, length: int, avoid: str | None = None
    ) -> tuple[np.ndarray, float, str]:
        """`length` samples of one talker with pauses, their bandwidth in Hz, the talker.

        Draws again when the cut holds hardly any speech.
        """
        for _ in range(ATTEMPTS):
            own = self._speech.talker(rng, avoid)
            samples, bandwidth_hz, expected_db = self._fill(rng, own, length)
            if active_level_db(samples) > expected_db - 12.0:
                break
        return samples, bandwidth_hz, own[0].talker

    def _fill(
        self, rng: np.random.Generator, own: list[Clip], length: int
    ) -> tuple[np.ndarray, float, float]:
        """Utterances of one talker with pauses: samples, bandwidth in Hz, level of the first."""
        first = own[rng.integers(len(own))]
        # Later utterances must not lower the bandwidth much, or the clip would count as narrow.
        floor_hz = 0.9 * first.bandwidth_hz
        allowed = bisect_left(own, floor_hz, key=lambda clip: clip.bandwidth_hz)
        bandwidth_hz = first.bandwidth_hz
        samples = np.zeros(length, np.float32)
        clip = first
        position = start = 0
        if rng.random() < self.recipe.lead_p:
            position = int(rng.integers(length // 2))
        else:
            start = int(rng.integers(max(1, first.length - min(first.length // 2, RATE_HZ))))
        while position < length:
            part = _fade_edges(self.store.read(clip.index, start, length - position))
            samples[position : position + len(part)] = part
            bandwidth_hz = min(bandwidth_hz, clip.bandwidth_hz)
            long = rng.random() < self.recipe.long_pause_p
            pause_s = _uniform(rng, self.recipe.long_pause_s if long else (0.0, 0.6))
            position += len(part) + int(pause_s * RATE_HZ)
            clip = own[rng.integers(allowed, len(own))]
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
        """Noise [T] at any level, and its level in dB inside the band of the speech."""
        recipe = self.recipe
        kind = rng.random()
        babble_from = recipe.synthetic_p + recipe.music_p
        calls_from = babble_from + recipe.babble_p
        size = self._size
        rumble = synthetic.rumble(rng, self.length) if rng.random() < recipe.rumble_p else None
        if rumble is not None and rng.random() < 0.5:
            samples, rumble = rumble, None
        elif kind < recipe.synthetic_p:
            samples = synthetic.background(rng, self.length)
        elif kind < babble_from:
            samples = synthetic.music(rng, self.length)
        elif kind < calls_from and self._speech.talkers - {talker}:
            samples = self._babble(rng, talker)
        elif calls_from <= kind < calls_from + recipe.calls_p:
            samples = synthetic.calls(rng, self.length)
        else:
            size = self._draw_size(rng, recipe.noise_speed_p, self._noise_sizes)
            samples = self._recorded(rng, round(self.length * size / self._size))
            if rng.random() < recipe.noise_reversed_p:
                samples = samples[::-1].copy()
        if rng.random() < recipe.modulation_p:
            samples *= synthetic.draw_envelope(rng, len(samples))
        spectrum = self._spectrum(samples, size)
        self._equalise(rng, spectrum)
        if rumble is not None and (rumble_db := power_db(rumble)) > -80.0:
            lift_db = power_db(samples) + _uniform(rng, recipe.rumble_db) - rumble_db
            spectrum += rfft(rumble * amplitude(lift_db), self._size)
        self._limit_band(spectrum, edges)
        if self.rooms is not None and rng.random() < recipe.noise_room_p:
            spectrum *= rfft(self.rooms[rng.integers(len(self.rooms))], self._size)
        noise = irfft(spectrum, self._size)[: self.length]
        # Parseval: the share of the energy inside the band needs no second inverse transform.
        bins = slice(round(edges[0] / self._bin_hz), round(bandwidth_hz / self._bin_hz) + 1)
        inside, total = (float(np.vdot(part, part).real) for part in (spectrum[bins], spectrum))
        share_db = 10.0 * math.log10(inside / total) if inside > 0.0 else -math.inf
        return noise, power_db(noise) + share_db

    def _recorded(self, rng: np.random.Generator, length: int) -> np.ndarray:
        """One to three recorded noises, the louder ones up to 10 dB over the others."""
        total = np.zeros(length, np.float32)
        for _ in range(1 + rng.integers(3)):
            for _ in range(ATTEMPTS):
                clip = self._noise.clip(rng)
                if clip.length < CLICK_SECONDS * RATE_HZ:
                    samples = self._repeat_events(rng, clip, length)
                else:
                    samples = self._loop(rng, clip, length)
                level_db = power_db(samples)
                if level_db > -80.0:
                    total += samples * amplitude(float(rng.uniform(-10.0, 0.0)) - level_db)
                    break
        return total

    def _loop(self, rng: np.random.Generator, clip: Clip, length: int) -> np.ndarray:
        """A random cut of `clip`; a short clip starts anywhere and repeats."""
        if clip.length >= length:
            start = int(rng.integers(clip.length - length + 1))
            return self.store.read(clip.index, start, length)
        once = _fade_edges(self.store.read(clip.index))
        start = int(rng.integers(clip.length))
        rounds = -(-(start + length) // clip.length)
        return np.tile(once, rounds)[start : start + length]

    def _repeat_events(self, rng: np.random.Generator, clip: Clip, length: int) -> np.ndarray:
        """Short events of the source of `clip`, as of a person typing: bursts and pauses."""
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
            level_db = active_level_db(samples)
            if level_db > -80.0:
                total += samples * amplitude(float(rng.uniform(-6.0, 0.0)) - level_db)
        return total

    # Filters

    def _resonate(self, rng: np.random.Generator, spectrum: np.ndarray) -> None:
        """At times a sharp peak, all the time or now and then, in place."""
        recipe = self.recipe
        if rng.random() >= recipe.resonance_p:
            return
        centre_hz = synthetic.log_uniform(rng, *recipe.resonance_hz)
        width = _uniform(rng, recipe.resonance_octaves)
        peak_db = _uniform(rng, recipe.resonance_db)
        bell = np.exp(-0.5 * ((self._octave - math.log2(centre_hz)) / width) ** 2)
        added = spectrum * (10.0 ** (peak_db / 20.0 * bell) - 1.0).astype(np.float32)
        if rng.random() < recipe.resonance_passing_p:
            gain = synthetic.draw_stretches(rng, self._size, recipe.resonance_s, recipe.resonance_pause_s)
            added = rfft(irfft(added, self._size) * gain, self._size)
        spectrum += added

    def _equalise(self, rng: np.random.Generator, spectrum: np.ndarray) -> None:
        """At times a smooth random gain of every bin, in place: a tilt and a few bells in log-frequency."""
        if rng.random() >= self.recipe.eq_p:
            return
        strong = rng.random() < self.recipe.colour_p
        most_db = self.recipe.colour_db if strong else self.recipe.eq_db
        octave = self._eq_octave
        curve_db = rng.uniform(-1.0, 1.0) * octave
        for _ in range(rng.integers(1, 5)):
            centre, width = rng.uniform(-4.0, 4.5), rng.uniform(0.3, 2.0)
            bell = np.exp(-0.5 * ((octave - centre) / width) ** 2)
            curve_db += rng.uniform(-most_db, most_db) * bell
        curve_db = np.clip(curve_db, -most_db, most_db)
        gain = (10.0 ** (curve_db / 20.0)).astype(np.float32)
        low = gain[self._eq_index]
        spectrum *= low + np.diff(gain)[self._eq_index] * self._eq_fraction

    def _limit_band(self, spectrum: np.ndarray, edges: tuple[float, float]) -> None:
        """Zero `spectrum` outside `edges` (Hz) in place, with raised-cosine transitions inside."""
        low_hz, high_hz = edges
        if high_hz < RATE_HZ / 2:
            stop = round(high_hz / self._bin_hz)
            start = round(0.94 * high_hz / self._bin_hz)
            spectrum[start:stop] *= _raised_cosine(stop - start)[::-1]
            spectrum[stop:] = 0.0
        if low_hz > 0.0:
            stop = round(low_hz / self._bin_hz)
            start = round(0.6 * low_hz / self._bin_hz)
            spectrum[:start] = 0.0
            spectrum[start:stop] *= _raised_cosine(stop - start)

    # Defects of the whole clip, in place

    def _defects(self, rng: np.random.Generator, noisy: np.ndarray, target: np.ndarray) -> None:
        recipe = self.recipe
        if rng.random() < recipe.jump_p:
            gain = self._draw_jump(rng)
            noisy *= gain
            target *= gain
        if rng.random() < recipe.silence_p:
            length = int(rng.uniform(0.1, 0.5) * self.length)
            place = rng.integers(3)  # before, after, inside
            start = (0, self.length - length, int(rng.integers(self.length - length)))[place]
            noisy[start : start + length] = 0.0
            target[start : start + length] = 0.0
        peak = max(float(np.abs(noisy).max()), float(np.abs(target).max()))
        if peak > 1.0:
            noisy *= np.float32(0.999 / peak)
            target *= np.float32(0.999 / peak)
        if rng.random() < recipe.clipping_p:
            limit = np.float32(rng.uniform(0.1, 0.7) * np.abs(noisy).max())
            np.clip(noisy, -limit, limit, out=noisy)

    def _draw_jump(self, rng: np.random.Generator) -> np.ndarray:
        """Gain over time [T] with one step of up to +-jump_db, ramped over 20 ms."""
        ramp = round(0.02 * RATE_HZ)
        start = int(rng.integers(1, self.length - ramp))
        gain = np.ones(self.length, np.float32)
        step_db = rng.uniform(-self.recipe.jump_db, self.recipe.jump_db)
        gain[start : start + ramp] = 10.0 ** (np.linspace(0.0, step_db, ramp) / 20.0)
        gain[start + ramp :] = amplitude(step_db)
        return gain


@lru_cache(maxsize=64)
def _raised_cosine(count: int) -> np.ndarray:
    """Half a cosine from 0 to 1 in `count` points."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)).astype(np.float32)
