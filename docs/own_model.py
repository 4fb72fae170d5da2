"""Exports a small PyTorch denoiser as a model folder: `python docs/own_model.py FOLDER`.

Needs torch, onnx and numpy. The network is untrained; replace it with your own.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

RATE_HZ, WINDOW, HOP = 16_000, 320, 160
BINS = WINDOW // 2 + 1


class Denoiser(nn.Module):
    """Log power [N, S, bins] to gains [N, S, bins]."""

    def __init__(self) -> None:
        super().__init__()
        self.past = nn.ConstantPad1d((2, 0), 0.0)  # causal: two past hops, no future hop
        self.conv = nn.Conv1d(BINS, 48, 3)
        self.gru = nn.GRU(48, 48, batch_first=True)
        self.out = nn.Linear(48, BINS)

    def forward(self, log_power: torch.Tensor) -> torch.Tensor:
        x = self.conv(self.past(log_power.transpose(1, 2))).relu().transpose(1, 2)
        return torch.sigmoid(self.out(self.gru(x)[0]))


def clean(net: Denoiser, signal: np.ndarray) -> np.ndarray:
    """The processing that the manifest describes, in numpy. The output is late by window - hop."""
    window = np.sin(np.pi * np.arange(WINDOW) / WINDOW)
    padded = np.concatenate([np.zeros(WINDOW - HOP), signal])
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.fft.rfft(windows * window)
    features = np.log10(np.maximum(np.abs(spectrum) ** 2, 1e-12)).astype(np.float32)
    with torch.no_grad():
        gain = net(torch.from_numpy(features)[None])[0].numpy()
    out = np.zeros(len(padded))
    for hop, samples in enumerate(np.fft.irfft(spectrum * gain) * window):
        out[hop * HOP :][:WINDOW] += samples
    return out[: len(signal)]


def main(folder: Path) -> None:
    torch.manual_seed(1)
    net = Denoiser().eval()
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        net,
        (torch.zeros(1, 10, BINS),),
        str(folder / "model.onnx"),
        input_names=["log_power"],
        output_names=["gain"],
        dynamic_axes={"log_power": {0: "N", 1: "S"}, "gain": {0: "N", 1: "S"}},
        opset_version=17,
        dynamo=False,
    )
    sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "model.toml").write_text(f"""\
id = "my-model"
version = "1"
license = "MIT"
source = "docs/own_model.py"
training_data = "none: the network is untrained"

[domain]
input_rates_hz = [8000, 48000]
speech = "single talkers"

[[graph]]
file = "model.onnx"
sha256 = "{sha256}"
hidden_states = 2
inputs = [{{ name = "log_power", role = "log-power", shape = ["N", "S", {BINS}] }}]
outputs = [{{ name = "gain", role = "gain", shape = ["N", "S", {BINS}] }}]

[front_end]
rate_hz = {RATE_HZ}
window = {WINDOW}
hop = {HOP}
lookahead = 0
window_shape = "sqrt-hann"
""")
    signal = np.random.default_rng(1).uniform(-0.5, 0.5, RATE_HZ)
    signal.astype("<f4").tofile(folder / "golden" / "input.f32")
    clean(net, signal).astype("<f4").tofile(folder / "golden" / "output.f32")
    print(f"{folder}: now run `quietwire models check {folder}`")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
