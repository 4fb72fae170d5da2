"""Objective scores of denoisers on pairs of noisy and clean recordings.

All measures are taken at 16 kHz after the delay of the system is removed: wideband PESQ (ITU-T
P.862.2), STOI (Taal et al., IEEE TASLP 19(7), 2011), SI-SDR (Le Roux et al., ICASSP 2019) and
DNSMOS P.835 (Reddy et al., ICASSP 2022).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shlex
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from pesq import PesqError, pesq
from pystoi import stoi
from scipy.fft import irfft, next_fast_len, rfft

from .data import RATE_HZ, read_mono, resample

SCORE_RATE_HZ = 16000
MAX_DELAY_SECONDS = 0.06
COMMAND_SECONDS = 600
DNSMOS_SAMPLES = 144160  # 9.01 s at 16 kHz, the input length of the model
# From the published DNSMOS P.835 script: raw output of the model to the opinion score scale.
DNSMOS_POLYNOMIALS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}
COLUMNS = {
    "pesq": "PESQ",
    "stoi": "STOI",
    "si_sdr_db": "SI-SDR (dB)",
    "sig": "SIG",
    "bak": "BAK",
    "ovrl": "OVRL",
    "clean_pesq": "PESQ of clean",
    "delay_ms": "delay (ms)",
}


@dataclass(frozen=True)
class System:
    """Something to score: a command with {in} and {out}, a folder of results, or the input."""

    name: str
    command: str | None = None
    folder: Path | None = None


def parse_system(text: str) -> System:
    """`noisy`, NAME=COMMAND or NAME=dir:FOLDER."""
    if text == "noisy":
        return System("noisy")
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise ValueError(f"{text!r} is neither noisy, NAME=COMMAND nor NAME=dir:FOLDER")
    if rest.startswith("dir:"):
        return System(name, folder=Path(rest[4:]))
    if "{in}" not in rest or "{out}" not in rest:
        raise ValueError(f"the command of {name} needs {{in}} and {{out}}")
    return System(name, command=rest)


def align(reference: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Cut `reference` and `signal` to what they share once the delay of `signal` is removed.

    The delay is the place of the largest cross-correlation within +-60 ms, in samples at 48 kHz
    (positive: `signal` is late). Returns both cuts and the delay.
    """
    reach = round(MAX_DELAY_SECONDS * RATE_HZ)
    size = next_fast_len(max(len(reference), len(signal)) + reach, real=True)
    product = rfft(signal.astype(np.float64), size) * np.conj(rfft(reference.astype(np.float64), size))
    correlation = irfft(product, size)
    lags = np.arange(-reach, reach + 1)
    delay = int(lags[np.argmax(np.abs(correlation[lags]))])
    late, early = max(delay, 0), max(-delay, 0)
    length = min(len(reference) - early, len(signal) - late)
    return reference[early : early + length], signal[late : late + length], delay


