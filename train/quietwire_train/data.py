"""Decode a folder of speech and noise recordings once, into one flat file for fast training.

`prepare` writes two files: `audio.i16` (all clips end to end, mono, 48 kHz, little-endian int16)
and `clips.json` (one record per clip). `Store` reads them back through a memory map.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.ndimage import maximum_filter1d
from scipy.signal import firwin, resample_poly

try:
    import av
except ImportError:  # only some Opus files need it
    av = None

RATE_HZ = 48000
FULL_SCALE = 32768.0
AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif"}
DEV_SHARE = 0.1
LABELS = "public.tsv"  # written by `public`
LEVEL_FRAME = 480  # 10 ms at 48 kHz
HANGOVER_FRAMES = 20  # ITU-T P.56: a sample stays active for 200 ms
MARGIN_DB = 15.9  # ITU-T P.56: the threshold lies 15.9 dB under the active level


@dataclass(frozen=True)
class Clip:
    """One recording in the store. `offset` and `length` are in samples at 48 kHz."""

    index: int
    offset: int
    length: int
    kind: str  # "speech" or "noise"
    source: str
    talker: str
    split: str  # "train" or "dev"
    bandwidth_hz: float  # highest frequency with content, at most 24000
    licence: str
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
    licence: str
    snr_est_db: float | None


@dataclass
class Summary:
    """What `prepare` did. `skipped` holds (path, reason) of every file that was not stored."""

    clips: int = 0
    seconds: float = 0.0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def active_level_db(signal: np.ndarray) -> float:
    """Active speech level of `signal` (float, full scale 1, 48 kHz) in dB relative to 1 rms.

    The definition of ITU-T P.56 method B: total energy divided by the time in which the envelope
    (with a 200 ms hang-over) is at most 15.9 dB under the result. The envelope here is the rms of
    10 ms frames instead of the standard's two-stage smoother. Returns -inf for silence.
    """
    count = len(signal) // LEVEL_FRAME
    if count == 0:
        return power_db(signal)
    frames = signal[: count * LEVEL_FRAME].reshape(count, LEVEL_FRAME)
    energy = np.einsum("ij,ij->i", frames, frames).astype(np.float64)
    total = energy.sum()
    if total <= 0.0:
        return -math.inf
    # A trailing maximum of the envelope is the hang-over, for every threshold at once.
    held = maximum_filter1d(energy, HANGOVER_FRAMES + 1, origin=HANGOVER_FRAMES // 2)
    held = np.sort(held)[::-1]
    active_db = 10 * np.log10(total / np.arange(1, count + 1))
    threshold_db = 10 * np.log10(held + 1e-30)
    # The difference grows towards low thresholds; the standard meets the margin from that side.
    margin_db = active_db - threshold_db
    under = np.nonzero(margin_db <= MARGIN_DB)[0]
    chosen = under[-1] if len(under) else int(np.argmin(margin_db))
    return float(active_db[chosen] - 10 * np.log10(LEVEL_FRAME))


def amplitude(level_db: float) -> np.float32:
    """The factor that lifts a signal by `level_db`."""
    return np.float32(10.0 ** (level_db / 20.0))


def power_db(signal: np.ndarray) -> float:
    """Mean power of `signal` in dB relative to full scale 1. Returns -inf for silence."""
    power = float(np.dot(signal, signal)) / len(signal) if len(signal) else 0.0
    return 10 * math.log10(power) if power > 0.0 else -math.inf


def measure_bandwidth_hz(signal: np.ndarray, source_rate_hz: int) -> float:
    """Highest frequency with content in `signal` (48 kHz), in Hz, rounded up to 500 Hz.

    A band has content when its long-term power lies less than 75 dB under the strongest band and
    more than 6 dB above the weakest: resampler stop bands and codec cut-offs fail this test.
    """
    size = 2048
    if len(signal) < size:
        return min(source_rate_hz, RATE_HZ) / 2
    frames = np.lib.stride_tricks.sliding_window_view(signal, size)[:: size * 2]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    band_bins = round(500 / (RATE_HZ / size))
    usable = spectrum.shape[1] // band_bins * band_bins
    bands = spectrum.mean(axis=0)[:usable].reshape(-1, band_bins).mean(axis=1)
    level_db = 10 * np.log10(bands + 1e-20)
    full = np.nonzero((level_db > level_db.max() - 75) & (level_db > level_db.min() + 6))[0]
    top_hz = (full[-1] + 1) * band_bins * RATE_HZ / size if len(full) else RATE_HZ / 2
    return float(min(math.ceil(top_hz / 500) * 500, source_rate_hz / 2, RATE_HZ / 2))


@lru_cache(maxsize=8)
def _resample_window(up: int, down: int) -> np.ndarray:
    # 32 zero crossings and a Kaiser beta of 10 keep images under -90 dB with a transition band of
    # a tenth of the band edge; the default filter of resample_poly leaks much more.
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

    libsndfile 1.2.2 refuses some valid Opus files with large pages ("malformed"); FFmpeg reads
    them, so it gets a second try when PyAV is installed.
    """
    try:
        frames, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
        signal = frames.mean(axis=1)
    except soundfile.SoundFileError:
        if av is None:
            raise
        signal, rate_hz = _read_with_ffmpeg(path)
    return resample(signal, rate_hz), rate_hz


