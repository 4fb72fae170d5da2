"""Measures on signals with known results."""

import numpy as np
import pytest

pytest.importorskip("pesq")
pytest.importorskip("pystoi")
pytest.importorskip("onnxruntime")

from quietwire_train.audio import RATE_HZ
from quietwire_train.measures import (
    SCORE_RATE_HZ,
    align,
    attenuation_db,
    highs_db,
    hop_snrs_db,
    level_error_db,
    measure,
    onset_loss_db,
    roc,
    si_sdr_db,
    speech_hops,
    worse_than,
)

HOP = SCORE_RATE_HZ // 100
ONSETS_S = (0.5, 1.2, 1.9)


def bursts() -> np.ndarray:
    """2.4 s at 16 kHz: three bursts of 400 ms between silences, from whole hops on."""
    signal = np.zeros(round(2.4 * SCORE_RATE_HZ), np.float32)
    voice = 0.1 * np.random.default_rng(4).standard_normal(round(0.4 * SCORE_RATE_HZ))
    for onset_s in ONSETS_S:
        start = round(onset_s * SCORE_RATE_HZ)
        signal[start : start + len(voice)] = voice
    return signal


def noise_like(signal: np.ndarray, level: float) -> np.ndarray:
    return (level * np.random.default_rng(5).standard_normal(len(signal))).astype(np.float32)


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


def test_speech_is_where_the_bursts_are() -> None:
    clean = bursts()
    has_speech = speech_hops(clean, SCORE_RATE_HZ, np.arange(1, 241) / 100)
    starts = [k for k in range(1, 240) if has_speech[k] and not has_speech[k - 1]]
    assert starts == [round(100 * onset_s) for onset_s in ONSETS_S]
    assert has_speech.sum() == 3 * 41  # the 20 ms of the hop after a burst still hold half of it
    assert not speech_hops(1e-5 * clean, SCORE_RATE_HZ, np.arange(1, 241) / 100).any()


@pytest.mark.parametrize("level", [0.0, 0.05])
def test_level_error_does_not_depend_on_the_noise(level: float) -> None:
    clean = bursts()
    noise = noise_like(clean, level)
    quiet = 10 ** (-3 / 20)
    assert level_error_db(clean, noise, clean + noise) == pytest.approx(0.0, abs=1e-3)
    assert level_error_db(clean, noise, quiet * clean + 0.3 * noise) == pytest.approx(-3.0, abs=1e-3)
    assert level_error_db(np.zeros_like(clean), noise, noise) is None


def test_onset_loss_is_the_loss_of_the_first_50_ms() -> None:
    clean = bursts()
    noise = noise_like(clean, 0.05)
    faded = clean.copy()
    for onset_s in ONSETS_S[:2]:
        start = round(onset_s * SCORE_RATE_HZ)
        faded[start : start + 5 * HOP] *= 10 ** (-12 / 20)
    assert onset_loss_db(clean, noise, clean + noise) == pytest.approx(0.0, abs=1e-6)
    assert onset_loss_db(clean, noise, faded + noise) == pytest.approx(2 / 3 * 12, abs=0.01)
    assert onset_loss_db(clean, np.zeros_like(clean), 2 * clean) == 0.0  # louder is no loss
    assert onset_loss_db(clean, noise, noise) == pytest.approx(40.0)
    assert onset_loss_db(noise, np.zeros_like(noise), noise) is None  # never silent, no onset


def test_highs_of_a_low_passed_file_are_down() -> None:
    clean = noise_like(np.zeros(RATE_HZ), 0.1)
    spectrum = np.fft.rfft(clean)
    spectrum[8000:] *= 0.1
    dull = np.fft.irfft(spectrum).astype(np.float32)
    assert highs_db(clean, clean) == 0.0
    assert highs_db(clean, dull) == pytest.approx(-20.0, abs=0.05)
    assert highs_db(np.zeros(RATE_HZ), clean) is None


def test_attenuation_leaves_out_the_first_two_seconds() -> None:
    noisy = noise_like(np.zeros(4 * RATE_HZ), 0.1)
    output = noisy.copy()
    output[2 * RATE_HZ :] *= 0.1
    assert attenuation_db(noisy, output) == pytest.approx(20.0, abs=0.01)
    assert attenuation_db(noisy, np.zeros_like(noisy)) == pytest.approx(80.0, abs=0.1)  # of silence: -100 dB


def test_hop_snr_is_the_known_ratio() -> None:
    clean, noise = noise_like(np.zeros(RATE_HZ), 0.1), np.full(RATE_HZ, 0.01, np.float32)
    ends_s = np.array([0.02, 0.5, 1.0])
    np.testing.assert_allclose(hop_snrs_db(clean, clean + noise, ends_s), 20.0, atol=1.0)
    np.testing.assert_allclose(hop_snrs_db(clean, clean, ends_s), 35.0)


def test_roc_of_a_perfect_and_of_a_blind_detector() -> None:
    truth = np.arange(1000) % 3 == 0
    perfect = roc(truth, truth.astype(float))
    assert (perfect["auc"], perfect["tpr_at_5"], perfect["eer"]) == (1.0, 1.0, 0.0)
    blind = roc(truth, np.full(1000, 0.7))
    assert blind["auc"] == pytest.approx(0.5) and blind["eer"] == pytest.approx(0.5)
    assert blind["tpr_at_5"] == pytest.approx(0.05)
    assert roc(truth, -truth.astype(float))["auc"] == 0.0
    assert roc(np.ones(5, bool), np.arange(5.0)) is None


def test_worse_needs_a_step_and_worse_two_two_of_them() -> None:
    before = {"pesq": 2.0, "stoi": 0.8, "si_sdr_db": 5.0}
    assert worse_than(before, before | {"pesq": 1.9995}) == {"worse": False, "worse_two": False}
    assert worse_than(before, before | {"pesq": 1.9}) == {"worse": True, "worse_two": False}
    assert worse_than(before, before | {"stoi": 0.7, "si_sdr_db": 4.0}) == {"worse": False, "worse_two": True}
    assert worse_than({}, {"clean_pesq": 4.0}) == {}


def test_outputs_that_cannot_be_scored_give_the_reason() -> None:
    clean = noise_like(np.zeros(RATE_HZ), 0.1)
    for output, reason in (
        (np.full_like(clean, np.nan), "not finite"),
        (clean[: RATE_HZ // 2], "0.50 s shorter"),
        (np.zeros_like(clean), "silent"),
    ):
        with pytest.raises(ValueError, match=reason):
            measure({"set": "snr"}, clean, clean, output)
