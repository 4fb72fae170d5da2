"""Scores: ordering of systems, kinds of folders, telemetry, and listed failures."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("pesq")
pytest.importorskip("pystoi")
pytest.importorskip("onnxruntime")
pytest.importorskip("speechmos")

from quietwire_train import cli, devset, report
from quietwire_train.audio import RATE_HZ, active_level_db, power_db
from quietwire_train.score import load_pairs, score, select
from quietwire_train.store import Store, prepare
from quietwire_train.systems import System, parse_system, with_commands

COPY = f"{sys.executable} -c 'import shutil,sys; shutil.copy(*sys.argv[1:3])' {{in}} {{out}}"
# Stands for the program: copies the file and writes telemetry for every hop.
PROGRAM = f"""#!{sys.executable}
import json, shutil, sys
import numpy as np, soundfile
words = sys.argv[1:]
assert words[:3] == ["clean", "-q", "--force"] and "--model" in words, words
source, out = words[-1], words[words.index("-o") + 1]
shutil.copy(source, out)
signal, rate = soundfile.read(source)
with open(words[words.index("--telemetry") + 1], "w") as lines:
    for k in range(len(signal) // 480 + 3):
        window = signal[max(k - 1, 0) * 480 : (k + 1) * 480]
        power = float(np.mean(window ** 2)) if k * 480 < len(signal) else 0
        row = {{"time_s": (k + 1) / 100, "speech_probability": power, "snr_db": None, "gain_db": 0.0}}
        lines.write(json.dumps(row) + "\\n")
"""


def syllables(seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = 120 + 20 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    voice = sum(np.sin(k * phase + k * k) / k for k in range(1, 45))
    return (0.1 * voice * np.maximum(np.sin(2 * np.pi * 2 * time_s), 0.0)).astype(np.float32)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of the sets snr (two), whisper, clean, noise and words, and results for one of them."""
    base = tmp_path_factory.mktemp("pairs")
    clean = syllables(3.0)
    noise = np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)
    made = {
        "one": ("snr", clean, 0.01, {"talker": "t", "snr_db": 10.0}),
        "two": ("snr", clean, 0.03, {"talker": "u", "snr_db": 0.0, "noise_class": "hiss"}),
        "low": ("whisper", 0.1 * clean, 0.001, {"talker": "t", "twin": "one"}),
        "bare": ("clean", clean, 0.0, {"talker": "t", "bandwidth_hz": 20000.0}),
        "small": ("low_cut", clean, 0.001, {"talker": "t", "bandwidth_hz": 20000.0}),
        "hush": ("noise", np.zeros_like(clean), 0.01, {"talker": None}),
        "spoken": ("digits", clean, 0.01, {"talker": "t", "text": "yes no"}),
    }
    for folder in ("clean", "noisy", "partial"):
        (base / folder).mkdir()
    listing = []
    for name, (kind, speech, level, more) in made.items():
        soundfile.write(base / f"clean/{name}.wav", speech, RATE_HZ)
        soundfile.write(base / f"noisy/{name}.wav", speech + level * noise, RATE_HZ)
        listing.append({"name": name, "set": kind, **more})
    soundfile.write(base / "partial/one.wav", clean, RATE_HZ)
    (base / "pairs.json").write_text(json.dumps(listing))
    return base


@pytest.fixture()
def program(tmp_path: Path) -> Path:
    path = tmp_path / "quietwire"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return path


def headline(records: list[dict], *systems: str) -> list[dict]:
    return report.headline(records, list(systems))


