"""Training mixtures: determinism, signal-to-noise ratio, bandwidth and special clips."""

import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from quietwire_train import synthetic
from quietwire_train.audio import RATE_HZ, active_level_db, power_db
from quietwire_train.mix import Mixer
from quietwire_train.mixture import Mixture
from quietwire_train.rir import make_rirs
from quietwire_train.store import Store, prepare

PLAIN = replace(Mixture(), **{f.name: 0.0 for f in fields(Mixture) if f.name.endswith("_p")})


def syllables(seconds: float, pitch_hz: float) -> np.ndarray:
    """Harmonics up to 7 kHz that swell and pause like syllables."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    orders = np.arange(1, int(7000 / pitch_hz))
    voice = sum(np.sin(2 * np.pi * pitch_hz * k * time_s + k * k) / k for k in orders)
    return (0.1 * voice * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * time_s))).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    base = tmp_path_factory.mktemp("mix")
    rng = np.random.default_rng(0)
    rows = ["path kind source split source_rate_hz eff_bandwidth_hz snr_est_db license".split()]
    for split in ("train", "dev"):
        for talker, pitch_hz in (("a", 110.0), ("b", 190.0)):
            rows.append([f"{split}-{talker}.wav", "speech", talker, split, "16000", "8000", "50"])
            soundfile.write(base / rows[-1][0], syllables(2.0, pitch_hz), RATE_HZ)
        for name, seconds in (("long", 4.0), ("short", 1.5), ("click", 0.05)):
            rows.append([f"{split}-{name}.wav", "noise", name, split, "48000", "24000", ""])
            noise = 0.1 * rng.standard_normal(round(seconds * RATE_HZ))
            soundfile.write(base / rows[-1][0], noise, RATE_HZ)
    lines = ["\t".join(row if row is rows[0] else [*row, "CC0"]) for row in rows]
    (base / "index.tsv").write_text("\n".join(lines) + "\n")
    assert prepare(base, base / "store").skipped == []
    return Store(base / "store")


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rooms") / "rooms.npz"
    make_rirs(path, count=4, seed=1)
    return path


def band_power_db(signal: np.ndarray, low_hz: float, high_hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(signal)) ** 2
    hz = np.fft.rfftfreq(len(signal), 1 / RATE_HZ)
    inside = spectrum[(hz >= low_hz) & (hz <= high_hz)].sum()
    return 10 * np.log10(2 * inside / len(signal) ** 2 + 1e-20)


def test_a_step_is_the_same_in_any_process_and_order(store: Store, rooms: Path) -> None:
    mixer = Mixer(store, rooms, seconds=1.0, seed=7)
    first = mixer.batch(3, 6)
    mixer.batch(4, 2)
    copy = pickle.loads(pickle.dumps(mixer)).batch(3, 6)
    assert first["noisy"].shape == first["target"].shape == (6, RATE_HZ)
    for key in ("noisy", "target", "bandwidth_hz"):
        assert first[key].dtype == np.float32
        np.testing.assert_array_equal(first[key], copy[key])
    other = Mixer(store, rooms, seconds=1.0, seed=8).batch(3, 6)
    assert not np.array_equal(first["noisy"], other["noisy"])


def test_everything_at_once_stays_finite_and_within_full_scale(store: Store, rooms: Path) -> None:
    often = {f.name: 0.5 for f in fields(Mixture) if f.name.endswith("_p")}
    often |= {"noise_only_p": 0.1, "clean_only_p": 0.1, "synthetic_p": 0.4, "babble_p": 0.3}
    batch = Mixer(store, rooms, seconds=1.5, mixture=replace(Mixture(), **often)).batch(0, 60)
    for key in ("noisy", "target"):
        assert np.all(np.isfinite(batch[key]))
        assert np.abs(batch[key]).max() <= 1.0


@pytest.mark.parametrize("snr_db", [-5.0, 5.0, 20.0])
def test_snr_and_level_are_met(store: Store, snr_db: float) -> None:
    mixture = replace(PLAIN, snr_db=(snr_db, snr_db), level_db=(-35.0, -35.0))
    batch = Mixer(store, None, seconds=2.0, mixture=mixture).batch(0, 8)
    for noisy, target, bandwidth_hz in zip(*batch.values()):
        assert bandwidth_hz == 8000.0
        assert active_level_db(target) == pytest.approx(-35.0, abs=0.1)
        noise_db = band_power_db(noisy - target, 0.0, bandwidth_hz)
        assert active_level_db(target) - noise_db == pytest.approx(snr_db, abs=0.5)


def test_nothing_is_left_above_a_band_limit(store: Store, rooms: Path) -> None:
    mixture = replace(PLAIN, band_limit_p=1.0, room_p=0.5, eq_p=1.0, speed_p=0.5)
    batch = Mixer(store, rooms, seconds=2.0, mixture=mixture).batch(0, 24)
    assert len(set(batch["bandwidth_hz"])) > 3
    window = np.hanning(2 * RATE_HZ)
    for noisy, target, bandwidth_hz in zip(*batch.values()):
        assert bandwidth_hz <= 8000.0 * 1.26
        above = band_power_db(target * window, bandwidth_hz + 200.0, RATE_HZ / 2)
        assert above < power_db(target) - 60.0
        if bandwidth_hz in (3400.0, 4000.0, 5500.0, 7000.0):
            above = band_power_db(noisy * window, bandwidth_hz + 200.0, RATE_HZ / 2)
            assert above < power_db(noisy) - 60.0


def test_recorded_noise_is_played_at_other_speeds_and_backwards(store: Store) -> None:
    quiet = replace(PLAIN, level_db=(-40.0, -40.0))  # below full scale, so that no clip is scaled

    def noise(**changes: object) -> np.ndarray:
        batch = Mixer(store, None, seconds=2.0, mixture=replace(quiet, **changes)).batch(0, 8)
        return batch["noisy"] - batch["target"]

    plain, backwards = noise(), noise(noise_reversed_p=1.0)
    np.testing.assert_allclose(backwards, plain[:, ::-1], atol=1e-5)
    slow, fast = (noise(noise_speed_p=1.0, noise_speed_range=(s, 1.04 * s)) for s in (0.5, 2.0))
    for row in range(len(plain)):
        above_db = [band_power_db(n[row], 13_000.0, 24_000.0) - power_db(n[row]) for n in (plain, slow, fast)]
        assert above_db[1] < min(above_db[0], above_db[2]) - 30.0, above_db
    for other in (slow, fast):
        assert not np.allclose(other, plain, atol=1e-3)


RESONANCE = {"resonance_hz": (1000.0, 1000.0), "resonance_octaves": (0.2, 0.2), "resonance_db": (20.0, 20.0)}


def test_only_voices_get_resonances(store: Store) -> None:
    one = RESONANCE | {"resonance_passing_p": 0.0}
    plain, peaked = (
        Mixer(store, None, seconds=1.0, mixture=replace(PLAIN, resonance_p=p, **one)).batch(0, 6)
        for p in (0.0, 1.0)
    )
    for sound, peak_db in ((lambda b: b["target"], 19.0), (lambda b: b["noisy"] - b["target"], 0.0)):
        for before, after in zip(sound(plain), sound(peaked)):
            here, there = (
                [band_power_db(signal, *edges) for signal in (before, after)]
                for edges in ((930.0, 1070.0), (2500.0, 7000.0))
            )
            assert (here[1] - here[0]) - (there[1] - there[0]) == pytest.approx(peak_db, abs=2.0)


def test_a_resonance_may_be_intermittent(store: Store) -> None:
    times = {"resonance_p": 1.0, "resonance_s": (0.3, 0.3), "resonance_pause_s": (0.3, 0.3)}
    mixture = replace(PLAIN, clean_only_p=1.0, level_db=(-60.0, -60.0), **RESONANCE, **times)
    stays, passes = (
        Mixer(store, None, seconds=3.0, mixture=replace(mixture, resonance_passing_p=p)).batch(0, 4)["target"]
        for p in (0.0, 1.0)
    )
    hop = RATE_HZ // 100
    for complete, part in zip(stays, passes):
        power_db = [
            [band_power_db(signal[at : at + hop], 900.0, 1100.0) for at in range(0, len(signal), hop)]
            for signal in (complete, part)
        ]
        raised = np.diff(power_db, axis=0)[0]
        raised -= raised.max()
        shares = [(raised > -3.0).mean(), (raised < -15.0).mean()]
        assert min(shares) > 0.25, shares


def test_noise_only_clips_have_a_silent_target(store: Store) -> None:
    batch = Mixer(store, None, seconds=1.0, mixture=replace(PLAIN, noise_only_p=1.0)).batch(0, 4)
    assert not batch["target"].any()
    assert all(np.abs(noisy).max() > 0.0 for noisy in batch["noisy"])
    assert np.all(batch["bandwidth_hz"] == 24000.0)


def test_clean_only_clips_pass_unchanged(store: Store, rooms: Path) -> None:
    mixture = replace(PLAIN, clean_only_p=1.0, room_p=1.0)
    batch = Mixer(store, rooms, seconds=1.0, mixture=mixture).batch(0, 4)
    np.testing.assert_array_equal(batch["noisy"], batch["target"])
    assert batch["target"].any()


def test_clipping_leaves_the_target_alone(store: Store) -> None:
    plain = Mixer(store, None, seconds=1.0, mixture=PLAIN).batch(0, 3)
    clipped = Mixer(store, None, seconds=1.0, mixture=replace(PLAIN, clipping_p=1.0)).batch(0, 3)
    np.testing.assert_array_equal(plain["target"], clipped["target"])
    assert np.all(np.abs(clipped["noisy"]).max(axis=1) < np.abs(plain["noisy"]).max(axis=1))


def test_silence_is_digital_in_both(store: Store) -> None:
    mixture = replace(PLAIN, silence_p=1.0)
    batch = Mixer(store, None, seconds=1.0, mixture=mixture).batch(0, 6)
    for noisy, target in zip(batch["noisy"], batch["target"]):
        silent = noisy == 0.0
        assert silent.sum() >= 0.1 * RATE_HZ
        assert not target[silent].any()


def test_clips_have_leading_and_long_pauses(store: Store) -> None:
    def silent_seconds(**often: float) -> tuple[np.ndarray, np.ndarray]:
        """Of each clip: before its first sound, and of the longest pause after that."""
        mixture = replace(PLAIN, clean_only_p=1.0, **often)
        targets = Mixer(store, None, seconds=6.0, mixture=mixture).batch(0, 20)["target"]
        sounds = [np.flatnonzero(np.abs(clip) > 1e-4) for clip in targets]
        return tuple(
            np.array([f(sound) for sound in sounds]) / RATE_HZ
            for f in (lambda sound: sound[0], lambda sound: np.diff(sound).max())
        )

    lead, pause = silent_seconds()
    assert lead.max() < 0.1 and pause.max() < 0.65
    lead, pause = silent_seconds(leading_pause_p=1.0)
    assert lead.max() < 3.1 and lead.mean() > 0.9 and pause.max() < 0.65
    lead, pause = silent_seconds(long_pause_p=1.0)
    assert lead.max() < 0.1 and pause.max() < 2.05 and pause.mean() > 1.0


def test_training_never_reads_the_dev_split(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = set()
    plain_read = Store.read

    def read(self: Store, i: int, start: int = 0, n: int | None = None) -> np.ndarray:
        touched.add(self.all_clips[i].split)
        return plain_read(self, i, start, n)

    monkeypatch.setattr(Store, "read", read)
    Mixer(store, None, seconds=1.0, mixture=replace(Mixture(), babble_p=0.5)).batch(0, 30)
    assert touched == {"train"}


def test_speed_moves_pitch_and_bandwidth_together(store: Store) -> None:
    # Both talkers speak in harmonics, so the strongest line shows the factor.
    mixture = replace(PLAIN, speed_p=1.0, clean_only_p=1.0, speed_range=(1.0999, 1.12))
    batch = Mixer(store, None, seconds=1.0, mixture=mixture).batch(0, 4)
    for target, bandwidth_hz in zip(batch["target"], batch["bandwidth_hz"]):
        factor = bandwidth_hz / 8000.0
        assert 1.09 < factor < 1.13
        peak_hz = np.argmax(np.abs(np.fft.rfft(target * np.hanning(len(target)))))
        assert min(abs(peak_hz - pitch * factor) for pitch in (110.0, 190.0)) < 4.0


def test_low_cuts_apply_to_speech_and_noise(store: Store) -> None:
    mixture = replace(PLAIN, low_cut_p=1.0)
    batch = Mixer(store, None, seconds=1.0, mixture=replace(mixture, low_cut_hz=(600.0, 700.0))).batch(0, 4)
    window = np.hanning(RATE_HZ)
    for part in (*batch["target"], *(batch["noisy"] - batch["target"])):
        assert band_power_db(part * window, 0.0, 350.0) < power_db(part) - 60.0
        assert band_power_db(part * window, 700.0, 8000.0) > power_db(part) - 10.0


def test_room_responses_start_with_the_direct_path(rooms: Path) -> None:
    with np.load(rooms) as archive:
        rirs = archive["rirs"]
    assert rirs.shape == (4, round(0.6 * RATE_HZ))
    np.testing.assert_array_equal(rirs[:, 0], 1.0)
    late = rirs[:, -480:] ** 2
    assert np.all(np.isfinite(rirs)) and late.sum() < 1e-2


def test_synthetic_noises_are_audible_and_reproducible() -> None:
    named = (synthetic.machine, synthetic.tones, synthetic.rumble, synthetic.hum, synthetic.music, synthetic.calls)
    for make in (*named, synthetic.background):
        for seed in range(12):
            first, again = (make(np.random.default_rng(seed), 48_000) for _ in "ab")
            assert first.shape == (48_000,) and first.dtype == np.float32
            assert np.array_equal(first, again)
            assert np.all(np.isfinite(first)) and 1e-3 < np.sqrt(np.mean(first**2)) < 10.0, make.__name__


def test_rumble_is_below_the_speech_band(store: Store) -> None:
    for seed in range(12):
        rumble = synthetic.rumble(np.random.default_rng(seed), 48_000)
        below, above = (band_power_db(rumble, *edges) for edges in ((0, 400), (400, 24000)))
        assert below > above + 20.0
    noisy, target = (
        Mixer(store, None, mixture=replace(PLAIN, rumble_p=1.0)).batch(0, 8)[k] for k in ("noisy", "target")
    )
    shares = [band_power_db(n, 0, 100) - band_power_db(n, 0, 24000) for n in noisy - target]
    assert max(shares) > -3.0 and min(shares) < max(shares) - 0.1, "alone, and added to another noise"


def test_hum_has_lines_of_the_mains(store: Store) -> None:
    noisy, target = (
        Mixer(store, None, mixture=replace(PLAIN, hum_p=1.0)).batch(0, 8)[k] for k in ("noisy", "target")
    )
    shares = []
    for noise in noisy - target:
        power = np.abs(np.fft.rfft(noise * np.hanning(len(noise)))) ** 2
        hz = np.fft.rfftfreq(len(noise), 1 / RATE_HZ)
        shares.append(max(power[np.abs((hz + f / 2) % f - f / 2) < 3.0].sum() / power.sum() for f in (50.0, 60.0)))
    assert max(shares) > 0.9 and min(shares) < 0.8, "alone, and added to another noise"


# The recorded noise of the store has 0.06. Calls glide, and some are mostly breath.
@pytest.mark.parametrize("drawn, least", [("music_p", 0.6), ("calls_p", 0.3)])
def test_music_and_calls_are_tonal(store: Store, drawn: str, least: float) -> None:
    mixture = replace(PLAIN, **{drawn: 1.0})
    batch = Mixer(store, None, mixture=mixture).batch(0, 8)
    peaks = []
    for noise in batch["noisy"] - batch["target"]:
        power = np.abs(np.fft.rfft(noise * np.hanning(len(noise)))) ** 2
        peaks.append(np.sort(power)[-len(power) // 100 :].sum() / power.sum())
    assert np.median(peaks) > least, "a hundredth of the bins holds much of the power"


@pytest.mark.parametrize("alone", ["clean_only_p", "noise_only_p"])
def test_strong_equalizers_change_the_spectral_balance(store: Store, alone: str) -> None:
    def tilts(strong_eq_p: float) -> np.ndarray:
        mixture = replace(PLAIN, eq_p=1.0, strong_eq_p=strong_eq_p, **{alone: 1.0})
        clips = Mixer(store, None, seconds=1.5, mixture=mixture).batch(0, 24)["noisy"]
        return np.array([band_power_db(c, 200, 800) - band_power_db(c, 1600, 6400) for c in clips])

    assert np.std(tilts(1.0)) > 1.3 * np.std(tilts(0.0))
