"""Compares public models in quietwire with their own runtimes, on real clips.

    python scripts/check_parity.py [--models FOLDER] [--program quietwire] [ID ...]

For every model, the program cleans a clip at the model's rate without attenuation limit, and the
model's own runtime (`train/peers.py`) cleans the same clip. After alignment the difference must be at
least `MIN_SNR_DB` below the signal. A model that the program does not have is an error.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "train"))

from peers import PEERS
from quietwire_train.audio import read_mono, resample

MIN_SNR_DB = 45.0
MAX_DELAY = 4_800  # samples
IDS = ["dfn3", "dtln", "gtcrn", "hush", "nsnet2", "nsnet2-48k", "ul-unas"]


def cleaned(program: str, model: str, signal: np.ndarray, rate_hz: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "in.wav", Path(folder) / "out.wav"
        soundfile.write(source, signal, rate_hz, subtype="FLOAT")
        command = [program, "clean", "-q", "--model", model, "--attenuation", "inf", "-o", result, source]
        subprocess.run([str(part) for part in command], check=True)
        return soundfile.read(result, dtype="float32")[0]


def snr_db(reference: np.ndarray, signal: np.ndarray) -> tuple[float, int]:
    """SNR of `signal` after alignment to the best whole-sample delay of `reference`, and that delay."""
    size = 1 << (len(reference) + len(signal)).bit_length()
    product = np.fft.rfft(reference, size) * np.conj(np.fft.rfft(signal, size))
    delay = int(np.argmax(np.fft.irfft(product)[:MAX_DELAY]))
    length = min(len(reference) - delay, len(signal))
    # The ends differ: padding on one side, a tail on the other.
    inside = slice(MAX_DELAY, length - MAX_DELAY)
    a, b = reference[delay:][inside].astype(np.float64), signal[inside].astype(np.float64)
    return float(10 * np.log10(np.sum(a * a) / max(np.sum((a - b) ** 2), 1e-20))), delay


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ids", nargs="*", default=IDS, metavar="ID", help=f"of {', '.join(IDS)}")
    parser.add_argument("--program", default="quietwire")
    parser.add_argument("--models", type=Path, default=Path("."), help="ONNX files for train/peers.py")
    parser.add_argument(
        "--folder", type=Path, help="use the model folders FOLDER/ID instead of installed models"
    )
    args = parser.parse_args()
    failed = 0
    for model in args.ids:
        peer, rate_hz = PEERS[model]
        worst = np.inf
        for sample in ("office-fan.wav", "street.flac"):
            signal = read_mono(ROOT / "samples" / sample)[0]
            signal = resample(signal, 48_000, rate_hz).astype(np.float32)
            ours = cleaned(args.program, str(args.folder / model) if args.folder else model, signal, rate_hz)
            db, delay = snr_db(peer(signal, args.models), ours)
            print(f"{model:12} {sample:16} {db:6.1f} dB, peer {delay} samples later")
            worst = min(worst, db)
        failed += worst < MIN_SNR_DB
    print(f"{len(args.ids) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
