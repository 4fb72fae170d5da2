"""Models that test the roles of a manifest: each gives its input back, by another way.

spectrum  16 kHz, 512/256, Hann: a whole spectrum in and out.
frame     16 kHz, 512/128, rectangular: a gain from magnitudes, then samples in and out.
linked    48 kHz, 960/480, Vorbis: two graphs, bands side by side, a filter that reaches ahead, a gate.
whole     16 kHz, 320/160: a graph for whole signals, with a convolution and a recurrence along the
          hops whose memory it hides; its gains are no ones.
backward  the same with padding after the signal: it needs hops to come, and must be refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

Tensor = tuple[str, list[int | str]]


def onnx_bytes(nodes: list, inputs: list[Tensor], outputs: list[Tensor], weights: dict) -> bytes:
    value = helper.make_tensor_value_info
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [value(name, TensorProto.FLOAT, shape) for name, shape in inputs],
            [value(name, TensorProto.FLOAT, shape) for name, shape in outputs],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def write(root: Path, name: str, graphs: list[tuple[str, bytes, str]], tables: str) -> None:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    text = f"""\
id = "{name}"
version = "1"
licence = "MIT OR Apache-2.0"
source = "scripts/test_model_roles.py"
training_data = "none"

[domain]
input_rates_hz = [8000, 192000]
speech = "none: a test model"
"""
    for file, raw, tensors in graphs:
        (folder / file).write_bytes(raw)
        text += f'\n[[graph]]\nfile = "{file}"\nsha256 = "{hashlib.sha256(raw).hexdigest()}"\n{tensors}'
    (folder / "model.toml").write_text(text + tables)


def spectrum(root: Path) -> None:
    shape = [1, 257, 1, 2]
    raw = onnx_bytes(
        [helper.make_node("Mul", ["mix", "one"], ["enh"])],
        [("mix", shape)],
        [("enh", shape)],
        {"one": np.ones(1, np.float32)},
    )
    tensors = """\
inputs = [{ name = "mix", role = "spectrum", shape = [1, 257, 1, 2], layout = "bin-part" }]
outputs = [{ name = "enh", role = "spectrum", shape = [1, 257, 1, 2], layout = "bin-part" }]
"""
    tables = """
[front_end]
rate_hz = 16000
window = 512
hop = 256
lookahead = 0
window_shape = "hann"
spectrum_scale = 0.5
"""
    write(root, "spectrum", [("model.onnx", raw, tensors)], tables)


def frame(root: Path) -> None:
    ones = {"zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32)}
    gain = onnx_bytes(
        [
            helper.make_node("Mul", ["mag", "zero"], ["none"]),
            helper.make_node("Add", ["none", "one"], ["mask"]),
        ],
        [("mag", [1, 1, 257])],
        [("mask", [1, 1, 257])],
        ones,
    )
    # Four rectangular frames overlap.
    samples = onnx_bytes(
        [helper.make_node("Mul", ["in", "quarter"], ["out"])],
        [("in", [1, 1, 512])],
        [("out", [1, 1, 512])],
        {"quarter": np.full(1, 0.25, np.float32)},
    )
    first = """\
inputs = [{ name = "mag", role = "magnitude", shape = [1, 1, 257] }]
outputs = [{ name = "mask", role = "gain", shape = [1, 1, 257] }]
"""
    second = """\
inputs = [{ name = "in", role = "frame", shape = [1, 1, 512] }]
outputs = [{ name = "out", role = "frame", shape = [1, 1, 512] }]
"""
    tables = """
[front_end]
rate_hz = 16000
window = 512
hop = 128
lookahead = 0
window_shape = "rectangular"
"""
    write(root, "frame", [("gain.onnx", gain, first), ("frame.onnx", samples, second)], tables)


def linked(root: Path) -> None:
    taps = np.zeros((1, 1, 96, 10), np.float32)
    taps[..., 2 * 2] = 1.0  # of five hops, oldest first, two to come: the third is the one made
    encoder = onnx_bytes(
        [
            helper.make_node("ReduceMean", ["levels"], ["mean"], axes=[3], keepdims=1),
            helper.make_node("ReduceMean", ["spec"], ["part"], axes=[1, 3], keepdims=1),
            helper.make_node("Add", ["mean", "part"], ["code"]),
            helper.make_node("Tanh", ["code"], ["soft"]),
            helper.make_node("Reshape", ["soft", "form"], ["snr"]),
        ],
        [("levels", [1, 1, "S", 32]), ("spec", [1, 2, "S", 96])],
        [("code", [1, 1, "S", 1]), ("snr", [1, "S", 1])],
        {"form": np.array([1, -1, 1], np.int64)},
    )
    decoder = onnx_bytes(
        [
            helper.make_node("Mul", ["code", "zero"], ["none"]),
            helper.make_node("Add", ["none", "ones"], ["gain"]),
            helper.make_node("Transpose", ["none"], ["by_hop"], perm=[0, 2, 3, 1]),
            helper.make_node("Add", ["by_hop", "identity"], ["taps"]),
        ],
        [("code", [1, 1, "S", 1])],
        [("gain", [1, 1, "S", 32]), ("taps", [1, "S", 96, 10])],
        {
            "zero": np.zeros(1, np.float32),
            "ones": np.ones((1, 1, 1, 32), np.float32),
            "identity": taps,
        },
    )
    first = """\
