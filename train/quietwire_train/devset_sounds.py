"""Filters and generators of the development benchmark: band limits, typing, music."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from .audio import RATE_HZ, amplitude, power_db
from .store import Clip, Store


def limit_band(signal: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """`signal` between `low_hz` (if any) and `high_hz` (if below 24 kHz).

    The transitions are raised cosines: from 94 % to 100 % of `high_hz`, from 67 % to 100 % of `low_hz`.
    """
    size = next_fast_len(len(signal) + RATE_HZ // 10, real=True)
    spectrum = rfft(signal, size)
    hz = np.arange(len(spectrum)) * (RATE_HZ / size)
    transitions = []
    if high_hz < RATE_HZ / 2:
        transitions.append((hz / high_hz - 0.94) / 0.06)
    if low_hz > 0.0:
        transitions.append((1.0 - hz / low_hz) * 3.0)
    for position in transitions:
        spectrum *= (0.5 + 0.5 * np.cos(np.pi * np.clip(position, 0.0, 1.0))).astype(np.float32)
    return irfft(spectrum, size)[: len(signal)]


def typing(store: Store, keys: list[Clip], rng: np.random.Generator, length: int) -> np.ndarray:
    """`length` samples of typing: bursts of keystrokes from the recordings `keys`."""
    strokes = []
    for clip in keys:
        samples = store.read(clip.index)
        blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480)
        energy = np.einsum("ij,ij->i", blocks, blocks)
        # The three loudest moments, each from 20 ms before it, 0.25 s long.
        for _ in range(3):
            top = int(np.argmax(energy))
            energy[max(0, top - 30) : top + 30] = 0.0
            stroke = samples[max(0, (top - 2) * 480) :][: RATE_HZ // 4].copy()
            level_db = power_db(stroke)
            if level_db > -80.0:
                fade = np.minimum(1.0, np.arange(len(stroke)) / 240)
                strokes.append(stroke * (fade * fade[::-1]).astype(np.float32) * amplitude(-30.0 - level_db))
    samples_out = np.zeros(length, np.float32)
    position, left = int(rng.uniform(0.05, 0.3) * RATE_HZ), int(rng.integers(4, 12))
    while position < length:
        stroke = strokes[rng.integers(len(strokes))][: length - position]
        samples_out[position : position + len(stroke)] += stroke * amplitude(rng.uniform(-6.0, 0.0))
        left -= 1
        pause_s = rng.uniform(0.09, 0.22) if left else rng.uniform(0.4, 0.9)
        left = left or int(rng.integers(4, 12))
        position += int(pause_s * RATE_HZ)
    return samples_out


def music(rng: np.random.Generator, length: int) -> np.ndarray:
    """`length` samples of synthetic music: chords, bass, melody and drums, in a key and tempo."""
    root = int(rng.integers(45, 57))  # semitones, 69 is 440 Hz
    scale = np.array(((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))[rng.integers(2)])
    degrees = ((0, 5, 3, 4), (0, 3, 4, 4), (0, 4, 5, 3), (0, 5, 1, 4))[rng.integers(4)]
    beat = round(60 / rng.uniform(80.0, 150.0) * RATE_HZ)
    brightness = rng.uniform(1.0, 1.8)  # exponent of the decrease of the harmonics
    arpeggio = rng.random() < 0.5
    mixed = np.zeros(length + 4 * beat, np.float32)

    def pitch(degree: int) -> int:
        return root + 12 * (degree // 7) + int(scale[degree % 7])

    def add(position: int, samples: np.ndarray, gain: float) -> None:
        end = min(len(mixed), position + len(samples))
        mixed[position:end] += np.float32(gain) * samples[: end - position].astype(np.float32)

    def tone(semitone: int, beats: float, decay_s: float, harmonics: int) -> np.ndarray:
        time_s = np.arange(round(beats * beat)) / RATE_HZ
        hz = 440.0 * 2 ** ((semitone - 69) / 12)
        order = np.arange(1, harmonics + 1)
        waves = np.sin(2 * np.pi * hz * np.outer(order, time_s) + rng.uniform(0, 6.3, (harmonics, 1)))
        rise = np.minimum(1.0, time_s / 0.01) * np.minimum(1.0, time_s[::-1] / 0.02)
        return (order**-brightness) @ waves * rise * np.exp(-time_s / decay_s)

    def drum(kind: str) -> np.ndarray:
        time_s = np.arange(RATE_HZ // 5) / RATE_HZ
        hiss = rng.standard_normal(len(time_s))
        if kind == "kick":
            return np.sin(2 * np.pi * (45 * time_s + 4 * (1 - np.exp(-time_s / 0.03)))) * np.exp(
                -time_s / 0.06
            )
        if kind == "snare":
            return (0.6 * hiss + np.sin(2 * np.pi * 180 * time_s)) * np.exp(-time_s / 0.05)
        return np.diff(hiss, prepend=0.0) * np.exp(-time_s / 0.02)

    for number in range(length // beat + 1):
        position = number * beat
        degree = degrees[number // 4 % 4]
        chord = [pitch(degree + step) for step in (0, 2, 4, 7)]
        if arpeggio:
            for half in range(2):
                note = chord[(2 * number + half) % 4]
                add(position + half * beat // 2, tone(note + 12, 1.0, 0.4, 12), 0.25)
        elif number % 2 == 0:
            for note in chord:
                add(position, tone(note, 2.0, 0.8, 12), 0.15)
        add(position, tone(chord[0] - 12, 1.0, 0.5, 6), 0.4)
        if rng.random() < 0.7:
            add(position, tone(pitch(int(rng.integers(7, 15))), 1.0, 0.5, 8), 0.2)
        add(position, drum("snare" if number % 2 else "kick"), 0.3)
        for half in range(2):
            add(position + half * beat // 2, drum("hat"), 0.08)
    return mixed[:length]


def cut_silence(signal: np.ndarray) -> np.ndarray:
    """`signal` from 30 ms before to 30 ms after the part within 45 dB of its peak."""
    loud = np.nonzero(np.abs(signal) > 10 ** (-45 / 20) * np.abs(signal).max())[0]
    margin = RATE_HZ * 3 // 100
    return signal[max(0, loud[0] - margin) : loud[-1] + margin]
