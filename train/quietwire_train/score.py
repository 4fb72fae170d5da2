"""Objective scores of denoisers on pairs of noisy and clean recordings.

Runs each system on each pair, takes the measures of `measures.py` and makes the tables of
`board.py`. A system that fails on a pair is named and counted, and never ends the run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from . import board
from .data import RATE_HZ, read_mono, resample
from .measures import SCORE_RATE_HZ, align, hop_snrs_db, measure, speech_hops, worse_than
from .systems import System, audio_files, parse_system, process, source_file, with_program


def parse_sets(text: str) -> list[str]:
    """Names of sets, separated by commas."""
    names = text.split(",")
    for name in names:
        if name not in board.SETS:
            raise ValueError(f"no set {name!r}; there are {', '.join(board.SETS)}")
    return names


def load_pairs(base: Path) -> list[dict]:
    """Pairs of a folder of `devset`, of a folder with noisy/ and clean/, or of one of audio files alone.

    Each has at least `name` and `set`; the last kind has the set "unpaired".
    """
    if (base / "pairs.json").is_file():
        pairs = json.loads((base / "pairs.json").read_text(encoding="utf-8"))
        if not isinstance(pairs, list) or not all(isinstance(p, dict) and "name" in p for p in pairs):
            raise ValueError(f"{base / 'pairs.json'} is not a list of pairs with names")
        pairs = [pair | {"set": pair.get("set") or "snr"} for pair in pairs]
    elif (base / "noisy").is_dir() and (base / "clean").is_dir():
        shared = sorted(audio_files(base / "noisy").keys() & audio_files(base / "clean").keys())
        pairs = [{"name": name, "set": "snr"} for name in shared]
    else:
        pairs = [{"name": name, "set": "unpaired"} for name in audio_files(base)]
    if not pairs:
        raise ValueError(f"{base} holds no pairs")
    return pairs


def select(pairs: list[dict], sets: list[str] | None, every: int = 1) -> list[dict]:
    """One in `every` pairs of each of `sets` (None: all), and the twins of those.

    Counted in the order of a hash of the names: lists of pairs go round through talkers and SNRs,
    and every third of them may well have one SNR alone.
    """
    chosen = set()
    present = dict.fromkeys(pair["set"] for pair in pairs)
    for kind in present if sets is None else sets:
        own = [pair for pair in pairs if pair["set"] == kind]
        own.sort(key=lambda pair: hashlib.sha256(pair["name"].encode()).digest())
        for pair in own[::every]:
            chosen |= {pair["name"], pair.get("twin")}
    if not chosen:
        raise ValueError(f"no pairs of the sets {', '.join(sets or [])}; there are {', '.join(present)}")
    return [pair for pair in pairs if pair["name"] in chosen]


def _hops(telemetry: list[dict], pair: dict, clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """Truth, speech probability, estimated and true SNR (dB) of each hop inside the clip."""
    told = [[line.get(key) for key in ("time_s", "speech_probability", "snr_db")] for line in telemetry]
    told = np.array(told, np.float64).reshape(-1, 3)  # what is not told is NaN
    told = told[told[:, 0] <= len(noisy) / RATE_HZ + 1e-6]
    if pair["set"] == "noise":
        truth, snr_db = np.zeros(len(told)), np.full(len(told), np.nan)
    else:
        truth = speech_hops(clean, RATE_HZ, told[:, 0])
        snr_db = hop_snrs_db(clean, noisy, told[:, 0])
    return np.stack([truth, told[:, 1], told[:, 2], snr_db], axis=1)


def _words(pair: dict, clean: np.ndarray, signal: np.ndarray, vocabulary: list[str]) -> dict:
    """`word_errors` and `words` of a pair with a text; `no_words` says why they cannot be had."""
    try:
        from .words import recognise, word_errors

        aligned = align(clean, signal)[1]
        heard = recognise(resample(aligned, RATE_HZ, SCORE_RATE_HZ), vocabulary)
    except ImportError as error:
        return {"no_words": str(error)}
    errors, words = word_errors(pair["text"], heard)
    return {"heard": heard, "word_errors": errors, "words": words}


def _again(record: dict, old: dict | None) -> dict:
    """The old record of a pair, if it was of this very pair."""
    if old is None:
        return record | {"failure": "the earlier board lacks this pair"}
    changed = [key for key, value in record.items() if old.get(key) != value]
    if changed:
        return record | {"failure": f"the earlier board had another {changed[0]} for this pair"}
    return dict(old)


def score_pair(
    pair: dict, pairs_dir: Path, systems: list[System], vocabulary: list[str]
) -> list[tuple[dict, np.ndarray | None]]:
    """For each system, the record of this pair and its hops if it told of them.

    A record holds what is known of the pair and the measures, or the field `failure`. The files are
    not opened where every system comes from an earlier board.
    """
    name = pair["name"]
    known = {"pair": name, **{key: value for key, value in pair.items() if key != "name"}}
    fresh = [system for system in systems if system.records is None]
    measured = iter(_measure_all(pair, known, pairs_dir, fresh, vocabulary) if fresh else [])
    return [
        next(measured)
        if system.records is None
        else (_again(known | {"system": system.name}, system.records.get(name)), None)
        for system in systems
    ]


def _measure_all(
    pair: dict, known: dict, pairs_dir: Path, systems: list[System], vocabulary: list[str]
) -> list[tuple[dict, np.ndarray | None]]:
    """What `score_pair` gives, for systems that have to run."""
    name, paired = pair["name"], pair["set"] != "unpaired"
    source = source_file(pairs_dir, "noisy" if paired else ".", name)
    # Files and systems are foreign: whatever goes wrong is reported with its name.
    try:
        clean = read_mono(source_file(pairs_dir, "clean", name))[0] if paired else None
        noisy = read_mono(source)[0]
        before = measure(pair, clean, noisy, noisy)
    except Exception as error:  # noqa: BLE001
        reason = f"the pair itself: {error or type(error).__name__}"
        return [(known | {"system": system.name, "failure": reason}, None) for system in systems]
    found = []
    for system in systems:
        record, hops = known | {"system": system.name}, None
        try:
            signal, after = noisy, before
            if system.command or system.folder:
                signal, spent, telemetry = process(system, source, name)
                after = measure(pair, clean, noisy, signal) | spent
                if paired and telemetry:
                    hops = _hops(telemetry, pair, clean, noisy)
            if paired and pair.get("text"):
                after = after | _words(pair, clean, signal, vocabulary)
            record |= after | worse_than(before, after)
        except Exception as error:  # noqa: BLE001
            record["failure"] = f"{type(error).__name__}: {error}"
        found.append((record, hops))
    return found


def score(
    pairs_dir: Path,
    systems: list[System],
    jobs: int = 2,
    sets: list[str] | None = None,
    every: int = 1,
) -> tuple[list[dict], dict[str, list[np.ndarray]]]:
    """Score `systems` on the pairs of `pairs_dir`: records of `score_pair`, and hops by system."""
    pairs = load_pairs(pairs_dir)
    vocabulary = sorted({word for pair in pairs for word in (pair.get("text") or "").lower().split()})
    work = partial(score_pair, pairs_dir=pairs_dir, systems=systems, vocabulary=vocabulary)
    pairs = select(pairs, sets, every)
    if jobs == 1:
        found = [one for pair in pairs for one in work(pair)]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            found = [one for several in pool.map(work, pairs) for one in several]
    records = [record for record, _ in found]
    silent = [record.pop("no_words") for record in records if "no_words" in record]
    if silent:
        print(f"no word error rates: {silent[0]}", file=sys.stderr)
    board.add_twins(records)
    hops: dict[str, list[np.ndarray]] = {}
    for record, own in found:
        if own is not None:
            hops.setdefault(record["system"], []).append(own)
    return records, hops


def _argument(parse: Callable[[str], object]) -> Callable[[str], object]:
    """`parse` with its message kept by argparse."""

    def checked(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is not a number from 1")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `score` command."""
    parser.add_argument(
        "pairs", type=Path, help="folder written by devset, with noisy/ and clean/, or of audio files alone"
    )
    parser.add_argument(
        "systems",
        nargs="+",
        type=_argument(parse_system),
        help="noisy, NAME='COMMAND {in} {out} [{telemetry}]', NAME=dir:FOLDER, NAME=model:MODEL "
        "or NAME=scores:BOARD.json (as an earlier --out has it)",
    )
    parser.add_argument("--quietwire", metavar="PATH", help="program that runs models (default: on PATH)")
    parser.add_argument("--against", metavar="NAME", help="also the differences of all others to this system")
    parser.add_argument("--sets", type=_argument(parse_sets), help="only these, as in snr,room")
    parser.add_argument("--every", type=_argument(_count), default=1, help="only one in N pairs of each set")
    parser.add_argument("--jobs", type=_argument(_count), default=2, help="pairs scored at once")
    parser.add_argument(
        "--out", type=Path, metavar="PREFIX", help="write PREFIX.md, .json, -snr.png, -roc.png"
    )


