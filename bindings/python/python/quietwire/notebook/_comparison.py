"""A recording before and after noise suppression."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import quietwire

from . import _wav

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

    from quietwire._native import _ChannelMode, _Level, _Path

WINDOW_S = 0.04
MAX_COLUMNS = 1200
MAX_HZ = 24_000
RANGE_DB = 90.0
"""From the loudest point of both spectrograms down to the darkest color."""
DPI = 100

STYLE = """\
.quietwire { font: 14px/1.4 system-ui, sans-serif; max-width: 60rem; }
.quietwire div { display: flex; gap: .75rem; align-items: center; margin: .25rem 0; flex-wrap: wrap; }
.quietwire span { min-width: 4rem; }
.quietwire audio { flex: 1; min-width: 15rem; }
.quietwire img { width: 100%; height: auto; display: block; }"""
# Playing one pauses the other, which goes on from the same position.
SCRIPT = """\
for (const pair of document.querySelectorAll(".quietwire:not([data-linked])")) {
  pair.dataset.linked = "";
  const players = [...pair.querySelectorAll("audio")];
  for (const player of players)
    player.addEventListener("play", () => {
      for (const other of players)
        if (other !== player && !other.paused) {
          other.pause();
          player.currentTime = other.currentTime;
        }
    });
}"""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two aligned signals of one recording. A notebook shows it as players and spectrograms."""

    before: npt.NDArray[np.float32]
    """The recording, shape (n, c), full scale 1."""
    after: npt.NDArray[np.float32]
    """The cleaned recording, of the same shape."""
    rate_hz: int

    def figure(self) -> Figure:
        """The spectrograms of both signals.

        Raises:
            ImportError: matplotlib is missing.
        """
        return spectrogram({"before": self.before, "after": self.after}, self.rate_hz)

    def to_html(self, *, picture: bool | None = None, style: bool = True) -> str:
        """A fragment of HTML with two players and the spectrograms. Sounds and picture are inside of it.

        Args:
            picture: whether the fragment has the spectrograms. Default: if matplotlib is installed.
            style: whether the fragment has its style and its script. A page needs them once.

        Raises:
            ImportError: `picture` is true and matplotlib is missing.
        """
        parts = [
            f"<div><span>{label}</span>{player(samples, self.rate_hz)}</div>"
            for label, samples in (("before", self.before), ("after", self.after))
        ]
        if picture or (picture is None and _has_matplotlib()):
            parts.append(f'<img alt="spectrograms before and after" src="{_picture_url(self.figure())}">')
        body = "\n".join(parts)
        fragment = f'<div class="quietwire">\n{body}\n</div>'
        return f"<style>\n{STYLE}\n</style>\n{fragment}\n<script>\n{SCRIPT}\n</script>" if style else fragment

    def _repr_html_(self) -> str:
        return self.to_html()


def compare(
    samples: npt.NDArray[Any],
    rate_hz: int,
    model: quietwire.Model | _Path | None = None,
    *,
    level: _Level | None = None,
    attenuation_db: float | None = None,
    channel_mode: _ChannelMode = "independent",
    channels_first: bool = False,
) -> Comparison:
    """Cleans a recording in memory for a comparison. The arguments are those of `quietwire.clean_array`."""
    after = quietwire.clean_array(
        samples,
        rate_hz,
        model,
        level=level,
        attenuation_db=attenuation_db,
        channel_mode=channel_mode,
        channels_first=channels_first,
    )
    first = channels_first and samples.ndim == 2
    return Comparison(_frames(samples.T if first else samples), _frames(after.T if first else after), rate_hz)


def compare_file(
    source: _Path,
    model: quietwire.Model | _Path | None = None,
    *,
    level: _Level | None = None,
    attenuation_db: float | None = None,
    channel_mode: _ChannelMode = "independent",
    max_s: float = 60.0,
) -> Comparison:
    """Cleans a file of any format of `quietwire.clean_file` for a comparison of its first `max_s` seconds.

    Raises:
        InvalidOptionError, FileMissingError, InvalidAudioError: as `quietwire.clean_file`.
    """
    samples, rate_hz = quietwire.read_audio(source, max_s=max_s)
    return compare(
        samples, rate_hz, model, level=level, attenuation_db=attenuation_db, channel_mode=channel_mode
    )