def guess_talker(source: str, path: str) -> str:
    """Name of the person who speaks in `path`, as far as the file name tells it."""
    stem = Path(path).stem
    if source.startswith("librispeech"):
        return f"{source}:{stem.split('-')[0]}"
    if source.startswith("asterisk"):
        return f"{source}:{stem.split('__')[0]}"
    if source.startswith("picovoice"):
        return f"{source}:{stem}"  # crowd-sourced: the next recording is likely somebody else
    if source.startswith("hindi_corpus"):
        return f"{source}:{stem[:3]}"
    return source


def split_of(talker: str) -> str:
    """Split of a name: dev for a tenth of all names, and always the same for one name."""
    digest = hashlib.sha256(talker.encode()).digest()
    return "dev" if int.from_bytes(digest[:4], "big") < DEV_SHARE * 2**32 else "train"


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def read_index(index: Path) -> list[Entry]:
    """Entries of a tab-separated index with the columns path, kind, source, split, source_rate_hz,
    eff_bandwidth_hz, snr_est_db and licence, and talker if the file name does not tell."""
    entries = []
    with index.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            # A short clip may have no measured bandwidth; half its first rate is the upper bound.
            bandwidth_hz = _number(row.get("eff_bandwidth_hz"))
            if bandwidth_hz is None:
                rate_hz = _number(row.get("source_rate_hz"))
                bandwidth_hz = rate_hz / 2 if rate_hz else None
            entries.append(
                Entry(
                    path=row["path"],
                    kind=row["kind"],
                    source=row["source"],
                    talker=row.get("talker") or guess_talker(row["source"], row["path"]),
                    split=row["split"],
                    bandwidth_hz=bandwidth_hz,
                    licence=row.get("licence") or "unknown",
                    snr_est_db=_number(row.get("snr_est_db")),
                )
            )
    return entries


def scan_folders(root: Path) -> list[Entry]:
    """Entries for every audio file under root/speech and root/noise.

    The talker is the folder that holds the file (or the file itself, straight under root/speech);
    a stable hash of it decides the split, so a talker never lies on both sides. For files that
    root/public.tsv names, its rows tell more.
    """
    entries = []
    labels = root / LABELS
    known = {entry.path: entry for entry in read_index(labels)} if labels.is_file() else {}
    for kind in ("speech", "noise"):
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
                    licence="unknown",
                    snr_est_db=None,
                )
            )
    return entries


