"""Decodes a folder of speech and noise recordings once, into a store for fast training.

`prepare` writes two files: `audio.i16` (all clips one after the other, mono, 48 kHz, little-endian
int16) and `clips.json` (one record per clip). `Store` reads them through a memory map.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from .audio import DECODE_ERRORS, RATE_HZ, active_level_db, measure_bandwidth_hz, power_db, read_mono
from .index import (
    KINDS,
    SPLITS,
    VAL_SHARE,
    BadIndex,
    Entry,
    assign_validation,
    read_index,
    refusal,
    scan_folders,
)

FULL_SCALE = 32768.0
TARGETS = "targets.i16"  # cleaned copies of all clips, written by `targets`


@dataclass(frozen=True)
class Clip:
    """One recording in the store. `offset` and `length` are in samples at 48 kHz."""

    index: int
    offset: int
    length: int
    kind: str  # "speech" or "noise"
    source: str
    talker: str
    split: str  # one of SPLITS
    bandwidth_hz: float  # highest frequency with content, at most 24000
    license: str
    snr_est_db: float | None  # estimated signal-to-noise ratio of the recording, if known
    active_db: float  # active level in dBFS (speech), plain rms in dBFS (noise)
    path: str
    text: str | None = None  # transcript, if the index has one


@dataclass
class Summary:
    """Result of `prepare`. `skipped` holds (path, reason) of every file that was not stored."""

    clips: int = 0
    seconds: float = 0.0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # clips by (split, kind)

    def describe(self) -> str:
        """Counts by split and kind, one line for each split."""
        lines = []
        for split in SPLITS:
            speech, noise = (self.counts[split, kind] for kind in KINDS)
            if speech or noise:
                lines.append(f"{split}: {speech} speech, {noise} noise")
        return "\n".join(lines)


def _decode(job: tuple[str, Entry]) -> tuple[np.ndarray, dict] | str:
    """Samples (int16) and measured fields of one entry, or the reason why it is skipped."""
    root, entry = job
    path = Path(root) / entry.path
    if not path.is_file():
        return "missing"
    try:
        signal, rate_hz = read_mono(path)
    except DECODE_ERRORS as error:
        return f"cannot be decoded: {error or type(error).__name__}"
    if not np.all(np.isfinite(signal)):
        return "holds samples that are not finite"
    level_db = active_level_db(signal) if entry.kind == "speech" else power_db(signal)
    if level_db < -90.0:
        return "is empty or silent"
    # Lossy codecs overshoot full scale: the clip is scaled, not clipped.
    excess = max(1.0, float(np.abs(signal).max()) * FULL_SCALE / (FULL_SCALE - 1))
    bandwidth_hz = entry.bandwidth_hz or measure_bandwidth_hz(signal, rate_hz)
    measured = {
        "active_db": round(level_db - 20 * math.log10(excess), 2),
        "bandwidth_hz": min(bandwidth_hz, RATE_HZ / 2),
    }
    return np.round(signal * ((FULL_SCALE - 1) / excess)).astype("<i2"), measured


def prepare(
    root: Path, out: Path, index: Path | None = None, jobs: int = 1, val_share: float = VAL_SHARE
) -> Summary:
    """Decodes everything under `root` into `out`/audio.i16 and `out`/clips.json.

    `index` is a tab-separated list (default: `root`/index.tsv if it exists); without one, the folders
    `root`/speech and `root`/noise are searched. `jobs` processes decode in parallel; the result does
    not depend on their number. An existing store stays as it is until the new one is complete.
    """
    if not root.is_dir():
        raise BadIndex(f"there is no folder {root}")
    if index is None and (root / "index.tsv").is_file():
        index = root / "index.tsv"
    summary = Summary()
    entries: list[Entry] = []
    seen: set[str] = set()
    for entry in read_index(index) if index else scan_folders(root):
        if reason := refusal(entry, seen):
            summary.skipped.append((entry.path, reason))
        else:
            entries.append(entry)
            seen.add(entry.path)
    entries = assign_validation(entries, val_share)
    entries.sort(key=lambda entry: entry.path)
    out.mkdir(parents=True, exist_ok=True)
    parts = {name: out / f"{name}.part" for name in ("audio.i16", "clips.json")}
    clips: list[dict] = []
    offset = 0
    work = [(str(root), entry) for entry in entries]
    with parts["audio.i16"].open("wb") as audio, ProcessPoolExecutor(jobs) as pool:
        for entry, decoded in zip(entries, pool.map(_decode, work, chunksize=8)):
            if isinstance(decoded, str):
                summary.skipped.append((entry.path, decoded))
                continue
            samples, measured = decoded
            samples.tofile(audio)
            clip = asdict(entry) | measured
            clips.append(clip | {"index": len(clips), "offset": offset, "length": len(samples)})
            offset += len(samples)
            summary.counts[entry.split, entry.kind] += 1
    parts["clips.json"].write_text(
        json.dumps({"rate_hz": RATE_HZ, "samples": offset, "clips": clips}, indent=0)
    )
    # The list goes first: a store with a new list and old audio is refused by its length, and so is
    # one that was interrupted between the two renames.
    for name in ("clips.json", "audio.i16"):
        os.replace(parts[name], out / name)
    summary.clips = len(clips)
    summary.seconds = offset / RATE_HZ
    return summary


class Store:
    """Read access to a prepared folder. Can be pickled and used from many processes.

    Raises ValueError if the audio does not have the length that the list of clips states.
    """

    def __init__(self, out: Path | str) -> None:
        self.out = Path(out)
        listing = json.loads((self.out / "clips.json").read_text())
        if listing["rate_hz"] != RATE_HZ:
            raise ValueError(f"{out}: prepared at {listing['rate_hz']} Hz, need {RATE_HZ} Hz")
        for clip in listing["clips"]:
            if "licence" in clip:  # the key before 0.2
                clip["license"] = clip.pop("licence")
        self.all_clips = [Clip(**clip) for clip in listing["clips"]]
        expected = max((clip.offset + clip.length for clip in self.all_clips), default=0)
        actual = (self.out / "audio.i16").stat().st_size / 2
        if actual != expected:
            raise ValueError(
                f"{out}: audio.i16 has {actual:g} samples, clips.json lists {expected}; prepare the store again"
            )
        self._open()

    def _open(self) -> None:
        if not self.all_clips:
            raise ValueError(f"{self.out}: the store has no clips")
        self._audio = np.memmap(self.out / "audio.i16", dtype="<i2", mode="r")
        targets = self.out / TARGETS
        self._targets = np.memmap(targets, dtype="<i2", mode="r") if targets.is_file() else None
        if self._targets is not None and len(self._targets) != len(self._audio):
            raise ValueError(f"{targets} belongs to another store; run `targets` again")

    @property
    def has_targets(self) -> bool:
        """Whether `targets` has written cleaned copies of the clips."""
        return self._targets is not None

    def __getstate__(self) -> dict:
        # A pickled memory map would copy all samples: the receiver opens the file instead.
        return {"out": self.out, "all_clips": self.all_clips}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()

    def clips(self, kind: str | None = None, split: str | None = None) -> list[Clip]:
        """Clips of this kind and split; None means any."""
        return [clip for clip in self.all_clips if kind in (None, clip.kind) and split in (None, clip.split)]

    def read(self, i: int, start: int = 0, n: int | None = None) -> np.ndarray:
        """Up to `n` samples of clip `i` from sample `start`; float32 in [-1, 1]."""
        return self._read(self._audio, i, start, n)

    def read_target(self, i: int, start: int = 0, n: int | None = None) -> np.ndarray:
        """The same of the cleaned copy. Only if `has_targets`."""
        return self._read(self._targets, i, start, n)

    def _read(self, audio: np.ndarray, i: int, start: int, n: int | None) -> np.ndarray:
        clip = self.all_clips[i]
        end = clip.length if n is None else min(clip.length, start + n)
        raw = audio[clip.offset + start : clip.offset + max(start, end)]
        return raw.astype(np.float32) * np.float32(1 / FULL_SCALE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `prepare` command."""
    parser.add_argument("root", type=Path, help="folder with the recordings")
    parser.add_argument("out", type=Path, help="folder for the decoded audio")
    parser.add_argument("--index", type=Path, help="index file (default: ROOT/index.tsv, if any)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that decode in parallel")
    parser.add_argument(
        "--val-share",
        type=float,
        default=VAL_SHARE,
        help="share of the training talkers and noises for the split val, if the index has none "
        "(default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Prepares the store; returns the number of skipped files (at most 125, an exit status)."""
    try:
        summary = prepare(args.root, args.out, args.index, args.jobs, args.val_share)
    except (OSError, BadIndex) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, reason in summary.skipped:
        print(f"skipped {path}: {reason}")
    words = Counter(reason for _, reason in summary.skipped if reason.startswith("unknown"))
    for reason, count in words.items():
        print(f"skipped {count} rows: {reason}")
    if not summary.clips:
        print(f"error: {args.root}: no recording could be stored", file=sys.stderr)
        return 1
    print(summary.describe())
    hours = summary.seconds / 3600
    print(f"{summary.clips} clips, {hours:.2f} h stored; {len(summary.skipped)} files skipped")
    return min(len(summary.skipped), 125)
