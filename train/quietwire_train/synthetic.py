"""Noises that are computed: what few recordings hold, and what every recording of it would repeat.

A noise takes its randomness and its `length` in samples at 48 kHz, and gives float32 [length] at a level
that says nothing.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.fft import irfft, rfft

from .data import RATE_HZ, amplitude

RISE = 240  # 5 ms at the start of a knock
RAMP = 960  # 20 ms from off to on


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between `low` and `high`, every factor as likely as the next."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def background(rng: np.random.Generator, length: int) -> np.ndarray:
    """White, pink or brown noise, noise that swells and fades, hum, a machine, or tones."""
    kind = rng.integers(8)
    if kind == 3:
        base_hz = (50.0, 60.0)[rng.integers(2)] * rng.uniform(0.998, 1.002)
        return _harmonics(rng, length, base_hz, 0.0)
    if kind == 5 or kind == 6:
        return machine(rng, length)
    if kind == 7:
        return tones(rng, length)
    samples = rng.standard_normal(length, np.float32)
    exponent = (0.0, 0.5, 1.0, 0.0, float(rng.uniform(0.0, 1.0)))[kind]
    if exponent > 0.0:
        samples = _coloured(samples, exponent)
    if kind == 4:
        rate_hz, depth = rng.uniform(0.1, 4.0), rng.uniform(0.3, 0.95)
        phase = 2 * np.pi * (rate_hz / RATE_HZ * np.arange(length) + rng.random())
        samples = samples * (1.0 + depth * np.sin(phase)).astype(np.float32)
    return samples


def rumble(rng: np.random.Generator, length: int) -> np.ndarray:
    """Wind at the microphone, steps, knocks, air ducts, traffic behind a wall: sound below 25 to
    200 Hz that stays, swells, or comes in beats."""
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
    """Gain over time [T] of knocks that die away, some in pairs, at a pace that wanders."""
    gain = np.zeros(length, np.float32)
    pace, decay = rng.uniform(0.2, 1.5), rng.uniform(0.02, 0.15)  # seconds
    beats = (0.0, rng.uniform(0.1, 0.4)) if rng.random() < 0.5 else (0.0,)
    knock = np.exp(-np.arange(round(6 * decay * RATE_HZ)) / (decay * RATE_HZ)).astype(np.float32)
    knock[:RISE] *= np.linspace(0.0, 1.0, RISE, dtype=np.float32)
    position = rng.uniform(0.0, min(pace, 0.5 * length / RATE_HZ))
    while position * RATE_HZ < length:
        for late in beats:
            _add(gain, int((position + late) * RATE_HZ), knock * amplitude(rng.uniform(-6.0, 0.0)))
        position += pace * rng.uniform(0.8, 1.2)
    return gain


def _coloured(white: np.ndarray, exponent: float) -> np.ndarray:
    """`white` [T] with an amplitude of 1/f^exponent: 0.5 is pink noise, 1 is brown."""
    spectrum = rfft(white)
    # 20 Hz bounds the lowest bins.
    hz = np.maximum(np.arange(len(spectrum)) * (RATE_HZ / len(white)), 20.0)
    return irfft(spectrum * (hz**-exponent).astype(np.float32), len(white))


def machine(rng: np.random.Generator, length: int) -> np.ndarray:
    """An engine, a rotor, a saw: wandering harmonics, and noise that pulses with them."""
    base_hz = log_uniform(rng, 8.0, 300.0)
    drift = float(rng.uniform(0.0, 0.15))
    tone = _harmonics(rng, length, base_hz, drift)
    exponent = float(rng.uniform(0.0, 1.0))
    noise = _coloured(rng.standard_normal(length, np.float32), exponent)
    depth = float(rng.uniform(0.0, 1.0))
    noise *= (1.0 - depth) + depth * np.maximum(tone, 0.0) ** 2
    share = rng.uniform(0.1, 1.0)
    scale = np.sqrt(np.mean(tone**2) / max(float(np.mean(noise**2)), 1e-20))
    return (tone * share + noise * scale * (1.1 - share)).astype(np.float32)


def _harmonics(rng: np.random.Generator, length: int, base_hz: float, drift: float) -> np.ndarray:
    """Up to 40 harmonics that fall off, as of mains hum or an engine; `base_hz` wanders by the
    share `drift`."""
    period = _draw_period(rng, base_hz * (1 + drift))
    hz = base_hz * (1 + drift * _wander(rng, length)) if drift else np.full(length, base_hz)
    return _play(period, np.cumsum(hz) / RATE_HZ)


def _wander(rng: np.random.Generator, length: int) -> np.ndarray:
    """A smooth random curve [T] within -1..1 that turns a few times."""
    count = int(rng.integers(3, 10))
    places = np.linspace(0, length, count)
    return np.interp(np.arange(length), places, rng.uniform(-1.0, 1.0, count))


def _draw_period(rng: np.random.Generator, highest_hz: float) -> np.ndarray:
    """One period in 1025 points, the last equal to the first: up to 40 harmonics that fall off, none
    of them above half the rate when it is played at `highest_hz`."""
    count = int(rng.integers(3, 41))
    order = np.arange(1, count + 1)
    gains = rng.uniform(0.1, 1.0, count) / order ** rng.uniform(0.3, 1.5)
    coefficients = np.zeros(513, np.complex64)
    coefficients[1 : count + 1] = gains * np.exp(2j * np.pi * rng.random(count))
    coefficients[int(RATE_HZ / 2 / highest_hz) + 1 :] = 0.0
    period = irfft(coefficients, 1024)
    return np.append(period, period[0]) / max(float(np.abs(period).max()), 1e-9)


def _play(period: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """`period` read cyclically at `phase`, in periods."""
    points = np.linspace(0.0, 1.0, len(period))
    return np.interp(phase % 1.0, points, period).astype(np.float32)


def tones(rng: np.random.Generator, length: int) -> np.ndarray:
    """Beeps, whistles, sirens, crickets: a few gliding tones that come and go."""
    total = np.zeros(length, np.float32)
    for _ in range(rng.integers(1, 4)):
        low_hz = log_uniform(rng, 200.0, 8000.0)
        glide = _wander(rng, length) * rng.uniform(0.0, 0.5)
        phase = 2 * np.pi * np.cumsum(low_hz * 2.0**glide) / RATE_HZ
        tone = np.sin(phase).astype(np.float32)
        if rng.random() < 0.5:  # chirps and trills
            beat = np.sin(2 * np.pi * rng.uniform(1.0, 40.0) / RATE_HZ * np.arange(length))
            tone *= np.clip(0.5 + rng.uniform(0.5, 4.0) * beat, 0.0, 1.0).astype(np.float32)
        total += tone * draw_envelope(rng, length) * amplitude(rng.uniform(-12.0, 0.0))
    return total


def calls(rng: np.random.Generator, length: int) -> np.ndarray:
    """What is voiced and no voice: cocks, gulls, dogs, cats, infants, horns. One source calls now and
    then: harmonics of a pitch that rises and falls, rough at times, breathy, through its resonances."""
    pitch_hz = log_uniform(rng, 150.0, 1500.0)
    period = _draw_period(rng, 2.5 * pitch_hz)
    call_s, pause_s = (log_uniform(rng, 0.08, 1.5) for _ in range(2))
    rough, breath = rng.uniform(0.0, 0.5) * (rng.random() < 0.4), rng.uniform(0.0, 0.3)
    # At the pitch of a low voice a rough tone is a vowel.
    rough_hz = rng.uniform(20.0, 60.0)
    total = np.zeros(length, np.float32)
    # The first call may have begun before the clip.
    position_s = float(rng.uniform(-call_s, pause_s))
    while position_s < length / RATE_HZ:
        count = round(call_s * rng.uniform(0.5, 1.5) * RATE_HZ)
        time_s = np.arange(count) / RATE_HZ
        hz = pitch_hz * 2.0 ** (rng.uniform(0.0, 1.0) * _wander(rng, count))
        call = _play(period, np.cumsum(hz) / RATE_HZ)
        call *= 1.0 - rough * (1.0 + np.sin(2 * np.pi * rough_hz * time_s))
        call += breath * rng.standard_normal(count, np.float32)
        call *= np.minimum(1.0, np.minimum(time_s, time_s[::-1]) / rng.uniform(0.01, 0.1))
        _add(total, round(position_s * RATE_HZ), call * amplitude(rng.uniform(-10.0, 0.0)))
        position_s += (count / RATE_HZ) + pause_s * rng.uniform(0.3, 2.0)
    spectrum = rfft(total)
    hz = np.arange(len(spectrum)) * (RATE_HZ / length)
    gain = np.full(len(spectrum), 0.1)
    for _ in range(rng.integers(1, 4)):
        centre_hz = log_uniform(rng, 400.0, 5000.0)
        gain += rng.uniform(0.3, 1.0) / (1.0 + ((hz - centre_hz) / (centre_hz * rng.uniform(0.1, 0.5))) ** 2)
    return irfft(spectrum * gain.astype(np.float32), length)


def music(rng: np.random.Generator, length: int) -> np.ndarray:
    """Up to four instruments that play notes of one scale in one time, with or without drums."""
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
    period = _draw_period(rng, 4 * lowest_hz)
    notes, pace_s = int(rng.integers(1, 5)), beat_s * 2.0 ** rng.integers(-2, 3)
    rise_s, decay_s = rng.uniform(0.003, 0.1), log_uniform(rng, 0.1, 3.0)
    rests, gain = rng.uniform(0.0, 0.4), amplitude(rng.uniform(-15.0, 0.0)) / notes
    # The first note may have begun before the clip.
    position_s = -float(rng.uniform(0.0, pace_s))
    while position_s < len(total) / RATE_HZ:
        if rng.random() >= rests:
            time_s = np.arange(round(pace_s * rng.uniform(0.5, 1.5) * RATE_HZ)) / RATE_HZ
            shape = np.minimum(1.0, time_s / rise_s) * np.exp(-time_s / decay_s)
            shape *= np.minimum(1.0, time_s[::-1] / 0.01)
            for semitone in rng.choice(scale, min(notes, len(scale)), replace=False):
                hz = lowest_hz * 2.0 ** ((semitone + 12 * rng.integers(2)) / 12)
                _add(total, round(position_s * RATE_HZ), _play(period, hz * time_s) * shape * gain)
        position_s += pace_s


def _drum(rng: np.random.Generator, total: np.ndarray, beat_s: float) -> None:
    """Adds the strokes of a drum, a tone that falls or a burst of noise, to `total` [T]."""
    decay_s = log_uniform(rng, 0.01, 0.15)
    time_s = np.arange(round(5 * decay_s * RATE_HZ)) / RATE_HZ
    if rng.random() < 0.5:
        low_hz, fall = rng.uniform(40.0, 200.0), rng.uniform(0.0, 4.0)
        stroke = np.sin(2 * np.pi * low_hz * (time_s + fall * decay_s * (1 - np.exp(-time_s / decay_s))))
    else:
        hiss = rng.standard_normal(len(time_s) + 1)
        stroke = np.diff(hiss) if rng.random() < 0.5 else hiss[1:]
    stroke *= np.exp(-time_s / decay_s) * amplitude(rng.uniform(-12.0, 6.0)) * 0.3
    pace_s = beat_s * 2.0 ** rng.integers(-2, 2)
    position_s = float(rng.uniform(0.0, pace_s))
    while position_s < len(total) / RATE_HZ:
        if rng.random() < 0.85:
            _add(total, round(position_s * RATE_HZ), stroke * amplitude(rng.uniform(-6.0, 0.0)))
        position_s += pace_s


def _add(total: np.ndarray, start: int, samples: np.ndarray) -> None:
    """Add as much of `samples` as `total` holds from `start`, which may be negative."""
    samples = samples[max(0, -start) :][: max(0, len(total) - max(0, start))]
    total[max(0, start) : max(0, start) + len(samples)] += samples


def draw_envelope(rng: np.random.Generator, length: int) -> np.ndarray:
    """Gain over time [T]: smooth swells, or on and off with 20 ms ramps."""
    if rng.random() < 0.5:
        count = int(rng.integers(3, 13))
        places = np.linspace(0, length, count)
        gains = 10.0 ** (rng.uniform(-20.0, 0.0, count) / 20.0)
        return np.interp(np.arange(length), places, gains).astype(np.float32)
    switches = np.sort(rng.uniform(0, length, int(rng.integers(1, 5))))
    return _switched(length, switches, bool(rng.integers(2)))


def draw_stretches(
    rng: np.random.Generator, length: int, on_s: tuple[float, float], off_s: tuple[float, float]
) -> np.ndarray:
    """Gain over time [T]: 0, and now and then 1 for a time within `on_s`, with 20 ms ramps."""
    switches, at = [], rng.uniform(0.0, off_s[1]) * RATE_HZ
    while at < length:
        end = at + RAMP + rng.uniform(*on_s) * RATE_HZ
        switches += [at, end]
        at = end + RAMP + rng.uniform(*off_s) * RATE_HZ
    return _switched(length, np.array(switches), False)


def _switched(length: int, switches: np.ndarray, on: bool) -> np.ndarray:
    """Gain over time [T]: 1 if `on`, else 0, and from each of `switches` (in order) on the other, with ramps."""
    places = np.concatenate([[0.0], np.ravel(np.stack([switches, switches + RAMP], axis=1))])
    gains = np.repeat((np.arange(len(switches) + 1) + on) % 2, 2)[:-1]
    return np.interp(np.arange(length), np.maximum.accumulate(places), gains).astype(np.float32)
