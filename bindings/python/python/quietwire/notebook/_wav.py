"""WAV files: those that `quietwire.clean_file` writes, and 16-bit ones for players."""

from __future__ import annotations

import io
import struct
import wave
from typing import TYPE_CHECKING, Any

import numpy as np

from quietwire import InvalidAudioError

if TYPE_CHECKING:
    import numpy.typing as npt

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def read(path: str, max_s: float) -> tuple[npt.NDArray[np.float32], int]:
    """The first `max_s` seconds, shape (n, c), full scale 1, and the sample rate, Hz."""
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            raise InvalidAudioError(f"{path}: expected a WAV file, found another format")
        form, channels, rate_hz, bits = 0, 0, 0, 0
        while len(chunk := file.read(8)) == 8:
            name, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
            if name == b"data":
                frame_bytes = max(1, channels * bits // 8)
                frames = min(size // frame_bytes, int(max_s * rate_hz))
                return _samples(file.read(frames * frame_bytes), form, bits).reshape(-1, channels), rate_hz
            content = file.read(size + size % 2)
            if name == b"fmt ":
                form, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", content[:16])
                if form == EXTENSIBLE:
                    form = struct.unpack("<H", content[24:26])[0]
    raise InvalidAudioError(f"{path}: expected samples, found none")


def _samples(content: bytes, form: int, bits: int) -> npt.NDArray[np.float32]:
    dtypes: dict[tuple[int, int], Any] = {(FLOAT, 32): "<f4", (FLOAT, 64): "<f8", (PCM, 16): "<i2", (PCM, 32): "<i4"}
    if (form, bits) == (PCM, 8):
        return ((np.frombuffer(content, np.uint8) - 128.0) / 128.0).astype(np.float32)
    if (form, bits) == (PCM, 24):
        three = np.frombuffer(content, np.uint8).reshape(-1, 3)
        # The lowest byte of four stays 0.
        four = np.zeros((len(three), 4), np.uint8)
        four[:, 1:] = three
        return (four.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    if (form, bits) not in dtypes:
        raise InvalidAudioError(f"expected 8, 16, 24 or 32 bits or float, found format {form} with {bits} bits")
    samples = np.frombuffer(content, dtypes[form, bits])
    return (samples if form == FLOAT else samples / 2.0 ** (bits - 1)).astype(np.float32)


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
