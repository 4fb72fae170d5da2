"""Recordings: the same result as the program, progress, and errors of files."""

from __future__ import annotations

import json
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
import quietwire
from conftest import RATE_HZ, SAMPLES, noisy, read_float_wav, write_float_wav


def test_files_and_arrays_equal_the_program_bit_by_bit(program: str, tmp_path: Path) -> None:
    signal = noisy(2 * RATE_HZ + 123, channels=2)
    source = tmp_path / "noisy.wav"
    write_float_wav(source, signal)
    options = ["--attenuation", "20", "--model", "tiny"]
    subprocess.run([program, "clean", source, "-o", tmp_path / "program.wav", *options], check=True)
    quietwire.clean_file(source, tmp_path / "python.wav", "tiny", level="medium")
    expected = (tmp_path / "program.wav").read_bytes()
    assert (tmp_path / "python.wav").read_bytes() == expected
    array = quietwire.clean_array(signal, RATE_HZ, "tiny", level="medium")
    assert np.array_equal(array.reshape(-1), read_float_wav(tmp_path / "program.wav"))


@pytest.mark.parametrize("name", ["telephone.wav", "street.flac"])
def test_samples_equal_the_program(program: str, tmp_path: Path, name: str) -> None:
    source = SAMPLES / name
    outputs = [tmp_path / f"{who}{source.suffix}" for who in ("program", "python")]
    subprocess.run([program, "clean", source, "-o", outputs[0]], check=True)
    quietwire.clean_file(str(source), str(outputs[1]))
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_the_report_and_all_outputs(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    report = quietwire.clean_file(
        SAMPLES / "telephone.wav",
        tmp_path / "clean.flac",
        channel_mode="linked",
        residual=tmp_path / "residual.wav",
        report=tmp_path / "report.json",
        spectrogram=tmp_path / "picture.png",
        telemetry=tmp_path / "hops.jsonl",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["output"]["container"] == "FLAC"
    assert report["model"]["id"] == "base"
    assert 0 <= report["speech_share"] <= 1
    frames = report["input"]["frames"]
    assert seen[-1] == (frames, frames)
    assert seen == sorted(seen)
    assert 2 <= len(seen) <= report["input"]["seconds"] + 2
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "hops.jsonl").read_text().count("\n") > 100


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt])
def test_an_exception_of_progress_stops_the_work_and_leaves_no_file(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    calls = 0

    def stop(done: int, total: int | None) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise kind("enough")

    with pytest.raises(kind, match="enough"):
        quietwire.clean_file(
            SAMPLES / "office-fan.wav", tmp_path / "out.wav", telemetry=tmp_path / "hops", progress=stop
        )
    assert calls == 2
    assert list(tmp_path.iterdir()) == []
    quietwire.clean_file(SAMPLES / "office-fan.wav", tmp_path / "out.wav")


def test_errors_of_files(tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    with pytest.raises(quietwire.FileMissingError, match="none.wav") as missing:
        quietwire.clean_file(tmp_path / "none.wav", output)
    assert missing.value.errno == 2
    assert missing.value.filename == tmp_path / "none.wav"
    (tmp_path / "text.wav").write_text("no audio at all, but some text")
    with pytest.raises(quietwire.InvalidAudioError, match="text.wav"):
        quietwire.clean_file(tmp_path / "text.wav", output)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(quietwire.InvalidAudioError, match="no audio"):
        quietwire.clean_file(tmp_path / "empty.wav", output)
    output.write_text("mine")
    with pytest.raises(quietwire.OutputExistsError, match="out.wav"):
        quietwire.clean_file(SAMPLES / "telephone.wav", output)
    assert output.read_text() == "mine"
    with pytest.raises(quietwire.OutputError, match="both an input and an output"):
        quietwire.clean_file(output, output)
    with pytest.raises(quietwire.FileAccessError):
        quietwire.clean_file(SAMPLES / "telephone.wav", tmp_path / "none" / "out.wav")
    with pytest.raises(quietwire.InvalidOptionError, match=".json or .html"):
        quietwire.clean_file(SAMPLES / "telephone.wav", tmp_path / "x.wav", report=tmp_path / "r.txt")
    with pytest.raises(quietwire.InvalidOptionError, match="found \"mp3\""):
        quietwire.clean_file(SAMPLES / "telephone.wav", tmp_path / "x.wav", format="mp3")
    quietwire.clean_file(SAMPLES / "telephone.wav", output, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.wav", "out.wav", "text.wav"]


def test_audio_of_all_depths_is_read(tmp_path: Path) -> None:
    signal = np.clip(noisy(100, channels=2), -0.9, 0.9)
    write_float_wav(tmp_path / "float.wav", signal)
    samples, rate_hz = quietwire.read_audio(tmp_path / "float.wav")
    assert (samples.dtype, rate_hz) == (np.float32, RATE_HZ)
    assert np.array_equal(samples, signal)
    for bits in (8, 16, 24, 32):
        scaled = np.round(signal.astype(np.float64) * 2.0 ** (bits - 1)).astype(np.int64)
        raw = (scaled + 128 if bits == 8 else scaled).astype("<i8").view(np.uint8).reshape(-1, 8)
        with wave.open(str(tmp_path / f"{bits}.wav"), "wb") as file:
            file.setparams((2, bits // 8, RATE_HZ, 0, "NONE", ""))
            file.writeframes(np.ascontiguousarray(raw[:, : bits // 8]).tobytes())
        samples, _ = quietwire.read_audio(str(tmp_path / f"{bits}.wav"))
        assert np.allclose(samples, scaled.reshape(signal.shape) / 2.0 ** (bits - 1), atol=1e-7)


def test_the_first_seconds_of_a_file_are_read() -> None:
    samples, rate_hz = quietwire.read_audio(SAMPLES / "telephone.wav")
    assert (samples.shape, rate_hz) == ((51_200,), 8000)
    for max_s in (0.5, 2.01, 1e300, float("inf")):
        part, _ = quietwire.read_audio(SAMPLES / "telephone.wav", max_s=max_s)
        assert np.array_equal(part, samples[: int(min(max_s * rate_hz, len(samples)))])
    for max_s in (0.0, -1.0, float("nan")):
        with pytest.raises(quietwire.InvalidOptionError, match="max_s: expected more than 0 s"):
            quietwire.read_audio(SAMPLES / "telephone.wav", max_s=max_s)


def test_what_is_no_audio_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio at all")
    with pytest.raises(quietwire.InvalidAudioError, match=r"text\.wav"):
        quietwire.read_audio(tmp_path / "text.wav")
    with pytest.raises(FileNotFoundError):
        quietwire.read_audio(tmp_path / "missing.wav")
