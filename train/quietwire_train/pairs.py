"""Pairs of noisy and clean sound: their fields and their folder."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from .audio import RATE_HZ

PEAK = 0.99  # louder pairs are scaled down


@dataclass
class Pair:
    """One pair. Every field but the two signals is written to pairs.json.

    `level_db` is the active speech level in dBFS after all scaling (of noise alone: its rms).
    """

    name: str
    set: str
    slot: int | None
    talker: str | None
    talker_in_training: bool
    speech_source: str | None
    noise_class: str | None
    noise_source: str | None
    snr_db: float | None
    level_db: float
    bandwidth_hz: float
    room: bool
    twin: str | None
    text: str | None
    noisy: np.ndarray = field(repr=False)
    clean: np.ndarray = field(repr=False)
    noise_recording: str | None = None  # path in the store

    def scale(self, gain_db: float) -> Pair:
        """Scales both signals by `gain_db`, or by less if the louder one would clip."""
        peak = max(float(np.abs(self.noisy).max()), float(np.abs(self.clean).max()))
        gain = min(10 ** (gain_db / 20), PEAK / peak if peak > 0.0 else math.inf)
        self.noisy = self.noisy * np.float32(gain)
        self.clean = self.clean * np.float32(gain)
        self.level_db += 20 * math.log10(gain)
        return self

    def record(self) -> dict:
        """Fields for pairs.json."""
        kept = {key: value for key, value in vars(self).items() if key not in ("noisy", "clean")}
        return kept | {"level_db": round(self.level_db, 3)}


@dataclass
class Summary:
    """Number of pairs of each set, and the reason for every set that was left out."""

    pairs: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)


class Missing(Exception):
    """The store or the options do not have what a set needs."""


def checked_sets(sets: Iterable[str], known: Iterable[str]) -> list[str]:
    """`sets` in the order of `known`. Raises ValueError for a set that is not in it."""
    sets, known = list(sets), list(known)
    unknown = set(sets) - set(known)
    if unknown:
        raise ValueError(f"no such set: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [name for name in known if name in sets]


def write_pairs(out_dir: Path, sets: Iterable[tuple[str, Iterator[Pair]]]) -> Summary:
    """Writes `out_dir`/noisy/NAME.wav, clean/NAME.wav (48 kHz, 24 bit) and pairs.json.

    The folder is written as `out_dir`.part and renamed when it is complete. An existing folder of
    pairs is replaced; another folder with content is refused by a ValueError.
    """
    if out_dir.exists() and any(out_dir.iterdir()) and not (out_dir / "pairs.json").is_file():
        raise ValueError(f"{out_dir} has other content than pairs; choose another folder")
    part = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for folder in ("noisy", "clean"):
        (part / folder).mkdir(parents=True)
    summary, records = Summary(), []
    for name, pairs in sets:
        try:
            for pair in pairs:
                for folder, signal in (("noisy", pair.noisy), ("clean", pair.clean)):
                    path = part / folder / f"{pair.name}.wav"
                    soundfile.write(path, signal, RATE_HZ, subtype="PCM_24")
                records.append(pair.record())
                summary.pairs[name] += 1
        except Missing as reason:
            summary.skipped[name] = str(reason)
    (part / "pairs.json").write_text(json.dumps(records, indent=1))
    if out_dir.exists():
        shutil.rmtree(out_dir)
    os.replace(part, out_dir)
    return summary
