"""The frame processor with the real package `livekit`, and an audio stream of it without a server."""

from __future__ import annotations

import asyncio
import logging
import math
import wave
from pathlib import Path

import numpy as np
import pytest
import quietwire
from conftest import SAMPLES, noisy

rtc = pytest.importorskip("livekit.rtc")

from quietwire.livekit import NoiseSuppressor


def frames_of(signal: np.ndarray, rate_hz: int, samples: int) -> list[rtc.AudioFrame]:
    """An int16 signal, shape (n,) or (n, c), as frames."""
    channels = 1 if signal.ndim == 1 else signal.shape[1]
    blocks = (signal[at : at + samples] for at in range(0, len(signal), samples))
    return [rtc.AudioFrame(block.tobytes(), rate_hz, channels, len(block)) for block in blocks]


def samples_of(frames: list[rtc.AudioFrame]) -> np.ndarray:
    return np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])


def signal_of(frames: int, channels: int | None = None) -> np.ndarray:
    return (noisy(frames, channels) * 20_000).astype(np.int16)


def speech_of(source: Path, work: Path) -> tuple[np.ndarray, int]:
    """A sample with one channel as int16, and its rate."""
    wav = work / "decoded.wav"
    quietwire.clean_file(source, wav, "tiny", attenuation_db=0, overwrite=True)
    with wave.open(str(wav), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()


@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize(("rate_hz", "samples"), [(8000, 160), (24_000, 1200), (48_000, 480), (48_000, 333)])
def test_each_frame_keeps_its_form_and_the_audio_is_that_of_a_stream(
    rate_hz: int, samples: int, channels: int | None
) -> None:
    signal = signal_of(rate_hz // 2, channels)
    processor = NoiseSuppressor(level="medium")
    frames = frames_of(signal, rate_hz, samples)
    frames[0].userdata["key"] = "value"
    outputs = [processor._process(frame) for frame in frames]
    for before, after in zip(frames, outputs, strict=True):
        form = ("sample_rate", "num_channels", "samples_per_channel", "duration", "userdata")
        assert all(getattr(before, name) == getattr(after, name) for name in form)
        assert len(after.data) == len(before.data)
    stream = quietwire.Denoiser(rate_hz, channels or 1, level="medium")
    assert np.array_equal(samples_of(outputs), stream.process(signal).reshape(-1))
    assert processor.latency == stream.latency
    assert 0 <= processor.speech_probability <= 1


def test_switched_off_it_still_runs_with_the_same_latency() -> None:
    signal = signal_of(48_000)
    processor = NoiseSuppressor()
    processor.enabled = False
    # `livekit` skips a processor that is not enabled: the audio would jump.
    assert processor.enabled
    assert processor.bypass
    output = samples_of([processor._process(frame) for frame in frames_of(signal, 48_000, 480)])
    latency = processor.latency
    assert latency == 960
    assert np.array_equal(output[latency:], signal[:-latency])
    processor.enabled = True
    again = samples_of([processor._process(frame) for frame in frames_of(signal, 48_000, 480)])
    assert processor.latency == latency
    assert not np.array_equal(again[latency:], signal[:-latency])


def test_the_default_level_follows_the_speech(tmp_path: Path) -> None:
    """Noisy speech gets the limit of 12 dB, clean speech passes, and the caller can end that."""
    for name, limit_db in [("office-fan.wav", 12), ("office-fan.clean.flac", 0.1)]:
        speech, rate_hz = speech_of(SAMPLES / name, tmp_path)
        processor = NoiseSuppressor()
        assert processor.attenuation_db == pytest.approx(0.1)
        output = samples_of([processor._process(frame) for frame in frames_of(speech, rate_hz, rate_hz // 100)])
        assert processor.attenuation_db == pytest.approx(limit_db)
        delayed = speech[: -processor.latency].astype(float)
        change = 10 * math.log10(np.mean(delayed**2) / np.mean(output[processor.latency :].astype(float) ** 2))
        assert (change > 0.5) == (limit_db == 12)
    processor.attenuation_db = 30
    for frame in frames_of(signal_of(48_000), 48_000, 480):
        processor._process(frame)
    assert processor.attenuation_db == 30
    processor._close()
    assert processor.attenuation_db == 30


def test_another_rate_or_participant_starts_a_new_stream() -> None:
    processor = NoiseSuppressor()
    processor._on_stream_info_updated(room_name="r", participant_identity="a", publication_sid="1")
    loud = frames_of(signal_of(4800), 48_000, 480)
    for frame in loud:
        processor._process(frame)
    assert processor._process(frames_of(signal_of(160), 16_000, 160)[0]).samples_per_channel == 160
    silence = frames_of(np.zeros(4800, np.int16), 48_000, 480)
    assert not samples_of([processor._process(frame) for frame in silence]).any()
    for frame in loud:
        processor._process(frame)
    # The room has another name, the source is the same: the stream goes on.
    processor._on_stream_info_updated(room_name="s", participant_identity="a", publication_sid="1")
    assert samples_of([processor._process(silence[0])]).any()
    processor._on_stream_info_updated(room_name="s", participant_identity="b", publication_sid="2")
    assert not samples_of([processor._process(silence[1])]).any()


def test_options_and_closing() -> None:
    assert NoiseSuppressor(level="low").attenuation_db == 12
    processor = NoiseSuppressor("tiny", attenuation_db=math.inf)
    processor.attenuation_db = 6
    with pytest.raises(quietwire.InvalidOptionError):
        processor.attenuation_db = -1
    assert processor.attenuation_db == 6
    processor._close()
    processor._close()
    assert processor.latency == 0
    assert processor._process(frames_of(signal_of(480), 48_000, 480)[0]).samples_per_channel == 480
    for options in [{"level": "max"}, {"attenuation_db": -1}, {"level": "low", "attenuation_db": 3}]:
        with pytest.raises(quietwire.InvalidOptionError):
            NoiseSuppressor(**options)
    with pytest.raises(quietwire.UnknownModelError):
        NoiseSuppressor("none")


def test_a_failed_model_is_logged_once_and_the_audio_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    processor = NoiseSuppressor(SAMPLES.parent / "tests/models/fragile")
    loud = np.full(9600, 29_000, np.int16)
    with caplog.at_level(logging.WARNING, "quietwire"):
        output = samples_of([processor._process(frame) for frame in frames_of(loud, 48_000, 480)])
    assert (abs(output[1440:].astype(int) - 29_000) <= 1).all()
    assert len(caplog.records) == 1
    assert "the audio goes on without it" in caplog.text


def test_an_audio_stream_of_livekit_runs_it(caplog: pytest.LogCaptureFixture) -> None:
    """The loop of `rtc.AudioStream` with events of a fake transport in place of a server."""
    from livekit.rtc._proto import ffi_pb2

    signal = signal_of(4800)
    frames = frames_of(signal, 48_000, 480)

    class Queue:
        def __init__(self) -> None:
            self.left = list(frames)

        async def wait_for(self, _: object) -> ffi_pb2.FfiEvent:
            event = ffi_pb2.FfiEvent()
            if self.left:
                info = event.audio_stream_event.frame_received.frame.info
                info.num_channels = len(self.left)
            else:
                event.audio_stream_event.eos.SetInParent()
            return event

    async def run() -> list[rtc.AudioFrame]:
        stream = object.__new__(rtc.AudioStream)
        queue = Queue()
        stream._ffi_queue = queue
        stream._processor = NoiseSuppressor(level="low")
        received: list[rtc.AudioFrameEvent | None] = []
        stream._queue = type("Sink", (), {"put": lambda _, event: received.append(event)})()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rtc.AudioFrame, "_from_owned_info", lambda _: queue.left.pop(0))
            client = type("Client", (), {"queue": type("Q", (), {"unsubscribe": lambda *_: None})()})
            patch.setattr("livekit.rtc.audio_stream.FfiClient", type("F", (), {"instance": client}))
            await stream._run()
        assert received.pop() is None
        return [event.frame for event in received]

    with caplog.at_level(logging.WARNING):
        outputs = asyncio.run(run())
    # `livekit` logs a warning and passes the frame on when a processor raises.
    assert caplog.records == []
    expected = quietwire.Denoiser(48_000, level="low").process(signal)
    assert np.array_equal(samples_of(outputs), expected)
