"""The residue: what a denoiser leaves of noise alone, and in the pauses of speech.

- tones: the level of the most prominent band over its neighbors, minus the same of the input if that is
  positive. Bands are thirds of a critical band. A steady tone that the denoiser adds has a high value; a
  residue with the spectral shape of its input has 0 dB at most, and so has one that fills a gap between
  the lines of hum.
- onset: the time until noise is 20 dB down, from the start of a stream.
- steadiness: the range of the level of the residue over time.

Noises are white, pink and brown noise, a fan and mains hum, from a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import welch

from .audio import RATE_HZ, amplitude, power_db, read_mono
from .measures import align, hop_ends_s, speech_hops
from .score import load_pairs
from .systems import System, parse_system, process, source_file, with_commands

LEVELS_DB = (-20.0, -35.0, -50.0)  # of the noises, rms in dBFS
ONSET_LEVELS_DB = (-20.0, -35.0)
DOWN_DB = 20.0
MAX_TONE_DB = 6.0
MAX_ONSET_S = 0.5
SETTLE_S = 5.0  # tones and steadiness are measured after this time
BLOCK_S = 0.05  # of the level for the onset
HOLD_BLOCKS = 20  # the level stays down for 1 s
SEED = 0x4E5
LOW_HZ, HIGH_HZ = 60.0, 12000.0
BANDS_PER_BARK = 3
SILENCE_DB = -160.0  # lower levels count as equal; white noise at -124 dBFS has such bins
FFT = 8192  # 5.9 Hz a bin
PAUSE_FFT = 4096
PAUSE_MARGIN_HOPS = 20  # hops of 10 ms between speech and a pause


# Noises


def _colored(rng: np.random.Generator, length: int, exponent: float) -> np.ndarray:
    """Noise with an amplitude of 1/f^exponent above 20 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hz = np.maximum(np.fft.rfftfreq(length, 1 / RATE_HZ), 20.0)
    return np.fft.irfft(spectrum * hz**-exponent, length)


