"""Players, spectrograms and the gallery page."""

from __future__ import annotations

import base64
import html.parser
import io
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import quietwire
from conftest import RATE_HZ, SAMPLES, noisy, write_float_wav
from quietwire import notebook


class Tags(html.parser.HTMLParser):
    """All tags, and a check that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def urls(self, tag: str) -> list[str]:
        return [attributes["src"] or "" for name, attributes in self.found if name == tag]


def sound(url: str) -> tuple[np.ndarray, int]:
    """The samples of a player, shape (n, c), and their rate."""
    with wave.open(io.BytesIO(base64.b64decode(url.removeprefix("data:audio/wav;base64,")))) as file:
        words = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return words.reshape(-1, file.getnchannels()), file.getframerate()


@pytest.mark.parametrize("channels_first", [False, True])
def test_a_comparison_has_players_of_the_input_and_the_output(channels_first: bool) -> None:
    signal = (noisy(RATE_HZ, channels=2) * 20_000).astype(np.int16)
    samples = np.ascontiguousarray(signal.T) if channels_first else signal
    comparison = notebook.compare(samples, RATE_HZ, "tiny", level="low", channels_first=channels_first)
    cleaned = quietwire.clean_array(signal, RATE_HZ, "tiny", level="low")
    players = Tags(comparison.to_html(picture=False)).urls("audio")
    for url, expected in zip(players, [signal, cleaned], strict=True):
        found, rate_hz = sound(url)
        assert rate_hz == RATE_HZ
        assert np.array_equal(found, expected)
    assert comparison._repr_html_() == comparison.to_html()


def test_players_clip_and_refuse_what_is_no_sound() -> None:
    found, _ = sound(Tags(notebook.player(np.array([2.0, -2.0, 0.5]), 8000)).urls("audio")[0])
    assert found[:, 0].tolist() == [32_767, -32_768, 16_384]
    with pytest.raises(quietwire.InvalidBlockError, match="found int32"):
        notebook.player(np.zeros(3, np.int32), 8000)
    with pytest.raises(quietwire.InvalidBlockError, match=r"found \(1, 2, 3\)"):
        notebook.player(np.zeros((1, 2, 3)), 8000)
    with pytest.raises(quietwire.InvalidBlockError, match="found list"):
        notebook.player([0.0], 8000)


def test_without_matplotlib_there_are_players_and_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    comparison = notebook.compare(noisy(4800), RATE_HZ)
    assert Tags(comparison.to_html()).urls("img") == []
    with pytest.raises(ImportError, match=r"quietwire\[notebook\]"):
        comparison.figure()
    with pytest.raises(ImportError, match=r"quietwire\[notebook\]"):
        comparison.to_html(picture=True)


def test_a_spectrogram_shows_each_tone_at_its_frequency_and_level() -> None:
    pytest.importorskip("matplotlib")
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = (0.1 * np.sin(2 * np.pi * 3000 * time_s)).astype(np.float32)
    figure = notebook.spectrogram({"tone": tone, "silence": np.zeros_like(tone)}, RATE_HZ)
    first, second = figure.axes[:2]
    assert [plot.get_title(loc="left") for plot in (first, second)] == ["tone", "silence"]
    picture = first.images[0].get_array()
    bins, columns = picture.shape
    middle = np.asarray(picture[:, columns // 2])
    assert abs(middle.argmax() * RATE_HZ / 2 / (bins - 1) - 3000) < 30
    assert abs(middle.max() + 20) < 0.5
    assert np.asarray(second.images[0].get_array()).max() == -120
    assert first.images[0].get_clim() == second.images[0].get_clim()
    # Nothing of pyplot, which holds every figure until it is closed.
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("frames", [0, 1, 100])
def test_short_recordings_have_a_picture(frames: int) -> None:
    pytest.importorskip("matplotlib")
    url = Tags(notebook.compare(noisy(frames), RATE_HZ).to_html()).urls("img")[0]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["office-fan.wav", "street.flac", "telephone.wav"])
def test_a_file_is_compared_as_it_is_cleaned(name: str, tmp_path: Path) -> None:
    comparison = notebook.compare_file(SAMPLES / name, "tiny")
    quietwire.clean_file(SAMPLES / name, tmp_path / "out.wav", "tiny")
    cleaned, rate_hz = quietwire.read_audio(tmp_path / "out.wav")
    cleaned = cleaned.reshape(len(cleaned), -1)
    assert (comparison.rate_hz, comparison.after.shape) == (rate_hz, cleaned.shape)
    assert np.abs(comparison.after - cleaned).max() < 1e-4
    assert len(notebook.compare_file(SAMPLES / name, max_s=0.5).before) == rate_hz // 2


def make_folder(folder: Path) -> None:
    (folder / "deep").mkdir(parents=True)
    write_float_wav(folder / "a <b> & c.wav", noisy(RATE_HZ))
    (folder / "deep" / "d.flac").write_bytes((SAMPLES / "street.flac").read_bytes())
    (folder / "broken.mp3").write_text("no audio at all")
    (folder / "notes.txt").write_text("left out")
    (folder / ".hidden.wav").write_text("left out")


def test_the_gallery_has_every_recording_and_every_failure(tmp_path: Path) -> None:
    make_folder(tmp_path / "in")
    page = tmp_path / "gallery.html"
    page.write_text("of an earlier run")
    seen: list[str] = []
    result = notebook.gallery(
        tmp_path / "in", page, "tiny", max_s=1, title="Fans & more", picture=False, progress=seen.append
    )
    assert result.recordings == ["a <b> & c.wav", str(Path("deep/d.flac"))]
    assert [name for name, _ in result.failures] == ["broken.mp3"]
    assert seen == sorted([*result.recordings, "broken.mp3"])
    text = page.read_text(encoding="utf-8")
    assert result.size == page.stat().st_size
    tags = Tags(text)
    assert len(tags.urls("audio")) == 4
    assert "<h1>Fans &amp; more</h1>" in text and "<h2>a &lt;b&gt; &amp; c.wav</h2>" in text
    assert re.search(r'<p class="failed">.*broken.mp3', text)
    # Nothing is loaded from elsewhere.
    assert all(url.startswith("data:") for tag in ("audio", "img") for url in tags.urls(tag))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.html", "in"]


def test_a_wrong_gallery_leaves_no_page(tmp_path: Path) -> None:
    make_folder(tmp_path / "in")
    page = tmp_path / "gallery.html"
    with pytest.raises(quietwire.FileMissingError, match="folder of recordings"):
        notebook.gallery(tmp_path / "none", page)
    with pytest.raises(quietwire.InvalidOptionError, match="max_s"):
        notebook.gallery(tmp_path / "in", page, max_s=0)
    with pytest.raises(quietwire.UnknownModelError):
        notebook.gallery(tmp_path / "in", page, "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(quietwire.InvalidAudioError, match="found none"):
        notebook.gallery(tmp_path / "empty", page)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "in"]


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    make_folder(tmp_path / "in")
    command = [sys.executable, "-m", "quietwire.notebook", "in", "-o", "page.html", "--max-s", "1", "--level", "low"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "page.html: 2 recordings, 1 failed, " in done.stdout
    assert "failed: broken.mp3: " in done.stderr
    assert "at most 12 dB" in (tmp_path / "page.html").read_text(encoding="utf-8")
    (tmp_path / "in/broken.mp3").unlink()
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    wrong = subprocess.run([*command[:3], "none"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: ")