def test_the_clean_signal_scores_best(pairs: Path) -> None:
    systems = [System("noisy"), parse_system(f"best=dir:{pairs}/clean"), parse_system(f"cp={COPY}")]
    records, hops = score(pairs, systems, jobs=1, sets=["snr", "whisper", "clean", "low_cut"])
    noisy, best, copied = headline(records, "noisy", "best", "cp")
    assert len(records) == 15 and not hops
    assert all("failure" not in record for record in records)
    assert best["pesq"] > 4.5 and best["pesq"] > noisy["pesq"]
    assert all(best[key] > noisy[key] for key in ("stoi", "estoi", "si_sdr_db"))
    assert best["worse"] == noisy["worse"] == best["worse_two"] == 0.0
    assert copied["pesq"] == pytest.approx(noisy["pesq"])
    assert copied["clean_pesq"] > 4.5 and copied["highs_db"] == pytest.approx(0.0, abs=1e-6)
    assert copied["level_error_db"] == pytest.approx(0.0, abs=1e-3)
    assert copied["seconds"] > 0.0 and noisy["seconds"] is None
    assert noisy["twin_pesq_abs"] < 0.2
    assert all(1.0 <= row[key] <= 5.0 for row in (noisy, best) for key in ("sig", "bak", "ovrl"))
    assert report.table([noisy, best, copied]).count("\n") == 5
    # A set of its own: what is lost there does not show in the column of clean speech.
    assert best["low_cut_pesq"] > 4.5 > noisy["low_cut_pesq"] and noisy["clean_pesq"] > 4.5
    bare = next(record for record in records if record["set"] == "clean")
    assert not {"pesq", "stoi", "sig", "worse"} & bare.keys()


def test_failures_are_counted_by_name(pairs: Path) -> None:
    broken = (
        "import sys; print('Error: no such model', 'try --help', sep=chr(10), file=sys.stderr); sys.exit(3)"
    )
    broken = f"{sys.executable} -c {shlex.quote(broken)} {{in}} {{out}}"
    mute = f"{sys.executable} -c 'pass' {{in}} {{out}}"
    nan = (
        "import numpy, soundfile, sys; soundfile.write(sys.argv[2], numpy.full(9, numpy.nan), 48000, 'FLOAT')"
    )
    nan = f"{sys.executable} -c {shlex.quote(nan)} {{in}} {{out}}"
    systems = [parse_system(f"{n}={c}") for n, c in (("bad", broken), ("mute", mute), ("nan", nan))]
    systems.append(parse_system(f"half=dir:{pairs}/partial"))
    records, _ = score(pairs, systems, jobs=1, sets=["snr"])
    rows = headline(records, "half", "bad", "mute", "nan")
    assert [(row["pairs"], row["failures"]) for row in rows] == [(1, 1), (0, 2), (0, 2), (0, 2)]
    failed = {(r["system"], r["pair"]): r["failure"] for r in records if "failure" in r}
    assert "exit status 3: Error: no such model" in failed["bad", "one"]
    assert "not finite" in failed["nan", "two"]
    assert ("half", "one") not in failed and ("mute", "two") in failed


def test_a_pair_that_is_missing_or_broken_is_named(tmp_path: Path, pairs: Path) -> None:
    for folder in ("noisy", "clean"):
        (tmp_path / folder).mkdir()
    (tmp_path / "clean/torn.wav").write_bytes(b"RIFF")
    (tmp_path / "noisy/torn.wav").write_bytes((pairs / "noisy/one.wav").read_bytes())
    (tmp_path / "pairs.json").write_text(json.dumps([{"name": "torn"}, {"name": "gone"}]))
    records, _ = score(tmp_path, [System("noisy")], jobs=1)
    assert [record["pair"] for record in records] == ["torn", "gone"]
    assert all("the pair itself" in record["failure"] for record in records)


def test_one_in_n_pairs_of_each_set_and_their_twins() -> None:
    listing = [{"name": f"s{k}", "set": "snr", "snr_db": k % 3} for k in range(30)]
    listing += [{"name": f"w{k}", "set": "whisper", "twin": f"s{k}"} for k in range(4)]
    assert select(listing, None) == listing
    third = select(listing, ["snr"], 3)
    assert len(third) == 10 and {pair["snr_db"] for pair in third} == {0, 1, 2}
    assert select(listing, ["snr"], 3) == third == select(listing[::-1], ["snr"], 3)[::-1]
    one, other = select(listing, ["whisper"], 4)
    assert one["name"] == other["twin"]
    with pytest.raises(ValueError, match="there are snr, whisper"):
        select(listing, ["music"])


