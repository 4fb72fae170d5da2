"""Simulated room impulse responses (RIRs) at 48 kHz for reverberant training speech.

Early part: image source model of a shoebox room (Allen and Berkley, "Image method for efficiently
simulating small-room acoustics", JASA 65(4), 1979). Late part: Gaussian noise with the decay of
Eyring's reverberation time (JASA 1, 1930), which is cheaper than thousands of images and has none
of the sweeping echoes that a perfect shoebox produces.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import butter, lfilter

RATE_HZ = 48000
SPEED_OF_SOUND = 343.0  # m/s
MAX_SECONDS = 0.6
EARLY_SECONDS = 0.08  # images are exact up to here
FADE_SECONDS = 0.02  # cross-fade from the images to the noise tail
WALL_MARGIN = 0.3  # metres between a person or microphone and a wall


@dataclass(frozen=True)
class Room:
    """Geometry of one simulated room: lengths in metres, `rt60_s` in seconds."""

    size: np.ndarray  # [3]
    source: np.ndarray  # [3]
    microphone: np.ndarray  # [3]
    rt60_s: float


def draw_room(rng: np.random.Generator) -> Room:
    """A random shoebox: floor 2.5-10 m, height 2.3-4 m, RT60 0.1-0.8 s, distance 0.3-3 m."""
    while True:
        size = np.array([*rng.uniform(2.5, 10.0, 2), rng.uniform(2.3, 4.0)])
        # Long times belong to large rooms: absorption under 5 % is rare in furnished rooms.
        rt60_s = rng.uniform(0.1, 0.8)
        if eyring_absorption(size, rt60_s) < 0.05:
            continue
        # A whole number of samples of delay keeps the direct path a single sample.
        samples = round(rng.uniform(0.3, 3.0) / SPEED_OF_SOUND * RATE_HZ)
        distance = samples * SPEED_OF_SOUND / RATE_HZ
        microphone = rng.uniform(WALL_MARGIN, size - WALL_MARGIN)
        direction = rng.standard_normal(3) * np.array([1.0, 1.0, 0.3])
        source = microphone + direction / np.linalg.norm(direction) * distance
        if np.all(source > WALL_MARGIN) and np.all(source < size - WALL_MARGIN):
            return Room(size, source, microphone, rt60_s)


def eyring_absorption(size: np.ndarray, rt60_s: float) -> float:
    """Mean energy absorption (0-1) of the walls that gives `rt60_s`: Eyring's formula solved."""
    volume = float(np.prod(size))
    surface = 2.0 * float(size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    return 1.0 - float(np.exp(-0.161 * volume / (surface * rt60_s)))


def _axis_images(length: float, source: float, mic: float, low: float, high: float, reach: float):
    """Signed distances along one axis to every image within `reach`, and their reflection gains.

    `low` and `high` are the amplitude reflection factors of the two walls.
    """
    order = np.arange(-int(np.ceil(reach / (2 * length))) - 1, int(reach / (2 * length)) + 2)
    even = 2 * order * length + source - mic
    odd = 2 * order * length - source - mic
    even_gain = low ** np.abs(order) * high ** np.abs(order)
    odd_gain = low ** np.abs(order - 1) * high ** np.abs(order)
    return np.concatenate([even, odd]), np.concatenate([even_gain, odd_gain])


def simulate(room: Room, rng: np.random.Generator) -> np.ndarray:
    """RIR of `room`: float32, at most 0.6 s, direct path of gain 1 at sample 0."""
    count = round(MAX_SECONDS * RATE_HZ)
    direct = float(np.linalg.norm(room.source - room.microphone))
    reach = direct + EARLY_SECONDS * SPEED_OF_SOUND
    absorption = eyring_absorption(room.size, room.rt60_s)
    axes = []
    for axis in range(3):
        # Walls differ: the exponent spreads the damping around the mean of the room.
        low, high = (1.0 - absorption) ** (0.5 * rng.uniform(0.6, 1.4, 2))
        axes.append(
            _axis_images(
                room.size[axis], room.source[axis], room.microphone[axis], low, high, reach
            )
        )
    (x, gain_x), (y, gain_y), (z, gain_z) = axes
    square = x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2
    distance = np.sqrt(square).ravel()
    gain = (gain_x[:, None, None] * gain_y[None, :, None] * gain_z[None, None, :]).ravel()
    near = distance < reach
    distance, gain = distance[near], gain[near]
    # Nearest sample: 3.6 mm of error at 48 kHz, far under the accuracy of the shoebox itself.
    position = np.round((distance - direct) / SPEED_OF_SOUND * RATE_HZ).astype(int)
    early = np.bincount(position, gain * direct / distance, minlength=count)[:count]

    seconds = np.arange(count) / RATE_HZ
    decay = np.exp(-np.log(1000.0) * seconds / room.rt60_s)  # -60 dB at rt60_s
    join = EARLY_SECONDS - FADE_SECONDS
    fade = np.clip((seconds - join) / FADE_SECONDS, 0.0, 1.0)
    measured = slice(round(join / 2 * RATE_HZ), round(EARLY_SECONDS * RATE_HZ))
    energy = np.sum(early[measured] ** 2) / np.sum(decay[measured] ** 2)
    tail = rng.standard_normal(count) * decay * np.sqrt(energy)
    reflections = early * np.cos(fade * np.pi / 2) + tail * np.sin(fade * np.pi / 2)
    reflections[0] -= 1.0
    # All image gains are positive, so they build up towards 0 Hz; the 1979 paper removes that.
    reflections = lfilter(*butter(1, 80.0 / (RATE_HZ / 2), "high"), reflections)
    # Walls and air take high frequencies first: that half of the spectrum decays up to twice as
    # fast, split by a first-order low-pass.
    low_part = lfilter(*butter(1, rng.uniform(2000.0, 6000.0) / (RATE_HZ / 2)), reflections)
    high_part = (reflections - low_part) * decay ** rng.uniform(0.2, 1.0)
    response = low_part + high_part
    response[0] += 1.0
    end = round(min(MAX_SECONDS, max(1.1 * room.rt60_s, EARLY_SECONDS)) * RATE_HZ)
    fade_out = round(0.01 * RATE_HZ)
    response[end - fade_out : end] *= np.linspace(1.0, 0.0, fade_out)
    return (response[:end] / response[0]).astype(np.float32)


def make_rooms(out_npz: Path, count: int = 400, seed: int = 0) -> None:
    """Write `count` RIRs to `out_npz`: `rirs` float32 [count, 0.6 s], zero-padded, and `rt60_s`."""
    rng = np.random.default_rng(seed)
    rirs = np.zeros((count, round(MAX_SECONDS * RATE_HZ)), np.float32)
    rt60_s = np.zeros(count, np.float32)
    for row in range(count):
        room = draw_room(rng)
        response = simulate(room, rng)
        rirs[row, : len(response)] = response
        rt60_s[row] = room.rt60_s
    out_npz.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out_npz, rirs=rirs, rt60_s=rt60_s)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `rooms` command."""
    parser.add_argument("out", type=Path, help="file to write, .npz")
    parser.add_argument("--count", type=int, default=400, help="number of rooms")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Make the rooms; returns 0."""
    make_rooms(args.out, args.count, args.seed)
    print(f"{args.count} rooms in {args.out}")
    return 0
