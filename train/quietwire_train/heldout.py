"""The held-out benchmark: pairs from the split dev2, whose talkers and noise sources are in no other.

It decides between models, so nothing is trained, tuned or blended on it. It shares no generator with
the training mixtures: there are no computed noises, equalizers, speeds or simulated shoebox rooms.
Compare means only, with the paired differences of `score --against` and their intervals over talkers
and noises. Pairs have numbers instead of names. The same store gives the same files. Sets:

- `snr`: every talker with recorded noises at 0, 5 and 10 dB, dry.
- `room`: the same in rooms after Polack (1988) with early reflections. The reference is the
  reverberant speech.
- `whisper`: pairs of `snr` (their `twin`) exactly 30 dB lower.
- `clean`: speech alone, which must stay unchanged.
- `noise`: noise alone at -35 dBFS rms; the reference is digital silence.
- `words`: every recording with a transcript, whole, at 0, 5 and 10 dB and alone, for word errors.

Levels are measured at 16 kHz, where the scores are computed: the SNR is the active speech level over
the rms of the noise, both up to 8 kHz.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from .audio import RATE_HZ, active_level_db, amplitude, power_db, resample
from .pairs import PEAK, Missing, Pair, Summary, checked_sets, write_pairs
from .store import Clip, Store

SPLIT = "dev2"
SETS = ("snr", "room", "whisper", "clean", "noise", "words")
SNRS_DB = (0.0, 5.0, 10.0)
LEVEL_DB = -26.0  # active speech level in dBFS, the usual level of ITU-T test material
NOISE_LEVEL_DB = -35.0
WHISPER_DB = -30.0
WHISPERS = 18
MIN_PAIRS = 120  # of snr and room together
TAKES = 6  # pairs of snr for every talker, two at each SNR
FEW_TALKERS_TAKES = 12  # for the only talker of a source
ROOM_SHARE = 5  # one pair of room for as many pairs of snr
GAP = RATE_HZ * 3 // 10  # 0.3 s between two utterances
SCORE_RATE_HZ = 16000
SEED = 0xDE72
MIN_NOISE_DBFS = -70.0  # a quieter excerpt is not used


def _level_db(signal: np.ndarray, active: bool) -> float:
    """Level in dBFS up to 8 kHz: active speech level, or rms."""
    narrow = resample(signal, RATE_HZ, SCORE_RATE_HZ)
    if not active:
        return power_db(narrow)
    # The block length of the level is defined at 48 kHz.
    return active_level_db(resample(narrow, SCORE_RATE_HZ, RATE_HZ))


class _Talker:
    """The recordings of a talker, used in turn."""

    def __init__(self, clips: list[Clip], first: int = 0) -> None:
        self.clips = sorted(clips, key=lambda clip: clip.path)
        self.name, self.source = clips[0].talker, clips[0].source
        self._next = first

    def speech(self, store: Store, length: int) -> tuple[np.ndarray, float]:
        """`length` samples of the next utterances with gaps, and their bandwidth in Hz."""
        samples = np.zeros(length, np.float32)
        position, bandwidth_hz = 0, RATE_HZ / 2
        while position < length:
            clip = self.clips[self._next % len(self.clips)]
            self._next += 1
            part = store.read(clip.index, 0, length - position)
            samples[position : position + len(part)] = part
            bandwidth_hz = min(bandwidth_hz, clip.bandwidth_hz)
            position += len(part) + GAP
        return samples, bandwidth_hz


class _Noises:
    """Excerpts of noise recordings: every recording once before any comes again."""

    def __init__(self, clips: list[Clip], rng: np.random.Generator) -> None:
        self.clips = sorted(clips, key=lambda clip: clip.path)
        self._rng = rng
        self._order: list[int] = []
        self._used = [0] * len(self.clips)

    def next(self, store: Store, length: int) -> tuple[np.ndarray, Clip]:
        """The next excerpt with sound. Short recordings repeat."""
        for _ in range(2 * len(self.clips)):
            if not self._order:
                self._order = list(self._rng.permutation(len(self.clips)))
            at = self._order.pop()
            clip = self.clips[at]
            start = self._used[at] * length % max(1, clip.length - length)
            self._used[at] += 1
            part = np.resize(store.read(clip.index, start, length), length)
            if _level_db(part, active=False) > MIN_NOISE_DBFS:
                return part, clip
        raise Missing(f"the noises of the split {SPLIT} are silent")


def statistical_room(rng: np.random.Generator) -> np.ndarray:
    """A room impulse response without geometry: direct path, early reflections, diffuse tail.

    The tail is Gaussian noise with exponential decay (Polack 1988), in four bands whose RT60 falls with
    frequency. Reflections arrive in the first 40 ms. RT60 0.2 to 0.9 s at low frequencies,
    direct-to-reverberant ratio -3 to 12 dB.
    """
    rt60_s, drr_db = rng.uniform(0.2, 0.9), rng.uniform(-3.0, 12.0)
    length = round(min(rt60_s, 0.8) * RATE_HZ)
    time_s = np.arange(length) / RATE_HZ
    tail = np.zeros(length)
    edges_hz = (0.0, 500.0, 2000.0, 8000.0, RATE_HZ / 2)
    for band, (low_hz, high_hz) in enumerate(zip(edges_hz, edges_hz[1:])):
        noise = rng.standard_normal(length)
        if low_hz > 0.0:
            noise = sosfilt(butter(2, low_hz, "highpass", fs=RATE_HZ, output="sos"), noise)
        if high_hz < RATE_HZ / 2:
            noise = sosfilt(butter(2, high_hz, "lowpass", fs=RATE_HZ, output="sos"), noise)
        tail += noise * 10.0 ** (-3.0 * time_s / (rt60_s * 0.8**band))
    delay = round(rng.uniform(0.005, 0.02) * RATE_HZ)
    tail[:delay] = 0.0
    for _ in range(rng.integers(4, 9)):
        at = round(rng.uniform(0.001, 0.04) * RATE_HZ)
        tail[at] += rng.choice((-1.0, 1.0)) * rng.uniform(0.1, 0.5) * np.abs(tail).max()
    tail *= math.sqrt(10.0 ** (-drr_db / 10.0) / np.sum(tail**2))
    tail[0] = 1.0
    return tail.astype(np.float32)


class _Bench:
    """Makes the pairs of each set."""

    def __init__(self, store: Store, seconds: float) -> None:
        self.store = store
        self.length = round(seconds * RATE_HZ)
        self.twins = False  # whether the set `snr` is built too
        talkers: dict[str, list[Clip]] = defaultdict(list)
        for clip in store.clips("speech", SPLIT):
            talkers[clip.talker].append(clip)
        self._talker_clips = [talkers[name] for name in sorted(talkers)]
        self._noise_clips = store.clips("noise", SPLIT)
        if not self._talker_clips or not self._noise_clips:
            raise ValueError(f"the store has no speech or no noise in the split {SPLIT}")
        trained = {clip.talker for clip in store.clips("speech", "train")}
        both = sorted(trained & set(talkers))
        if both:
            raise ValueError(f"talkers in the splits {SPLIT} and train: {', '.join(both)}")

    def make(self, name: str) -> Iterator[Pair]:
        return getattr(self, f"_make_{name}")()

    def _takes(self) -> list[tuple[int, float]]:
        """Talker and SNR of each pair of `snr`, so that neighbors differ in both."""
        alone = defaultdict(int)
        for clips in self._talker_clips:
            alone[clips[0].source] += 1
        counts = [TAKES if alone[clips[0].source] > 1 else FEW_TALKERS_TAKES for clips in self._talker_clips]
        least = -(-MIN_PAIRS * ROOM_SHARE // (ROOM_SHARE + 1))
        while sum(counts) < least:  # a smaller store than that of the shipped models
            counts = [count + len(SNRS_DB) for count in counts]
        return [
            (talker, SNRS_DB[(take + talker) % len(SNRS_DB)])
            for take in range(max(counts))
            for talker, count in enumerate(counts)
            if take < count
        ]

    def _mixed(self, name: str) -> Iterator[Pair]:
        """The pairs of `snr` or `room`."""
        takes = self._takes()[:: ROOM_SHARE if name == "room" else 1]
        rng = np.random.default_rng([SEED, SETS.index(name)])
        # Rooms begin with other utterances than the dry pairs.
        talkers = [_Talker(clips, len(clips) // 2 * (name == "room")) for clips in self._talker_clips]
        noises = _Noises(self._noise_clips, rng)
        for number, (talker, snr_db) in enumerate(takes):
            speech, bandwidth_hz = talkers[talker].speech(self.store, self.length)
            if name == "room":
                speech = fftconvolve(speech, statistical_room(rng))[: self.length].astype(np.float32)
            noise, clip = noises.next(self.store, self.length)
            clean = speech * amplitude(LEVEL_DB - _level_db(speech, active=True))
            noisy = clean + noise * amplitude(LEVEL_DB - snr_db - _level_db(noise, active=False))
            yield self._pair(name, number, talkers[talker], bandwidth_hz, clean, noisy, clip, snr_db)

    def _pair(
        self,
        name: str,
        number: int,
        talker: _Talker | None,
        bandwidth_hz: float,
        clean: np.ndarray,
        noisy: np.ndarray,
        noise: Clip | None = None,
        snr_db: float | None = None,
    ) -> Pair:
        return Pair(
            name=f"{name}_{number:03d}",
            set=name,
            slot=None,
            talker=talker.name if talker else None,
            talker_in_training=False,
            speech_source=talker.source if talker else None,
            noise_class=Path(noise.path).stem if noise else None,
            noise_source=noise.source if noise else None,
            snr_db=snr_db,
            level_db=LEVEL_DB if talker else NOISE_LEVEL_DB,
            bandwidth_hz=bandwidth_hz,
            room=name == "room",
            twin=None,
            text=None,
            noisy=noisy,
            clean=clean,
            noise_recording=noise.path if noise else None,
        ).scale(0.0)

    def _make_snr(self) -> Iterator[Pair]:
        return self._mixed("snr")

    def _make_room(self) -> Iterator[Pair]:
        return self._mixed("room")

    def _make_whisper(self) -> Iterator[Pair]:
        step = max(1, len(self._takes()) // WHISPERS)
        chosen = islice(self._mixed("snr"), 0, step * WHISPERS, step)
        for number, pair in enumerate(chosen):
            pair.twin = pair.name if self.twins else None
            pair.name, pair.set = f"whisper_{number:03d}", "whisper"
            yield pair.scale(WHISPER_DB)

    def _make_clean(self) -> Iterator[Pair]:
        for number, clips in enumerate(self._talker_clips):
            talker = _Talker(clips)
            speech, bandwidth_hz = talker.speech(self.store, self.length)
            clean = speech * amplitude(LEVEL_DB - _level_db(speech, active=True))
            yield self._pair("clean", number, talker, bandwidth_hz, clean, clean)

    def _make_noise(self) -> Iterator[Pair]:
        number = 0
        for clip in sorted(self._noise_clips, key=lambda clip: clip.path):
            samples = np.resize(self.store.read(clip.index, 0, self.length), self.length)
            level_db = power_db(samples)
            samples = samples * amplitude(NOISE_LEVEL_DB - max(level_db, MIN_NOISE_DBFS))
            # Silence, and a recording of a few impulses, which would clip at this level, are left out.
            if level_db > MIN_NOISE_DBFS and np.abs(samples).max() < PEAK:
                silence = np.zeros(self.length, np.float32)
                yield self._pair("noise", number, None, RATE_HZ / 2, silence, samples, clip)
                number += 1

    def _make_words(self) -> Iterator[Pair]:
        clips = [clip for clips in self._talker_clips for clip in clips if clip.text]
        if not clips:
            raise Missing("needs transcripts, the column text of the index")
        noises = _Noises(self._noise_clips, np.random.default_rng([SEED, SETS.index("words")]))
        number = 0
        for clip in sorted(clips, key=lambda clip: clip.path):
            talker = _Talker([clip])
            speech = self.store.read(clip.index)
            clean = speech * amplitude(LEVEL_DB - _level_db(speech, active=True))
            for snr_db in (*SNRS_DB, None):
                noise_clip, noisy = None, clean
                if snr_db is not None:
                    noise, noise_clip = noises.next(self.store, len(speech))
                    noisy = clean + noise * amplitude(LEVEL_DB - snr_db - _level_db(noise, active=False))
                pair = self._pair(
                    "words", number, talker, clip.bandwidth_hz, clean, noisy, noise_clip, snr_db
                )
                pair.text = clip.text
                yield pair
                number += 1


def make_heldout(store: Store, out_dir: Path, seconds: float = 6.0, sets: Iterable[str] = SETS) -> Summary:
    """Writes the held-out benchmark in the form of `pairs.write_pairs`.

    Raises ValueError if the store has no speech or noise in the split dev2, or if a talker of it is in
    training too.
    """
    chosen = checked_sets(sets, SETS)
    bench = _Bench(store, seconds)
    bench.twins = "snr" in chosen
    return write_pairs(out_dir, ((name, bench.make(name)) for name in chosen))
