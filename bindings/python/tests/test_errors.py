"""Each wrong use raises an exception that states what was expected and what came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import quietwire
from conftest import RATE_HZ, noisy

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (np.zeros(480), "expected dtype float32 or int16, found float64"),
        (np.zeros(480, np.int32), "expected dtype float32 or int16, found int32"),
        (np.zeros(480, ">f4"), "expected dtype float32 or int16, found >f4"),
        ([0.0] * 480, "expected a numpy array of float32 or int16, found list"),
        (b"\0" * 960, "expected a numpy array of float32 or int16, found bytes"),
        (None, "expected a numpy array of float32 or int16, found NoneType"),
        (np.zeros((480, 2), np.float32), r"expected shape \(n,\) or \(n, 1\), found \(480, 2\)"),
        (np.zeros((1, 480), np.float32), r"found \(1, 480\); .* need channels_first=True"),
        (np.zeros((2, 3, 4), np.float32), r"found \(2, 3, 4\)"),
        (np.float32(0), "expected a numpy array"),
        (np.array(0, np.float32), r"expected shape \(n,\) or \(n, 1\), found \(\)"),
        (np.array([0, np.nan], np.float32), "expected finite samples, found NaN in frame 1, channel 0"),
        (np.array([[0], [-np.inf]], np.float32), "expected finite samples, found -inf in frame 1"),
    ],
)
def test_a_wrong_block_changes_nothing(block: object, text: str) -> None:
    signal = noisy(9600)
    stream, untouched = quietwire.Denoiser(RATE_HZ), quietwire.Denoiser(RATE_HZ)
    stream.process(signal)
    untouched.process(signal)
    with pytest.raises(quietwire.InvalidBlockError, match=text):
        stream.process(block)
    assert np.array_equal(stream.process(signal), untouched.process(signal))


def test_interleaved_samples_of_two_channels_are_refused_with_the_remedy() -> None:
    with pytest.raises(quietwire.InvalidBlockError, match=r"expected shape \(n, 2\), found \(960,\).*reshape"):
        quietwire.Denoiser(RATE_HZ, 2).process(np.zeros(960, np.float32))
    with pytest.raises(quietwire.InvalidBlockError, match="channels_first=True"):
        quietwire.Denoiser(RATE_HZ, 2).process(np.zeros((2, 480), np.float32))
    with pytest.raises(quietwire.InvalidBlockError, match="channels_first=False"):
        quietwire.Denoiser(RATE_HZ, 2, channels_first=True).process(np.zeros((480, 2), np.float32))


def test_another_rate_is_refused() -> None:
    stream = quietwire.Denoiser(RATE_HZ)
    stream.process(noisy(480), rate_hz=48_000)
    with pytest.raises(quietwire.InvalidBlockError, match="48000 Hz, found 16000 Hz"):
        stream.process(noisy(480), rate_hz=16_000)


def test_a_hop_aligned_stream_takes_complete_hops() -> None:
    stream = quietwire.Denoiser(RATE_HZ, hop_aligned=True)
    with pytest.raises(quietwire.InvalidBlockError, match="expected"):
        stream.process(noisy(479))


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"rate_hz": 7999}, quietwire.InvalidOptionError, "7999 Hz .* expected 8000 to 192000"),
        ({"rate_hz": -1}, quietwire.InvalidOptionError, "-1 Hz .* expected 8000 to 192000"),
        ({"rate_hz": 2**40}, quietwire.InvalidOptionError, "expected 8000 to 192000"),
        ({"channels": 0}, quietwire.InvalidOptionError, "0 channels .* expected 1 to 64"),
        ({"channels": 65}, quietwire.InvalidOptionError, "65 channels .* expected 1 to 64"),
        ({"level": "max"}, quietwire.InvalidOptionError, '"low", "medium" or "high", found "max"'),
        ({"level": "low", "attenuation_db": 3}, quietwire.InvalidOptionError, "found both"),
        ({"attenuation_db": -1}, quietwire.InvalidOptionError, "-1 dB"),
        ({"attenuation_db": float("nan")}, quietwire.InvalidOptionError, "NaN"),
        ({"channel_mode": "mono"}, quietwire.InvalidOptionError, "found \"mono\""),
        ({"telemetry_hops": 60_001}, quietwire.InvalidOptionError, "expected 0 to 60000"),
        ({"model": "none"}, quietwire.UnknownModelError, "base, tiny, or the path"),
        ({"model": 5}, quietwire.UnknownModelError, "found int"),
        ({"model": Path("/none")}, quietwire.ModelReadError, "model.toml"),
        ({"rate_hz": 16_000, "hop_aligned": True}, quietwire.UnsupportedByModelError, "16000 Hz"),
    ],
)
def test_wrong_options(options: dict[str, object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        quietwire.Denoiser(**{"rate_hz": RATE_HZ, **options})


def test_a_damaged_model_folder_is_refused(tmp_path: Path) -> None:
    folder = ROOT / "models/tiny"
    manifest = (folder / "model.toml").read_text()
    for file in folder.glob("*.onnx"):
        (tmp_path / file.name).write_bytes(file.read_bytes()[:-1] + b"x")
    (tmp_path / "model.toml").write_text(manifest)
    with pytest.raises(quietwire.ModelMismatchError, match="sha256"):
        quietwire.Model.from_folder(tmp_path)
    (tmp_path / "model.toml").write_text("id = 3")
    with pytest.raises(quietwire.InvalidManifestError):
        quietwire.Denoiser(RATE_HZ, model=str(tmp_path))
    assert quietwire.Model.from_folder(folder).id == "tiny"


def test_a_closed_stream_raises() -> None:
    with quietwire.Denoiser(RATE_HZ) as stream:
        stream.process(noisy(480))
        assert not stream.closed
    assert stream.closed
    stream.close()
    for call in [
        lambda: stream.process(noisy(480)),
        stream.flush,
        stream.reset,
        stream.telemetry,
        stream.stats,
        lambda: stream.bypass,
        lambda: list(stream.clean_blocks([])),
    ]:
        with pytest.raises(quietwire.ClosedError, match="expected an open Denoiser"):
            call()
    assert stream.latency > 0


def test_a_wrong_array_names_the_remedy() -> None:
    with pytest.raises(quietwire.InvalidBlockError, match="found 48000; .*channels_first=True"):
        quietwire.clean_array(np.zeros((2, 48_000), np.float32), RATE_HZ)
    with pytest.raises(quietwire.InvalidBlockError, match="float32, float64 or int16, found int32"):
        quietwire.clean_array(np.zeros(480, np.int32), RATE_HZ)
    with pytest.raises(quietwire.InvalidBlockError, match="finite"):
        quietwire.clean_array(np.full(480, np.nan), RATE_HZ)


def test_exceptions_have_a_common_base_a_code_and_a_builtin_base() -> None:
    codes = {
        quietwire.InvalidOptionError: (1, ValueError),
        quietwire.UnsupportedByModelError: (2, ValueError),
        quietwire.InvalidBlockError: (3, ValueError),
        quietwire.ModelReadError: (4, OSError),
        quietwire.InvalidManifestError: (5, ValueError),
        quietwire.ModelMismatchError: (6, ValueError),
        quietwire.EngineError: (7, RuntimeError),
        quietwire.InferenceError: (8, RuntimeError),
        quietwire.UnknownModelError: (9, LookupError),
        quietwire.ClosedError: (0, ValueError),
        quietwire.FileError: (0, Exception),
        quietwire.FileAccessError: (0, OSError),
        quietwire.FileMissingError: (0, FileNotFoundError),
        quietwire.InvalidAudioError: (0, ValueError),
        quietwire.OutputError: (0, Exception),
        quietwire.OutputExistsError: (0, FileExistsError),
    }
    for kind, (code, builtin) in codes.items():
        assert issubclass(kind, quietwire.QuietwireError)
        assert issubclass(kind, builtin)
        assert kind.code == code


def test_a_failed_model_returns_the_delayed_input() -> None:
    """The engine of this model fails on loud hops."""
    model = quietwire.Model.from_folder(ROOT / "tests/models/fragile")
    stream = quietwire.Denoiser(RATE_HZ, model=model)
    loud, quiet = np.full(4800, 0.9, np.float32), 0.01 * noisy(4800)
    with pytest.raises(quietwire.InferenceError, match="the model failed on hop .*: .*") as failed:
        stream.process(loud)
    assert failed.value.block.shape == loud.shape
    assert np.allclose(failed.value.block[1440:], 0.9, atol=1e-5)
    assert stream.stats()["failed_hops"] > 0
    stream.reset()
    assert np.array_equal(stream.process(quiet), quietwire.Denoiser(RATE_HZ, model=model).process(quiet))
    with pytest.raises(quietwire.InferenceError) as failed:
        quietwire.clean_array(np.concatenate([loud, quiet]), RATE_HZ, model)
    assert failed.value.block.shape == (9600,)
    assert np.allclose(failed.value.block[1440:3840], 0.9, atol=1e-5)