def _report(
    rows: list[dict], groups: list[dict], differences: list[dict], vad: dict, failed: list[str]
) -> str:
    """All tables in Markdown."""
    parts = [("Scores", board.table(rows)), ("95 % intervals over talkers", board.interval_table(rows))]
    if differences:
        parts.append(("Differences (95 % interval over talkers)", board.difference_table(differences)))
    titles = {
        "set": "By set",
        "snr_db": "By SNR in dB, set snr",
        "noise_class": "By noise",
        "talkers": "Talkers not in training",
    }
    for group, title in titles.items():
        own = [row for row in groups if row["group"] == group]
        if own:
            parts.append((title, board.table(own)))
    if vad:
        parts.append(("Speech detection", board.detection_table(vad)))
    if failed:
        parts.append(("Failures", "".join(f"- {line}\n" for line in failed)))
    return "\n".join(f"## {title}\n\n{text}" for title, text in parts)


def run(args: argparse.Namespace) -> int:
    """Score and print the table; returns 1 when anything failed and 2 for wrong usage."""
    names = [system.name for system in args.systems]
    try:
        if len(set(names)) < len(names):
            raise ValueError("two systems have the same name")
        if args.against and args.against not in names:
            raise ValueError(f"--against {args.against}: the systems are {', '.join(names)}")
        systems = with_program(args.systems, args.quietwire)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
        records, hops = score(args.pairs, systems, args.jobs, args.sets, args.every)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows, groups = board.headline(records, names), board.groups(records, names)
    differences = board.differences(records, names, args.against) if args.against else []
    vad = board.detection(hops)
    print(board.table(rows), end="")
    if differences:
        print(f"\n{board.difference_table(differences)}", end="")
    failed = [f"{r['system']} on {r['pair']}: {r['failure']}" for r in records if "failure" in r]
    for line in failed:
        print(f"failed {line}")
    if args.out:
        everything = {
            "systems": rows,
            "pairs": records,
            "groups": groups,
            "differences": differences,
            "vad": vad,
        }
        Path(f"{args.out}.md").write_text(_report(rows, groups, differences, vad, failed), encoding="utf-8")
        Path(f"{args.out}.json").write_text(json.dumps(everything, indent=1), encoding="utf-8")
        board.plots(args.out, groups, vad)
    return 1 if failed else 0
