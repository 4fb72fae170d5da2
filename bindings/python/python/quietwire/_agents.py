"""What the filters for voice agents have in common: blocks of bytes through one stream."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ._denoiser import Denoiser
from ._native import level_db
from .errors import InferenceError, InvalidOptionError

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._native import Model, _Level, _Path

_log = logging.getLogger("quietwire")

# Speech recognizers get more words wrong when more noise is removed: 12 dB is the weakest level.
DEFAULT_LEVEL: _Level = "low"


class ByteStream:
    """One stream for interleaved int16 bytes. A failed inference is logged, and the audio goes on."""

    def __init__(
        self,
        rate_hz: int,
        channels: int,
        model: Model | _Path | None,
        attenuation_db: float,
        bypass: bool,
    ) -> None:
        self._stream = Denoiser(
            rate_hz, channels, model, attenuation_db=attenuation_db, bypass=bypass, telemetry_hops=100
        )
        self._channels = channels
        self._failed = False
        self.speech_probability = float("nan")

    @property
    def model(self) -> Model:
        return self._stream.model

    @property
    def rate_hz(self) -> int:
        return self._stream.rate_hz

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def latency(self) -> int:
        return self._stream.latency

    def set_bypass(self, bypass: bool) -> None:
        self._stream.bypass = bypass

    def set_attenuation_db(self, attenuation_db: float) -> None:
        self._stream.attenuation_db = attenuation_db

    def process(self, audio: bytes | bytearray | memoryview) -> bytes:
        """As many bytes as `audio` has, `latency` frames later."""
        block: npt.NDArray[np.int16] = np.frombuffer(audio, np.int16)
        if self._channels > 1:
            block = block.reshape(-1, self._channels)
        try:
            output = self._stream.process(block)
        except InferenceError as error:
            # Once for each stream: a broken model fails on every hop.
            if not self._failed:
                _log.warning("noise suppression failed, the audio goes on without it: %s", error)
            self._failed = True
            output = error.block.astype(np.int16, copy=False)
        telemetry = self._stream.telemetry()
        if len(telemetry):
            self.speech_probability = float(telemetry["speech_probability"][-1])
        return output.tobytes()

    def close(self) -> None:
        self._stream.close()


def limit_db(level: _Level | None, attenuation_db: float | None) -> float:
    """The attenuation limit of the two arguments, dB."""
    if level is not None and attenuation_db is not None:
        raise InvalidOptionError(
            f"expected level or attenuation_db, found both: {level!r} and {attenuation_db} dB"
        )
    if attenuation_db is None:
        return level_db(DEFAULT_LEVEL if level is None else level)
    if not attenuation_db >= 0:
        raise InvalidOptionError(f"attenuation_db: expected 0 dB or more, found {attenuation_db}")
    return attenuation_db
