"""Decodes a folder of speech and noise recordings once, into a store for fast training.

`prepare` writes two files: `audio.i16` (all clips one after the other, mono, 48 kHz, little-endian
int16) and `clips.json` (one record per clip). `Store` reads them through a memory map.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.ndimage import maximum_filter1d
from scipy.signal import firwin, resample_poly

try:
    import av
except ImportError:  # optional: only some Opus files need it
    av = None

RATE_HZ = 48000
FULL_SCALE = 32768.0
AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif"}
DEV_SHARE = 0.1
VAL_SHARE = 0.03  # of the training talkers and noises, if an index has no rows of the split val
LABELS = "public.tsv"  # written by `import`
KINDS = ("speech", "noise")
# train: training; val: validation loss during training; dev: the old development benchmark;
# dev2: the benchmark that decides. No talker and no noise recording is in two splits.
SPLITS = ("train", "val", "dev", "dev2")
LEVEL_BLOCK = 480  # 10 ms at 48 kHz
HANGOVER_BLOCKS = 20  # ITU-T P.56: a sample stays active for 200 ms
MARGIN_DB = 15.9  # ITU-T P.56: the threshold is 15.9 dB below the active level


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


@dataclass(frozen=True)
class Entry:
    """One line of the index, before the file is decoded."""

    path: str
    kind: str
    source: str
    talker: str
    split: str
    bandwidth_hz: float | None  # None: measure it
    license: str
    snr_est_db: float | None


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


def active_level_db(signal: np.ndarray) -> float:
    """Active speech level of `signal` (float, full scale 1, 48 kHz) in dB relative to 1 rms.

    ITU-T P.56 method B: total energy divided by the time in which the envelope (with a 200 ms
    hangover) is at most 15.9 dB below the result. The envelope here is the rms of 10 ms blocks
    instead of the standard's two-stage smoother. Returns -inf for silence.
    """
    count = len(signal) // LEVEL_BLOCK
    if count == 0:
        return power_db(signal)
    blocks = signal[: count * LEVEL_BLOCK].reshape(count, LEVEL_BLOCK)
    energy = np.einsum("ij,ij->i", blocks, blocks).astype(np.float64)
    total = energy.sum()
    if total <= 0.0:
        return -math.inf
    # A trailing maximum of the envelope is the hangover, for all thresholds together.
    held = maximum_filter1d(energy, HANGOVER_BLOCKS + 1, origin=HANGOVER_BLOCKS // 2)
    held = np.sort(held)[::-1]
    active_db = 10 * np.log10(total / np.arange(1, count + 1))
    threshold_db = 10 * np.log10(held + 1e-30)
    # The difference grows towards low thresholds; the standard searches from that side.
    margin_db = active_db - threshold_db
    under = np.nonzero(margin_db <= MARGIN_DB)[0]
    chosen = under[-1] if len(under) else int(np.argmin(margin_db))
    return float(active_db[chosen] - 10 * np.log10(LEVEL_BLOCK))


def amplitude(level_db: float) -> np.float32:
    """The factor that raises a signal by `level_db`."""
    return np.float32(10.0 ** (level_db / 20.0))


def power_db(signal: np.ndarray) -> float:
    """Mean power of `signal` in dB relative to full scale 1. Returns -inf for silence."""
    power = float(np.dot(signal, signal)) / len(signal) if len(signal) else 0.0
    return 10 * math.log10(power) if power > 0.0 else -math.inf


def measure_bandwidth_hz(signal: np.ndarray, source_rate_hz: int) -> float:
    """Highest frequency with content in `signal` (48 kHz), in Hz, rounded up to 500 Hz.

    A band has content when its long-term power is less than 75 dB below the strongest band and more
    than 6 dB above the weakest: stop bands of resamplers and codecs are not.
    """
    size = 2048
    if len(signal) < size:
        return min(source_rate_hz, RATE_HZ) / 2
    windows = np.lib.stride_tricks.sliding_window_view(signal, size)[:: size * 2]
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(size), axis=1)) ** 2
    band_bins = round(500 / (RATE_HZ / size))
    usable = spectrum.shape[1] // band_bins * band_bins
    bands = spectrum.mean(axis=0)[:usable].reshape(-1, band_bins).mean(axis=1)
    level_db = 10 * np.log10(bands + 1e-20)
    full = np.nonzero((level_db > level_db.max() - 75) & (level_db > level_db.min() + 6))[0]
    top_hz = (full[-1] + 1) * band_bins * RATE_HZ / size if len(full) else RATE_HZ / 2
    return float(min(math.ceil(top_hz / 500) * 500, source_rate_hz / 2, RATE_HZ / 2))


@lru_cache(maxsize=8)
def _resample_window(up: int, down: int) -> np.ndarray:
    # 32 zero crossings and a Kaiser beta of 10 keep images below -90 dB with a transition band of a
    # tenth of the band edge. The default filter of resample_poly attenuates much less.
    ratio = max(up, down)
    return firwin(2 * 32 * ratio + 1, 0.95 / ratio, window=("kaiser", 10.0))


def resample(signal: np.ndarray, rate_hz: int, target_hz: int = RATE_HZ) -> np.ndarray:
    """`signal` (one channel) at `rate_hz`, converted to `target_hz`; float32."""
    if rate_hz == target_hz:
        return signal.astype(np.float32)
    shared = math.gcd(rate_hz, target_hz)
    up, down = target_hz // shared, rate_hz // shared
    window = _resample_window(up, down)
    return resample_poly(signal, up, down, window=window).astype(np.float32)


def _read_with_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    """Decode `path` to mono float32 at its own rate (Hz) with FFmpeg's decoders, through PyAV."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        to_mono = av.AudioResampler(format="flt", layout="mono")
        blocks = [out for block in container.decode(stream) for out in to_mono.resample(block)]
        blocks += to_mono.resample(None)
        return np.concatenate([block.to_ndarray()[0] for block in blocks]), stream.rate


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    """Decode `path` to mono float32 at 48 kHz. Also returns the file's own rate in Hz.

    libsndfile 1.2.2 refuses some valid Opus files with large pages ("malformed"). FFmpeg reads
    them and is tried next if PyAV is installed.
    """
    try:
        samples, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
        signal = samples.mean(axis=1)
    except soundfile.SoundFileError:
        if av is None:
            raise
        signal, rate_hz = _read_with_ffmpeg(path)
    return resample(signal, rate_hz), rate_hz