def test_folders_without_a_list_of_pairs(tmp_path: Path, pairs: Path) -> None:
    for place in ("set/noisy/a.wav", "set/clean/a.wav", "set/noisy/lone.wav", "bare/b.wav"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / place, soundfile.read(pairs / "noisy/one.wav")[0], RATE_HZ)
    assert load_pairs(tmp_path / "set") == [{"name": "a", "set": "snr"}]
    records, _ = score(tmp_path / "bare", [System("noisy"), parse_system(f"cp={COPY}")], jobs=1)
    row = headline(records, "noisy", "cp")[1]
    assert (row["pairs"], row["pesq"]) == (1, None) and -40 < row["output_db"] < 0 and row["ovrl"] > 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pairs"):
        load_pairs(tmp_path / "empty")


def test_a_model_runs_in_the_program_with_telemetry(pairs: Path, program: Path) -> None:
    systems = with_commands([System("noisy"), parse_system("ours=model:some model")], str(program))
    records, hops = score(pairs, systems, jobs=1, sets=["snr", "noise"])
    assert not [record["failure"] for record in records if "failure" in record]
    assert [len(own) for own in hops["ours"]] == [300, 300, 300]  # none past the end of the clip
    found = report.detection(hops)["ours"]
    assert found["speech_probability"]["auc"] > 0.95 and found["snr_db"] is None
    assert headline(records, "ours")[0]["attenuation_db"] == pytest.approx(0.0, abs=1e-6)


def test_without_the_recognizer_there_are_no_word_errors(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "quietwire_train.wer", None)
    records, _ = score(pairs, [System("noisy"), parse_system(f"cp={COPY}")], jobs=1, sets=["digits"])
    assert all("failure" not in record and "words" not in record for record in records)
    assert capsys.readouterr().err.count("no word error rates") == 1