def _decode(job: tuple[str, Entry]) -> tuple[np.ndarray, dict] | str:
    """Samples (int16) and measured fields of one entry, or the reason why there are none."""
    root, entry = job
    path = Path(root) / entry.path
    if not path.is_file():
        return "missing"
    try:
        signal, rate_hz = read_mono(path)
    except (soundfile.SoundFileError, OSError, ValueError, IndexError) as error:
        return f"cannot be decoded: {error}"
    if not np.all(np.isfinite(signal)):
        return "holds samples that are not finite"
    level_db = active_level_db(signal) if entry.kind == "speech" else power_db(signal)
    if level_db < -90.0:
        return "is empty or silent"
    # Lossy codecs overshoot full scale; scaling keeps the waveform, clipping would not.
    excess = max(1.0, float(np.abs(signal).max()) * FULL_SCALE / (FULL_SCALE - 1))
    bandwidth_hz = entry.bandwidth_hz or measure_bandwidth_hz(signal, rate_hz)
    measured = {
        "active_db": round(level_db - 20 * math.log10(excess), 2),
        "bandwidth_hz": min(bandwidth_hz, RATE_HZ / 2),
    }
    return np.round(signal * ((FULL_SCALE - 1) / excess)).astype("<i2"), measured


def prepare(root: Path, out: Path, index: Path | None = None, jobs: int = 1) -> Summary:
    """Decode everything under `root` into `out`/audio.i16 and `out`/clips.json.

    `index` is a tab-separated list (default: `root`/index.tsv when it is there); without one, the
    folders `root`/speech and `root`/noise are searched. `jobs` processes decode at once; the
    result does not depend on their number.
    """
    if index is None and (root / "index.tsv").is_file():
        index = root / "index.tsv"
    entries = read_index(index) if index else scan_folders(root)
    entries.sort(key=lambda entry: entry.path)
    out.mkdir(parents=True, exist_ok=True)
    summary = Summary()
    clips: list[dict] = []
    offset = 0
    work = [(str(root), entry) for entry in entries]
    with (out / "audio.i16").open("wb") as audio, ProcessPoolExecutor(jobs) as pool:
        for entry, decoded in zip(entries, pool.map(_decode, work, chunksize=8)):
            if isinstance(decoded, str):
                summary.skipped.append((entry.path, decoded))
                continue
            samples, measured = decoded
            samples.tofile(audio)
            clip = asdict(entry) | measured
            clips.append(clip | {"index": len(clips), "offset": offset, "length": len(samples)})
            offset += len(samples)
    (out / "clips.json").write_text(json.dumps({"rate_hz": RATE_HZ, "clips": clips}, indent=0))
    summary.clips = len(clips)
    summary.seconds = offset / RATE_HZ
    return summary


class Store:
    """Read access to a prepared folder. Safe to pickle and to use from many processes."""

    def __init__(self, out: Path | str) -> None:
        self.out = Path(out)
        listing = json.loads((self.out / "clips.json").read_text())
        if listing["rate_hz"] != RATE_HZ:
            raise ValueError(f"{out}: prepared at {listing['rate_hz']} Hz, need {RATE_HZ} Hz")
        self.all_clips = [Clip(**clip) for clip in listing["clips"]]
        self._open()

    def _open(self) -> None:
        self._audio = np.memmap(self.out / "audio.i16", dtype="<i2", mode="r")

    def __getstate__(self) -> dict:
        # Pickling a memory map would copy all samples; the receiver opens the file itself.
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
    parser.add_argument("--jobs", type=int, default=1, help="processes that decode at once")


def run(args: argparse.Namespace) -> int:
    """Prepare the data; returns the number of skipped files (at most 125, an exit status)."""
    summary = prepare(args.root, args.out, args.index, args.jobs)
    for path, reason in summary.skipped:
        print(f"skipped {path}: {reason}")
    hours = summary.seconds / 3600
    print(f"{summary.clips} clips, {hours:.2f} h stored; {len(summary.skipped)} files skipped")
    return min(len(summary.skipped), 125)
