"""Noise suppression for Pipecat: `pip install quietwire[pipecat]`.

    TransportParams(audio_in_filter=quietwire.pipecat.QuietwireFilter())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.frames.frames import FilterControlFrame, FilterEnableFrame, FilterUpdateSettingsFrame

from ._agents import ByteStream, strength_of
from .errors import ClosedError, InvalidBlockError, InvalidOptionError

if TYPE_CHECKING:
    from ._agents import _AgentLevel
    from ._native import Model, _Path

__all__ = ["QuietwireFilter"]


class QuietwireFilter(BaseAudioFilter):
    """An audio filter for a transport.

    Each block of bytes becomes one of the same length, later by a constant latency: 20 ms at 48 kHz,
    24.1 ms at 24 kHz, 26.1 ms at 16 kHz, 32.4 ms at 8 kHz. A `FilterEnableFrame(False)` makes the filter
    pass its input with the same latency; the change fades over 20 ms. A `FilterUpdateSettingsFrame` takes
    `{"level": ...}` or `{"attenuation_db": ...}`.

    Args:
        model: a `quietwire.Model`, the id of a model of the package, or the path of a model's folder.
        level: "recognition" (the default), "low" (12 dB), "medium" (20 dB) or "high" (40 dB). With
            "recognition" clean speech passes unchanged, and noisy speech with at most 12 dB less noise;
            "high" is for people who listen.
        attenuation_db: the largest attenuation, dB, in place of `level`.
        channels: interleaved channels of the transport.

    Raises:
        InvalidOptionError, UnknownModelError: as `quietwire.Denoiser`.
    """

    def __init__(
        self,
        model: Model | _Path | None = None,
        *,
        level: _AgentLevel | None = None,
        attenuation_db: float | None = None,
        channels: int = 1,
    ) -> None:
        self._strength = strength_of(level, attenuation_db)
        self._channels = channels
        self._bypass = False
        self._stream: ByteStream | None = None
        # A wrong model or channel count raises here, not when the transport starts.
        self._model: Model = ByteStream(48_000, channels, model, self._strength, False).model

    @property
    def latency(self) -> int:
        """Delay, samples for each channel at the rate of the transport. 0 while the filter is stopped."""
        return 0 if self._stream is None else self._stream.latency

    @property
    def speech_probability(self) -> float:
        """The probability of speech in the latest 10 ms, 0 to 1. NaN before the first audio."""
        return float("nan") if self._stream is None else self._stream.speech_probability

    async def start(self, sample_rate: int) -> None:
        """Creates the stream. `sample_rate`: 8000 to 192000 Hz."""
        self._stream = ByteStream(
            sample_rate, self._channels, self._model, self._strength, self._bypass
        )

    async def stop(self) -> None:
        """Frees the stream."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    async def process_frame(self, frame: FilterControlFrame) -> None:
        """Switches the filter on or off, or changes its attenuation.

        Raises:
            InvalidOptionError: another setting than `level` and `attenuation_db`, or a wrong value.
        """
        if isinstance(frame, FilterEnableFrame):
            self._bypass = not frame.enable
            if self._stream is not None:
                self._stream.set_bypass(self._bypass)
        elif isinstance(frame, FilterUpdateSettingsFrame):
            settings = dict(frame.settings)
            strength = strength_of(settings.pop("level", None), settings.pop("attenuation_db", None))
            if settings or not frame.settings:
                found = ", ".join(map(repr, frame.settings)) or "none"
                raise InvalidOptionError(f"settings: expected 'level' or 'attenuation_db', found {found}")
            self._strength = strength
            if self._stream is not None:
                self._stream.set_strength(strength)

    async def filter(self, audio: bytes) -> bytes:
        """Cleans interleaved int16 samples. Returns as many bytes.

        Raises:
            InvalidBlockError: not a multiple of 2 bytes for each channel.
            ClosedError: before `start` or after `stop`.
        """
        if self._stream is None:
            raise ClosedError("expected a started filter, found a stopped one: call `start` first")
        if len(audio) % (2 * self._channels):
            raise InvalidBlockError(
                f"audio: expected a multiple of {2 * self._channels} bytes, found {len(audio)}"
            )
        return self._stream.process(audio)
