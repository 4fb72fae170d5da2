"""The list of recordings of a data folder: an index file, or the folders themselves; and their splits."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from .audio import AUDIO_SUFFIXES

DEV_SHARE = 0.1
VAL_SHARE = 0.03  # of the training talkers and noises, if an index has no rows of the split val
LABELS = "public.tsv"  # written by `import`
KINDS = ("speech", "noise")
# train: training; val: validation loss during training; dev: the old development benchmark;
# dev2: the benchmark that decides. No talker and no noise recording is in two splits.
SPLITS = ("train", "val", "dev", "dev2")
REQUIRED_COLUMNS = ("path", "kind", "source", "split")


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
    text: str | None = None  # transcript


class BadIndex(ValueError):
    """An index that cannot be used."""


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


def _number(row: dict[str, str | None], column: str, place: str) -> float | None:
    text = row.get(column)
    try:
        return float(text) if text else None
    except ValueError:
        raise BadIndex(f"{place}: {column} is {text!r}, not a number") from None


def read_index(index: Path) -> list[Entry]:
    """Entries of a tab-separated index.

    Columns: path, kind, source, split; optional: talker, source_rate_hz, eff_bandwidth_hz, snr_est_db
    license and text (the transcript). Raises BadIndex, with the line, for a missing value or a number that is none.
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
                    text=row.get("text") or None,
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
