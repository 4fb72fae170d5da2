"""What every stream keeps, seen from Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
import quietwire
from conftest import RATE_HZ, noisy


def blocks_of(signal: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    """The signal, split into blocks of these lengths in turn."""
    blocks, at, turn = [], 0, 0
    while at < len(signal):
        length = lengths[turn % len(lengths)]
        blocks.append(signal[at : at + length])
        at, turn = at + length, turn + 1
    return blocks


def cleaned(signal: np.ndarray, lengths: list[int], **options: object) -> np.ndarray:
    stream = quietwire.Denoiser(RATE_HZ, **options)
    return np.concatenate([stream.process(block) for block in blocks_of(signal, lengths)])


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("shape", [(480,), (480, 1), (333,), (0,)])
def test_a_block_keeps_its_shape_and_dtype(shape: tuple[int, ...], dtype: type) -> None:
    output = quietwire.Denoiser(RATE_HZ).process(np.zeros(shape, dtype))
    assert output.shape == shape
    assert output.dtype == dtype


@pytest.mark.parametrize("lengths", [[480], [1, 7, 2000], [333], [48_000]])
def test_the_split_into_blocks_does_not_change_a_bit(lengths: list[int]) -> None:
    signal = noisy(24_000)
    assert np.array_equal(cleaned(signal, lengths), cleaned(signal, [24_000]))


def test_channels_first_is_the_same_signal_transposed() -> None:
    signal = noisy(9600, channels=2)
    first = quietwire.Denoiser(RATE_HZ, 2, channels_first=True)
    output = first.process(np.ascontiguousarray(signal.T))
    assert output.shape == (2, 9600)
    assert output.flags.c_contiguous
    assert np.array_equal(output.T, quietwire.Denoiser(RATE_HZ, 2).process(signal))
    assert first.flush().shape == (2, first.latency)


def test_arrays_that_are_not_contiguous_are_read_in_order() -> None:
    signal = noisy(9600, channels=3)
    one = np.ascontiguousarray(signal[:, 1])
    output = quietwire.Denoiser(RATE_HZ).process(signal[:, 1])
    assert np.array_equal(output, quietwire.Denoiser(RATE_HZ).process(one))
    backwards = quietwire.Denoiser(RATE_HZ).process(one[::-1])
    assert np.array_equal(backwards, quietwire.Denoiser(RATE_HZ).process(one[::-1].copy()))


def test_the_input_is_not_changed() -> None:
    signal = noisy(4800)
    before = signal.copy()
    quietwire.Denoiser(RATE_HZ).process(signal)
    assert np.array_equal(signal, before)
    signal.flags.writeable = False
    quietwire.Denoiser(RATE_HZ).process(signal)


def test_independent_channels_equal_streams_of_their_own() -> None:
    signal = noisy(9600, channels=2)
    output = quietwire.Denoiser(RATE_HZ, 2).process(signal)
    for channel in range(2):
        alone = quietwire.Denoiser(RATE_HZ).process(np.ascontiguousarray(signal[:, channel]))
        assert np.array_equal(output[:, channel], alone)


def test_int16_equals_rounded_float() -> None:
    signal = (noisy(24_000) * 20_000).astype(np.int16)
    output = cleaned(signal, [480])
    expected = cleaned((signal / 32768).astype(np.float32), [480])
    assert np.array_equal(output, np.clip(np.round(expected * 32768), -32768, 32767))


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100, 48_000])
def test_bypass_is_the_input_later_by_the_latency(rate_hz: int) -> None:
    signal = noisy(rate_hz // 4)
    stream = quietwire.Denoiser(rate_hz, bypass=True)
    output = np.concatenate([stream.process(signal), stream.flush()])
    assert np.array_equal(output[stream.latency :], signal)
    assert not output[: stream.latency].any()
    stream.bypass = False
    assert not stream.bypass
    assert stream.latency == quietwire.Denoiser(rate_hz).latency


def test_noise_is_removed_and_the_limit_is_kept() -> None:
    noise = (0.02 * np.random.default_rng(2).standard_normal(3 * RATE_HZ)).astype(np.float32)

    def reduction_db(**options: object) -> float:
        output = quietwire.clean_array(noise, RATE_HZ, **options)
        return float(10 * np.log10(np.mean(noise[RATE_HZ:] ** 2) / np.mean(output[RATE_HZ:] ** 2)))

    assert reduction_db() > 25
    assert 10 < reduction_db(level="low") < 13
    assert reduction_db(attenuation_db=math.inf) > 25
    assert reduction_db(attenuation_db=0) == 0


def test_settings_can_be_read_and_changed() -> None:
    stream = quietwire.Denoiser(44_100, 2, "tiny", level="medium")
    assert (stream.rate_hz, stream.channels, stream.model.id) == (44_100, 2, "tiny")
    assert stream.attenuation_db == 20
    stream.set_level("low")
    assert stream.attenuation_db == 12
    stream.attenuation_db = math.inf
    assert stream.attenuation_db == math.inf
    assert "44100" in repr(stream)


def test_reset_equals_a_new_stream() -> None:
    signal = noisy(9600)
    stream = quietwire.Denoiser(RATE_HZ)
    first = stream.process(signal)
    stream.reset()
    assert np.array_equal(stream.process(signal), first)


def test_hop_aligned_has_one_hop_less_latency() -> None:
    aligned = quietwire.Denoiser(RATE_HZ, hop_aligned=True)
    assert aligned.latency == quietwire.Denoiser(RATE_HZ).latency - aligned.hop_frames
    assert aligned.process(noisy(960)).shape == (960,)


@pytest.mark.parametrize("rate_hz", [8000, 44_100, 48_000])
@pytest.mark.parametrize("frames", [0, 1, 100, 20_000])
def test_a_cleaned_array_is_aligned_and_has_the_length_of_its_input(frames: int, rate_hz: int) -> None:
    signal = noisy(frames)
    unchanged = quietwire.clean_array(signal, rate_hz, attenuation_db=0)
    assert np.array_equal(unchanged, signal)
    output = quietwire.clean_array(signal, rate_hz)
    stream = quietwire.Denoiser(rate_hz)
    both = np.concatenate([stream.process(signal), stream.flush()])
    assert np.array_equal(output, both[stream.latency :])


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("lengths", [[100], [480], [30_000]])
def test_cleaned_blocks_together_equal_the_cleaned_array(lengths: list[int], channels_first: bool) -> None:
    signal = noisy(20_000, channels=2)
    stream = quietwire.Denoiser(RATE_HZ, 2, channels_first=channels_first)
    blocks = blocks_of(signal, lengths)
    outputs = list(stream.clean_blocks(block.T if channels_first else block for block in blocks))
    joined = np.concatenate([output.T if channels_first else output for output in outputs])
    assert np.array_equal(joined, quietwire.clean_array(signal, RATE_HZ))
    # The generator empties the stream first.
    again = list(stream.clean_blocks([signal[:50].T if channels_first else signal[:50]]))
    assert sum(output.size for output in again) == 100
    assert list(stream.clean_blocks([])) == []


def test_a_long_array_equals_one_block() -> None:
    signal = (noisy(3 * RATE_HZ + 77, channels=2) * 30_000).astype(np.int16)
    stream = quietwire.Denoiser(RATE_HZ, 2)
    both = np.concatenate([stream.process(signal), stream.flush()])
    assert np.array_equal(quietwire.clean_array(signal, RATE_HZ), both[stream.latency :])


def test_float64_arrays_are_cleaned_as_float32() -> None:
    signal = noisy(9600)
    output = quietwire.clean_array(signal.astype(np.float64), RATE_HZ)
    assert output.dtype == np.float64
    assert np.array_equal(output, quietwire.clean_array(signal, RATE_HZ))


def test_telemetry_has_one_record_for_each_hop() -> None:
    stream = quietwire.Denoiser(RATE_HZ)
    assert stream.telemetry().shape == (0,)
    stream.process(noisy(48_000))
    telemetry = stream.telemetry()
    assert telemetry.dtype == quietwire.telemetry_dtype()
    assert np.array_equal(telemetry["hop"], np.arange(100))
    assert np.allclose(telemetry["time_s"], 0.01 * np.arange(1, 101))
    speech = telemetry["speech_probability"]
    assert ((speech >= 0) & (speech <= 1)).all()
    assert ((telemetry["snr_db"] >= -30) & (telemetry["snr_db"] <= 60)).all()
    assert (telemetry["gain_db"] <= 1e-3).all()
    assert telemetry["gain_db"].min() < -6
    assert (telemetry["input_dbfs"][5:] > -60).all()
    assert stream.telemetry().shape == (0,)
    assert stream.stats()["hops"] == 100
    telemetry["hop"] = 0  # The array belongs to the caller.


def test_one_pass_cleans_and_returns_telemetry() -> None:
    signal = noisy(2 * RATE_HZ + 100)
    output, telemetry = quietwire.clean_array(signal, RATE_HZ, telemetry=True)
    assert np.array_equal(output, quietwire.clean_array(signal, RATE_HZ))
    stream = quietwire.Denoiser(RATE_HZ)
    stream.process(signal)
    stream.flush()
    assert np.array_equal(telemetry, stream.telemetry())


def test_non_finite_samples_can_be_repaired() -> None:
    signal = noisy(9600)
    bad = signal.copy()
    bad[100], bad[200] = np.nan, np.inf
    stream = quietwire.Denoiser(RATE_HZ, repair_non_finite=True)
    output = stream.process(bad)
    assert np.isfinite(output).all()
    assert stream.stats()["repaired_samples"] == 2
    signal[[100, 200]] = 0
    assert np.array_equal(output, quietwire.Denoiser(RATE_HZ).process(signal))


def test_models_are_shared_by_streams() -> None:
    assert quietwire.Model.embedded_ids() == ["base", "tiny"]
    model = quietwire.Model.embedded("tiny")
    assert (model.id, model.rate_hz, model.hop_frames) == ("tiny", 48_000, 480)
    signal = noisy(4800)
    expected = quietwire.clean_array(signal, RATE_HZ, "tiny")
    assert np.array_equal(quietwire.clean_array(signal, RATE_HZ, model), expected)
