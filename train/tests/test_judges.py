"""Distill-MOS and ViSQOL: order of good and bad signals, and missing packages."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pesq")
pytest.importorskip("speechmos")

from quietwire_train import judges
from quietwire_train.audio import RATE_HZ, read_mono, resample
from quietwire_train.measures import measure

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def speech() -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy sample at 16 kHz."""
    names = ("office-fan.clean.flac", "office-fan.wav")
    return tuple(resample(read_mono(SAMPLES / name)[0], RATE_HZ, judges.RATE_HZ) for name in names)


def test_distill_mos_prefers_clean_speech(
    speech: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distillmos")
    clean, noisy = (judges.distill_mos(signal) for signal in speech)
    assert 1.0 <= noisy < clean - 1.0 and clean <= 5.0
    assert judges.distill_mos(0.1 * speech[0]) == pytest.approx(clean, abs=1e-3)
    assert capsys.readouterr().out == ""


def test_visqol_prefers_the_reference(speech: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("visqol")
    clean, noisy = speech
    assert judges.visqol(clean, clean) > 4.5
    assert 1.0 <= judges.visqol(clean, noisy) < 3.5
    halfway = judges.visqol(clean, 0.5 * (clean + noisy))
    assert judges.visqol(clean, noisy) < halfway < judges.visqol(clean, clean)


def test_scores_have_both_and_miss_them_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, noisy = (
        read_mono(SAMPLES / name)[0][: 3 * RATE_HZ] for name in ("office-fan.clean.flac", "office-fan.wav")
    )
    pair = {"set": "snr"}
    found = measure(pair, clean, noisy, noisy)
    for column, (module, _) in judges.PACKAGES.items():
        assert (column in found) == (importlib.util.find_spec(module) is not None)
    monkeypatch.setattr(judges.importlib.util, "find_spec", lambda name: None)
    assert len(judges.missing()) == 2 and "visqol-python" in judges.missing()[1]
    assert judges.distill_mos(clean) is None and judges.visqol(clean, noisy) is None
