"""Computed noises, for kinds of noise with few recordings.

Every function takes a random generator and a `length` in samples at 48 kHz and returns float32
[length] at an arbitrary level.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.fft import irfft, rfft

from .audio import RATE_HZ, amplitude

RISE = 240  # 5 ms attack of a knock
RAMP = 960  # 20 ms ramp between off and on


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from `low` to `high` whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def background(rng: np.random.Generator, length: int) -> np.ndarray:
    """White, pink or brown noise, amplitude-modulated noise, hum, a machine, or tones."""
    kind = rng.integers(8)
    if kind == 3:
        return hum(rng, length)
    if kind == 5 or kind == 6:
        return machine(rng, length)
    if kind == 7:
        return tones(rng, length)
    samples = rng.standard_normal(length, np.float32)
    exponent = (0.0, 0.5, 1.0, 0.0, float(rng.uniform(0.0, 1.0)))[kind]
    if exponent > 0.0:
        samples = _shaped_noise(samples, exponent)
    if kind == 4:
        rate_hz, depth = rng.uniform(0.1, 4.0), rng.uniform(0.3, 0.95)
        phase = 2 * np.pi * (rate_hz / RATE_HZ * np.arange(length) + rng.random())
        samples = samples * (1.0 + depth * np.sin(phase)).astype(np.float32)
    return samples


def hum(rng: np.random.Generator, length: int) -> np.ndarray:
    """Mains hum: steady harmonics of 50 or 60 Hz."""
    base_hz = (50.0, 60.0)[rng.integers(2)] * rng.uniform(0.998, 1.002)
    return _harmonics(rng, length, base_hz, 0.0)


def rumble(rng: np.random.Generator, length: int) -> np.ndarray:
    """Low-passed noise below 25 to 200 Hz, steady, modulated or in beats: wind, steps, knocks, air ducts,
    traffic behind a wall."""
    spectrum = rfft(rng.standard_normal(length, np.float32))
    hz = np.arange(len(spectrum)) * (RATE_HZ / length)
    edge_hz = log_uniform(rng, 25.0, 200.0)
    slope = float(rng.uniform(2.0, 6.0))
    low = 1.0 / (1.0 + (hz / edge_hz) ** (2 * slope)) * (hz / (hz + 10.0)) ** 2
    samples = irfft(spectrum * low.astype(np.float32), length)
    samples /= max(float(np.abs(samples).max()), 1e-9)
    kind = rng.integers(3)
    if kind == 1:
        samples *= draw_envelope(rng, length)
    elif kind == 2:
        samples *= _beats(rng, length)
    return samples


def _beats(rng: np.random.Generator, length: int) -> np.ndarray:
    """Gain over time [T] of decaying knocks, single or in pairs, with a varying period."""
    gain = np.zeros(length, np.float32)
    period_s, decay = rng.uniform(0.2, 1.5), rng.uniform(0.02, 0.15)  # seconds
    beats = (0.0, rng.uniform(0.1, 0.4)) if rng.random() < 0.5 else (0.0,)
    knock = np.exp(-np.arange(round(6 * decay * RATE_HZ)) / (decay * RATE_HZ)).astype(np.float32)
    knock[:RISE] *= np.linspace(0.0, 1.0, RISE, dtype=np.float32)
    position = rng.uniform(0.0, min(period_s, 0.5 * length / RATE_HZ))
    while position * RATE_HZ < length:
        for delay_s in beats:
            _add(gain, int((position + delay_s) * RATE_HZ), knock * amplitude(rng.uniform(-6.0, 0.0)))
        position += period_s * rng.uniform(0.8, 1.2)
    return gain


def _shaped_noise(white: np.ndarray, exponent: float) -> np.ndarray:
    """`white` [T] with an amplitude of 1/f^exponent: 0.5 gives pink noise, 1 brown noise."""
    spectrum = rfft(white)
    # The gain is constant below 20 Hz.
    hz = np.maximum(np.arange(len(spectrum)) * (RATE_HZ / len(white)), 20.0)
    return irfft(spectrum * (hz**-exponent).astype(np.float32), len(white))


def machine(rng: np.random.Generator, length: int) -> np.ndarray:
    """Harmonics with a varying fundamental and noise modulated by them: an engine, a rotor, a saw."""
    base_hz = log_uniform(rng, 8.0, 300.0)
    drift = float(rng.uniform(0.0, 0.15))
    tone = _harmonics(rng, length, base_hz, drift)
    exponent = float(rng.uniform(0.0, 1.0))
    noise = _shaped_noise(rng.standard_normal(length, np.float32), exponent)
    depth = float(rng.uniform(0.0, 1.0))
    noise *= (1.0 - depth) + depth * np.maximum(tone, 0.0) ** 2
    share = rng.uniform(0.1, 1.0)
    scale = np.sqrt(np.mean(tone**2) / max(float(np.mean(noise**2)), 1e-20))
    return (tone * share + noise * scale * (1.1 - share)).astype(np.float32)


def _harmonics(rng: np.random.Generator, length: int, base_hz: float, drift: float) -> np.ndarray:
    """Up to 40 decreasing harmonics, as of mains hum or an engine; the fundamental varies around
    `base_hz` by the share `drift`."""
    wavetable = _draw_wavetable(rng, base_hz * (1 + drift))
    hz = base_hz * (1 + drift * _random_curve(rng, length)) if drift else np.full(length, base_hz)
    return _read_wavetable(wavetable, np.cumsum(hz) / RATE_HZ)


def _random_curve(rng: np.random.Generator, length: int) -> np.ndarray:
    """A piecewise linear random curve [T] from -1 to 1 with a few turning points."""
    count = int(rng.integers(3, 10))
    places = np.linspace(0, length, count)
    return np.interp(np.arange(length), places, rng.uniform(-1.0, 1.0, count))


def _draw_wavetable(rng: np.random.Generator, highest_hz: float) -> np.ndarray:
    """One period in 1025 points, the last equal to the first: up to 40 decreasing harmonics, none of
    them above half the sample rate at a fundamental of `highest_hz`."""
    count = int(rng.integers(3, 41))
    order = np.arange(1, count + 1)
    gains = rng.uniform(0.1, 1.0, count) / order ** rng.uniform(0.3, 1.5)
    coefficients = np.zeros(513, np.complex64)
    coefficients[1 : count + 1] = gains * np.exp(2j * np.pi * rng.random(count))
    coefficients[int(RATE_HZ / 2 / highest_hz) + 1 :] = 0.0
    period = irfft(coefficients, 1024)
    return np.append(period, period[0]) / max(float(np.abs(period).max()), 1e-9)


def _read_wavetable(wavetable: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """`wavetable` read cyclically at `phase`, in periods."""
    points = np.linspace(0.0, 1.0, len(wavetable))
    return np.interp(phase % 1.0, points, wavetable).astype(np.float32)


def tones(rng: np.random.Generator, length: int) -> np.ndarray:
    """A few gliding, intermittent tones: beeps, whistles, sirens, crickets."""
    total = np.zeros(length, np.float32)
    for _ in range(rng.integers(1, 4)):
        low_hz = log_uniform(rng, 200.0, 8000.0)
        glide = _random_curve(rng, length) * rng.uniform(0.0, 0.5)
        phase = 2 * np.pi * np.cumsum(low_hz * 2.0**glide) / RATE_HZ
        tone = np.sin(phase).astype(np.float32)
        if rng.random() < 0.5:  # chirps and trills
            beat = np.sin(2 * np.pi * rng.uniform(1.0, 40.0) / RATE_HZ * np.arange(length))
            tone *= np.clip(0.5 + rng.uniform(0.5, 4.0) * beat, 0.0, 1.0).astype(np.float32)
        total += tone * draw_envelope(rng, length) * amplitude(rng.uniform(-12.0, 0.0))
    return total


def calls(rng: np.random.Generator, length: int) -> np.ndarray:
    """Voiced sounds that are no speech: calls of birds, dogs, cats and infants, horns. One source repeats
    calls: harmonics of a varying pitch, some with roughness, plus breath noise, through resonances."""
    pitch_hz = log_uniform(rng, 150.0, 1500.0)
    wavetable = _draw_wavetable(rng, 2.5 * pitch_hz)
    call_s, pause_s = (log_uniform(rng, 0.08, 1.5) for _ in range(2))
    rough, breath = rng.uniform(0.0, 0.5) * (rng.random() < 0.4), rng.uniform(0.0, 0.3)
    # Rates below those of a voice's pitch: roughness at a pitch rate would sound like a vowel.
    rough_hz = rng.uniform(20.0, 60.0)
    total = np.zeros(length, np.float32)
    # The first call may begin before the clip.
    position_s = float(rng.uniform(-call_s, pause_s))
    while position_s < length / RATE_HZ:
        count = round(call_s * rng.uniform(0.5, 1.5) * RATE_HZ)
        time_s = np.arange(count) / RATE_HZ
        hz = pitch_hz * 2.0 ** (rng.uniform(0.0, 1.0) * _random_curve(rng, count))
        call = _read_wavetable(wavetable, np.cumsum(hz) / RATE_HZ)
        call *= 1.0 - rough * (1.0 + np.sin(2 * np.pi * rough_hz * time_s))
        call += breath * rng.standard_normal(count, np.float32)
        call *= np.minimum(1.0, np.minimum(time_s, time_s[::-1]) / rng.uniform(0.01, 0.1))
        _add(total, round(position_s * RATE_HZ), call * amplitude(rng.uniform(-10.0, 0.0)))
        position_s += (count / RATE_HZ) + pause_s * rng.uniform(0.3, 2.0)
    spectrum = rfft(total)
    hz = np.arange(len(spectrum)) * (RATE_HZ / length)
    gain = np.full(len(spectrum), 0.1)
    for _ in range(rng.integers(1, 4)):
        center_hz = log_uniform(rng, 400.0, 5000.0)
        gain += rng.uniform(0.3, 1.0) / (1.0 + ((hz - center_hz) / (center_hz * rng.uniform(0.1, 0.5))) ** 2)
    return irfft(spectrum * gain.astype(np.float32), length)


def music(rng: np.random.Generator, length: int) -> np.ndarray:
    """Up to four instruments in one scale and tempo, with or without drums."""
    total = np.zeros(length, np.float32)
    beat_s = float(rng.uniform(0.3, 0.8))
    tuning = float(rng.uniform(-0.5, 0.5))
    scale = rng.choice(12, int(rng.integers(5, 8)), replace=False)
    for _ in range(rng.integers(1, 5)):
        _instrument(rng, total, beat_s, tuning, scale)
    if rng.random() < 0.6:
        for _ in range(rng.integers(1, 4)):
            _drum(rng, total, beat_s)
    return total


def _instrument(
    rng: np.random.Generator, total: np.ndarray, beat_s: float, tuning: float, scale: np.ndarray
) -> None:
    """Adds one instrument's notes, single or in chords, to `total` [T]."""
    octave = int(rng.integers(3, 7))
    lowest_hz = 440.0 * 2.0 ** ((12 * octave + tuning - 69) / 12)
    wavetable = _draw_wavetable(rng, 4 * lowest_hz)
    notes, interval_s = int(rng.integers(1, 5)), beat_s * 2.0 ** rng.integers(-2, 3)
    rise_s, decay_s = rng.uniform(0.003, 0.1), log_uniform(rng, 0.1, 3.0)
    rests, gain = rng.uniform(0.0, 0.4), amplitude(rng.uniform(-15.0, 0.0)) / notes
    # The first note may begin before the clip.
    position_s = -float(rng.uniform(0.0, interval_s))
    while position_s < len(total) / RATE_HZ:
        if rng.random() >= rests:
            time_s = np.arange(round(interval_s * rng.uniform(0.5, 1.5) * RATE_HZ)) / RATE_HZ
            shape = np.minimum(1.0, time_s / rise_s) * np.exp(-time_s / decay_s)
            shape *= np.minimum(1.0, time_s[::-1] / 0.01)
            for semitone in rng.choice(scale, min(notes, len(scale)), replace=False):
                hz = lowest_hz * 2.0 ** ((semitone + 12 * rng.integers(2)) / 12)
                _add(
                    total, round(position_s * RATE_HZ), _read_wavetable(wavetable, hz * time_s) * shape * gain
                )
        position_s += interval_s


