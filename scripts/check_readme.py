"""Runs the README's shell blocks for real, in order, and looks at what they made.

    python scripts/check_readme.py [--only tests|commands]

Every ```sh block counts; one marked `no-ci` is left out and named. The program itself is taken
from the build of the first command, so that it is built once.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
# Of samples/office-fan.wav, seconds (samples/README.md).
NOISE_ALONE = (0.2, 1.1)
SPEECH = (1.2, 7.8)


def blocks() -> list[str]:
    """Shell blocks of the README that are to be run."""
    found = []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for info, text in re.findall(r"^```(sh[^\n]*)\n(.*?)^```", readme, re.M | re.S):
        if "no-ci" in info:
            print(f"left out, marked no-ci:\n{text}")
        else:
            found.append(text)
    return found


def run(text: str) -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = f"{target / 'debug'}{os.pathsep}{os.environ['PATH']}"
    print(f"$ {text}", flush=True)
    subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=ROOT, env={**os.environ, "PATH": path}, check=True)


def level_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-20)


def check_cleaned(path: Path) -> None:
    """Same length, aligned, noise down, speech kept."""
    noisy, rate_hz = soundfile.read(ROOT / "samples/office-fan.wav")
    clean, _ = soundfile.read(ROOT / "samples/office-fan.clean.flac")
    output, output_rate_hz = soundfile.read(path)
    assert output_rate_hz == rate_hz and output.shape == noisy.shape, "same rate and length"
    size = 1 << (2 * len(clean)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(output, size) * np.conj(np.fft.rfft(clean, size)), size)
    lag = int(np.argmax(correlation))
    lag = lag - size if lag > size // 2 else lag
    noise, speech = (
        slice(round(start * rate_hz), round(end * rate_hz)) for start, end in (NOISE_ALONE, SPEECH)
    )
    # The part of the output that is the speech: projected on the clean recording.
    kept = np.dot(output[speech], clean[speech]) / np.dot(clean[speech], clean[speech])
    down_db = level_db(noisy[noise]) - level_db(output[noise])
    print(f"lag {lag} samples, noise down {down_db:.1f} dB, speech {20 * np.log10(kept):+.2f} dB")
    assert lag == 0, "aligned with the input"
    assert down_db > 15, "noise floor at least 15 dB down"
    assert abs(20 * np.log10(kept)) < 2, "speech level within 2 dB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["tests", "commands"])
    only = parser.parse_args().only
    found = blocks()
    tests = [text for text in found if "cargo test" in text]
    commands = [text for text in found if "cargo test" not in text]
    assert tests and commands, "the README has a test command and others"
    for text in [] if only == "commands" else tests:
        run(text)
    if only != "tests":
        for name in ("cleaned.wav", "cleaned.png"):
            (ROOT / name).unlink(missing_ok=True)
        run(commands[0])
        check_cleaned(ROOT / "cleaned.wav")
        assert (ROOT / "cleaned.png").read_bytes().startswith(b"\x89PNG")
        for text in commands[1:]:
            run(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
