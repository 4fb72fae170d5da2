"""WAV files with 16 bits, for players."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def encode(samples: npt.NDArray[np.float32], rate_hz: int) -> bytes:
    """A WAV file with 16 bits of samples of shape (n, c), full scale 1."""
    words = np.clip(np.round(samples * 32_768), -32_768, 32_767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(words.tobytes())
    return buffer.getvalue()
