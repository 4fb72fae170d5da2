"""Writes a small data folder for the training smoke test: speech and noise with an index.

    python scripts/make_smoke_data.py OUT

The talkers are the clean sample of this repository at several speeds; the noise is synthetic.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter, resample_poly

RATE_HZ = 48000
COLUMNS = "path kind source split seconds source_rate_hz eff_bandwidth_hz snr_est_db license".split()
SPEEDS = {"train": (17, 18, 19, 21, 22, 23), "val": (16,), "dev": (20, 24)}  # twentieths


def noises(rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
    """White noise, rumble and hum."""
    white = rng.standard_normal(samples)
    time_s = np.arange(samples) / RATE_HZ
    hum = sum(np.sin(2 * np.pi * 50 * h * time_s + h) / h for h in range(1, 30))
    return {
        "hiss": 0.1 * white,
        "rumble": lfilter([0.03], [1, -0.97], white),
        "hum": 0.1 * hum + 0.01 * rng.standard_normal(samples),
    }


def main(out: Path) -> None:
    clean, _ = soundfile.read(Path(__file__).parent.parent / "samples/office-fan.clean.flac")
    rows = []

    def write(kind: str, split: str, name: str, signal: np.ndarray) -> None:
        path = f"{kind}/{name}/a.wav"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(out / path, 0.5 * signal / np.abs(signal).max(), RATE_HZ)
        seconds = f"{len(signal) / RATE_HZ:.2f}"
        rows.append([path, kind, name, split, seconds, "48000", "16000", "45.0", "see samples/README.md"])

    for seed, (split, speeds) in enumerate(SPEEDS.items()):
        for speed in speeds:
            write("speech", split, f"talker{speed}", resample_poly(clean, speed, 20))
        for name, signal in noises(np.random.default_rng(seed), 10 * RATE_HZ).items():
            write("noise", split, f"{name}-{split}", signal)
    lines = ["\t".join(row) for row in [COLUMNS, *rows]]
    (out / "index.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
