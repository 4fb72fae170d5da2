"""Signals and files of the tests."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
RATE_HZ = 48_000


def noisy(frames: int, channels: int | None = None, seed: int = 1) -> np.ndarray:
    """A tone that comes and goes, in noise: float32, shape (n,) or (n, c)."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(frames) / RATE_HZ
    tone = 0.2 * np.sin(2 * np.pi * 440 * time_s) * (np.sin(2 * np.pi * 3 * time_s) > 0)
    shape = (frames,) if channels is None else (frames, channels)
    noise = 0.05 * generator.standard_normal(shape)
    return (noise + (tone if channels is None else tone[:, None])).astype(np.float32)


def write_float_wav(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    """A WAV file of float32 samples."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    data = samples.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, channels, rate_hz, 4 * channels * rate_hz, 4 * channels, 32)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def read_float_wav(path: Path) -> np.ndarray:
    """The samples of a WAV file of float32, interleaved."""
    content = path.read_bytes()
    at = 12
    while content[at : at + 4] != b"data":
        at += 8 + struct.unpack("<I", content[at + 4 : at + 8])[0]
    length = struct.unpack("<I", content[at + 4 : at + 8])[0]
    return np.frombuffer(content[at + 8 : at + 8 + length], "<f4")


@pytest.fixture(scope="session")
def program() -> str:
    """The command-line program that was built from the same sources."""
    path = os.environ.get("QUIETWIRE")
    if path is None:
        pytest.skip("the environment variable QUIETWIRE does not name the program")
    return path
