"""Cleaned targets: which clips are cleaned, what the mixtures have of them, and refused outputs."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from quietwire_train.audio import RATE_HZ
from quietwire_train.cli import main
from quietwire_train.mix import Mixer
from quietwire_train.mixture import Mixture
from quietwire_train.store import TARGETS, Store, prepare
from quietwire_train.targets import HUM_HZ, delay_of, find_hum, hum_levels_db, remove_lines

ROWS = [
    ("noisy.wav", "speech", "train", "35"),
    ("good.wav", "speech", "train", "60"),
    ("unknown.wav", "speech", "train", ""),
    ("judge.wav", "speech", "dev2", "35"),
    ("fan.wav", "noise", "train", "35"),
]
# Halves every sample of every file of a folder; then CHANGE.
CLEANER = """
import pathlib, soundfile, sys
import numpy as np
source, out = (pathlib.Path(word) for word in sys.argv[1:3])
out.mkdir()
for path in source.iterdir():
    signal, rate = soundfile.read(path, dtype="float32")
    signal = signal * 0.5
    CHANGE
    soundfile.write(out / path.name, signal, rate, "FLOAT")
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    lines = ["path\tkind\tsource\tsplit\tsnr_est_db\ttalker"]
    for name, kind, split, snr_db in ROWS:
        time_s = np.arange(2 * RATE_HZ) / RATE_HZ
        signal = 0.1 * rng.standard_normal(len(time_s)) * (np.sin(9 * time_s) > 0)
        soundfile.write(tmp_path / name, signal, RATE_HZ)
        lines.append(f"{name}\t{kind}\ts\t{split}\t{snr_db}\t{name}-{split}")
    (tmp_path / "index.tsv").write_text("\n".join(lines) + "\n")
    prepare(tmp_path, tmp_path / "store", val_share=0.0)
    return tmp_path / "store"


def targets(store: Path, tmp_path: Path, change: str = "pass", *options: str) -> int:
    script = tmp_path / "cleaner.py"
    script.write_text(CLEANER.replace("CHANGE", change))
    return main(["targets", str(store), f"{sys.executable} {script} {{in}} {{out}}", *options])


def test_noisy_speech_of_training_is_cleaned_and_the_rest_copied(store: Path, tmp_path: Path) -> None:
    assert not Store(store).has_targets
    assert targets(store, tmp_path) == 0
    opened = Store(store)
    for clip in opened.all_clips:
        gain = 0.5 if clip.path == "noisy.wav" else 1.0
        found, plain = opened.read_target(clip.index), opened.read(clip.index)
        np.testing.assert_allclose(found, gain * plain, atol=1e-4)
    assert targets(store, tmp_path, "pass", "--below", "70") == 0
    opened = Store(store)
    good = next(clip for clip in opened.all_clips if clip.path == "good.wav")
    np.testing.assert_allclose(opened.read_target(good.index), 0.5 * opened.read(good.index), atol=1e-4)


def test_the_input_has_the_recording_and_the_target_its_copy(store: Path, tmp_path: Path) -> None:
    plain = Mixture(clean_only_p=1.0, noise_only_p=0.0, clipping_p=0.0)
    with pytest.raises(ValueError, match="has no targets"):
        Mixer(Store(store), None, mixture=Mixture(clean_targets=True))
    targets(store, tmp_path, "pass", "--below", "70")
    with_copies = Mixture(**{**vars(plain), "clean_targets": True})
    before = Mixer(Store(store), None, mixture=plain).batch(0, 8)
    after = Mixer(Store(store), None, mixture=with_copies).batch(0, 8)
    np.testing.assert_array_equal(before["noisy"], before["target"])
    shares = [
        float(np.vdot(target, noisy) / np.vdot(noisy, noisy))
        for noisy, target in zip(after["noisy"], after["target"])
    ]
    # Half of the recording, or all of it where the clip has no estimate.
    assert {round(share, 2) for share in shares} <= {0.5, 1.0} and 0.5 in [
        round(share, 2) for share in shares
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("signal = signal[:-1]", "expected 96000 at 48000 Hz"),
        ("signal = np.roll(signal, 480)", "is 480 samples late"),
        ("sys.exit('no model')", "exit status 1: no model"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, reason: str
) -> None:
    assert targets(store, tmp_path, change) == 1
    assert reason in capsys.readouterr().err
    assert not (store / TARGETS).exists()


def test_delays_have_their_sign() -> None:
    signal = np.random.default_rng(1).standard_normal(RATE_HZ).astype(np.float32)
    assert [delay_of(signal, np.roll(signal, by)) for by in (0, 960, -7)] == [0, 960, -7]


def voice(seconds: float, pitch_hz: float) -> np.ndarray:
    """Harmonics of a gliding pitch with pauses, and quiet noise."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.2 * np.sin(4 * time_s))) / RATE_HZ
    sound = sum(np.sin(k * phase) / k for k in range(1, 9)) * (np.sin(5 * time_s) > 0)
    noise = np.random.default_rng(int(pitch_hz)).standard_normal(len(time_s))
    return (0.1 * sound + 0.0003 * noise).astype(np.float32)


def test_hum_between_words_is_found_and_a_steady_pitch_is_not() -> None:
    plain = voice(4.0, 118.0)
    assert hum_levels_db(plain).max() < 6.0
    hum = 0.001 * np.sin(2 * np.pi * 120.0 * np.arange(len(plain)) / RATE_HZ)
    level_db = hum_levels_db(plain + hum)
    assert [hz for hz, db in zip(HUM_HZ, level_db) if db > 6.0] == [120]
    assert hum_levels_db(plain[: RATE_HZ // 2]) is None


def test_removed_lines_leave_the_voice() -> None:
    plain = voice(4.0, 118.0)
    hum = 0.001 * np.sin(2 * np.pi * 120.0 * np.arange(len(plain)) / RATE_HZ)
    found = remove_lines(plain + hum, [120])
    # More than 0.1 s away from the voice the hum is gone; the voice is changed by less than the hum.
    power = np.convolve(plain**2, np.ones(RATE_HZ // 5) / (RATE_HZ // 5), "same")
    quiet = power < 1e-6
    assert quiet.mean() > 0.2
    left = np.sum((found - plain)[quiet] ** 2) / np.sum(hum[quiet] ** 2)
    assert 10 * np.log10(left) < -10.0
    assert np.sum((found - plain)[~quiet] ** 2) < np.sum(hum[~quiet] ** 2)
    np.testing.assert_array_equal(remove_lines(plain, []), plain)


def test_a_line_of_most_clips_of_a_talker_is_removed_from_all(tmp_path: Path) -> None:
    (tmp_path / "speech/t").mkdir(parents=True)
    (tmp_path / "noise/n").mkdir(parents=True)
    for take in range(4):
        plain = voice(3.0, 110.0 + 3 * take)
        level = 0.0 if take == 3 else 0.001
        hum = level * np.sin(2 * np.pi * 100.0 * np.arange(len(plain)) / RATE_HZ)
        soundfile.write(tmp_path / f"speech/t/{take}.wav", plain + hum, RATE_HZ)
    soundfile.write(tmp_path / "noise/n/a.wav", 0.1 * np.ones(RATE_HZ), RATE_HZ)
    prepare(tmp_path, tmp_path / "store", val_share=0.0)
    store = Store(tmp_path / "store")
    split = {clip.split for clip in store.clips("speech")}
    if split == {"train"}:
        lines = find_hum(store)
        assert {clip.path: lines.get(clip.index) for clip in store.clips("speech")} == {
            f"speech/t/{take}.wav": [100] for take in range(4)
        }
