"""The command `import`: links the files of a public set into a data folder, and their rows in public.tsv."""

from __future__ import annotations

import argparse
import csv
import filecmp
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from .index import LABELS
from .public_sets import SETS, Plan, Recording, WrongSource, list_set

COLUMNS = ["path", "kind", "source", "talker", "split", "seconds"]
COLUMNS += ["source_rate_hz", "eff_bandwidth_hz", "snr_est_db", "license", "text"]
NEW_COLUMNS = {"text"}  # tables written before 0.3 do not have them


@dataclass
class Imported:
    """Result of an import. `rows` are the rows of the files of the plan that are in the folder now."""

    new: int = 0
    rows: list[dict[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    moved: int = 0  # files of other sets that moved to dev with their talker


def read_labels(table: Path) -> dict[str, dict[str, str]]:
    """Rows of `table` by path; none if the file does not exist."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines, delimiter="\t")
        if reader.fieldnames:  # the column was licence before 0.2
            reader.fieldnames = [name.replace("licence", "license") for name in reader.fieldnames]
        if missing := set(COLUMNS) - NEW_COLUMNS - set(reader.fieldnames or ()):
            raise WrongSource(f"{table}: no column {', '.join(sorted(missing))}; not written by `import`")
        return {row["path"]: row for row in reader}


def write_labels(table: Path, rows: Iterable[dict[str, str]]) -> None:
    part = table.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS, delimiter="\t", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["path"]))
    os.replace(part, table)


def _place(file: Path, target: Path, copy: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copy:
        target.symlink_to(file)
        return
    part = target.with_name(target.name + ".part")
    shutil.copy2(file, part)
    os.replace(part, target)


def _row(recording: Recording) -> dict[str, str] | str:
    """The row of a file that is new, or the reason why it cannot be used."""
    try:
        seconds = soundfile.info(str(recording.file)).duration
    except (soundfile.SoundFileError, OSError) as error:
        return f"cannot be read: {error}"
    if not seconds:
        return "is empty"
    # The sample rate stays empty: `prepare` would take half of it as the bandwidth, but many files
    # were upsampled.
    row = dict.fromkeys(COLUMNS, "") | {key: getattr(recording, key) for key in COLUMNS[:5]}
    return row | {"seconds": f"{seconds:.2f}", "license": recording.license, "text": recording.text}


def import_plan(plan: Plan, data: Path, copy: bool = False) -> Imported:
    """Links (or copies) every recording of `plan` into `data`. Existing rows are not changed."""
    table = data / LABELS
    labels = read_labels(table)
    before = {path: row["split"] for path, row in labels.items()}
    imported = Imported(refused=list(plan.refused))
    twins: dict[tuple[str, str, int], Path] = {}
    for recording in plan.recordings:
        file, target = recording.file, data / recording.path
        row = (labels.get(recording.path) or _row(recording)) if file.is_file() else "is no file"
        if isinstance(row, str):
            imported.refused.append((str(file), row))
            continue
        twin = twins.setdefault((recording.folder, file.name, file.stat().st_size), file)
        if twin is not file and filecmp.cmp(twin, file, shallow=False):
            imported.refused.append((str(file), f"the same as {twin}"))
            continue
        if target.is_symlink() and not target.exists():
            target.unlink()  # the set was moved
        if not target.exists():
            _place(file, target, copy)
            imported.new += 1
        elif not (target.samefile(file) or filecmp.cmp(target, file)):
            imported.refused.append((str(file), f"another recording is at {target}"))
            continue
        labels[recording.path] = row
        imported.rows.append(row)

    dev = {row["talker"] for row in labels.values() if (row["kind"], row["split"]) == ("speech", "dev")}
    for row in labels.values():
        if row["kind"] == "speech" and row["talker"] in dev:
            row["split"] = "dev"
    after = {path: row["split"] for path, row in labels.items()}
    imported.moved = sum(after[path] != split for path, split in before.items())
    if after != before:
        write_labels(table, labels.values())
    return imported


def _counts(rows: list[dict[str, str]]) -> str:
    speech = {row["talker"] for row in rows if row["kind"] == "speech"}
    kinds = {row["talker"] for row in rows if row["kind"] == "noise"}
    parts = [f"{len(speech)} talkers"] if speech else []
    parts += [f"{len(kinds)} kinds of noise"] if kinds else []
    hours = sum(float(row["seconds"] or 0) for row in rows) / 3600
    return ", ".join([f"{len(rows)} files", *parts, f"{hours:.2f} h"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `import` command."""
    parser.add_argument("set", choices=SETS, help="which set")
    parser.add_argument("source", type=Path, help="folder of the unpacked set")
    parser.add_argument("data", type=Path, help="folder for `prepare`; may contain other sets")
    parser.add_argument("--copy", action="store_true", help="copy the files instead of linking them")
    parser.add_argument("--esc10", action="store_true", help="of esc50 only the part under CC BY")
    parser.add_argument("--music", action="store_true", help="of musan the music too, as noise")


def run(args: argparse.Namespace) -> int:
    """Imports the set; returns the number of refused files (at most 125, an exit status)."""
    chosen = SETS[args.set]
    try:
        if (args.data / "index.tsv").exists():
            raise WrongSource(f"{args.data}: its index.tsv is a complete list; choose another folder")
        if args.data.resolve() == args.source.resolve():
            raise WrongSource(f"{args.data}: is the set itself; choose another folder")
        plan = list_set(args.set, args.source, args)
        imported = import_plan(plan, args.data, args.copy)
    except WrongSource as error:
        print(f"error: {error}")
        return 1
    except OSError as error:
        hint = "" if args.copy else "; if links are not supported, use --copy"
        print(f"error: importing {args.source} into {args.data}: {error}{hint}")
        return 1
    for path, reason in imported.refused:
        print(f"refused {path}: {reason}")
    dev = [row for row in imported.rows if row["split"] == "dev"]
    news = f"{imported.new} files imported" if imported.new else "nothing new"
    print(f"{chosen.title}: {news}; {args.data} has {_counts(imported.rows)}; of these dev {_counts(dev)}")
    for reason, count in sorted(plan.left_out.items()):
        print(f"left out: {count} files {reason}")
    for note in plan.notes:
        print(f"note: {note}")
    if imported.moved:
        print(f"moved to dev with their talkers: {imported.moved} existing files")
    print(f"refused: {len(imported.refused)} files")
    print(f"license: {chosen.license}")
    print(f"cite: {chosen.cite}")
    return min(len(imported.refused), 125)