def guess_talker(source: str, path: str) -> str:
    """Name of the talker in `path`, if the file name contains it; else the source."""
    stem = Path(path).stem
    if source.startswith("librispeech"):
        return f"{source}:{stem.split('-')[0]}"
    if source.startswith("asterisk"):
        return f"{source}:{stem.split('__')[0]}"
    if source.startswith("picovoice"):
        return f"{source}:{stem}"  # crowd-sourced: one talker per recording
    if source.startswith("hindi_corpus"):
        return f"{source}:{stem[:3]}"
    return source


def split_of(talker: str) -> str:
    """Split of a name by its hash: dev for a tenth of all names, else train."""
    return "dev" if _hash_share(talker) < DEV_SHARE else "train"


def _hash_share(name: str) -> float:
    """A number from 0 to 1 that depends on `name` alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32


def assign_validation(entries: list[Entry], share: float = VAL_SHARE) -> list[Entry]:
    """Moves a `share` of the training talkers and noise recordings into the split val, by their hash.

    Entries that already have a val split stay as they are, and so does a kind of which half or more
    would move.
    """
    if any(entry.split == "val" for entry in entries):
        return entries
    names = {
        kind: {_group(entry) for entry in entries if (entry.kind, entry.split) == (kind, "train")}
        for kind in KINDS
    }
    chosen = {
        kind: {name for name in own if _hash_share(f"val/{name}") < share} for kind, own in names.items()
    }
    moved = {kind: own for kind, own in chosen.items() if 2 * len(own) < len(names[kind])}
    return [
        replace(entry, split="val")
        if entry.split == "train" and _group(entry) in moved.get(entry.kind, ())
        else entry
        for entry in entries
    ]


def _group(entry: Entry) -> str:
    """What must not be divided between splits: a talker, or a noise recording."""
    return entry.talker if entry.kind == "speech" else entry.path


class BadIndex(ValueError):
    """An index that cannot be used."""


def _number(row: dict[str, str | None], column: str, place: str) -> float | None:
    text = row.get(column)
    try:
        return float(text) if text else None
    except ValueError:
        raise BadIndex(f"{place}: {column} is {text!r}, not a number") from None


REQUIRED_COLUMNS = ("path", "kind", "source", "split")


def read_index(index: Path) -> list[Entry]:
    """Entries of a tab-separated index.

    Columns: path, kind, source, split; optional: talker, source_rate_hz, eff_bandwidth_hz, snr_est_db
    and license. Raises BadIndex, with the line, for a missing value or a number that is none.
    """
    entries = []
    with index.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines, delimiter="\t")
        missing = [name for name in REQUIRED_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise BadIndex(f"{index}: no column {', '.join(missing)}; columns are separated by tabs")
        for row in reader:
            if not row["path"]:
                raise BadIndex(f"{index}, line {reader.line_num}: no value in column path")
            place = f"{index}, line {reader.line_num}"

            # A short clip may have no measured bandwidth; half of its own rate is the upper bound.
            bandwidth_hz = _number(row, "eff_bandwidth_hz", place)
            if bandwidth_hz is None:
                rate_hz = _number(row, "source_rate_hz", place)
                bandwidth_hz = rate_hz / 2 if rate_hz else None
            entries.append(
                Entry(
                    path=row["path"],
                    kind=row["kind"] or "",
                    source=row["source"] or "",
                    talker=row.get("talker") or guess_talker(row["source"] or "", row["path"]),
                    split=row["split"] or "",
                    bandwidth_hz=bandwidth_hz,
                    # Indexes written before 0.2 spell the column licence.
                    license=row.get("license") or row.get("licence") or "unknown",
                    snr_est_db=_number(row, "snr_est_db", place),
                )
            )
    return entries


def scan_folders(root: Path) -> list[Entry]:
    """Entries for every audio file under root/speech and root/noise.

    The talker is the folder that holds the file, or the file itself directly under root/speech. A
    hash of the talker decides the split, so that no talker is in two splits. Rows of
    root/public.tsv replace what would be derived from the path.
    """
    entries = []
    labels = root / LABELS
    known = {entry.path: entry for entry in read_index(labels)} if labels.is_file() else {}
    for kind in KINDS:
        base = root / kind
        for path in sorted(p for p in base.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES):
            if label := known.get(path.relative_to(root).as_posix()):
                entries.append(label)
                continue
            inside = path.relative_to(base)
            talker = inside.parent.as_posix() if len(inside.parts) > 1 else inside.stem
            entries.append(
                Entry(
                    path=path.relative_to(root).as_posix(),
                    kind=kind,
                    source=inside.parts[0] if len(inside.parts) > 1 else kind,
                    talker=talker,
                    split=split_of(f"{kind}/{talker}"),
                    bandwidth_hz=None,
                    license="unknown",
                    snr_est_db=None,
                )
            )
    return entries


def refusal(entry: Entry, seen: set[str]) -> str | None:
    """Why a row of an index is not used, before its file is opened; None if it is."""
    for column, known in (("kind", KINDS), ("split", SPLITS)):
        if (word := getattr(entry, column)) not in known:
            return f"unknown {column} {word!r}, expected {', '.join(known)}"
    return "listed twice" if entry.path in seen else None


# PyAV has errors of its own, and some codecs raise LookupError for unknown names.
DECODE_ERRORS = (soundfile.SoundFileError, OSError, ValueError, LookupError)
if av is not None:
    DECODE_ERRORS += (av.FFmpegError,)


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
        clip = self.all_clips[i]
        end = clip.length if n is None else min(clip.length, start + n)
        raw = self._audio[clip.offset + start : clip.offset + max(start, end)]
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
