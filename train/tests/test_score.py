"""Scores: alignment, ordering of systems, and failures that keep their name."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("pesq")
pytest.importorskip("pystoi")
pytest.importorskip("onnxruntime")
pytest.importorskip("speechmos")

from quietwire_train import devset
from quietwire_train.data import RATE_HZ, Store, active_level_db, power_db, prepare
from quietwire_train.score import (
    System,
    align,
    parse_system,
    score,
    si_sdr_db,
    table,
)


def syllables(seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = 120 + 20 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    voice = sum(np.sin(k * phase + k * k) / k for k in range(1, 45))
    return (0.1 * voice * np.maximum(np.sin(2 * np.pi * 2 * time_s), 0.0)).astype(np.float32)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pairs")
    clean = syllables(3.0)
    noise = np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)
    for folder in ("clean", "noisy", "partial"):
        (base / folder).mkdir()
    for name, gain in (("one", 0.01), ("two", 0.03)):
        soundfile.write(base / f"clean/{name}.wav", clean, RATE_HZ)
        soundfile.write(base / f"noisy/{name}.wav", clean + gain * noise, RATE_HZ)
    soundfile.write(base / "partial/one.wav", clean, RATE_HZ)
    (base / "pairs.json").write_text(json.dumps([{"name": "one"}, {"name": "two"}]))
    return base


@pytest.mark.parametrize("delay", [-2000, 0, 480, 2880])
def test_alignment_recovers_a_known_delay(delay: int) -> None:
    signal = np.random.default_rng(1).standard_normal(RATE_HZ).astype(np.float32)
    late = np.roll(signal, delay)
    late[: max(delay, 0)] = 0.0
    late[len(late) + min(delay, 0) :] = 0.0
    reference, cut, found = align(signal, late)
    assert found == delay
    np.testing.assert_array_equal(reference, cut)


def test_si_sdr_is_the_known_ratio_and_ignores_gain() -> None:
    rng = np.random.default_rng(2)
    clean, noise = rng.standard_normal((2, 100000))
    assert si_sdr_db(clean, clean + 0.1 * noise) == pytest.approx(20.0, abs=0.2)
    assert si_sdr_db(clean, 3 * (clean + 0.1 * noise)) == pytest.approx(20.0, abs=0.2)
    assert si_sdr_db(clean, clean) == 100.0


def test_the_clean_signal_scores_best(pairs: Path) -> None:
    copy = f"{sys.executable} -c 'import shutil,sys; shutil.copy(*sys.argv[1:])' {{in}} {{out}}"
    systems = [System("noisy"), parse_system(f"best=dir:{pairs}/clean"), parse_system(f"cp={copy}")]
    rows, records = score(pairs, systems, jobs=1)
    noisy, best, copied = rows
    assert len(records) == 6 and all("failure" not in record for record in records)
    assert best["pesq"] > 4.5 and best["pesq"] > noisy["pesq"]
    assert best["stoi"] > noisy["stoi"] and best["si_sdr_db"] > noisy["si_sdr_db"]
    assert best["worse"] == noisy["worse"] == 0.0
    assert copied["pesq"] == pytest.approx(noisy["pesq"])
    assert copied["clean_pesq"] > 4.5
    assert all(1.0 <= row[key] <= 5.0 for row in rows for key in ("sig", "bak", "ovrl"))
    assert table(rows).count("\n") == 5


def test_failures_are_counted_by_name(pairs: Path) -> None:
    broken = f"{sys.executable} -c 'raise SystemExit(3)' {{in}} {{out}}"
    systems = [parse_system(f"half=dir:{pairs}/partial"), parse_system(f"bad={broken}")]
    rows, records = score(pairs, systems, jobs=1)
    assert [(row["pairs"], row["failures"]) for row in rows] == [(1, 1), (0, 2)]
    failed = {(r["system"], r["pair"]): r["failure"] for r in records if "failure" in r}
    assert set(failed) == {("half", "two"), ("bad", "one"), ("bad", "two")}
    assert "exit status 3" in failed["bad", "one"]


def test_a_system_must_say_where_files_go() -> None:
    with pytest.raises(ValueError, match="needs"):
        parse_system("tool=denoise in.wav out.wav")
    with pytest.raises(ValueError, match="neither"):
        parse_system("denoise")


def test_dev_pairs_have_their_level_and_snr(tmp_path: Path) -> None:
    rows = ["path kind source split source_rate_hz eff_bandwidth_hz snr_est_db licence".split()]
    rng = np.random.default_rng(3)
    soundfile.write(tmp_path / "s.wav", syllables(2.0), RATE_HZ)
    soundfile.write(tmp_path / "n.wav", 0.1 * rng.standard_normal(2 * RATE_HZ), RATE_HZ)
    rows.append(["s.wav", "speech", "a", "dev", "16000", "8000", "50", "CC0"])
    rows.append(["n.wav", "noise", "b", "dev", "48000", "24000", "", "CC0"])
    (tmp_path / "index.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    prepare(tmp_path, tmp_path / "store")
    count = devset.make_devset(Store(tmp_path / "store"), tmp_path / "dev", 2.0, talkers=1)
    pairs = json.loads((tmp_path / "dev/pairs.json").read_text())
    assert count == len(pairs) == 3
    assert not any(pair["talker_in_training"] for pair in pairs)
    for pair in pairs:
        clean, _ = soundfile.read(tmp_path / f"dev/clean/{pair['name']}.wav")
        noisy, _ = soundfile.read(tmp_path / f"dev/noisy/{pair['name']}.wav")
        level_db = active_level_db(clean.astype(np.float32))
        assert level_db == pytest.approx(pair["level_db"], abs=0.1)
        assert level_db - power_db(noisy - clean) == pytest.approx(pair["snr_db"], abs=0.2)
        high = np.abs(np.fft.rfft((noisy - clean) * np.hanning(len(clean))))[2 * 8200 :]
        assert high.max() < 1.0  # 16-bit rounding only
