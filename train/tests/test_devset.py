"""The development benchmark: levels, ratios, bands and twins of every set."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from quietwire_train.audio import RATE_HZ, active_level_db, power_db
from quietwire_train.devset import NARROW_HZ, SIZES, make_devset
from quietwire_train.devset_sounds import limit_band
from quietwire_train.pairs import Summary
from quietwire_train.store import Store, prepare

SECONDS = 2.0
TALKERS = 3


def syllables(seconds: float, pitch_hz: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(pitch_hz + 20 * np.sin(2 * np.pi * 0.7 * time_s)) / RATE_HZ
    voice = sum(np.sin(k * phase + k * k) / k for k in range(1, 60))
    return (0.1 * voice * np.maximum(np.sin(2 * np.pi * 2 * time_s), 0.0)).astype(np.float32)


def clicks(rng: np.random.Generator) -> np.ndarray:
    signal = 1e-4 * rng.standard_normal(3 * RATE_HZ)
    for start in (0.5, 1.3, 2.1):
        place = round(start * RATE_HZ)
        signal[place : place + 2400] += 0.2 * rng.standard_normal(2400) * np.exp(-np.arange(2400) / 400)
    return signal


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two wide and four narrow dev talkers and three sources of noise, and prompts."""
    base = tmp_path_factory.mktemp("devset")
    columns = "path kind source split source_rate_hz eff_bandwidth_hz snr_est_db license"
    rows = [columns.split(" ")]
    rng = np.random.default_rng(3)

    def add(path: str, signal: np.ndarray, *fields: str) -> None:
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(base / path, signal, RATE_HZ)
        rows.append([path, *fields, "CC0"])

    for number, pitch_hz in enumerate((100, 190)):
        speech = syllables(3.0, pitch_hz)
        add(f"w{number}/a.wav", speech, "speech", f"wide{number}", "dev", "48000", "20000", "50")
    for number in range(4):
        speech = syllables(3.0, 90 + 30 * number)
        path = f"speech/{number}-1-1.wav"
        add(path, speech, "speech", "librispeech", "dev", "16000", "8000", "50")
    for name in ("fan", "rain_0", "rain_1", "street"):
        noise = 0.05 * rng.standard_normal(3 * RATE_HZ)
        add(f"n/{name}.wav", noise, "noise", "field", "dev", "48000", "24000", "")
    for number in range(2):
        add(f"k/key-{number}.wav", clicks(rng), "noise", "keystroke", "dev", "48000", "24000", "")
    (base / "index.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    prepare(base, base / "store")
    (base / "ann/digits").mkdir(parents=True)
    for digit in range(10):
        time_s = np.arange(4800) / 16000
        tone = 0.3 * np.sin(2 * np.pi * (300 + 100 * digit) * time_s)
        soundfile.write(base / f"ann/digits/{digit}.wav", np.pad(tone, 2000), 16000)
    return base


def build(base: Path, out: Path, **options: object) -> Summary:
    return make_devset(Store(base / "store"), out, SECONDS, TALKERS, prompts=base / "ann", **options)


def in_folder(folder: Path) -> dict[str, tuple[dict, np.ndarray, np.ndarray]]:
    """Record, noisy and clean signal of each pair by name."""
    found = {}
    for pair in json.loads((folder / "pairs.json").read_text()):
        files = [folder / kind / f"{pair['name']}.wav" for kind in ("noisy", "clean")]
        found[pair["name"]] = (pair, *(soundfile.read(path, dtype="float32")[0] for path in files))
    return found


@pytest.fixture(scope="module")
def made(base: Path) -> dict[str, tuple[dict, np.ndarray, np.ndarray]]:
    """Every set but `room`."""
    summary = build(base, base / "out", sets=[name for name in SIZES if name != "room"])
    assert summary.skipped == {}
    return in_folder(base / "out")


def of(made: dict, name: str) -> list[tuple[dict, np.ndarray, np.ndarray]]:
    found = [entry for entry in made.values() if entry[0]["set"] == name]
    assert found
    return found


def noise_db(pair: dict, noise: np.ndarray) -> float:
    inside = limit_band(noise, 0.0, pair["bandwidth_hz"])
    return active_level_db(inside) if pair["set"] == "keyboard" else power_db(inside)


def test_the_same_store_gives_the_same_bytes(base: Path, tmp_path: Path) -> None:
    sets = ["snr", "whisper", "music", "keyboard", "babble", "digits"]
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        build(base, folder, sets=sets)
    files = [sorted(path for path in folder.rglob("*") if path.is_file()) for folder in folders]
    assert len(files[0]) == len(files[1]) > 50
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_sets_have_their_sizes_and_names(made: dict) -> None:
    counts = Counter(pair["set"] for pair, _, _ in made.values())
    assert counts == {name: -(-size * TALKERS // 12) for name, size in SIZES.items() if name != "room"}
    assert all(name.startswith(f"{pair['set']}_") for name, (pair, _, _) in made.items())
    assert {len(signal) for _, *both in made.values() for signal in both} == {round(SECONDS * RATE_HZ)}


def test_levels_and_ratios_are_as_stated(made: dict) -> None:
    for pair, noisy, clean in made.values():
        assert np.abs(noisy).max() < 1.0
        if pair["set"] == "noise":
            continue
        level_db = active_level_db(clean)
        assert level_db == pytest.approx(pair["level_db"], abs=0.1), pair["name"]
        if pair["snr_db"] is not None:
            assert level_db - noise_db(pair, noisy - clean) == pytest.approx(pair["snr_db"], abs=0.5)
    assert {pair["snr_db"] for pair, _, _ in of(made, "snr")} == {-5.0, 0.0, 5.0, 10.0, 15.0}
    levels_db = sorted(pair["level_db"] for pair, _, _ in of(made, "level"))
    assert levels_db[:2] == [-45.0, -35.0] and -26.0 < levels_db[2] <= -10.0


def test_twins_differ_only_in_level(made: dict) -> None:
    assert {pair["set"] for pair, _, _ in made.values() if pair["twin"]} == {"level", "whisper"}
    for pair, noisy, clean in of(made, "whisper") + of(made, "level"):
        twin, twin_noisy, twin_clean = made[pair["twin"]]
        same = ("slot", "talker", "noise_class", "noise_source", "snr_db", "bandwidth_hz")
        assert twin["set"] == "snr" and all(twin[key] == pair[key] for key in same)
        gain_db = -30.0 if pair["set"] == "whisper" else pair["level_db"] - twin["level_db"]
        gain = 10 ** (gain_db / 20)
        np.testing.assert_allclose(noisy, gain * twin_noisy, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(clean, gain * twin_clean, rtol=1e-4, atol=1e-6)


def test_clean_pairs_have_no_noise_and_noise_pairs_no_speech(made: dict) -> None:
    for pair, noisy, clean in of(made, "clean") + of(made, "low_cut"):
        np.testing.assert_array_equal(noisy, clean)
        assert (pair["snr_db"], pair["noise_class"], pair["level_db"]) == (None, None, -26.0)
    for pair, noisy, clean in of(made, "noise"):
        assert not clean.any() and (pair["talker"], pair["talker_in_training"]) == (None, False)
        assert power_db(noisy) == pytest.approx(pair["level_db"], abs=0.1)
    classes = [pair["noise_class"] for pair, _, _ in of(made, "noise")]
    assert len(set(classes)) == len(classes)


def test_pairs_of_narrow_speech_have_no_highs(made: dict) -> None:
    hz = np.fft.rfftfreq(round(SECONDS * RATE_HZ), 1 / RATE_HZ)
    window = np.hanning(round(SECONDS * RATE_HZ))
    bands = Counter()
    for pair, noisy, _ in made.values():
        power = np.abs(np.fft.rfft(noisy * window)) ** 2
        narrow = pair["bandwidth_hz"] <= NARROW_HZ
        above = power[hz > pair["bandwidth_hz"] + 100].sum() / power.sum()
        if narrow:
            assert 10 * np.log10(above) < -60, pair["name"]
            bands[pair["bandwidth_hz"]] += 1
        if pair["set"] == "telephone":
            assert pair["bandwidth_hz"] == 3400.0
            assert 10 * np.log10(power[hz < 180].sum() / power.sum()) < -60
        if pair["set"] == "snr" and not narrow and pair["noise_class"] != "keyboard":
            assert 10 * np.log10(power[hz > 12000].sum() / power.sum()) > -40
    assert set(bands) == {3400.0, 8000.0}


def test_low_cut_speech_is_clean_speech_without_lows(made: dict) -> None:
    hz = np.fft.rfftfreq(round(SECONDS * RATE_HZ), 1 / RATE_HZ)
    complete = [np.abs(np.fft.rfft(clean)) for _, _, clean in of(made, "clean")]
    cuts_hz = []
    for (pair, _, clean), unfiltered in zip(of(made, "low_cut"), complete, strict=True):
        cut_hz = float(pair["name"].split("_")[-1].removesuffix("hz"))
        spectrum = np.abs(np.fft.rfft(clean))
        assert np.sum(spectrum[hz < 0.65 * cut_hz] ** 2) < 1e-6 * np.sum(spectrum**2), pair["name"]
        kept = (hz > cut_hz) & (unfiltered > 0.01 * unfiltered.max())
        gain = spectrum[kept] / unfiltered[kept]
        assert np.std(gain) < 0.01 * np.mean(gain) and np.mean(gain) > 1.0, pair["name"]
        cuts_hz.append(cut_hz)
    assert cuts_hz == [300.0, 400.0, 500.0]


def test_digits_match_the_prompts(made: dict) -> None:
    for pair, noisy, clean in of(made, "digits"):
        assert (pair["talker"], pair["speech_source"], pair["bandwidth_hz"]) == ("ann", "prompts", 8000.0)
        words = pair["text"].split()
        # One tone of 0.3 s for each digit: count the stretches of sound.
        loud = np.convolve(np.abs(clean), np.ones(480) / 480, "same") > 0.02
        assert np.count_nonzero(np.diff(loud.astype(int)) == 1) == len(words) >= 3


def test_the_reference_includes_the_room(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyroomacoustics")
    for folder in ("one", "two"):
        build(base, tmp_path / folder, sets=["room"])
    made = in_folder(tmp_path / "one")
    assert len(made) == TALKERS and list(made) == list(in_folder(tmp_path / "two"))
    for name, (pair, noisy, clean) in made.items():
        assert pair["room"]
        level_db = active_level_db(clean)
        assert level_db == pytest.approx(pair["level_db"], abs=0.1)
        assert level_db - noise_db(pair, noisy - clean) == pytest.approx(pair["snr_db"], abs=0.5)
        again = (tmp_path / f"two/noisy/{name}.wav").read_bytes()
        assert again == (tmp_path / f"one/noisy/{name}.wav").read_bytes()


def test_sets_that_cannot_be_built_are_listed(base: Path, tmp_path: Path) -> None:
    store = Store(base / "store")
    summary = make_devset(store, tmp_path, SECONDS, 1, sets=["clean", "whisper", "digits"])
    assert summary.pairs == {"clean": 1, "whisper": 1} and "--prompts" in summary.skipped["digits"]
    assert all(pair["twin"] is None for pair, _, _ in in_folder(tmp_path).values())
    with pytest.raises(ValueError, match="no such set: flute"):
        make_devset(store, tmp_path, sets=["flute"])
