"""Holds the embedded models to what is claimed of them, on pairs made of the shipped sample.

    python scripts/check_quality.py PROGRAM

A small version of the dev benchmark (train/README.md), for data that everybody has: the clean
voice of samples/office-fan with its own fan noise at five levels, alone, alone without its lows
(cut at 300 to 700 Hz), 30 dB down, and the fan without the voice. One talker and one noise: this
finds broken weights, not better ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, sosfilt

from quietwire_train.devset import LOW_CUTS_HZ

ROOT = Path(__file__).resolve().parent.parent
SNRS_DB = (-5, 0, 5, 10, 15)
# Least gain of the mean over SNR pairs against the input, and limits of the other sets.
LEAST = {
    "base": {"pesq": 0.4, "stoi": -0.02, "si_sdr_db": 6.5, "ovrl": 0.8},
    "tiny": {"pesq": 0.4, "stoi": -0.02, "si_sdr_db": 6.0, "ovrl": 0.7},
}
CLEAN_PESQ = {"base": 4.4, "tiny": 4.4}
# Small microphones and cautious filters leave no fundamental; vowels are speech without it too.
LOW_CUT_PESQ = {
    "base": {300: 4.4, 400: 4.4, 500: 4.4, 600: 3.8, 700: 3.5},
    "tiny": {300: 4.4, 400: 4.4, 500: 4.4, 600: 4.3, 700: 3.7},
}
LOST_LEVEL_DB = {"base": 3.0, "tiny": 3.0}


def make_pairs(folder: Path) -> None:
    noisy, rate_hz = soundfile.read(ROOT / "samples/office-fan.wav")
    clean, _ = soundfile.read(ROOT / "samples/office-fan.clean.flac")
    noise = noisy - clean
    gain = np.sqrt(np.mean(clean**2) / np.mean(noise**2))
    pairs = []

    def add(kind: str, name: str, speech: np.ndarray, mixed: np.ndarray, **known: object) -> None:
        for side, signal in (("noisy", mixed), ("clean", speech)):
            (folder / side).mkdir(exist_ok=True)
            soundfile.write(folder / side / f"{name}.wav", signal, rate_hz, subtype="FLOAT")
        pair = {"name": name, "set": kind, "talker": "voice", "talker_in_training": False, "text": None}
        pair |= {"speech_source": "sample", "noise_class": "fan", "noise_source": "sample", "twin": None}
        pairs.append(pair | {"snr_db": None, "level_db": -26.0, "bandwidth_hz": 24000.0} | known)

    for snr_db in SNRS_DB:
        mixed = 0.5 * (clean + noise * gain * 10 ** (-snr_db / 20))
        add("snr", f"snr_{snr_db}", 0.5 * clean, mixed, snr_db=snr_db)
        if snr_db == 5:
            quiet = 10 ** (-30 / 20)
            add("whisper", "whisper", 0.5 * clean * quiet, mixed * quiet, snr_db=snr_db, twin=f"snr_{snr_db}")
    add("clean", "clean", clean, clean, noise_class=None)
    for cut_hz in LOW_CUTS_HZ:
        cut = sosfilt(butter(8, cut_hz, "highpass", fs=rate_hz, output="sos"), clean)
        add("thin", f"thin_{cut_hz:g}", cut, cut, noise_class=None)
    add("noise", "noise", 0 * noise, noise, talker=None)
    (folder / "pairs.json").write_text(json.dumps(pairs))


def main() -> int:
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_pairs(folder)
        systems = ["noisy", *(f"{name}=model:{name}" for name in LEAST)]
        command = [sys.executable, "-m", "quietwire_train.cli", "score", scratch, *systems]
        command += ["--quietwire", program, "--against", "noisy", "--jobs", "1", "--out", f"{scratch}/board"]
        subprocess.run(command, check=True)
        board = json.loads((folder / "board.json").read_text())
    rows = {row["system"]: row for row in board["systems"]}
    for name, least in LEAST.items():
        row = rows[name]
        for column, gain in least.items():
            found = row[column] - rows["noisy"][column]
            assert found >= gain, f"{name}: {column} {found:+.2f} against the input, expected {gain:+.2f}"
        records = {record["pair"]: record for record in board["pairs"] if record["system"] == name}
        clean = records["clean"]["clean_pesq"]
        assert clean >= CLEAN_PESQ[name], f"{name}: clean speech {clean:.2f}"
        cuts = {hz: records[f"thin_{hz:g}"]["thin_pesq"] for hz in LOW_CUTS_HZ}
        print(f"{name}: PESQ of clean speech cut at", *(f"{hz:g} Hz {found:.2f}" for hz, found in cuts.items()))
        for cut_hz, limit in LOW_CUT_PESQ[name].items():
            assert cuts[cut_hz] >= limit, f"{name}: clean speech cut at {cut_hz} Hz {cuts[cut_hz]:.2f}"
        highs_db = records["clean"]["highs_db"]
        assert abs(highs_db) < 1.0, f"{name}: highs of clean speech {highs_db:+.2f} dB"
        assert row["twin_pesq_abs"] < 0.05, f"{name}: quiet speech {row['twin_pesq_abs']:.3f} PESQ off"
        assert row["attenuation_db"] > 15.0, f"{name}: noise alone only {row['attenuation_db']:.1f} dB down"
        assert abs(row["level_error_db"]) < LOST_LEVEL_DB[name], f"{name}: speech {row['level_error_db']:+.2f} dB"
        auc = board["vad"][name]["speech_probability"]["auc"]
        assert auc > 0.9, f"{name}: speech detection AUC {auc:.3f}"
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
