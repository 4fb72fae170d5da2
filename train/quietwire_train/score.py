"""Objective scores of denoisers on pairs of noisy and clean recordings.

Runs each system on each pair, computes the measures of `measures.py` and writes the tables of
`report.py`. A system that fails on a pair is listed and counted; the run continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path

import numpy as np

from . import judges, report
from .audio import RATE_HZ, read_mono, resample
from .interrupt import Interrupt
from .measures import SCORE_RATE_HZ, align, hop_snrs_db, measure, speech_hops, worse_than
from .systems import System, audio_files, parse_system, process, source_file, with_commands
from .transcript import canonical_pair

INTERRUPTED = 130  # exit code after SIGINT or SIGTERM


def parse_sets(text: str) -> list[str]:
    """Names of sets, separated by commas."""
    names = text.split(",")
    for name in names:
        if name not in report.SETS:
            raise ValueError(f"no set {name!r}; there are {', '.join(report.SETS)}")
    return names


def load_pairs(base: Path) -> list[dict]:
    """Pairs of a folder of `devset`, of a folder with noisy/ and clean/, or of a folder of audio files.

    Each has at least `name` and `set`; audio files alone have the set "unpaired".
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
        raise ValueError(f"{base} has no pairs")
    return pairs


def select(pairs: list[dict], sets: list[str] | None, every: int = 1) -> list[dict]:
    """One in `every` pairs of each of `sets` (None: all), and the twins of those.

    Counted in the order of a hash of the names: in a list that cycles through talkers and SNRs, every
    third pair could have the same SNR.
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
    rows = [[line.get(key) for key in ("time_s", "speech_probability", "snr_db")] for line in telemetry]
    hops = np.array(rows, np.float64).reshape(-1, 3)  # None becomes NaN
    hops = hops[hops[:, 0] <= len(noisy) / RATE_HZ + 1e-6]
    if pair["set"] == "noise":
        truth, snr_db = np.zeros(len(hops)), np.full(len(hops), np.nan)
    else:
        truth = speech_hops(clean, RATE_HZ, hops[:, 0])
        snr_db = hop_snrs_db(clean, noisy, hops[:, 0])
    return np.stack([truth, hops[:, 1], hops[:, 2], snr_db], axis=1)


def _word_errors(pair: dict, clean: np.ndarray, signal: np.ndarray, vocabulary: list[str]) -> dict:
    """`word_errors` and `words` of a pair with a text; `no_wer` has the reason if they are missing.

    `vocabulary` are the words of the texts of its set. The digits of the set `digits` are recognized among
    these alone; other texts freely, and compared in the form of `transcript.canonical`.
    """
    is_closed = pair["set"] == "digits"
    try:
        from .wer import recognize, word_errors

        aligned = align(clean, signal)[1]
        narrow = resample(aligned, RATE_HZ, SCORE_RATE_HZ)
        recognized = recognize(narrow, vocabulary if is_closed else None)
    except ImportError as error:
        return {"no_wer": str(error)}
    texts = (pair["text"], recognized)
    if not is_closed:
        texts = canonical_pair(*texts, frozenset(vocabulary))
    errors, words = word_errors(*texts)
    return {"recognized": recognized, "word_errors": errors, "words": words}


def _vocabularies(pairs: list[dict]) -> dict[str, list[str]]:
    """The words of the texts of each set, in lower case and sorted."""
    found: dict[str, set[str]] = {}
    for pair in pairs:
        if pair.get("text"):
            found.setdefault(pair["set"], set()).update(pair["text"].lower().split())
    return {name: sorted(words) for name, words in found.items()}


def _reuse(record: dict, old: dict | None) -> dict:
    """The record of an earlier report, if it is of the same pair."""
    if old is None:
        return record | {"failure": "the earlier report does not have this pair"}
    changed = [key for key, value in record.items() if old.get(key) != value]
    if changed:
        return record | {"failure": f"the earlier report has another {changed[0]} for this pair"}
    return dict(old)


def score_pair(
    pair: dict, pairs_dir: Path, systems: list[System], vocabularies: dict[str, list[str]]
) -> list[tuple[dict, np.ndarray | None]]:
    """For each system, the record of this pair, and its hops if it has telemetry.

    A record holds the fields of the pair and the measures, or the field `failure`. The files are not
    opened if all systems come from an earlier report.
    """
    name = pair["name"]
    known = {"pair": name, **{key: value for key, value in pair.items() if key != "name"}}
    fresh = [system for system in systems if system.records is None]
    vocabulary = vocabularies.get(pair["set"], [])
    measured = iter(_measure_all(pair, known, pairs_dir, fresh, vocabulary) if fresh else [])
    return [
        next(measured)
        if system.records is None
        else (_reuse(known | {"system": system.name}, system.records.get(name)), None)
        for system in systems
    ]


def _measure_all(
    pair: dict, known: dict, pairs_dir: Path, systems: list[System], vocabulary: list[str]
) -> list[tuple[dict, np.ndarray | None]]:
    """The result of `score_pair` for systems that have to run."""
    name, paired = pair["name"], pair["set"] != "unpaired"
    source = source_file(pairs_dir, "noisy" if paired else ".", name)
    # Any error of a file or a system is recorded with its name; the run continues.
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
                after = after | _word_errors(pair, clean, signal, vocabulary)
            record |= after | worse_than(before, after)
        except Exception as error:  # noqa: BLE001
            record["failure"] = f"{type(error).__name__}: {error}"
        found.append((record, hops))
    return found


def _run(work: Callable[[dict], list], pairs: list[dict], jobs: int, interrupt: Interrupt) -> list[list]:
    """The results of `work` for the pairs that are finished before a request of `interrupt`."""
    if jobs == 1:
        results = []
        for pair in pairs:
            if interrupt.requested:
                break
            results.append(work(pair))
        return results
    with ProcessPoolExecutor(jobs, initializer=Interrupt.leave_to_parent) as pool:
        # One pair for each worker at a time: the pool would not cancel those that it has queued.
        futures, waiting = [], set()
        for pair in pairs:
            while len(waiting) >= jobs and not interrupt.requested:
                waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED).not_done
            if interrupt.requested:
                break
            futures.append(pool.submit(work, pair))
            waiting.add(futures[-1])
        return [future.result() for future in futures]


def score(
    pairs_dir: Path,
    systems: list[System],
    jobs: int = 2,
    sets: list[str] | None = None,
    every: int = 1,
    interrupt: Interrupt | None = None,
) -> tuple[list[dict], dict[str, list[np.ndarray]]]:
    """Score `systems` on the pairs of `pairs_dir`: records of `score_pair`, and hops by system.

    After a request of `interrupt` the pairs in work are finished, and the result has the finished pairs.
    """
    pairs = load_pairs(pairs_dir)
    work = partial(score_pair, pairs_dir=pairs_dir, systems=systems, vocabularies=_vocabularies(pairs))
    pairs = select(pairs, sets, every)
    interrupt = interrupt or Interrupt("the pairs in work")
    with interrupt.installed():
        found = [one for several in _run(work, pairs, jobs, interrupt) for one in several]
    records = [record for record, _ in found]
    missing = [record.pop("no_wer") for record in records if "no_wer" in record]
    if missing:
        print(f"no word error rates: {missing[0]}", file=sys.stderr)
    report.add_twins(records)
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
        "or NAME=scores:REPORT.json (of an earlier --out)",
    )
    parser.add_argument("--quietwire", metavar="PATH", help="program that runs models (default: on PATH)")
    parser.add_argument(
        "--against", metavar="NAME", help="add the differences of all other systems to this one"
    )
    parser.add_argument("--sets", type=_argument(parse_sets), help="only these sets, such as snr,room")
    parser.add_argument("--every", type=_argument(_count), default=1, help="only one in N pairs of each set")
    parser.add_argument("--jobs", type=_argument(_count), default=2, help="pairs scored in parallel")
    parser.add_argument(
        "--out", type=Path, metavar="PREFIX", help="write PREFIX.md, .json, -snr.png, -roc.png"
    )


def _report(
    rows: list[dict], groups: list[dict], differences: list[dict], vad: dict, failed: list[str]
) -> str:
    """All tables in Markdown."""
    parts = [
        ("Scores", report.table(rows)),
        ("95 % intervals over talkers and noises", report.interval_table(rows)),
    ]
    if differences:
        parts.append(
            ("Differences (95 % interval over talkers and noises)", report.difference_table(differences))
        )
    titles = {
        "set": "By set",
        "snr_db": "By SNR in dB, set snr",
        "noise_class": "By noise",
        "talkers": "Talkers not in training",
    }
    for group, title in titles.items():
        own = [row for row in groups if row["group"] == group]
        if own:
            parts.append((title, report.table(own)))
    if vad:
        parts.append(("Speech detection", report.detection_table(vad)))
    if failed:
        parts.append(("Failures", "".join(f"- {line}\n" for line in failed)))
    return "\n".join(f"## {title}\n\n{text}" for title, text in parts)


def run(args: argparse.Namespace) -> int:
    """Score and print the table; returns 1 when anything failed, 2 for wrong usage, 130 after an interrupt."""
    names = [system.name for system in args.systems]
    for message in judges.missing():
        print(message, file=sys.stderr)
    try:
        if len(set(names)) < len(names):
            raise ValueError("two systems have the same name")
        if args.against and args.against not in names:
            raise ValueError(f"--against {args.against}: the systems are {', '.join(names)}")
        systems = with_commands(args.systems, args.quietwire)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
        interrupt = Interrupt("the pairs in work")
        records, hops = score(args.pairs, systems, args.jobs, args.sets, args.every, interrupt)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if interrupt.requested:
        total = len(select(load_pairs(args.pairs), args.sets, args.every))
        print(f"interrupted: the tables have {len(records) // len(names)} of {total} pairs", flush=True)
        if not records:
            return INTERRUPTED
    rows, groups = report.headline(records, names), report.groups(records, names)
    differences = report.differences(records, names, args.against) if args.against else []
    vad = report.detection(hops)
    print(report.table(rows), end="")
    if differences:
        print(f"\n{report.difference_table(differences)}", end="")
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
        report.plots(args.out, groups, vad)
    if interrupt.requested:
        return INTERRUPTED
    return 1 if failed else 0
