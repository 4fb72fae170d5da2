"""Decoding into a store: contents, skipped files, levels and bandwidths."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from quietwire_train import index, store
from quietwire_train.audio import RATE_HZ, active_level_db, measure_bandwidth_hz, resample
from quietwire_train.cli import main
from quietwire_train.index import guess_talker
from quietwire_train.store import Store, prepare


def tone(seconds: float, rate_hz: int = RATE_HZ, frequency_hz: float = 440.0) -> np.ndarray:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def write(path: Path, signal: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate_hz, subtype="FLOAT")


def test_folders_are_decoded_to_48_khz_mono(tmp_path: Path) -> None:
    write(tmp_path / "in/speech/ann/a.wav", tone(1.0, 16000), 16000)
    write(tmp_path / "in/speech/ben/b.wav", np.stack([tone(0.5), tone(0.5)], axis=1))
    write(tmp_path / "in/noise/fan/c.wav", tone(0.5, 44100), 44100)
    summary = prepare(tmp_path / "in", tmp_path / "out")
    store = Store(tmp_path / "out")
    assert summary.clips == 3 and summary.skipped == []
    assert {clip.talker for clip in store.clips("speech")} == {"ann", "ben"}
    first = next(clip for clip in store.clips("speech") if clip.talker == "ann")
    assert abs(first.length - RATE_HZ) <= 1
    read = store.read(first.index, 4800, 9600)
    assert read.dtype == np.float32 and len(read) == 9600
    np.testing.assert_allclose(read, tone(1.0)[4800:14400], atol=2e-3)


def test_missing_corrupt_and_silent_files_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write(root / "speech/good.wav", tone(0.5))
    write(root / "speech/silent.wav", np.zeros(4800, np.float32))
    (root / "speech/corrupt.wav").write_bytes(b"RIFF is not enough")
    names = ["speech/good.wav", "speech/silent.wav", "speech/corrupt.wav", "speech/absent.wav"]
    header = "path kind source split source_rate_hz eff_bandwidth_hz snr_est_db license"
    rows = ["\t".join([name, "speech", "src", "train", "48000", "9000", "40", "CC0"]) for name in names]
    (root / "index.tsv").write_text("\n".join([header.replace(" ", "\t"), *rows]) + "\n")
    summary = prepare(root, tmp_path / "out")
    assert summary.clips == 1
    reasons = dict(summary.skipped)
    assert set(reasons) == set(names[1:])
    assert reasons["speech/absent.wav"] == "missing"
    assert "decoded" in reasons["speech/corrupt.wav"]
    clip = Store(tmp_path / "out").clips()[0]
    assert (clip.bandwidth_hz, clip.license, clip.snr_est_db) == (9000.0, "CC0", 40.0)


def test_a_talker_is_in_one_split(tmp_path: Path) -> None:
    for talker in range(30):
        for take in range(2):
            write(tmp_path / f"in/speech/t{talker}/{take}.wav", tone(0.05))
    prepare(tmp_path / "in", tmp_path / "out")
    store = Store(tmp_path / "out")
    train = {clip.talker for clip in store.clips(split="train")}
    dev = {clip.talker for clip in store.clips(split="dev")}
    assert train and dev and not train & dev


def test_a_store_survives_pickling_without_its_audio(tmp_path: Path) -> None:
    write(tmp_path / "in/speech/a/a.wav", tone(2.0))
    prepare(tmp_path / "in", tmp_path / "out")
    store = Store(tmp_path / "out")
    packed = pickle.dumps(store)
    assert len(packed) < 10000
    np.testing.assert_array_equal(pickle.loads(packed).read(0), store.read(0))


def test_active_level_ignores_pauses() -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE_HZ).astype(np.float32) * 0.1
    padded = np.concatenate([noise, np.zeros(6 * RATE_HZ, np.float32)])
    assert active_level_db(noise) == pytest.approx(-20.0, abs=0.1)
    # 200 ms of hang-over belong to the active time.
    assert active_level_db(padded) == pytest.approx(-20.0, abs=0.6)
    assert active_level_db(np.zeros(RATE_HZ, np.float32)) == -np.inf


def test_bandwidth_of_resampled_noise_is_found() -> None:
    noise = np.random.default_rng(0).standard_normal(3 * 16000) * 0.1
    assert measure_bandwidth_hz(resample(noise, 16000), 16000) == pytest.approx(8000, abs=500)
    full = np.random.default_rng(0).standard_normal(3 * RATE_HZ) * 0.1
    assert measure_bandwidth_hz(full, RATE_HZ) >= 23000


def test_resampling_rejects_images() -> None:
    spectrum = (
        np.abs(np.fft.rfft(resample(tone(1.0, 16000, 7000.0), 16000)[4800:-4800] * np.hanning(38400))) ** 2
    )
    image = spectrum[round(8500 / RATE_HZ * 38400) :].max()
    assert 10 * np.log10(image / spectrum.max()) < -80


def test_talkers_are_read_from_known_file_names() -> None:
    assert guess_talker("librispeech", "speech/x/103-1240-0000.opus") == "librispeech:103"
    assert guess_talker("asterisk", "x/ru-ru_RU_f_A__vm-which.opus") == "asterisk:ru-ru_RU_f_A"
    assert guess_talker("other", "x/y.opus") == "other"


def test_an_index_may_name_talkers_and_leave_measures_empty(tmp_path: Path) -> None:
    write(tmp_path / "in/speech/a.wav", np.random.default_rng(0).standard_normal(RATE_HZ) * 0.1)
    header = "path kind source talker split source_rate_hz eff_bandwidth_hz snr_est_db license"
    row = ["speech/a.wav", "speech", "src", "src:ann", "dev", "", "", "", ""]
    text = "\n".join(["\t".join(header.split()), "\t".join(row)]) + "\n"
    (tmp_path / "in/index.tsv").write_text(text)
    prepare(tmp_path / "in", tmp_path / "out")
    clip = Store(tmp_path / "out").clips()[0]
    assert (clip.talker, clip.split, clip.license, clip.snr_est_db) == ("src:ann", "dev", "unknown", None)
    assert clip.bandwidth_hz >= 23000


COLUMNS = ["path", "kind", "source", "split"]


def write_index(root: Path, rows: list[list[str]], columns: list[str] = COLUMNS) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "index.tsv").write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]))


def test_unknown_kinds_and_splits_are_skipped_with_a_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "in"
    rows = []
    for name, kind, split in [
        ("a", "speech", "train"),
        ("b", "speech", "trian"),
        ("c", "noise", "trian"),
        ("d", "Speech", "train"),
        ("e", "noise", ""),
        ("f", "noise", "dev2"),
    ]:
        write(root / f"{name}.wav", tone(0.1))
        rows.append([f"{name}.wav", kind, "src", split])
    write_index(root, [*rows, rows[0]])
    assert main(["prepare", str(root), str(tmp_path / "out")]) == 5
    output = capsys.readouterr().out
    assert "skipped 2 rows: unknown split 'trian', expected train, val, dev, dev2" in output
    assert "skipped 1 rows: unknown kind 'Speech'" in output and "unknown split ''" in output
    assert "a.wav: listed twice" in output
    assert "train: 1 speech, 0 noise" in output and "dev2: 0 speech, 1 noise" in output


@pytest.mark.parametrize(
    ("columns", "row", "reason"),
    [
        (COLUMNS[:3], ["a", "speech", "s"], "no column split"),
        ([*COLUMNS, "snr_est_db"], ["a", "speech", "s", "train", "loud"], "line 2: snr_est_db is 'loud'"),
        (COLUMNS, ["", "speech", "s", "train"], "line 2: no value in column path"),
    ],
)
def test_an_index_with_errors_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], columns: list[str], row: list[str], reason: str
) -> None:
    write_index(tmp_path / "in", [row], columns)
    assert main(["prepare", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_recordings_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert "no folder" in capsys.readouterr().err
    (tmp_path / "in").mkdir()
    assert main(["prepare", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    assert "no recording" in capsys.readouterr().err


def test_a_truncated_opus_file_is_skipped(tmp_path: Path) -> None:
    pytest.importorskip("av")
    root = tmp_path / "in"
    write(root / "speech/good.wav", tone(0.5))
    complete = root / "speech/complete.opus"
    noise = np.random.default_rng(0).standard_normal(4 * RATE_HZ) * 0.1
    soundfile.write(complete, noise, RATE_HZ, format="OGG", subtype="OPUS")
    raw = complete.read_bytes()
    for size in (60, 200, 3000):
        (root / f"speech/cut{size}.opus").write_bytes(raw[:size])
    summary = prepare(root, tmp_path / "out")
    assert summary.clips + len(summary.skipped) == 5 and summary.clips >= 2
    assert len(summary.skipped) >= 1
    assert all("decoded" in reason or "empty" in reason for _, reason in summary.skipped)


def test_an_error_of_a_decoder_skips_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.wav", tone(0.5))

    def fail(path: Path) -> None:
        raise LookupError("unknown codec")

    monkeypatch.setattr(store, "read_mono", fail)
    entry = index.Entry("a.wav", "speech", "s", "t", "train", None, "CC0", None)
    assert store._decode((str(tmp_path), entry)) == "cannot be decoded: unknown codec"


def test_an_interrupted_prepare_keeps_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in/speech/a/a.wav", tone(0.5))
    prepare(tmp_path / "in", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    write(tmp_path / "in/speech/b/b.wav", tone(1.0))

    def interrupt(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.json, "dumps", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "in", tmp_path / "out")
    monkeypatch.undo()
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name in before}
    assert kept == before and len(Store(tmp_path / "out").all_clips) == 1


def test_a_store_of_another_length_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "in/speech/a/a.wav", tone(0.5))
    prepare(tmp_path / "in", tmp_path / "out")
    audio = tmp_path / "out/audio.i16"
    raw = audio.read_bytes()
    for wrong in (raw + b"\0\0", raw[:-2], raw + b"\0", b""):
        audio.write_bytes(wrong)
        with pytest.raises(ValueError, match="prepare the store again"):
            Store(tmp_path / "out")
    audio.write_bytes(raw)
    assert len(Store(tmp_path / "out").all_clips) == 1


def entries(split: str, talkers: int) -> list[index.Entry]:
    return [
        index.Entry(f"{talker}-{take}.wav", "speech", "s", f"t{talker}", split, None, "CC0", None)
        for talker in range(talkers)
        for take in range(3)
    ]


def test_a_share_of_the_training_talkers_validates() -> None:
    found = index.assign_validation([*entries("train", 400), *entries("dev2", 20)], 0.05)
    moved = {entry.talker for entry in found if entry.split == "val"}
    assert 8 <= len(moved) <= 36
    assert not moved & {entry.talker for entry in found if entry.split == "train"}
    assert sum(entry.split == "dev2" for entry in found) == 60
    assert index.assign_validation(found, 0.05) == found
    assert index.assign_validation(entries("train", 400), 0.0) == entries("train", 400)
    # Not so many that little is left to train on.
    assert index.assign_validation(entries("train", 4), 0.9) == entries("train", 4)


def test_an_index_before_0_2_is_read(tmp_path: Path) -> None:
    write(tmp_path / "in/a.wav", tone(0.5))
    write_index(tmp_path / "in", [["a.wav", "speech", "s", "train", "CC0"]], [*COLUMNS, "licence"])
    prepare(tmp_path / "in", tmp_path / "out")
    listing = (tmp_path / "out/clips.json").read_text()
    (tmp_path / "out/clips.json").write_text(listing.replace('"license"', '"licence"'))
    assert Store(tmp_path / "out").all_clips[0].license == "CC0"
