"""The held-out benchmark: splits, levels, variety, and nothing shared with training."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from quietwire_train import heldout
from quietwire_train.audio import RATE_HZ, active_level_db, power_db, resample
from quietwire_train.cli import main
from quietwire_train.heldout import MIN_PAIRS, SNRS_DB, make_heldout, statistical_room
from quietwire_train.store import Store, prepare

SECONDS = 1.5
COLUMNS = "path kind source talker split source_rate_hz eff_bandwidth_hz text".split()


def syllables(seconds: float, pitch_hz: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * k * pitch_hz * time_s + k * k) / k for k in range(1, 30))
    return 0.1 * voice * np.maximum(np.sin(2 * np.pi * 2 * time_s), 0.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five held-out talkers, one of them alone in its source, and noises; talkers of other splits."""
    root = tmp_path_factory.mktemp("heldout")
    rng = np.random.default_rng(1)
    rows = [COLUMNS]

    def add(path: str, signal: np.ndarray, *fields: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, signal, RATE_HZ, subtype="FLOAT")
        # The first recording of each held-out talker has a transcript.
        text = "yes one two" if path.startswith("s") and path.endswith("0.wav") else ""
        rows.append([path, *fields, "48000", "20000", text])

    for number in range(5):
        source = "corpus" if number < 4 else "single"
        for take in range(3):
            speech = syllables(1.0, 90 + 20 * number + 3 * take)
            add(f"s{number}/{take}.wav", speech, "speech", source, f"held{number}", "dev2")
    add("t/0.wav", syllables(1.0, 200), "speech", "train", "trained", "train")
    for number in range(7):
        length = RATE_HZ // 2 if number == 0 else 4 * RATE_HZ
        add(f"n/{number}.wav", 0.03 * rng.standard_normal(length), "noise", "field", "", "dev2")
    add("m/0.wav", 0.03 * rng.standard_normal(RATE_HZ), "noise", "other", "", "train")
    click = np.zeros(RATE_HZ)
    click[100] = 1.0
    add("n/click.wav", click, "noise", "field", "", "dev2")
    (root / "index.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    prepare(root, root / "store")
    return root


@pytest.fixture(scope="module")
def pairs(root: Path) -> list[tuple[dict, np.ndarray, np.ndarray]]:
    make_heldout(Store(root / "store"), root / "out", SECONDS)
    listing = json.loads((root / "out/pairs.json").read_text())

    def signal(kind: str, name: str) -> np.ndarray:
        return soundfile.read(root / f"out/{kind}/{name}.wav", dtype="float32")[0]

    return [(pair, signal("noisy", pair["name"]), signal("clean", pair["name"])) for pair in listing]


def of(pairs: list, *names: str) -> list:
    found = [entry for entry in pairs if entry[0]["set"] in names]
    assert found
    return found


def test_there_are_enough_pairs_of_every_talker_snr_and_noise(pairs: list) -> None:
    mixed = of(pairs, "snr", "room")
    assert len(mixed) >= MIN_PAIRS
    snrs = Counter((pair["talker"], pair["snr_db"]) for pair, _, _ in of(pairs, "snr"))
    assert {talker for talker, _ in snrs} == {f"held{number}" for number in range(5)}
    for talker in {talker for talker, _ in snrs}:
        assert len({snrs[talker, snr_db] for snr_db in SNRS_DB}) == 1
    assert snrs["held4", 0.0] > snrs["held0", 0.0]
    noises = Counter(pair["noise_recording"] for pair, _, _ in mixed)
    assert len(noises) == 8 and max(noises.values()) - min(noises.values()) <= 4
    by_noise = defaultdict(set)
    for pair, _, _ in mixed:
        by_noise[pair["noise_recording"]].add(pair["talker"])
    assert all(len(talkers) >= 4 for talkers in by_noise.values())


def test_levels_and_ratios_are_as_stated(pairs: list) -> None:
    for pair, noisy, clean in of(pairs, "snr", "room"):
        speech, noise = (resample(x, RATE_HZ, 16000) for x in (clean, noisy - clean))
        level_db = active_level_db(resample(speech, 16000, RATE_HZ))
        assert level_db == pytest.approx(pair["level_db"], abs=0.2), pair
        assert level_db - power_db(noise) == pytest.approx(pair["snr_db"], abs=0.3), pair
        assert np.abs(noisy).max() < 1.0


def test_whispers_are_twins_30_db_lower(pairs: list) -> None:
    by_name = {pair["name"]: (noisy, clean) for pair, noisy, clean in pairs}
    for pair, noisy, clean in of(pairs, "whisper"):
        gain = 10 ** (-30 / 20)
        np.testing.assert_allclose(noisy, gain * by_name[pair["twin"]][0], atol=1e-6)
        np.testing.assert_allclose(clean, gain * by_name[pair["twin"]][1], atol=1e-6)


def test_every_transcript_is_scored_alone_and_at_each_snr(pairs: list) -> None:
    words = of(pairs, "words")
    assert Counter(pair["snr_db"] for pair, _, _ in words) == {0.0: 5, 5.0: 5, 10.0: 5, None: 5}
    for pair, noisy, clean in words:
        assert pair["text"] == "yes one two" and len(clean) == RATE_HZ  # the whole recording
        assert (noisy == clean).all() == (pair["snr_db"] is None)
    assert all(pair["text"] is None for pair, _, _ in pairs if pair["set"] != "words")


def test_clean_and_noise_pairs_have_one_source(pairs: list) -> None:
    assert len(of(pairs, "clean")) == 5 and len(of(pairs, "noise")) == 7  # a click cannot be raised
    for _, noisy, clean in of(pairs, "clean"):
        np.testing.assert_array_equal(noisy, clean)
    for _, noisy, clean in of(pairs, "noise"):
        assert not clean.any() and power_db(noisy) == pytest.approx(-35.0, abs=0.1)


def test_only_the_split_dev2_is_read(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = set()
    plain = Store.read

    def read(self: Store, i: int, start: int = 0, n: int | None = None) -> np.ndarray:
        touched.add(self.all_clips[i].split)
        return plain(self, i, start, n)

    monkeypatch.setattr(Store, "read", read)
    make_heldout(Store(root / "store"), tmp_path / "out", SECONDS, ["snr"])
    assert touched == {"dev2"}


def test_no_generator_of_training_is_used() -> None:
    source = Path(heldout.__file__).read_text()
    imports = [line for line in source.splitlines() if line.startswith(("from .", "import "))]
    assert not any(name in line for line in imports for name in ("mix", "synthetic", "rir", "devset"))


def test_the_same_store_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        make_heldout(Store(root / "store"), tmp_path / name, SECONDS, ["room", "whisper"])
        files.append({p.name: p.read_bytes() for p in (tmp_path / name).rglob("*.*") if p.is_file()})
    assert files[0] == files[1] and len(files[0]) > 30


def test_a_room_begins_with_its_direct_path_and_decays() -> None:
    for seed in range(20):
        response = statistical_room(np.random.default_rng(seed)).astype(np.float64)
        assert response[0] == 1.0 and np.isfinite(response).all()
        drr_db = -10 * np.log10(np.sum(response[1:] ** 2))
        assert -4.0 < drr_db < 13.0
        early, late = np.sum(response[1 : RATE_HZ // 10] ** 2), np.sum(response[-RATE_HZ // 20 :] ** 2)
        assert 10 * np.log10(early / late) > 15.0


def test_a_talker_of_training_is_refused(root: Path, tmp_path: Path) -> None:
    text = (root / "store/clips.json").read_text()
    for path in (root / "store").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "clips.json").write_text(text.replace('"trained"', '"held2"'))
    with pytest.raises(ValueError, match="dev2 and train: held2"):
        make_heldout(Store(tmp_path), tmp_path / "out", SECONDS)
    (tmp_path / "clips.json").write_text(text.replace('"dev2"', '"dev"'))
    with pytest.raises(ValueError, match="no speech or no noise in the split dev2"):
        make_heldout(Store(tmp_path), tmp_path / "out", SECONDS)


def test_the_command_takes_a_split_and_replaces_only_pairs(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    command = ["devset", str(root / "store"), str(out), "--split", "dev2", "--seconds", "1", "--sets"]
    assert main([*command, "clean"]) == 0
    assert "5 pairs in" in capsys.readouterr().out
    assert main([*command, "noise"]) == 0
    assert {pair["set"] for pair in json.loads((out / "pairs.json").read_text())} == {"noise"}
    assert not list((out / "noisy").glob("clean*")) and not out.with_name("pairs.part").exists()
    assert main([*command, "thin"]) == 1
    assert "no such set: thin; there are snr, room" in capsys.readouterr().err
    (out / "pairs.json").unlink()
    assert main([*command, "clean"]) == 1
    assert "other content" in capsys.readouterr().err and (out / "noisy").is_dir()
