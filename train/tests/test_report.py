"""Means, intervals and differences of made-up records."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pesq")
pytest.importorskip("pystoi")
pytest.importorskip("onnxruntime")

from quietwire_train import report


def records() -> list[dict]:
    """Two systems on twelve pairs of four talkers: `b` has 0.5 more PESQ than `a`."""
    made = []
    for k in range(12):
        for system, lift in (("a", 0.0), ("b", 0.5)):
            record = {"pair": f"p{k}", "system": system, "set": "snr", "talker": f"t{k % 4}"}
            record |= {
                "snr_db": (0.0, 5.0, 10.0)[k % 3],
                "noise_class": "fan",
                "talker_in_training": k % 4 > 0,
            }
            made.append(record | {"pesq": 2.0 + 0.1 * (k % 4) + lift, "stoi": 0.8, "worse": k == 0})
    return made


def test_headline_means_and_their_intervals() -> None:
    rows = report.headline(records(), ["a", "b"])
    assert [row["system"] for row in rows] == ["a", "b"]
    assert rows[0]["pesq"] == pytest.approx(2.15) and rows[1]["pesq"] == pytest.approx(2.65)
    low, high = rows[0]["ci"]["pesq"]
    assert 2.0 <= low < 2.15 < high <= 2.3
    assert rows[0]["worse"] == pytest.approx(1 / 12)
    assert rows[0]["wer"] is None and rows[0]["ci"]["wer"] is None
    assert report.headline(records(), ["a", "b"]) == rows


def test_a_bootstrap_draws_talkers_and_not_pairs() -> None:
    pairs = [("one", None, 0.0, 1.0)] * 50 + [("two", None, 1.0, 1.0)] * 50
    assert report.interval(pairs) == [0.0, 1.0]
    assert report.interval(pairs[:50]) is None
    assert report.interval(pairs) == report.interval(pairs[::-1])


def test_a_bootstrap_draws_noises_too() -> None:
    rng = np.random.default_rng(3)
    talkers, noises = rng.normal(0, 0.01, 12), rng.normal(0, 1, 12)
    values = [
        (f"t{t}", f"n{n}", talkers[t] + noises[n] + rng.normal(0, 0.01), 1.0)
        for t in range(12)
        for n in range(12)
    ]
    low, high = report.interval(values)
    narrow = report.interval([(talker, None, *rest) for talker, _, *rest in values])
    mean = np.mean([value[2] for value in values])
    assert low < mean < high and low < narrow[0] < narrow[1] < high
    # The spread of 12 noises, not of 144 pairs.
    assert high - low == pytest.approx(2 * 1.96 * np.std(noises) / np.sqrt(12), rel=0.25)
    assert high - low > 5 * (narrow[1] - narrow[0])
    assert report.interval(values) == report.interval(values[::-1])
    assert report.interval([("one", "a", 1.0, 1.0), ("one", "b", 2.0, 1.0)]) is None


def test_sets_of_their_own_stay_out_of_the_headline() -> None:
    made = records()
    made.append({"pair": "w", "system": "a", "set": "whisper", "talker": "t0", "twin": "p0", "pesq": 1.0})
    made.append({"pair": "c", "system": "a", "set": "clean", "talker": "t1", "clean_pesq": 4.2})
    made.append({"pair": "n", "system": "a", "set": "noise", "talker": None, "attenuation_db": 30.0})
    made.append({"pair": "x", "system": "a", "set": "snr", "failure": "gone"})
    made.append({"pair": "s", "system": "a", "set": "digits", "word_errors": 1, "words": 4, "pesq": 1.0})
    made.append({"pair": "t", "system": "a", "set": "digits", "word_errors": 3, "words": 4, "pesq": 1.0})
    report.add_twins(made)
    row = report.headline(made, ["a"])[0]
    assert row["pesq"] == pytest.approx(2.15)
    assert (row["clean_pesq"], row["attenuation_db"], row["wer"]) == (4.2, 30.0, 0.5)
    assert row["twin_pesq"] == pytest.approx(-1.0) and row["twin_pesq_abs"] == pytest.approx(1.0)
    assert (row["pairs"], row["failures"]) == (17, 1)
    sets = [(r["value"], r["pairs"]) for r in report.groups(made, ["a"]) if r["group"] == "set"]
    assert sets == [("snr", 12), ("whisper", 1), ("clean", 1), ("noise", 1), ("digits", 2)]


def test_groups_by_snr_noise_and_new_talkers() -> None:
    rows = report.groups(records(), ["a", "b"])
    by_snr = [row["value"] for row in rows if row["group"] == "snr_db" and row["system"] == "a"]
    assert by_snr == [0.0, 5.0, 10.0]
    new = [row for row in rows if row["group"] == "talkers"]
    assert [(row["system"], row["pairs"]) for row in new] == [("a", 3), ("b", 3)]
    assert new[0]["pesq"] == pytest.approx(2.0)
    assert report.table([row for row in rows if row["group"] == "noise_class"]).count("fan") == 2


def test_differences_are_paired() -> None:
    made = records()
    made += [{**record, "system": "same"} for record in made if record["system"] == "a"]
    made = [record for record in made if (record["system"], record["pair"]) != ("b", "p3")]
    same, b = sorted(
        report.differences(made, ["a", "b", "same"], "a"), key=lambda row: row["system"] != "same"
    )
    assert same["pesq"] == 0.0 and same["ci"]["pesq"] == [0.0, 0.0]
    assert b["pesq"] == pytest.approx(0.5) and b["ci"]["pesq"] == pytest.approx([0.5, 0.5])
    assert (same["pairs"], b["pairs"], b["ovrl"]) == (12, 11, None)
    assert "+0.50 (+0.50 to +0.50)" in report.difference_table([same, b])


def test_detection_pools_the_hops_of_all_pairs() -> None:
    unknown = np.nan
    speech = np.array([[1, 0.9, 12.0, 10.0], [0, 0.1, -9.0, 3.0], [1, 0.8, 99.0, 35.0]])
    noise = np.array([[0, 0.2, unknown, unknown]])
    found = report.detection({"a": [speech, noise]})["a"]
    assert found["hops"] == 4 and found["speech_probability"]["auc"] == 1.0
    assert found["snr_db"]["auc"] == 1.0
    assert found["snr_error_db"] == pytest.approx(1.0)  # 2 dB, and 99 dB counts as 35 dB
    assert report.detection({"a": [noise]})["a"]["speech_probability"] is None


def test_plots_are_written_or_reported_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert report.plots(tmp_path / "x", [], {}) == []
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    vad = report.detection({"a": [np.array([[1, 0.9, 12.0, 10.0], [0, 0.1, -9.0, 3.0]])]})
    written = report.plots(tmp_path / "v1.2", report.groups(records(), ["a", "b"]), vad)
    assert [path.name for path in written] == ["v1.2-snr.png", "v1.2-roc.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