inputs = [
    { name = "levels", role = "band-levels", shape = [1, 1, "S", 32] },
    { name = "spec", role = "unit-spectrum", shape = [1, 2, "S", 96], layout = "part-bin" },
]
outputs = [
    { name = "code", role = "link", shape = [1, 1, "S", 1] },
    { name = "snr", role = "snr", shape = [1, "S", 1] },
]
"""
    second = """\
inputs = [{ name = "code", role = "link", shape = [1, 1, "S", 1] }]
outputs = [
    { name = "gain", role = "gain", shape = [1, 1, "S", 32] },
    { name = "taps", role = "taps", shape = [1, "S", 96, 10], taps = { order = 5, bins = 96, ahead = 2, layout = "bin-oldest-part" } },
]
"""
    widths = [2] * 16 + [4] * 8 + [50] * 7
    widths.append(481 - sum(widths))
    tables = f"""
[front_end]
rate_hz = 48000
window = 960
hop = 480
lookahead = 2
window_shape = "vorbis"
spectrum_scale = 0.001

[bands]
widths = {widths}

[band_levels]
keep = 0.99
start_db = [-60.0, -90.0]
step_db = 40.0

[unit_spectrum]
bins = 96
keep = 0.99
start = [0.001, 0.0001]

[gate]
noise_below_db = -10.0
no_taps_above_db = 20.0
clean_above_db = 30.0
"""
    write(root, "linked", [("enc.onnx", encoder, first), ("dec.onnx", decoder, second)], tables)


def whole(root: Path, name: str, before: int, after: int) -> None:
    noise = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return (noise.standard_normal(shape) * 0.3).astype(np.float32)

    hidden = 8
    nodes = [
        helper.make_node("MatMul", ["input", "down"], ["low"]),
        helper.make_node("Transpose", ["low"], ["channels"], perm=[0, 2, 1]),
        helper.make_node("Pad", ["channels", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "kernel"], ["seen"], kernel_shape=[3]),
        helper.make_node("Transpose", ["seen"], ["steps"], perm=[2, 0, 1]),
        helper.make_node("GRU", ["steps", "w", "r"], ["kept"], hidden_size=hidden, linear_before_reset=1),
        helper.make_node("Squeeze", ["kept", "direction"], ["states"]),
        helper.make_node("Transpose", ["states"], ["back"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["back", "up"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["output"]),
    ]
    raw = onnx_bytes(
        nodes,
        [("input", ["N", "S", 161])],
        [("output", ["N", "S", 161])],
        {
            "down": weights(161, hidden) * 0.1,
            "pads": np.array([0, 0, before, 0, 0, after], np.int64),
            "kernel": weights(hidden, hidden, 3),
            "w": weights(1, 3 * hidden, hidden),
            "r": weights(1, 3 * hidden, hidden),
            "direction": np.array([1], np.int64),
            "up": weights(hidden, 161),
        },
    )
    tensors = """\
hidden_states = 2
inputs = [{ name = "input", role = "log-power", shape = ["N", "S", 161] }]
outputs = [{ name = "output", role = "gain", shape = ["N", "S", 161] }]
"""
    tables = """
[front_end]
rate_hz = 16000
window = 320
hop = 160
lookahead = 0
window_shape = "sqrt-hann-symmetric"
"""
    write(root, name, [("model.onnx", raw, tensors)], tables)


def write_all(root: Path) -> None:
    spectrum(root)
    frame(root)
    linked(root)
    whole(root, "whole", 2, 0)
    whole(root, "backward", 1, 1)
