"""Writes a small model with the block `time_frequency`, as the training package exports it:
`make_test_models.py` calls it. Its weights are random; it serves to compare executors."""

from __future__ import annotations

from pathlib import Path

import torch

from quietwire_train import manifest
from quietwire_train.export import build_onnx, describe
from quietwire_train.frontend import FrontEnd
from quietwire_train.net import Net, NetShape

FRONT = FrontEnd(linear_bins=73, phase_bins=72)
SHAPE = NetShape("time_frequency", 6, 2, 10, tap_bins=72, tap_order=2, input_hops=3, frequency=4)


def write_time_frequency(root: Path, front: FrontEnd = FRONT, shape: NetShape = SHAPE) -> None:
    torch.manual_seed(3)
    net = Net(front, shape)
    torch.nn.init.normal_(net.taps.weight, std=0.2)
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    model = build_onnx(front, shape, weights, bits=8)
    raw = model.SerializeToString(deterministic=True)
    described = describe(
        front,
        shape,
        model,
        raw,
        id="time-frequency",
        version="0.1.0",
        license="MIT",
        source="scripts/make_time_frequency_model.py",
        training_data="none",
    )
    folder = root / "time_frequency"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(raw)
    (folder / "model.toml").write_text(manifest.to_toml(described))
