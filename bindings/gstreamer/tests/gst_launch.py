"""Pipelines of gst-launch-1.0 over the samples: files at several rates, layouts, RTP, and the guide's commands.

    python bindings/gstreamer/tests/gst_launch.py

Needs the plugin where GStreamer finds it, numpy and soundfile. Each output is compared with that of the same pipeline
without the element: as many samples, aligned, and less noise.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[3]
# Segments of samples/office-fan.wav, in seconds (samples/README.md).
NOISE_ALONE_S = (0.2, 1.1)
SPEECH_S = (1.2, 7.8)
MIN_NOISE_REDUCTION_DB = 12
MAX_SPEECH_CHANGE_DB = 2
TIMEOUT_S = 600


def launch(pipeline: str, output: Path) -> tuple[np.ndarray, int]:
    """Runs a pipeline to its end. Returns the samples that it wrote, and their rate in Hz."""
    command = ["gst-launch-1.0", "-q", *shlex.split(f"{pipeline} ! filesink location={output}")]
    subprocess.run(command, cwd=ROOT, check=True, timeout=TIMEOUT_S)
    return soundfile.read(output, always_2d=True)


def level_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(samples**2) + 1e-20)


def lag(first: np.ndarray, second: np.ndarray) -> int:
    """By how many samples the first is later than the second."""
    size = 1 << (2 * len(second)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size)), size)
    found = int(np.argmax(correlation))
    return found - size if found > size // 2 else found


def check(name: str, output: np.ndarray, noisy: np.ndarray, rate_hz: int, clean: np.ndarray) -> None:
    """Less noise and the speech of the clean recording, in the same place."""
    assert output.shape == noisy.shape, f"{name}: expected {noisy.shape}, found {output.shape}"
    noise, speech = (
        slice(round(start * rate_hz), round(end * rate_hz)) for start, end in (NOISE_ALONE_S, SPEECH_S)
    )
    for channel in range(output.shape[1]):
        found = lag(output[:, channel], clean[:, 0])
        assert found == 0, f"{name}, channel {channel}: {found} samples late"
    # Amplitude of the clean recording within the output: the projection on it.
    reference = clean[speech, 0]
    kept_db = 20 * np.log10(np.dot(output[speech, 0], reference) / np.dot(reference, reference))
    reduction_db = level_db(noisy[noise]) - level_db(output[noise])
    print(f"{name}: {len(output)} frames, noise {-reduction_db:+.1f} dB, speech {kept_db:+.1f} dB")
    assert reduction_db > MIN_NOISE_REDUCTION_DB, f"{name}: noise {-reduction_db:+.1f} dB"
    assert abs(kept_db) < MAX_SPEECH_CHANGE_DB, f"{name}: speech {kept_db:+.1f} dB"


def clean_recording(folder: Path, rate_hz: int, through: str = "identity") -> np.ndarray:
    """The clean recording with one channel, resampled as the noisy one."""
    source = (
        "filesrc location=samples/office-fan.clean.flac ! flacparse ! flacdec ! audioconvert ! audioresample"
    )
    caps = f"audio/x-raw,rate={rate_hz},channels=1"
    return launch(f"{source} ! {caps} ! {through} ! wavenc", folder / "clean.wav")[0]


def check_files(folder: Path) -> None:
    source = "filesrc location=samples/office-fan.wav ! wavparse ! audioconvert ! audioresample"
    sink = "audioconvert ! audio/x-raw,layout=interleaved ! wavenc"
    formats = (("F32LE", 1, "interleaved"), ("S16LE", 1, "interleaved"), ("F32LE", 2, "non-interleaved"))
    for rate_hz in (8_000, 16_000, 44_100, 48_000, 96_000):
        clean = clean_recording(folder, rate_hz)
        for form, channels, layout in formats:
            caps = f"audio/x-raw,format={form},rate={rate_hz},channels={channels},layout={layout}"
            output, noisy = (
                launch(f"{source} ! {caps} ! {element} ! {sink}", folder / "file.wav")[0]
                for element in ("quietwiredenoise", "identity")
            )
            check(f"{rate_hz} Hz {form} {layout}", output, noisy, rate_hz, clean)


def check_rtp(folder: Path) -> None:
    """Packets of L16 keep every bit; Opus is decoded, cleaned and encoded again."""
    source = (
        "filesrc location=samples/office-fan.wav ! wavparse ! audioconvert ! audioresample "
        "! audio/x-raw,rate=48000,channels=1"
    )
    l16 = "audioconvert ! rtpL16pay ! rtpL16depay ! audioconvert ! audio/x-raw,format=S16LE"
    to_wav = "audioconvert ! audio/x-raw,format=S16LE ! wavenc"
    s16 = f"{source},format=S16LE"
    expected, rate_hz = launch(f"{s16} ! quietwiredenoise ! {to_wav}", folder / "file.wav")
    found, _ = launch(f"{s16} ! {l16} ! quietwiredenoise ! {l16} ! {to_wav}", folder / "rtp.wav")
    assert np.array_equal(found, expected), "L16: expected the samples of the file without RTP"
    print(f"RTP L16: {len(found)} frames, equal to the file")
    opus = "opusenc ! rtpopuspay ! rtpopusdepay ! opusdec plc=true ! audioconvert"
    noisy, _ = launch(f"{source} ! {opus} ! identity ! {to_wav}", folder / "noisy.wav")
    found, _ = launch(f"{source} ! {opus} ! quietwiredenoise ! {to_wav}", folder / "opus.wav")
    # The delay of the codec, which RTP does not carry, is in all three.
    check("RTP Opus", found, noisy, rate_hz, clean_recording(folder, rate_hz, opus))


def check_guide(folder: Path) -> None:
    """The shell blocks of the guide, except those that need devices."""
    text = (ROOT / "docs/gstreamer.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3, f"expected 3 blocks, found {len(blocks)}"
    (folder / "samples").symlink_to(ROOT / "samples")
    for block in blocks:
        print(f"$ {block}", end="", flush=True)
        subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, check=True, timeout=TIMEOUT_S)
    noisy, rate_hz = soundfile.read(ROOT / "samples/office-fan.wav", always_2d=True)
    output, _ = soundfile.read(folder / "cleaned.gst.wav", always_2d=True)
    check("guide", output, noisy, rate_hz, clean_recording(folder, rate_hz))
    street = soundfile.info(ROOT / "samples/street.flac")
    cleaned = soundfile.info(folder / "cleaned.gst.flac")
    assert (cleaned.frames, cleaned.channels) == (street.frames, street.channels), "guide: street.flac"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_files(Path(folder))
        check_rtp(Path(folder))
        check_guide(Path(folder))


if __name__ == "__main__":
    main()
