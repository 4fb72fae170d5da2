"""The command `targets`: cleaned copies of speech recordings, as targets of training.

A network that is trained on recordings with hiss and mains hum learns to leave hiss and hum. `targets`
runs a denoiser once over every speech recording below a signal-to-noise ratio, removes lines of mains
hum from all of them, and writes `targets.i16` beside `audio.i16` of a store, sample by sample the same
clips; the other clips are copied. With `clean_targets` in the mixture of a recipe, the input of the
network has the recording and the target its cleaned copy.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import ShortTimeFFT, correlate

from .audio import RATE_HZ
from .store import FULL_SCALE, TARGETS, Clip, Store

BATCH = 100  # clips for each run of the denoiser
MAX_DELAY_S = 0.1  # the delay of the denoiser is looked for up to this
SPLITS = ("train", "val")

# Lines of mains hum: harmonics of 50 and 60 Hz.
HUM_HZ = tuple(sorted({mains * harmonic for mains in (50, 60) for harmonic in range(1, 7)}))
HUM_WINDOW = RATE_HZ // 5  # 5 Hz a bin
HUM_PERCENTILE = 10  # over windows: the level between words
HUM_NEIGHBORS = (-6, -5, -4, 4, 5, 6)  # bins around a line that it is compared with
MIN_HUM_DB = 6.0  # above the neighbors: a line of one clip
MIN_MEAN_HUM_DB = 3.0  # in the mean over the clips of a talker, whose recordings share the equipment
HUM_BINS = 2  # on either side of a line: the main lobe of the window
HUM_OVERSUBTRACTION = 3.0  # the power of a line varies above its percentile


def needs_target(clip: Clip, below_db: float) -> bool:
    """Whether the clip is speech for training or validation with a ratio below `below_db`."""
    snr_db = clip.snr_est_db
    return clip.kind == "speech" and clip.split in SPLITS and snr_db is not None and snr_db < below_db


def delay_of(signal: np.ndarray, other: np.ndarray) -> int:
    """Samples by which `other` is later than `signal`, at most MAX_DELAY_S."""
    lag = round(MAX_DELAY_S * RATE_HZ)
    found = correlate(np.pad(other, lag), signal, "valid", "fft")
    return int(np.argmax(found)) - lag


def hum_levels_db(signal: np.ndarray) -> np.ndarray | None:
    """Level of each of HUM_HZ over its neighbors between words, in dB; None for less than a second."""
    if len(signal) < RATE_HZ:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(signal, HUM_WINDOW)[:: HUM_WINDOW // 4]
    bins = (max(HUM_HZ) * HUM_WINDOW) // RATE_HZ + max(HUM_NEIGHBORS) + 1
    power = np.abs(np.fft.rfft(windows * np.hanning(HUM_WINDOW + 1)[:-1])[:, :bins]) ** 2
    level_db = 10 * np.log10(np.percentile(power, HUM_PERCENTILE, axis=0) + 1e-12)
    found = []
    for hz in HUM_HZ:
        at = hz * HUM_WINDOW // RATE_HZ
        neighbors = [at + step for step in HUM_NEIGHBORS if at + step > 1]
        found.append(level_db[at] - level_db[neighbors].mean())
    return np.array(found)


def find_hum(store: Store) -> dict[int, list[int]]:
    """The lines of hum in Hz of each speech clip for training or validation that has some, by index."""
    levels: dict[str, dict[int, np.ndarray]] = {}
    for clip in store.all_clips:
        if clip.kind == "speech" and clip.split in SPLITS:
            level_db = hum_levels_db(store.read(clip.index))
            own = levels.setdefault(clip.talker, {})
            own[clip.index] = np.full(len(HUM_HZ), -np.inf) if level_db is None else level_db
    lines = {}
    for own in levels.values():
        known = [level_db for level_db in own.values() if np.isfinite(level_db).all()]
        usual = np.mean(known, axis=0) > MIN_MEAN_HUM_DB if known else np.zeros(len(HUM_HZ), bool)
        for index, level_db in own.items():
            if found := [hz for hz, is_line in zip(HUM_HZ, usual | (level_db > MIN_HUM_DB)) if is_line]:
                lines[index] = found
    return lines


def remove_lines(signal: np.ndarray, lines_hz: list[int]) -> np.ndarray:
    """`signal` with `lines_hz` lowered to the level of their neighbors where there is no speech.

    Spectral subtraction in the bins of a line: windows that are much louder than the line stay as they
    are. A notch filter would instead ring after every vowel that crosses the line.
    """
    window = np.hanning(HUM_WINDOW + 1)[:-1]
    stft = ShortTimeFFT(window, HUM_WINDOW // 4, RATE_HZ)
    spectrum = stft.stft(signal)
    power = np.abs(spectrum) ** 2
    floor = np.percentile(power, HUM_PERCENTILE, axis=1)
    for hz in lines_hz:
        at = hz * HUM_WINDOW // RATE_HZ
        neighbors = np.mean(floor[[at + step for step in HUM_NEIGHBORS if at + step > 1]])
        for bin in range(at - HUM_BINS, at + HUM_BINS + 1):
            kept = 1 - HUM_OVERSUBTRACTION * floor[bin] / (power[bin] + 1e-20)
            lowest = min(1.0, neighbors / (floor[bin] + 1e-20))
            spectrum[bin] *= np.sqrt(np.clip(kept, lowest, 1.0))
    return stft.istft(spectrum, k1=len(signal)).astype(np.float32)


def clean_clips(store: Store, clips: list[Clip], command: str) -> Iterator[tuple[Clip, np.ndarray]]:
    """Every clip with its cleaned samples (float32, of the same length).

    `command` has {in} and {out}, folders of WAV files. Raises ValueError if it fails, or if an output
    is missing, late or of another length.
    """
    for first in range(0, len(clips), BATCH):
        part = clips[first : first + BATCH]
        with tempfile.TemporaryDirectory() as scratch:
            source, result = Path(scratch) / "in", Path(scratch) / "out"
            source.mkdir()
            for clip in part:
                soundfile.write(source / f"{clip.index}.wav", store.read(clip.index), RATE_HZ, "FLOAT")
            marks = {"{in}": str(source), "{out}": str(result)}
            words = [marks.get(word, word) for word in shlex.split(command)]
            done = subprocess.run(words, check=False, capture_output=True, text=True)
            if done.returncode:
                raise ValueError(f"{shlex.join(words)}: exit status {done.returncode}: {done.stderr.strip()}")
            for clip in part:
                signal, rate_hz = soundfile.read(result / f"{clip.index}.wav", dtype="float32")
                if rate_hz != RATE_HZ or signal.shape != (clip.length,):
                    raise ValueError(
                        f"{clip.path}: the output has {signal.shape} samples at {rate_hz} Hz, expected "
                        f"{clip.length} at {RATE_HZ} Hz"
                    )
                if delay := delay_of(store.read(clip.index), signal):
                    raise ValueError(f"{clip.path}: the output is {delay} samples late")
                yield clip, signal
        print(f"{min(first + BATCH, len(clips))} of {len(clips)} clips", flush=True)


def make_targets(store: Store, command: str, below_db: float) -> tuple[int, int]:
    """Writes the targets of `store`, completely or not at all; returns the number of cleaned clips and of
    clips from which hum was removed."""
    clips = [clip for clip in store.all_clips if needs_target(clip, below_db)]
    part = store.out / f"{TARGETS}.part"
    shutil.copyfile(store.out / "audio.i16", part)
    audio = np.memmap(part, dtype="<i2", mode="r+")
    for clip, signal in clean_clips(store, clips, command):
        _write(audio, clip, signal)
    lines = find_hum(store)
    for index, lines_hz in lines.items():
        clip = store.all_clips[index]
        samples = audio[clip.offset : clip.offset + clip.length] / FULL_SCALE
        _write(audio, clip, remove_lines(samples, lines_hz))
    audio.flush()
    del audio
    about = {"command": command, "below_db": below_db, "clips": len(clips), "hum": len(lines)}
    (store.out / "targets.json").write_text(json.dumps(about, indent=1))
    os.replace(part, store.out / TARGETS)
    return len(clips), len(lines)


def _write(audio: np.ndarray, clip: Clip, signal: np.ndarray) -> None:
    samples = np.clip(np.round(signal * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    audio[clip.offset : clip.offset + clip.length] = samples.astype("<i2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `targets` command."""
    parser.add_argument("store", type=Path, help="folder written by `prepare`")
    parser.add_argument(
        "cleaner",
        metavar="COMMAND",
        help="cleans a folder of WAV files and compensates its delay, with {in} and {out}, such as "
        "'quietwire clean -q {in} -o {out} --model dfn3 --attenuation 18'",
    )
    parser.add_argument(
        "--below",
        type=float,
        default=45.0,
        help="clean speech with a signal-to-noise ratio below this, in dB (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the targets; returns 0, or 1 after an error."""
    try:
        if "{in}" not in args.cleaner or "{out}" not in args.cleaner:
            raise ValueError("the command needs {in} and {out}")
        cleaned, hum = make_targets(Store(args.store), args.cleaner, args.below)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{cleaned} clips cleaned, hum removed from {hum}: {args.store / TARGETS}")
    return 0
