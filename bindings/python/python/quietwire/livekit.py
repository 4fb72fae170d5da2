"""Noise suppression for agents of LiveKit: `pip install quietwire[livekit]`.

    room_io.AudioInputOptions(noise_cancellation=quietwire.livekit.NoiseSuppressor())
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from livekit import rtc

from ._agents import ByteStream, strength_of

if TYPE_CHECKING:
    from ._agents import _AgentLevel
    from ._native import Model, _Path

__all__ = ["NoiseSuppressor"]

_log = logging.getLogger("quietwire")


class NoiseSuppressor(rtc.FrameProcessor[rtc.AudioFrame]):
    """A frame processor for the incoming audio of one participant.

    Each `AudioFrame` becomes a new one with the same rate, channels and number of samples, and audio that
    is later by a constant latency: 20 ms at 48 kHz, 24.1 ms at 24 kHz, 26.1 ms at 16 kHz. A frame with
    another rate or another number of channels starts a new stream, as does another participant.

    Args:
        model: a `quietwire.Model`, the id of a model of the package, or the path of a model's folder.
        level: "recognition" (the default), "low" (12 dB), "medium" (20 dB) or "high" (40 dB). With
            "recognition" clean speech passes unchanged, and noisy speech with at most 12 dB less noise;
            "high" is for people who listen.
        attenuation_db: the largest attenuation, dB, in place of `level`.

    Raises:
        InvalidOptionError, UnknownModelError: as `quietwire.Denoiser`.

    Make one for each participant: pass a function, `noise_cancellation=lambda _: NoiseSuppressor()`, when
    several participants speak to one agent.
    """

    def __init__(
        self,
        model: Model | _Path | None = None,
        *,
        level: _AgentLevel | None = None,
        attenuation_db: float | None = None,
    ) -> None:
        self._strength = strength_of(level, attenuation_db)
        self._bypass = False
        self._source: tuple[str, str] | None = None
        # A wrong model raises here, not in the first frame.
        stream = ByteStream(48_000, 1, model, self._strength, self._bypass)
        self._model: Model = stream.model
        self._stream: ByteStream | None = stream

    @property
    def enabled(self) -> bool:
        """Always true. LiveKit skips a processor that is not enabled, and the audio would jump by the
        latency. Setting it to false sets `bypass`, which keeps the latency.
        """
        return True

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self.bypass = not value

    @property
    def bypass(self) -> bool:
        """Whether the audio passes unchanged, with the same latency. A change fades over 20 ms."""
        return self._bypass

    @bypass.setter
    def bypass(self, value: bool) -> None:
        self._bypass = value
        if self._stream is not None:
            self._stream.set_bypass(value)

    @property
    def attenuation_db(self) -> float:
        """The largest attenuation, dB. With the level "recognition" it follows the SNR of the speech. Setting it
        ends that. A change takes effect over 50 ms. NaN when the processor is closed and has no limit of its own.
        """
        if self._strength is not None:
            return self._strength
        return float("nan") if self._stream is None else self._stream.attenuation_db

    @attenuation_db.setter
    def attenuation_db(self, value: float) -> None:
        if self._stream is not None:
            self._stream.set_strength(value)
        self._strength = value

    @property
    def latency(self) -> int:
        """Delay of the present stream, samples for each channel at the rate of the latest frame. Constant
        for each rate. 0 when the processor is closed.
        """
        return 0 if self._stream is None else self._stream.latency

    @property
    def speech_probability(self) -> float:
        """The probability of speech in the latest 10 ms, 0 to 1. NaN before the first audio."""
        return float("nan") if self._stream is None else self._stream.speech_probability

    def _new_stream(self, rate_hz: int, channels: int) -> ByteStream:
        return ByteStream(rate_hz, channels, self._model, self._strength, self._bypass)

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        stream = self._stream
        if stream is None or (stream.rate_hz, stream.channels) != (frame.sample_rate, frame.num_channels):
            stream = self._new_stream(frame.sample_rate, frame.num_channels)
            _log.debug("new stream: %d Hz, %d channels", frame.sample_rate, frame.num_channels)
            self._stream = stream
        # The buffer of a frame may be longer than its samples.
        samples = frame.num_channels * frame.samples_per_channel
        audio = stream.process(memoryview(frame.data).cast("B")[: 2 * samples])
        return rtc.AudioFrame(
            audio,
            frame.sample_rate,
            frame.num_channels,
            frame.samples_per_channel,
            userdata=frame.userdata,
        )

    def _on_stream_info_updated(
        self, *, room_name: str, participant_identity: str, publication_sid: str
    ) -> None:
        source = (participant_identity, publication_sid)
        if self._source not in (None, source):
            # No audio of one participant may reach another.
            self._close()
        self._source = source

    def _close(self) -> None:
        """Frees the stream. A later frame starts a new one."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None
