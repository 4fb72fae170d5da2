"""What the filters for voice agents have in common: blocks of bytes through one stream."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ._denoiser import Denoiser
from ._native import level_db
from ._recognition import RecognitionLimit
from .errors import InferenceError, InvalidOptionError

if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    import numpy.typing as npt

    from ._native import Model, _Path

    _AgentLevel: TypeAlias = Literal["recognition", "low", "medium", "high"]

_log = logging.getLogger("quietwire")

# The strength of a filter is a limit in dB, or None: the limit for speech recognition, which follows the SNR.
RECOGNITION: float | None = None


class ByteStream:
    """One stream for interleaved int16 bytes. A failed inference is logged, and the audio goes on."""

    def __init__(
        self,
        rate_hz: int,
        channels: int,
        model: Model | _Path | None,
        strength: float | None,
        bypass: bool,
    ) -> None:
        self._recognition = RecognitionLimit() if strength is None else None
        self._stream = Denoiser(
            rate_hz,
            channels,
            model,
            attenuation_db=RecognitionLimit().attenuation_db if strength is None else strength,
            bypass=bypass,
            telemetry_hops=100,
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

    @property
    def attenuation_db(self) -> float:
        return self._stream.attenuation_db

    def set_strength(self, strength: float | None) -> None:
        if strength is None:
            self._recognition = self._recognition or RecognitionLimit()
            self._stream.attenuation_db = self._recognition.attenuation_db
        else:
            self._stream.attenuation_db = strength
            self._recognition = None

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
            if self._recognition is not None and self._recognition.update(telemetry):
                self._stream.attenuation_db = self._recognition.attenuation_db
        return output.tobytes()

    def close(self) -> None:
        self._stream.close()


def strength_of(level: _AgentLevel | None, attenuation_db: float | None) -> float | None:
    """The strength of the two arguments."""
    if level is not None and attenuation_db is not None:
        raise InvalidOptionError(
            f"expected level or attenuation_db, found both: {level!r} and {attenuation_db} dB"
        )
    if attenuation_db is None:
        return RECOGNITION if level is None or level == "recognition" else level_db(level)
    if not attenuation_db >= 0:
        raise InvalidOptionError(f"attenuation_db: expected 0 dB or more, found {attenuation_db}")
    return attenuation_db