def _drum(rng: np.random.Generator, total: np.ndarray, beat_s: float) -> None:
    """Adds the strokes of a drum, a falling tone or a burst of noise, to `total` [T]."""
    decay_s = log_uniform(rng, 0.01, 0.15)
    time_s = np.arange(round(5 * decay_s * RATE_HZ)) / RATE_HZ
    if rng.random() < 0.5:
        low_hz, fall = rng.uniform(40.0, 200.0), rng.uniform(0.0, 4.0)
        stroke = np.sin(2 * np.pi * low_hz * (time_s + fall * decay_s * (1 - np.exp(-time_s / decay_s))))
    else:
        hiss = rng.standard_normal(len(time_s) + 1)
        stroke = np.diff(hiss) if rng.random() < 0.5 else hiss[1:]
    stroke *= np.exp(-time_s / decay_s) * amplitude(rng.uniform(-12.0, 6.0)) * 0.3
    interval_s = beat_s * 2.0 ** rng.integers(-2, 2)
    position_s = float(rng.uniform(0.0, interval_s))
    while position_s < len(total) / RATE_HZ:
        if rng.random() < 0.85:
            _add(total, round(position_s * RATE_HZ), stroke * amplitude(rng.uniform(-6.0, 0.0)))
        position_s += interval_s