def test_word_errors_come_from_the_recognizer(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wer = type(sys)("wer")
    wer.recognize = lambda signal, vocabulary: vocabulary[0]
    wer.word_errors = lambda text, recognized: (int(recognized != "no") + 1, len(text.split()))
    monkeypatch.setitem(sys.modules, "quietwire_train.wer", wer)
    records, _ = score(pairs, [System("noisy")], jobs=1, sets=["digits"])
    assert headline(records, "noisy")[0]["wer"] == 0.5


def test_the_command_writes_its_reports(
    pairs: Path, program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new/v1.2"
    usual = [
        str(pairs),
        "noisy",
        "ours=model:base",
        "--quietwire",
        str(program),
        "--sets",
        "snr",
        "--jobs",
        "1",
    ]
    assert cli.main(["score", *usual, "--against", "noisy", "--out", str(out)]) == 0
    assert "ours minus noisy" in capsys.readouterr().out
    found = json.loads(Path(f"{out}.json").read_text())
    assert set(found) == {"systems", "pairs", "groups", "differences", "vad"}
    assert found["differences"][0]["ci"]["pesq"] == [0.0, 0.0]
    assert "## By SNR" in Path(f"{out}.md").read_text()


def test_wrong_usage_has_a_helpful_message(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["score", str(pairs), "noisy", "--sets", "snr,zoo"])
    assert "babble" in capsys.readouterr().err
    assert cli.main(["score", str(pairs), "noisy", "--against", "gone"]) == 2
    assert "the systems are noisy" in capsys.readouterr().err
    assert cli.main(["score", str(pairs), "a=model:base", "--quietwire", "/no/program"]) == 2
    assert "cargo build --release -p quietwire-cli" in capsys.readouterr().err
    assert cli.main(["score", str(pairs / "nowhere"), "noisy"]) == 2


def test_a_command_needs_in_and_out() -> None:
    with pytest.raises(ValueError, match="needs"):
        parse_system("tool=denoise in.wav out.wav")
    with pytest.raises(ValueError, match="none of"):
        parse_system("denoise")


def test_dev_pairs_have_their_level_and_snr(tmp_path: Path) -> None:
    rows = [
        ["path", "kind", "source", "split", "source_rate_hz", "eff_bandwidth_hz", "snr_est_db", "license"]
    ]
    rng = np.random.default_rng(3)
    soundfile.write(tmp_path / "s.wav", syllables(2.0), RATE_HZ)
    soundfile.write(tmp_path / "n.wav", 0.1 * rng.standard_normal(2 * RATE_HZ), RATE_HZ)
    rows.append(["s.wav", "speech", "a", "dev", "16000", "8000", "50", "CC0"])
    rows.append(["n.wav", "noise", "b", "dev", "48000", "24000", "", "CC0"])
    (tmp_path / "index.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    prepare(tmp_path, tmp_path / "store")
    devset.make_devset(Store(tmp_path / "store"), tmp_path / "dev", 2.0, talkers=1, sets=("snr",))
    pairs = json.loads((tmp_path / "dev/pairs.json").read_text())
    assert {pair["set"] for pair in pairs} == {"snr"}
    assert not any(pair["talker_in_training"] for pair in pairs)
    for pair in pairs:
        clean, _ = soundfile.read(tmp_path / f"dev/clean/{pair['name']}.wav")
        noisy, _ = soundfile.read(tmp_path / f"dev/noisy/{pair['name']}.wav")
        level_db = active_level_db(clean.astype(np.float32))
        assert level_db == pytest.approx(pair["level_db"], abs=0.1)
        assert level_db - power_db(noisy - clean) == pytest.approx(pair["snr_db"], abs=0.2)
        high = np.abs(np.fft.rfft((noisy - clean) * np.hanning(len(clean))))[2 * 8200 :]
        assert high.max() < 1.0  # 16-bit rounding only


def test_scores_of_an_earlier_report_are_reused(tmp_path: Path, pairs: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    chosen = ["--jobs", "1", "--every", "2"]
    same = f"same=dir:{pairs / 'noisy'}"
    assert cli.main(["score", str(pairs), "noisy", same, *chosen, "--out", str(first)]) == 0
    again = f"same=scores:{first}.json"
    assert cli.main(["score", str(pairs), "noisy", again, *chosen, "--out", str(second)]) == 0
    rows = [json.loads(Path(f"{path}.json").read_text())["systems"] for path in (first, second)]
    assert json.dumps(rows[0][1]) == json.dumps(rows[1][1])  # as text: a NaN equals no other

    # Another pair under the same name is not the same pair.
    board_file = Path(f"{first}.json")
    old = json.loads(board_file.read_text())
    old["pairs"] = [record | {"snr_db": 77.0} for record in old["pairs"]]
    board_file.write_text(json.dumps(old))
    assert cli.main(["score", str(pairs), again, *chosen]) == 1
    with pytest.raises(SystemExit):
        cli.main(["score", str(pairs), f"other=scores:{first}.json", *chosen])


def test_an_interrupt_keeps_the_finished_pairs(pairs: Path, tmp_path: Path) -> None:
    """SIGINT to the whole group, as a terminal sends it, while the second pairs run."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import pathlib, shutil, sys, time\n"
        f"pathlib.Path({str(tmp_path)!r}, f'{{time.monotonic_ns()}}.began').touch()\n"
        "time.sleep(1.0)\n"
        "shutil.copy(*sys.argv[1:3])\n"
    )
    command = [sys.executable, "-m", "quietwire_train.cli", "score", str(pairs), "--jobs", "2"]
    command += [f"slow={sys.executable} {slow} {{in}} {{out}}", "--out", str(tmp_path / "s")]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*.began"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    text, _ = running.communicate(timeout=120)
    assert running.returncode == 130, text
    assert "ending after the pairs in work" in text and "interrupted: the tables have" in text
    records = json.loads((tmp_path / "s.json").read_text())["pairs"]
    assert 2 <= len(records) < 7
    assert not [record for record in records if "failure" in record]