def si_sdr_db(reference: np.ndarray, signal: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, at most 100."""
    reference = reference.astype(np.float64) - reference.mean()
    signal = signal.astype(np.float64) - signal.mean()
    part = reference * (signal @ reference / max(reference @ reference, 1e-20))
    error = signal - part
    ratio = max(part @ part, 1e-20) / max(error @ error, 1e-20)
    return float(min(10 * np.log10(ratio), 100.0))


@lru_cache(maxsize=1)
def _dnsmos_session() -> onnxruntime.InferenceSession:
    # The package is located, not imported: its import pulls in plotting and table libraries, and
    # its sessions take every core.
    package = importlib.util.find_spec("speechmos")
    if package is None:
        raise ModuleNotFoundError("DNSMOS needs the speechmos package")
    model = Path(package.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def dnsmos(signal: np.ndarray) -> dict[str, float]:
    """DNSMOS P.835 of `signal` (16 kHz): sig, bak and ovrl, each 1-5; no reference needed.

    As published: short clips are doubled until they fill 9.01 s, then windows of that length
    advance by one second and their scores are averaged.
    """
    signal = np.clip(signal, -1.0, 1.0).astype(np.float32)
    while len(signal) < DNSMOS_SAMPLES:
        signal = np.append(signal, signal)
    count = int(len(signal) // SCORE_RATE_HZ - DNSMOS_SAMPLES / SCORE_RATE_HZ) + 1
    starts = [k * SCORE_RATE_HZ for k in range(count)]
    windows = [signal[start : start + DNSMOS_SAMPLES] for start in starts]
    session = _dnsmos_session()
    raw = [
        session.run(None, {"input_1": window[None]})[0][0]
        for window in windows
        if len(window) == DNSMOS_SAMPLES
    ]
    return {
        name: float(np.mean([np.polyval(polynomial, scores[k]) for scores in raw]))
        for k, (name, polynomial) in enumerate(DNSMOS_POLYNOMIALS.items())
    }


def pesq_wideband(reference: np.ndarray, signal: np.ndarray) -> float:
    """Wideband PESQ (1.0-4.64) of `signal` at 16 kHz. Raises PesqError when it finds no speech."""
    return float(pesq(SCORE_RATE_HZ, reference, signal, "wb"))


def measure(reference: np.ndarray, signal: np.ndarray) -> dict[str, float]:
    """All measures of `signal` against the clean `reference`, both at 48 kHz."""
    if not np.all(np.isfinite(signal)):
        raise ValueError("the output holds samples that are not finite")
    reference, signal, delay = align(reference, signal)
    reference = resample(reference, RATE_HZ, SCORE_RATE_HZ)
    signal = resample(signal, RATE_HZ, SCORE_RATE_HZ)
    return {
        "pesq": pesq_wideband(reference, signal),
        "stoi": float(stoi(reference, signal, SCORE_RATE_HZ)),
        "si_sdr_db": si_sdr_db(reference, signal),
        "delay_ms": delay / RATE_HZ * 1000,
        **dnsmos(signal),
    }


def _process(system: System, pairs_dir: Path, folder: str, name: str) -> np.ndarray | None:
    """Output of `system` for the file `folder`/`name` (48 kHz); None when it has no such output.

    A folder of results holds NAME.wav for the noisy files and may hold clean/NAME.wav.
    """
    source = pairs_dir / folder / f"{name}.wav"
    if system.folder is not None:
        inside = "clean" if folder == "clean" else "."
        result = system.folder / inside / f"{name}.wav"
        if folder == "clean" and not result.is_file():
            return None
        return read_mono(result)[0]
    if system.command is None:
        return read_mono(source)[0]
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "out.wav"
        words = [
            word.replace("{in}", str(source)).replace("{out}", str(result))
            for word in shlex.split(system.command)
        ]
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"exit status {done.returncode}: {last}")
        return read_mono(result)[0]


def score_pair(pair: dict, pairs_dir: Path, systems: list[System]) -> list[dict]:
    """One record per system for this pair: its measures, or the field `failure`."""
    name = pair["name"]
    records = []
    try:
        clean = read_mono(pairs_dir / "clean" / f"{name}.wav")[0]
        noisy = read_mono(pairs_dir / "noisy" / f"{name}.wav")[0]
        input_pesq = pesq_wideband(
            resample(clean, RATE_HZ, SCORE_RATE_HZ), resample(noisy, RATE_HZ, SCORE_RATE_HZ)
        )
    except (OSError, soundfile.SoundFileError, PesqError) as error:
        reason = f"the pair itself: {error or type(error).__name__}"
        return [{"pair": name, "system": system.name, "failure": reason} for system in systems]
    for system in systems:
        record = {"pair": name, "system": system.name}
        try:
            record |= measure(clean, _process(system, pairs_dir, "noisy", name))
            record["worse"] = record["pesq"] < input_pesq - 1e-3
            processed_clean = _process(system, pairs_dir, "clean", name)
            if processed_clean is not None:
                cut, processed_clean, _ = align(clean, processed_clean)
                record["clean_pesq"] = pesq_wideband(
                    resample(cut, RATE_HZ, SCORE_RATE_HZ),
                    resample(processed_clean, RATE_HZ, SCORE_RATE_HZ),
                )
        # A system is foreign code: whatever goes wrong is reported with its name.
        except Exception as error:
            record["failure"] = f"{type(error).__name__}: {error}"
        records.append(record)
    return records


def score(pairs_dir: Path, systems: list[System], jobs: int = 2) -> tuple[list[dict], list[dict]]:
    """Score `systems` on every pair of `pairs_dir`/pairs.json.

    Returns the rows of the table (means of one system, with `pairs`, `failures` and `worse`, the
    share of pairs with a lower PESQ than their input) and the records of all pairs.
    """
    pairs = json.loads((pairs_dir / "pairs.json").read_text())
    work = partial(score_pair, pairs_dir=pairs_dir, systems=systems)
    with ProcessPoolExecutor(jobs) as pool:
        records = [record for found in pool.map(work, pairs) for record in found]
    rows = []
    for system in systems:
        own = [record for record in records if record["system"] == system.name]
        good = [record for record in own if "failure" not in record]
        row = {"system": system.name, "pairs": len(good), "failures": len(own) - len(good)}
        for column in COLUMNS:
            values = [record[column] for record in good if column in record]
            row[column] = float(np.mean(values)) if values else None
        row["worse"] = sum(record["worse"] for record in good) / len(good) if good else None
        rows.append(row)
    return rows, records


def table(rows: list[dict]) -> str:
    """Markdown table of the rows of `score`."""
    titles = ["system", *COLUMNS.values(), "worse than input", "pairs", "failures"]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    for row in rows:
        cells = [row["system"]]
        for column in COLUMNS:
            digits = 3 if column == "stoi" else 2
            cells.append("-" if row[column] is None else f"{row[column]:.{digits}f}")
        cells.append("-" if row["worse"] is None else f"{100 * row['worse']:.0f} %")
        cells += [str(row["pairs"]), str(row["failures"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `score` command."""
    parser.add_argument("pairs", type=Path, help="folder written by devset")
    parser.add_argument(
        "systems",
        nargs="+",
        type=parse_system,
        help="noisy, NAME='COMMAND {in} {out}' or NAME=dir:FOLDER",
    )
    parser.add_argument("--out", type=Path, help="write OUT.md and OUT.json")
    parser.add_argument("--jobs", type=int, default=2, help="pairs scored at once")


def run(args: argparse.Namespace) -> int:
    """Score and print the table; returns 1 when anything failed."""
    rows, records = score(args.pairs, args.systems, args.jobs)
    print(table(rows), end="")
    failed = [record for record in records if "failure" in record]
    for record in failed:
        print(f"failed {record['system']} on {record['pair']}: {record['failure']}")
    if args.out:
        args.out.with_suffix(".md").write_text(table(rows))
        args.out.with_suffix(".json").write_text(json.dumps({"systems": rows, "pairs": records}, indent=1))
    return 1 if failed else 0
