"""The code around public networks; their weights are not part of this project."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))
import peers


@pytest.mark.parametrize("root", [True, False])
def test_an_identity_network_gives_perfect_reconstruction(root: bool) -> None:
    signal = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    window = np.hanning(513)[:-1]
    square = np.square(window[:256]) + np.square(window[256:])
    both = (np.sqrt(window), np.sqrt(window)) if root else (window, window / np.tile(square, 2))
    np.testing.assert_allclose(peers.spectral(signal, *both, lambda mix: mix), signal, atol=1e-5)


def test_a_missing_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.wav"
    soundfile.write(source, np.zeros(4800, np.float32), 48_000)
    words = ["peers.py", "gtcrn", str(source), str(tmp_path / "out.wav"), "--models", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    assert peers.main() == 1
    assert "gtcrn_simple.onnx" in capsys.readouterr().err
