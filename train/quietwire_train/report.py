"""From records of single pairs to a report: means with confidence intervals, groups of pairs,
differences of systems, speech detection, tables and plots."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .devset import SIZES
from .measures import SNR_RANGE_DB, roc

# The headline means are over the pairs of these sets. Other sets have columns of their own.
HEADLINE_SETS = ("snr", "room", "babble", "music", "keyboard", "telephone", "unpaired")
SETS = (*SIZES, "words")
# Column: title, digits after the point, factor.
COLUMNS = {
    "pesq": ("PESQ", 2, 1),
    "stoi": ("STOI", 3, 1),
    "estoi": ("ESTOI", 3, 1),
    "si_sdr_db": ("SI-SDR (dB)", 2, 1),
    "visqol": ("ViSQOL", 2, 1),
    "distill_mos": ("Distill-MOS", 2, 1),
    "sig": ("SIG", 2, 1),
    "bak": ("BAK", 2, 1),
    "ovrl": ("OVRL", 2, 1),
    "level_error_db": ("level error (dB)", 2, 1),
    "onset_loss_db": ("onset loss (dB)", 2, 1),
    "clean_pesq": ("PESQ of clean", 2, 1),
    "low_cut_pesq": ("PESQ of low-cut", 2, 1),
    "highs_db": ("highs (dB)", 2, 1),
    "attenuation_db": ("attenuation (dB)", 1, 1),
    "twin_pesq": ("PESQ to twin", 3, 1),
    "twin_pesq_abs": ("PESQ to twin, absolute", 3, 1),
    "wer": ("WER (%)", 1, 100),
    "worse": ("worse than input (%)", 0, 100),
    "worse_two": ("worse in two (%)", 0, 100),
    "output_db": ("output level (dB)", 1, 1),
    "delay_ms": ("delay (ms)", 2, 1),
    "seconds": ("time (s)", 2, 1),
}
# Columns that only one set has.
OWN_SETS = ("clean_pesq", "low_cut_pesq", "highs_db", "attenuation_db", "wer")
DIFFERENCES = ("pesq", "stoi", "si_sdr_db", "visqol", "distill_mos", "ovrl")
DRAWS = 1000
SEED = 1
CURVE_POINTS = 200


def in_headline(record: dict, column: str) -> bool:
    """Whether `record` counts in the headline mean of `column`."""
    if column in OWN_SETS:
        return True
    if column in ("twin_pesq", "twin_pesq_abs"):
        return record["set"] == "whisper"
    return record["set"] in HEADLINE_SETS


def _value(record: dict, column: str) -> tuple[float, float] | None:
    """Sum and weight that `record` adds to the mean of `column`; None when it has no such measure."""
    if column == "wer":
        return (record["word_errors"], record["words"]) if record.get("words") else None
    return (float(record[column]), 1.0) if column in record else None


def mean(records: list[dict], column: str) -> float | None:
    """Mean of `column`; of words, errors over words."""
    values = [value for record in records if (value := _value(record, column))]
    return sum(v[0] for v in values) / sum(v[1] for v in values) if values else None


# Talker, noise recording (None if there is none), sum and weight of a pair.
Value = tuple[str, str | None, float, float]


def interval(values: list[Value]) -> list[float] | None:
    """95 % bootstrap interval of a mean; None for fewer than two talkers.

    Talkers and noise recordings are drawn with replacement, 1000 times with a fixed seed, since pairs
    with the same talker or the same noise are not independent (pigeonhole bootstrap, Owen 2007). A
    pair counts as often as its talker times its noise were drawn.
    """
    # In a fixed order, so that the sums do not depend on the order of the pairs.
    values = sorted(values, key=lambda value: (value[0], value[1] or "", *value[2:]))
    sums = np.array([value[2:] for value in values])
    if not len(values) or len({value[0] for value in values}) < 2:
        return None
    rng = np.random.default_rng(SEED)
    counts = _draw(rng, [value[0] for value in values])
    if len({value[1] for value in values}) > 1:
        counts = counts * _draw(rng, [value[1] for value in values])
    drawn = counts @ sums
    drawn = drawn[drawn[:, 1] > 0]
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return [float(low), float(high)]


def _draw(rng: np.random.Generator, names: list[str | None]) -> np.ndarray:
    """[DRAWS, pairs] how often the cluster of each pair was drawn; None is always drawn once."""
    clusters = sorted({name for name in names if name is not None})
    drawn = rng.integers(len(clusters), size=(DRAWS, len(clusters)))
    times = np.stack([np.bincount(row, minlength=len(clusters)) for row in drawn])
    place = {name: at for at, name in enumerate(clusters)}
    one = np.ones(DRAWS, int)
    return np.stack([one if name is None else times[:, place[name]] for name in names], axis=1)


def _clusters(record: dict) -> tuple[str, str | None]:
    """Talker (or the pair itself) and noise recording of a record."""
    return record.get("talker") or f"pair {record['pair']}", record.get("noise_recording")


def _own(records: list[dict], system: str) -> list[dict]:
    return [record for record in records if record["system"] == system and "failure" not in record]


def add_twins(records: list[dict]) -> None:
    """Adds `twin_pesq`, the PESQ minus that of the twin, and its absolute value to records with a twin."""
    known = {(record["system"], record["pair"]): record.get("pesq") for record in records}
    for record in records:
        other = known.get((record["system"], record.get("twin")))
        if other is not None and "pesq" in record:
            record["twin_pesq"] = record["pesq"] - other
            record["twin_pesq_abs"] = abs(record["twin_pesq"])


def headline(records: list[dict], systems: list[str]) -> list[dict]:
    """One row for each system: its means, their intervals `ci`, `pairs` and `failures`."""
    rows = []
    for system in systems:
        good = _own(records, system)
        count = sum(record["system"] == system for record in records)
        row = {"system": system, "pairs": len(good), "failures": count - len(good), "ci": {}}
        for column in COLUMNS:
            own = [record for record in good if in_headline(record, column)]
            row[column] = mean(own, column)
            row["ci"][column] = interval(
                [(*_clusters(record), *value) for record in own if (value := _value(record, column))]
            )
        rows.append(row)
    return rows


def _group(records: list[dict], systems: list[str], title: str, key: Callable[[dict], object]) -> list[dict]:
    """Rows of means for each value of `key`; records with the value None are left out."""
    values = {value for record in records if (value := key(record)) is not None}
    rows = []
    for value in sorted(values, key=lambda v: (SETS.index(v), "") if v in SETS else (len(SETS), v)):
        for system in systems:
            own = [record for record in _own(records, system) if key(record) == value]
            means = {column: mean(own, column) for column in COLUMNS}
            rows.append({"group": title, "value": value, "system": system, "pairs": len(own), **means})
    return rows


def groups(records: list[dict], systems: list[str]) -> list[dict]:
    """Rows by `set`, by `snr_db` (of the set snr; word errors of the set words), by `noise_class` and for
    talkers that are not in training; the last two over the sets of the headline."""
    main = [record for record in records if record["set"] in HEADLINE_SETS]
    by_snr = [record for record in records if record["set"] in ("snr", "words")]
    new = [record for record in main if record.get("talker_in_training") is False]
    return [
        *_group(records, systems, "set", lambda record: record["set"]),
        *_group(by_snr, systems, "snr_db", lambda record: record.get("snr_db")),
        *_group(main, systems, "noise_class", lambda record: record.get("noise_class")),
        *_group(new, systems, "talkers", lambda record: "not in training"),
    ]


def differences(records: list[dict], systems: list[str], against: str) -> list[dict]:
    """Every other system minus `against`, on the pairs of the headline that both have."""
    base = {record["pair"]: record for record in _own(records, against)}
    rows = []
    for system in systems:
        if system == against:
            continue
        row = {"system": system, "against": against, "ci": {}}
        both = [record for record in _own(records, system) if record["pair"] in base]
        for column in DIFFERENCES:
            found = [
                (*_clusters(record), record[column] - base[record["pair"]][column], 1.0)
                for record in both
                if in_headline(record, column) and column in record and column in base[record["pair"]]
            ]
            row["pairs"] = max(len(found), row.get("pairs", 0))
            row[column] = float(np.mean([value for _, _, value, _ in found])) if found else None
            row["ci"][column] = interval(found)
        rows.append(row)
    return rows


def detection(hops: dict[str, list[np.ndarray]]) -> dict[str, dict]:
    """Accuracy of the speech detection of each system, from arrays [hops, 4] of all its pairs: truth,
    speech probability, estimated and true SNR in dB; NaN if unknown."""
    found = {}
    for system, parts in hops.items():
        table = np.concatenate(parts)
        has_speech = table[:, 0] > 0.5
        result = {"hops": len(table)}
        for name, column in (("speech_probability", 1), ("snr_db", 2)):
            known = np.isfinite(table[:, column])
            curve = roc(has_speech[known], table[known, column])
            if curve:
                keep = np.unique(np.linspace(0, len(curve["fpr"]) - 1, CURVE_POINTS).astype(int))
                curve |= {axis: curve[axis][keep].tolist() for axis in ("fpr", "tpr")}
            result[name] = curve
        both = has_speech & np.isfinite(table[:, 2]) & np.isfinite(table[:, 3])
        error = np.abs(np.clip(table[both, 2], *SNR_RANGE_DB) - table[both, 3])
        result["snr_error_db"] = float(error.mean()) if len(error) else None
        found[system] = result
    return found


def _cell(column: str, value: float | None, sign: str = "") -> str:
    _, digits, factor = COLUMNS[column]
    return "-" if value is None else f"{round(factor * value, digits) + 0.0:{sign}.{digits}f}"


def _markdown(titles: list[str], lines: list[list[str]], lead: int = 1) -> str:
    rule = "|---" * lead + "|---:" * (len(titles) - lead) + "|"
    head = ["| " + " | ".join(titles) + " |", rule]
    return "\n".join([*head, *("| " + " | ".join(cells) + " |" for cells in lines)]) + "\n"


def table(rows: list[dict]) -> str:
    """Markdown table of rows of `headline` or `groups`, without the columns that no row has."""
    lead = [name for name in ("value", "system") if name in rows[0]]
    counts = [name for name in ("pairs", "failures") if name in rows[0]]
    shown = [column for column in COLUMNS if any(row[column] is not None for row in rows)]
    lines = [
        [
            *(f"{row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in lead),
            *(_cell(column, row[column]) for column in shown),
            *(str(row[name]) for name in counts),
        ]
        for row in rows
    ]
    titles = ["" if name == "value" else name for name in lead]
    return _markdown([*titles, *(COLUMNS[column][0] for column in shown), *counts], lines, len(lead))


def interval_table(rows: list[dict]) -> str:
    """Markdown table of the 95 % intervals of the rows of `headline`."""
    shown = [column for column in COLUMNS if any(row["ci"][column] for row in rows)]
    lines = [[row["system"], *(_range(column, row["ci"][column]) for column in shown)] for row in rows]
    return _markdown(["system", *(COLUMNS[column][0] for column in shown)], lines)


def _range(column: str, limits: list[float] | None, sign: str = "") -> str:
    return "-" if limits is None else " to ".join(_cell(column, limit, sign) for limit in limits)


def difference_table(rows: list[dict]) -> str:
    """Markdown table of the rows of `differences`, each with its 95 % interval."""
    lines = []
    for row in rows:
        cells = [f"{row['system']} minus {row['against']}"]
        for column in DIFFERENCES:
            cells.append(f"{_cell(column, row[column], '+')} ({_range(column, row['ci'][column], '+')})")
        lines.append([*cells, str(row["pairs"])])
    return _markdown(["systems", *(COLUMNS[column][0] for column in DIFFERENCES), "pairs"], lines)


def detection_table(vad: dict[str, dict]) -> str:
    """Markdown table of `detection`."""
    lines = []
    for system, result in vad.items():
        cells = [system]
        for name in ("speech_probability", "snr_db"):
            curve = result[name] or {}
            cells += [f"{curve[key]:.3f}" if curve else "-" for key in ("auc", "tpr_at_5", "eer")]
        error = result["snr_error_db"]
        lines.append([*cells, "-" if error is None else f"{error:.2f}", str(result["hops"])])
    of = ["AUC", "true positives at 5 % false", "equal error rate"]
    titles = ["system", *of, *(f"{title}, by SNR" for title in of), "SNR error (dB)", "hops"]
    return _markdown(titles, lines)


def plots(prefix: Path, group_rows: list[dict], vad: dict[str, dict]) -> list[Path]:
    """Writes PREFIX-snr.png and, with telemetry, PREFIX-roc.png; returns the paths."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        print(f"no plots: {error}", file=sys.stderr)
        return []
    written = []
    by_snr = [row for row in group_rows if row["group"] == "snr_db"]
    if by_snr:
        figure = Figure(figsize=(13, 7), layout="constrained")
        for axes, column in zip(figure.subplots(2, 3).flat, DIFFERENCES):
            for system in dict.fromkeys(row["system"] for row in by_snr):
                points = [(row["value"], row[column]) for row in by_snr if row["system"] == system]
                points = [point for point in points if point[1] is not None]
                if points:
                    axes.plot(*zip(*points), marker="o", label=system)
            axes.set(xlabel="SNR of the input (dB)", title=COLUMNS[column][0])
            axes.grid(alpha=0.3)
        figure.axes[0].legend()
        written.append(Path(f"{prefix}-snr.png"))
        figure.savefig(written[-1], dpi=120)
    curves = [
        (f"{system}, {label}", result[name])
        for system, result in vad.items()
        for name, label in (("speech_probability", "probability"), ("snr_db", "SNR"))
        if result[name]
    ]
    if curves:
        figure = Figure(figsize=(6, 6), layout="constrained")
        axes = figure.subplots()
        for label, curve in curves:
            axes.plot(curve["fpr"], curve["tpr"], label=f"{label}: {curve['auc']:.3f}")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title="Speech detection")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
        written.append(Path(f"{prefix}-roc.png"))
        figure.savefig(written[-1], dpi=120)
    return written
