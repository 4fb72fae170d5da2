"""Videos: only the sound changes. ffmpeg and ffprobe make the inputs and measure the outputs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quietwire
from conftest import RATE_HZ, SAMPLES

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="needs ffmpeg"
)

METADATA = """\
;FFMETADATA1
title=A title
artist=Somebody
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2000
title=One
[CHAPTER]
TIMEBASE=1/1000
START=2000
END=4800
title=Two
"""
SUBTITLE_CODEC = {".mp4": "mov_text", ".mkv": "srt"}
AUDIO_CODEC = {".mp4": "aac", ".mkv": "flac"}


def run(*command: object) -> bytes:
    return subprocess.run([*map(str, command)], check=True, capture_output=True).stdout


def make_video(path: Path) -> None:
    """A video of 5 s: picture, two audio tracks of which the second is the default one, subtitles, chapters
    and tags. The sound of the second track starts 0.4 s late.
    """
    work = path.parent
    (work / "metadata").write_text(METADATA)
    (work / "lines.srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nHello\n")
    run(
        *"ffmpeg -v error -y -f lavfi -i testsrc=s=160x120:r=25:d=5 -i".split(),
        SAMPLES / "telephone.wav",
        *"-itsoffset 0.4 -i".split(),
        SAMPLES / "street.flac",
        *("-i", work / "lines.srt", "-i", work / "metadata"),
        *"-map 0 -map 1 -map 2 -map 3 -map_metadata 4 -map_chapters 4 -c:v mpeg4 -c:a".split(),
        AUDIO_CODEC[path.suffix],
        *("-c:s", SUBTITLE_CODEC[path.suffix]),
        *"-metadata:s:a:0 language=deu -metadata:s:a:1 language=eng".split(),
        *"-disposition:a:0 0 -disposition:a:1 default".split(),
        path,
    )
    (work / "metadata").unlink()
    (work / "lines.srt").unlink()


def probe(path: Path) -> dict[str, Any]:
    printed = run(
        "ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", "-show_chapters", path
    )
    return json.loads(printed)


def packets(path: Path, stream: str) -> list[bytes]:
    """Times and checksums of the packets of a stream."""
    printed = run("ffmpeg", "-v", "error", "-i", path, "-map", stream, "-c", "copy", "-f", "framehash", "-")
    return [line for line in printed.splitlines() if not line.startswith(b"#")]


def sound(path: Path, stream: str) -> np.ndarray:
    """The samples of a stream from time 0 of the file, mono at 48 kHz."""
    aligned = ("-af", "aresample=async=1:first_pts=0", "-ac", 1, "-ar", RATE_HZ, "-f", "f32le", "-")
    return np.frombuffer(run("ffmpeg", "-v", "error", "-i", path, "-map", stream, *aligned), "<f4")


def delay(first: np.ndarray, second: np.ndarray) -> int:
    """Delay of the second signal with the largest correlation, up to 50 ms, frames at 48 kHz."""
    reach, length = 2400, min(len(first), len(second)) - 4800
    part = first[reach:length]
    found = [np.dot(part, second[reach + by : length + by]) for by in range(-reach, reach + 1)]
    return int(np.argmax(found)) - reach


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_keeps_everything_but_its_sound(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / f"talk{suffix}", tmp_path / f"clean{suffix}"
    make_video(source)
    seen: list[tuple[int, int | None]] = []
    quietwire.clean_file(source, output, "tiny", progress=lambda *done: seen.append(done))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, output.name])
    assert 4 <= len(seen) <= 7 and seen == sorted(seen)

    before, after = probe(source), probe(output)
    assert before["chapters"] == after["chapters"]
    assert before["format"]["tags"] == after["format"]["tags"]
    # The chapters of MP4 are a stream too.
    assert len(before["streams"]) == len(after["streams"]) == (5 if suffix == ".mp4" else 4)
    for one, other in zip(before["streams"], after["streams"], strict=True):
        for key in ("codec_type", "codec_name", "disposition", "channels", "sample_rate"):
            assert one.get(key) == other.get(key), (key, one["index"])
        for key in ("language", "title"):
            assert one.get("tags", {}).get(key) == other.get("tags", {}).get(key)
    # The picture, the other audio track and the subtitles are copied bit by bit.
    for stream in ("0:0", "0:1", "0:3"):
        copied = packets(source, stream)
        assert copied and copied == packets(output, stream), stream

    noisy, cleaned = sound(source, "0:2"), sound(output, "0:2")
    assert abs(len(noisy) - len(cleaned)) <= 0.05 * RATE_HZ
    assert delay(noisy, cleaned) == 0
    assert np.sum(cleaned**2) < 0.9 * np.sum(noisy**2)


def test_the_sound_alone_has_the_length_of_the_track(tmp_path: Path) -> None:
    source = tmp_path / "talk.mkv"
    make_video(source)
    report = quietwire.clean_file(source, tmp_path / "talk.wav", "tiny", track=1)
    assert report["input"]["rate_hz"] == 8000
    quietwire.clean_file(SAMPLES / "telephone.wav", tmp_path / "alone.wav", "tiny")
    frames = report["input"]["frames"]
    assert frames == quietwire.clean_file(tmp_path / "alone.wav", tmp_path / "x.wav")["input"]["frames"]


def test_an_exception_of_progress_leaves_no_video(tmp_path: Path) -> None:
    source = tmp_path / "talk.mp4"
    make_video(source)

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quietwire.clean_file(source, tmp_path / "clean.mp4", "tiny", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["talk.mp4"]


def test_errors_of_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "silent.mp4"
    run(*"ffmpeg -v error -f lavfi -i testsrc=s=160x120:r=25:d=1 -c:v mpeg4".split(), silent)
    with pytest.raises(quietwire.FileError, match="without an audio track"):
        quietwire.clean_file(silent, tmp_path / "out.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(quietwire.FileError, match="text.mp4"):
        quietwire.clean_file(tmp_path / "text.mp4", tmp_path / "out.mp4")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(quietwire.FileError, match="ffmpeg|ffprobe"):
        quietwire.clean_file(silent, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["silent.mp4", "text.mp4"]
