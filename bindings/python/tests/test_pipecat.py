"""The audio filter in a real transport and pipeline of Pipecat, with a fake source of audio."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import quietwire
from conftest import noisy

pytest.importorskip("pipecat")

from pipecat.frames.frames import (
    FilterEnableFrame,
    FilterUpdateSettingsFrame,
    Frame,
    InputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams
from quietwire.pipecat import QuietwireFilter


def signal_of(frames: int) -> np.ndarray:
    return (noisy(frames) * 20_000).astype(np.int16)


async def filtered(audio_filter: QuietwireFilter, signal: np.ndarray, samples: int) -> np.ndarray:
    outputs = []
    for at in range(0, len(signal), samples):
        block = signal[at : at + samples].tobytes()
        output = await audio_filter.filter(block)
        assert len(output) == len(block)
        outputs.append(np.frombuffer(output, np.int16))
    return np.concatenate(outputs)


@pytest.mark.parametrize(("rate_hz", "samples"), [(8000, 160), (16_000, 320), (24_000, 480), (16_000, 77)])
def test_each_block_keeps_its_length_and_the_audio_is_that_of_a_stream(rate_hz: int, samples: int) -> None:
    async def run() -> None:
        signal = signal_of(rate_hz // 2)
        audio_filter = QuietwireFilter(level="medium")
        await audio_filter.start(rate_hz)
        stream = quietwire.Denoiser(rate_hz, level="medium")
        assert np.array_equal(await filtered(audio_filter, signal, samples), stream.process(signal))
        assert audio_filter.latency == stream.latency
        assert 0 <= audio_filter.speech_probability <= 1
        await audio_filter.stop()

    asyncio.run(run())


def test_switched_off_it_keeps_the_latency() -> None:
    async def run() -> None:
        signal = signal_of(16_000)
        audio_filter = QuietwireFilter()
        await audio_filter.process_frame(FilterEnableFrame(enable=False))
        await audio_filter.start(16_000)
        latency = audio_filter.latency
        output = await filtered(audio_filter, signal, 320)
        assert np.array_equal(output[latency:], signal[:-latency])
        await audio_filter.process_frame(FilterEnableFrame(enable=True))
        output = await filtered(audio_filter, signal, 320)
        assert audio_filter.latency == latency
        assert not np.array_equal(output[latency:], signal[:-latency])

    asyncio.run(run())


def test_settings_and_errors() -> None:
    async def run() -> None:
        audio_filter = QuietwireFilter("tiny")
        with pytest.raises(quietwire.ClosedError, match="start"):
            await audio_filter.filter(b"\0\0")
        await audio_filter.start(16_000)
        await audio_filter.process_frame(FilterUpdateSettingsFrame(settings={"attenuation_db": 0}))
        signal = signal_of(8000)
        output = await filtered(audio_filter, signal, 320)
        # From the second half on, the change of 50 ms is over.
        assert np.array_equal(output[4000:], signal[4000 - audio_filter.latency : -audio_filter.latency])
        for settings in [{}, {"gain": 3}, {"level": "low", "gain": 3}, {"level": "max"}, {"attenuation_db": -1}]:
            with pytest.raises(quietwire.InvalidOptionError):
                await audio_filter.process_frame(FilterUpdateSettingsFrame(settings=settings))
        # The level of speech recognition starts as for clean speech.
        await audio_filter.process_frame(FilterUpdateSettingsFrame(settings={"level": "recognition"}))
        output = await filtered(audio_filter, signal[:1600], 320)
        assert output.shape == (1600,)
        with pytest.raises(quietwire.InvalidBlockError, match="multiple of 2 bytes, found 3"):
            await audio_filter.filter(b"\0\0\0")
        await audio_filter.stop()
        await audio_filter.stop()
        with pytest.raises(quietwire.ClosedError):
            await audio_filter.filter(b"\0\0")

    asyncio.run(run())
    with pytest.raises(quietwire.InvalidOptionError):
        QuietwireFilter(channels=0)
    with pytest.raises(quietwire.UnknownModelError):
        QuietwireFilter("none")


def test_a_transport_runs_it() -> None:
    """A pipeline with an input transport whose audio comes from an array."""
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineParams, PipelineTask

    signal = signal_of(8000)
    received: list[bytes] = []
    done = asyncio.Event()

    class Source(BaseInputTransport):
        async def start(self, frame: StartFrame) -> None:
            await super().start(frame)
            await self.set_transport_ready(frame)
            self.create_task(self._send())

        async def _send(self) -> None:
            for at in range(0, len(signal), 320):
                audio = signal[at : at + 320].tobytes()
                await self.push_audio_frame(InputAudioRawFrame(audio, sample_rate=16_000, num_channels=1))

    class Sink(FrameProcessor):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, InputAudioRawFrame):
                received.append(frame.audio)
                if len(received) == len(signal) // 320:
                    done.set()
            await self.push_frame(frame, direction)

    async def run() -> None:
        audio_filter = QuietwireFilter(level="low")
        params = TransportParams(audio_in_enabled=True, audio_in_filter=audio_filter)
        pipeline = Pipeline([Source(params), Sink()])
        task = PipelineTask(pipeline, params=PipelineParams(audio_in_sample_rate=16_000))
        running = asyncio.ensure_future(PipelineRunner(handle_sigint=False).run(task))
        await asyncio.wait_for(done.wait(), 60)
        await task.cancel()
        await asyncio.wait_for(running, 60)
        assert audio_filter.latency == 0, "the transport stops the filter"

    asyncio.run(run())
    output = np.frombuffer(b"".join(received), np.int16)
    assert np.array_equal(output, quietwire.Denoiser(16_000, level="low").process(signal))