def _add(total: np.ndarray, start: int, samples: np.ndarray) -> None:
    """Adds the part of `samples` that lies inside `total` when placed at `start`, which may be negative."""
    samples = samples[max(0, -start) :][: max(0, len(total) - max(0, start))]
    total[max(0, start) : max(0, start) + len(samples)] += samples


def draw_envelope(rng: np.random.Generator, length: int) -> np.ndarray:
    """Gain over time [T]: slow swells, or on and off with 20 ms ramps."""
    if rng.random() < 0.5:
        count = int(rng.integers(3, 13))
        places = np.linspace(0, length, count)
        gains = 10.0 ** (rng.uniform(-20.0, 0.0, count) / 20.0)
        return np.interp(np.arange(length), places, gains).astype(np.float32)
    switches = np.sort(rng.uniform(0, length, int(rng.integers(1, 5))))
    return _switched(length, switches, bool(rng.integers(2)))


def draw_intervals(
    rng: np.random.Generator, length: int, on_s: tuple[float, float], off_s: tuple[float, float]
) -> np.ndarray:
    """Gain over time [T]: alternately 0 for up to `off_s` and 1 for `on_s` seconds, with 20 ms ramps."""
    switches, at = [], rng.uniform(0.0, off_s[1]) * RATE_HZ
    while at < length:
        end = at + RAMP + rng.uniform(*on_s) * RATE_HZ
        switches += [at, end]
        at = end + RAMP + rng.uniform(*off_s) * RATE_HZ
    return _switched(length, np.array(switches), False)


def _switched(length: int, switches: np.ndarray, on: bool) -> np.ndarray:
    """Gain over time [T]: starts at 1 if `on`, else at 0, and changes with a ramp at each of `switches`."""
    places = np.concatenate([[0.0], np.ravel(np.stack([switches, switches + RAMP], axis=1))])
    gains = np.repeat((np.arange(len(switches) + 1) + on) % 2, 2)[:-1]
    return np.interp(np.arange(length), np.maximum.accumulate(places), gains).astype(np.float32)
