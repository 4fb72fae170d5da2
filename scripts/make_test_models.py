"""Writes the small models under tests/models: graphs whose effect is known exactly.

    pip install onnx numpy && python scripts/make_test_models.py tests/models

unity      48 kHz, 960/480: every gain is one.
half       the same, every gain is one half: -6 dB.
lookahead  16 kHz, 512/128, one hop of lookahead, a state and an identity filter of order 2.
fragile    48 kHz: every gain is one; the engine fails on loud hops.

And those of test_model_roles.py.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import test_model_roles
from onnx import TensorProto, checker, helper, numpy_helper


def graph(features: int, bands: int, gain: float, taps: tuple[int, int] | None) -> bytes:
    """Gains that do not depend on the features; with taps also a state that counts hops."""
    weights = {
        "zeros": np.zeros((features, bands), np.float32),
        "gains": np.full(bands, gain, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["features", "zeros"], ["flat"]),
        helper.make_node("Add", ["flat", "gains"], ["gain"]),
    ]
    inputs = [("features", [features])]
    outputs = [("gain", [bands])]
    if taps is not None:
        order, bins = taps
        identity = np.zeros((order, 2, bins), np.float32)
        identity[0, 0] = 1.0
        weights |= {
            "flat_taps": np.zeros((features, order * 2 * bins), np.float32),
            "identity": identity,
            "form": np.array([-1, order, 2, bins], np.int64),
            "one": np.ones(3, np.float32),
        }
        nodes += [
            helper.make_node("MatMul", ["features", "flat_taps"], ["no_taps"]),
            helper.make_node("Reshape", ["no_taps", "form"], ["shaped"]),
            helper.make_node("Add", ["shaped", "identity"], ["taps"]),
            helper.make_node("Add", ["count", "one"], ["count_next"]),
        ]
        inputs.append(("count", [3]))
        outputs += [("taps", [order, 2, bins]), ("count_next", [3])]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *s]) for n, s in inputs],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *s]) for n, s in outputs],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def write(
    root: Path,
    name: str,
    rate_hz: int,
    window: int,
    hop: int,
    lookahead: int,
    gain: float,
    taps: tuple[int, int] | None = None,
) -> None:
    centres = [*range(0, 16), *range(16, window // 2, 12), window // 2]
    raw = graph(len(centres), len(centres), gain, taps)
    tensors = [f'{{ name = "gain", role = "gain", shape = ["N", {len(centres)}] }}']
    states = []
    if taps is not None:
        order, bins = taps
        tensors.append(f'{{ name = "taps", role = "taps", shape = ["N", {order}, 2, {bins}] }}')
        tensors.append('{ name = "count_next", role = "state", shape = ["N", 3], of = "count" }')
        states.append('{ name = "count", role = "state", shape = ["N", 3], initial = 0.0 }')
    inputs = [f'{{ name = "features", role = "features", shape = ["N", {len(centres)}] }}', *states]
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(raw)
    (folder / "model.toml").write_text(
        f"""\
id = "{name}"
version = "1"
licence = "MIT OR Apache-2.0"
source = "scripts/make_test_models.py"
training_data = "none"

[domain]
input_rates_hz = [8000, 192000]
speech = "none: a test model"

[[graph]]
file = "model.onnx"
sha256 = "{hashlib.sha256(raw).hexdigest()}"
inputs = [{", ".join(inputs)}]
outputs = [{", ".join(tensors)}]

[front_end]
rate_hz = {rate_hz}
window = {window}
hop = {hop}
lookahead = {lookahead}
window_shape = "sqrt-hann"

[features.bands]
centres = {centres}
range_low_db = -80.0
range_high_db = 20.0
range_step_db = 20.0
range_offset = 2.0

[features.level]
first_bin = 2
attack = 0.1
release_db = 0.03
floor_db = -100.0
"""
    )


def write_fragile(root: Path) -> None:
    """Gains of one, from a table whose index the largest magnitude gives: loud hops are outside."""
    bins = 481
    nodes = [
        helper.make_node("ReduceMax", ["magnitude"], ["peak"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["peak", "scale"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["entry"], axis=0),
        helper.make_node("Mul", ["magnitude", "zero"], ["none"]),
        helper.make_node("Add", ["none", "entry"], ["gain"]),
    ]
    weights = {
        "scale": np.array(1 / 50, np.float32),
        "table": np.ones(4, np.float32),
        "zero": np.array(0, np.float32),
    }
    shape = ["N", bins]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("magnitude", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("gain", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    checker.check_model(made, full_check=True)
    raw = made.SerializeToString(deterministic=True)
    folder = root / "fragile"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(raw)
    (folder / "model.toml").write_text(
        f"""\
id = "fragile"
version = "1"
license = "MIT OR Apache-2.0"
source = "scripts/make_test_models.py"
training_data = "none"

[domain]
input_rates_hz = [8000, 192000]
speech = "none: a test model"

[[graph]]
file = "model.onnx"
sha256 = "{hashlib.sha256(raw).hexdigest()}"
inputs = [{{ name = "magnitude", role = "magnitude", shape = ["N", {bins}] }}]
outputs = [{{ name = "gain", role = "gain", shape = ["N", {bins}] }}]

[front_end]
rate_hz = 48000
window = 960
hop = 480
lookahead = 0
window_shape = "sqrt-hann"
"""
    )


if __name__ == "__main__":
    root = Path(sys.argv[1])
    write_fragile(root)
    write(root, "unity", 48_000, 960, 480, 0, 1.0)
    write(root, "half", 48_000, 960, 480, 0, 0.5)
    write(root, "lookahead", 16_000, 512, 128, 1, 1.0, taps=(2, 16))
    test_model_roles.write_all(root)