def player(samples: npt.NDArray[Any], rate_hz: int) -> str:
    """An audio player as HTML. The sound is in it, as WAV with 16 bits.

    Args:
        samples: float32 or float64 in [-1, 1], or int16; shape (n,) or (n, c). Louder samples are clipped.
        rate_hz: sample rate, Hz.
    """
    sound = base64.b64encode(_wav.encode(_frames(samples), rate_hz)).decode()
    return f'<audio controls preload="metadata" src="data:audio/wav;base64,{sound}"></audio>'


def spectrogram(signals: dict[str, npt.NDArray[Any]], rate_hz: int) -> Figure:
    """The spectrograms of aligned signals below each other, with one color scale, as a figure of matplotlib.

    Windows of 40 ms (Hann), power in dB relative to a sine of full scale, mean of the channels.

    Args:
        signals: label and samples of each, as for `player`.
        rate_hz: sample rate, Hz.

    Raises:
        ImportError: matplotlib is missing.
    """
    if not _has_matplotlib():
        raise ImportError("spectrograms need matplotlib: pip install quietwire[notebook]")
    from matplotlib.figure import Figure

    powers_db = {label: _power_db(_frames(samples), rate_hz) for label, samples in signals.items()}
    top_db = max((float(power.max()) for power in powers_db.values()), default=0.0)
    figure = Figure(figsize=(9.6, 0.6 + 2.4 * max(1, len(signals))), dpi=DPI, layout="constrained")
    axes = figure.subplots(max(1, len(signals)), 1, sharex=True, squeeze=False)[:, 0]
    image = None
    for plot, (label, power_db) in zip(axes, powers_db.items()):
        seconds = len(signals[label]) / rate_hz
        image = plot.imshow(
            power_db,
            origin="lower",
            aspect="auto",
            extent=(0, max(seconds, WINDOW_S), 0, rate_hz / 2000),
            cmap="magma",
            vmin=top_db - RANGE_DB,
            vmax=top_db,
        )
        plot.set_ylim(0, min(rate_hz / 2, MAX_HZ) / 1000)
        plot.set_title(label, loc="left", fontsize="medium")
        plot.set_ylabel("kHz")
    axes[-1].set_xlabel("s")
    if image is not None:
        figure.colorbar(image, ax=list(axes), label="dBFS")
    return figure


def _power_db(samples: npt.NDArray[np.float32], rate_hz: int) -> npt.NDArray[np.float64]:
    """Power of each bin and window, shape (bins, windows), dB relative to a sine of full scale."""
    window = max(16, round(WINDOW_S * rate_hz))
    hop = max(window // 4, -(-len(samples) // MAX_COLUMNS))
    padded = np.pad(samples, ((window // 2, window), (0, 0)))
    weights = np.hanning(window)
    scale = (2 / weights.sum()) ** 2
    columns = [
        np.mean(np.abs(np.fft.rfft(padded[at : at + window] * weights[:, None], axis=0)) ** 2, axis=1)
        for at in range(0, max(1, len(samples)), hop)
    ]
    powers = np.maximum(scale * np.array(columns, np.float64).T, 1e-12)
    powers_db: npt.NDArray[np.float64] = np.multiply(10.0, np.log10(powers))
    return powers_db


def _frames(samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Samples as float32 of shape (n, c), full scale 1."""
    if not isinstance(samples, np.ndarray) or samples.ndim not in (1, 2):
        found = samples.shape if isinstance(samples, np.ndarray) else type(samples).__name__
        raise quietwire.InvalidBlockError(f"samples: expected an array of shape (n,) or (n, c), found {found}")
    if samples.dtype == np.int16:
        samples = samples / np.float32(32_768)
    elif samples.dtype not in (np.float32, np.float64):
        raise quietwire.InvalidBlockError(
            f"samples: expected dtype float32, float64 or int16, found {samples.dtype}"
        )
    return np.ascontiguousarray(samples if samples.ndim == 2 else samples[:, None], np.float32)


def _picture_url(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _has_matplotlib() -> bool:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def text(value: object) -> str:
    """Text for HTML."""
    return html.escape(str(value))