def _fan(rng: np.random.Generator, length: int) -> np.ndarray:
    """Air noise that falls above 500 Hz, with the blade tone at 118 Hz and its harmonics."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    air = np.fft.irfft(spectrum * (hz / (hz + 60.0)) / (1.0 + (hz / 500.0) ** 2) ** 0.6, length)
    time_s = np.arange(length) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * 118.0 * k * time_s + k) / k for k in range(1, 7))
    return air / np.std(air) + 0.3 * tone


def _hum(rng: np.random.Generator, length: int) -> np.ndarray:
    """Harmonics of 50 Hz and a noise floor 20 dB below them."""
    time_s = np.arange(length) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * 50.0 * k * time_s + k * k) / k for k in range(1, 21))
    return tone / np.std(tone) + 0.1 * rng.standard_normal(length)


NOISES = {
    "white": lambda rng, length: rng.standard_normal(length),
    "pink": lambda rng, length: _colored(rng, length, 0.5),
    "brown": lambda rng, length: _colored(rng, length, 1.0),
    "fan": _fan,
    "hum": _hum,
}


def make_noise(name: str, level_db: float, seconds: float) -> np.ndarray:
    """Noise `name` at `level_db` dBFS rms, limited to full scale; the same samples every time."""
    rng = np.random.default_rng([SEED, list(NOISES).index(name)])
    samples = NOISES[name](rng, round(seconds * RATE_HZ)).astype(np.float32)
    samples *= amplitude(level_db - power_db(samples))
    return np.clip(samples, -1.0, 1.0)


# Measures


def band_edges_hz() -> np.ndarray:
    """Edges of the bands: thirds of a Bark (Traunmueller 1990) from 60 Hz to 12 kHz."""
    low, high = (26.81 * hz / (1960.0 + hz) - 0.53 for hz in (LOW_HZ, HIGH_HZ))
    bark = np.arange(low, high, 1.0 / BANDS_PER_BARK)
    return 1960.0 * (bark + 0.53) / (26.28 - bark)


def band_levels_db(power: np.ndarray) -> np.ndarray:
    """Mean level of each band in dB from a power spectrum [bins] up to 24 kHz, -160 dB at least."""
    bin_hz = RATE_HZ / 2 / (len(power) - 1)
    edges = np.round(band_edges_hz() / bin_hz).astype(int)
    levels = [power[low : max(high, low + 1)].mean() for low, high in zip(edges, edges[1:])]
    return np.maximum(10 * np.log10(np.array(levels) + 1e-30), SILENCE_DB)


def prominence_db(levels_db: np.ndarray) -> np.ndarray:
    """Level of each band over the mean of the bands two and three steps away on either side."""
    padded = np.pad(levels_db, 3, constant_values=np.nan)
    count = len(levels_db)
    neighbors = np.stack([padded[at : at + count] for at in (0, 1, 5, 6)])
    return levels_db - np.nanmean(neighbors, axis=0)


@dataclass(frozen=True)
class Tone:
    """The most prominent band that is not in the input."""

    excess_db: float
    hz: float  # center of the band


def find_tone(before_db: np.ndarray, after_db: np.ndarray) -> Tone:
    """From band levels of the input and of the output.

    A gap in the input is no reason to call a band of the output a tone.
    """
    excess = prominence_db(after_db) - np.maximum(prominence_db(before_db), 0.0)
    at = int(np.argmax(excess))
    edges = band_edges_hz()
    return Tone(float(excess[at]), float(np.sqrt(edges[at] * edges[at + 1])))


def spectrum(signal: np.ndarray) -> np.ndarray:
    """Mean power spectrum of a stationary signal (scaled to rms)."""
    return welch(signal.astype(np.float64), RATE_HZ, "hann", FFT, scaling="spectrum")[1]


def block_levels_db(signal: np.ndarray, seconds: float) -> np.ndarray:
    """Level of consecutive blocks in dBFS, -160 at least."""
    size = round(seconds * RATE_HZ)
    blocks = signal[: len(signal) // size * size].reshape(-1, size).astype(np.float64)
    return np.maximum(10 * np.log10(np.mean(blocks**2, axis=1) + 1e-30), SILENCE_DB)


def onset_s(noise: np.ndarray, output: np.ndarray) -> float | None:
    """Time until the output is 20 dB below the level of the noise and stays there for 1 s.

    None if that never happens.
    """
    down = block_levels_db(output, BLOCK_S) <= power_db(noise) - DOWN_DB
    for at in range(len(down) - HOLD_BLOCKS + 1):
        if down[at : at + HOLD_BLOCKS].all():
            return at * BLOCK_S
    return None


def range_db(noise: np.ndarray, output: np.ndarray) -> float:
    """Range of the level of one-second blocks of the output over the input, after the first 5 s."""
    start = round(min(SETTLE_S, len(noise) / RATE_HZ / 2) * RATE_HZ)
    levels = block_levels_db(output[start:], 1.0)
    count = min(len(levels), len(noise[start:]) // RATE_HZ)
    relative = levels[:count] - block_levels_db(noise[start:], 1.0)[:count]
    return float(np.ptp(relative)) if count else 0.0


def pauses(clean: np.ndarray) -> np.ndarray:
    """Whether each 10 ms hop of a clean clip is at least 200 ms away from speech."""
    has_speech = speech_hops(clean, RATE_HZ, hop_ends_s(clean, RATE_HZ))
    near = np.convolve(has_speech, np.ones(2 * PAUSE_MARGIN_HOPS + 1), "same") > 0.5
    return ~near


def pause_power(signal: np.ndarray, quiet: np.ndarray) -> np.ndarray | None:
    """Mean power spectrum over the windows of `signal` inside the hops `quiet`; None without any."""
    inside = np.repeat(quiet, RATE_HZ // 100)[: len(signal)]
    window = np.hanning(PAUSE_FFT)
    starts = [
        at
        for at in range(0, len(inside) - PAUSE_FFT + 1, PAUSE_FFT // 2)
        if inside[at : at + PAUSE_FFT].all()
    ]
    if not starts:
        return None
    spectra = [np.abs(np.fft.rfft(signal[at : at + PAUSE_FFT] * window)) ** 2 for at in starts]
    return np.mean(spectra, axis=0) * 2 / np.sum(window) ** 2


# Systems


def on_noises(systems: list[System], seconds: float) -> list[dict]:
    """A record of tones, onset and steadiness for each noise, level and system."""
    records = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in NOISES:
            for level_db in LEVELS_DB:
                noise = make_noise(name, level_db, seconds)
                path = Path(scratch) / f"{name}{level_db:g}.wav"
                soundfile.write(path, noise, RATE_HZ, subtype="FLOAT")
                records += [_on_noise(system, path, noise, name, level_db) for system in systems]
    return records


def _on_noise(system: System, path: Path, noise: np.ndarray, name: str, level_db: float) -> dict:
    record = {"system": system.name, "noise": name, "level_db": level_db}
    try:
        output = process(system, path, path.stem)[0] if system.command or system.folder else noise
        if not np.isfinite(output).all():
            raise ValueError("the output has samples that are not finite")
    # Any error of a system is recorded with its name; the run continues.
    except Exception as error:  # noqa: BLE001
        return record | {"failure": f"{type(error).__name__}: {error}"}
    start = round(min(SETTLE_S, len(noise) / RATE_HZ / 2) * RATE_HZ)
    tone = find_tone(band_levels_db(spectrum(noise[start:])), band_levels_db(spectrum(output[start:])))
    return record | {
        "tone_db": tone.excess_db,
        "tone_hz": tone.hz,
        "onset_s": onset_s(noise, output),
        "range_db": range_db(noise, output),
        "attenuation_db": power_db(noise[start:]) - max(power_db(output[start:]), SILENCE_DB),
    }


def on_pauses(systems: list[System], pairs_dir: Path) -> list[dict]:
    """A record of the tones in the pauses of all pairs with speech and noise, for each system.

    The band levels in dB are averaged over the pairs, so that every pair counts alike whatever its
    level.
    """
    pairs = [pair for pair in load_pairs(pairs_dir) if pair["set"] in ("snr", "room")]
    before, after = [], {system.name: [] for system in systems}
    failures: dict[str, str] = {}
    for pair in pairs:
        name = pair["name"]
        clean, noisy = (read_mono(source_file(pairs_dir, kind, name))[0] for kind in ("clean", "noisy"))
        quiet = pauses(clean)
        power = pause_power(noisy, quiet)
        if power is None:
            continue
        before.append(band_levels_db(power))
        for system in systems:
            try:
                output = noisy
                if system.command or system.folder:
                    output = process(system, source_file(pairs_dir, "noisy", name), name)[0]
                    output = _aligned(noisy, output)
                after[system.name].append(band_levels_db(pause_power(output, quiet)))
            except Exception as error:  # noqa: BLE001
                failures.setdefault(system.name, f"{name}: {type(error).__name__}: {error}")
    if not before:
        raise ValueError(f"{pairs_dir}: no pair of the sets snr or room has a pause")
    records = []
    for system in systems:
        record = {"system": system.name, "pairs": len(before)}
        if system.name in failures:
            records.append(record | {"failure": failures[system.name]})
            continue
        levels = np.mean(after[system.name], axis=0)
        tone = find_tone(np.mean(before, axis=0), levels)
        records.append(
            record | {"tone_db": tone.excess_db, "tone_hz": tone.hz, "levels_db": levels.round(2).tolist()}
        )
    return records


def _aligned(noisy: np.ndarray, output: np.ndarray) -> np.ndarray:
    """`output` without its delay, at the length of `noisy`."""
    delay = align(noisy, output)[2]
    shifted = output[delay:] if delay > 0 else np.pad(output, (-delay, 0))
    return np.pad(shifted, (0, max(0, len(noisy) - len(shifted))))[: len(noisy)]


# Report


def summarize(noises: list[dict], in_pauses: list[dict], systems: list[str]) -> list[dict]:
    """The worst values of each system, and whether they are within the limits."""
    rows = []
    for system in systems:
        own = [record for record in noises if record["system"] == system]
        good = [record for record in own if "failure" not in record]
        row: dict = {"system": system, "failures": len(own) - len(good)}
        if good:
            worst = max(good, key=lambda record: record["tone_db"])
            onsets = [record["onset_s"] for record in good if record["level_db"] in ONSET_LEVELS_DB]
            row |= {
                "tone_db": worst["tone_db"],
                "tone_hz": worst["tone_hz"],
                "tone_noise": f"{worst['noise']} {worst['level_db']:g} dBFS",
                "onset_s": None if None in onsets else max(onsets),
                "range_db": max(record["range_db"] for record in good),
            }
        for record in in_pauses:
            if record["system"] == system:
                if "failure" in record:
                    row["failures"] += 1
                else:
                    row |= {"pause_tone_db": record["tone_db"], "pause_tone_hz": record["tone_hz"]}
        row["passed"] = (
            row["failures"] == 0
            and max(row.get("tone_db", math.inf), row.get("pause_tone_db", -math.inf)) <= MAX_TONE_DB
            and row.get("onset_s") is not None
            and row["onset_s"] <= MAX_ONSET_S
        )
        rows.append(row)
    return rows


def table(rows: list[dict]) -> str:
    """Markdown table of the rows of `summarize`."""

    def cell(row: dict, key: str, digits: int) -> str:
        if key not in row:
            return "-"
        return "never" if row[key] is None else f"{row[key]:.{digits}f}"

    titles = ["system", "tone (dB)", "at (Hz)", "in", "tone in pauses (dB)", "at (Hz)"]
    titles += ["20 dB down after (s)", "range (dB)", "within limits"]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    for row in rows:
        cells = [row["system"], cell(row, "tone_db", 1), cell(row, "tone_hz", 0), row.get("tone_noise", "-")]
        cells += [cell(row, "pause_tone_db", 1), cell(row, "pause_tone_hz", 0)]
        cells += [cell(row, "onset_s", 2), cell(row, "range_db", 1), "yes" if row["passed"] else "no"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _system(text: str) -> System:
    try:
        return parse_system(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 3.0 <= value <= 600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length from 3 to 600 seconds")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `residue` command."""
    parser.add_argument(
        "systems",
        nargs="+",
        type=_system,
        help="noisy, NAME='COMMAND {in} {out}' or NAME=model:MODEL, as for score",
    )
    parser.add_argument("--quietwire", metavar="PATH", help="program that runs models (default: on PATH)")
    parser.add_argument("--pairs", type=Path, help="folder written by devset: tones in its pauses, too")
    parser.add_argument(
        "--seconds", type=_seconds, default=30.0, help="length of each noise (default: %(default)g)"
    )
    parser.add_argument("--out", type=Path, metavar="PREFIX", help="write PREFIX.md and PREFIX.json")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"exit with 1 if a system other than noisy has a tone above {MAX_TONE_DB:g} dB, or noise that "
        f"is not {DOWN_DB:g} dB down after {MAX_ONSET_S:g} s",
    )


def run(args: argparse.Namespace) -> int:
    """Measures and prints the table; returns 1 for a failure or a missed limit, 2 for wrong usage."""
    names = [system.name for system in args.systems]
    try:
        if len(set(names)) < len(names):
            raise ValueError("two systems have the same name")
        if unusable := [s.name for s in args.systems if s.records is not None or s.folder is not None]:
            raise ValueError(f"{unusable[0]}: residue needs a command or a model, not a folder or scores")
        systems = with_commands(args.systems, args.quietwire)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
        noises = on_noises(systems, args.seconds)
        in_pauses = on_pauses(systems, args.pairs) if args.pairs else []
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = summarize(noises, in_pauses, names)
    print(table(rows), end="")
    failed = [record for record in [*noises, *in_pauses] if "failure" in record]
    for record in failed:
        print(f"failed {record['system']} on {record.get('noise', 'pauses')}: {record['failure']}")
    if args.out:
        Path(f"{args.out}.md").write_text(table(rows), encoding="utf-8")
        report = {"systems": rows, "noises": noises, "pauses": in_pauses}
        Path(f"{args.out}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    missed = args.check and any(not row["passed"] for row in rows if row["system"] != "noisy")
    return 1 if failed or missed else 0
