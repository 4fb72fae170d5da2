"""Simulated room impulse responses (RIRs) at 48 kHz for reverberant training speech.

pyroomacoustics simulates the early part with image sources and the tail with ray tracing.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE_HZ = 48000
MAX_SECONDS = 0.6
WALL_MARGIN_M = 0.3  # distance of talker and microphone to every wall
IMAGE_ORDER = 6  # reflections by image sources; later ones by ray tracing
RAYS = 3000
FADE_SECONDS = 0.01  # at the end of a truncated response


@dataclass(frozen=True)
class Room:
    """Geometry of one simulated room: lengths in meters, `rt60_s` in seconds."""

    size: np.ndarray  # [3]
    source: np.ndarray  # [3]
    microphone: np.ndarray  # [3]
    rt60_s: float


def draw_room(rng: np.random.Generator) -> Room:
    """A random shoebox: floor 2.5-10 m, height 2.3-4 m, RT60 0.1-0.8 s, distance 0.3-3 m."""
    import pyroomacoustics as pra

    while True:
        size = np.array([*rng.uniform(2.5, 10.0, 2), rng.uniform(2.3, 4.0)])
        rt60_s = rng.uniform(0.1, 0.8)
        try:
            absorption, _ = pra.inverse_sabine(rt60_s, size)
        except ValueError:
            continue  # no absorption gives this RT60 in this room
        # An absorption below 5 % is rare in furnished rooms.
        if absorption < 0.05:
            continue
        microphone = rng.uniform(WALL_MARGIN_M, size - WALL_MARGIN_M)
        direction = rng.standard_normal(3) * np.array([1.0, 1.0, 0.3])
        source = microphone + direction / np.linalg.norm(direction) * rng.uniform(0.3, 3.0)
        if np.all(source > WALL_MARGIN_M) and np.all(source < size - WALL_MARGIN_M):
            return Room(size, source, microphone, rt60_s)


def simulate(room: Room) -> np.ndarray:
    """RIR of `room`: float32, at most 0.6 s, direct path of gain 1 at sample 0."""
    import pyroomacoustics as pra

    absorption, order = pra.inverse_sabine(room.rt60_s, room.size)
    shoebox = pra.ShoeBox(
        room.size,
        fs=RATE_HZ,
        materials=pra.Material(absorption, 0.1),
        max_order=min(order, IMAGE_ORDER),
        ray_tracing=True,
        air_absorption=True,
    )
    shoebox.set_ray_tracing(n_rays=RAYS, receiver_radius=0.5)
    shoebox.add_source(room.source)
    shoebox.add_microphone(room.microphone)
    shoebox.compute_rir()
    response = np.asarray(shoebox.rir[0][0])
    # The propagation delay before the direct path is cut off, so that speech stays aligned.
    response = response[int(np.argmax(np.abs(response))) :][: round(MAX_SECONDS * RATE_HZ)]
    fade = min(round(FADE_SECONDS * RATE_HZ), len(response))
    response[-fade:] *= np.linspace(1.0, 0.0, fade)
    return (response / response[0]).astype(np.float32)


def make_rirs(out_npz: Path, count: int = 400, seed: int = 0) -> None:
    """Write `count` RIRs to `out_npz`: `rirs` float32 [count, 0.6 s], zero-padded, and `rt60_s`."""
    import pyroomacoustics as pra

    rng = np.random.default_rng(seed)
    pra.random.seed(seed)
    rirs = np.zeros((count, round(MAX_SECONDS * RATE_HZ)), np.float32)
    rt60_s = np.zeros(count, np.float32)
    for row in range(count):
        room = draw_room(rng)
        response = simulate(room)
        rirs[row, : len(response)] = response
        rt60_s[row] = room.rt60_s
        if (row + 1) % 50 == 0:
            print(f"{row + 1} of {count} rooms", flush=True)
    out_npz.parent.mkdir(parents=True, exist_ok=True)
    part = out_npz.with_name(out_npz.name + ".part")
    with part.open("wb") as file:
        np.savez(file, rirs=rirs, rt60_s=rt60_s)
    os.replace(part, out_npz)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `rir` command."""
    parser.add_argument("out", type=Path, help="file to write, .npz")
    parser.add_argument("--count", type=int, default=400, help="number of rooms, one response each")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Makes the responses; returns 0, or 1 without pyroomacoustics."""
    try:
        make_rirs(args.out, args.count, args.seed)
    except ImportError as error:
        print(f"error: {error}; `rir` needs the package pyroomacoustics", file=sys.stderr)
        return 1
    print(f"{args.count} room impulse responses in {args.out}")
    return 0
