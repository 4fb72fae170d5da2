"""Models for tests of the tensor roles of a manifest. make_test_models.py calls this module.

spectrum  16 kHz, 512/256, Hann: a whole spectrum in and out, unchanged.
frame     16 kHz, 512/128, rectangular: unit gains from magnitudes, then windowed samples in and
          out, unchanged after overlap-add.
linked    48 kHz, 960/480, Vorbis: two graphs, rectangular bands, identity taps with lookahead, a gate.
whole     16 kHz, 320/160: a graph over whole signals with a convolution and a GRU along the hops,
          whose states are hidden; its gains are not 1.
backward  as `whole`, but padded after the signal: the graph needs future hops and must be refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from quietwire_train.manifest import graph, tensor, to_toml

Tensor = tuple[str, list[int | str]]
SOURCE = "scripts/make_role_models.py"


def onnx_bytes(nodes: list, inputs: list[Tensor], outputs: list[Tensor], weights: dict) -> bytes:
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [value(name, TensorProto.FLOAT, shape) for name, shape in inputs],
            [value(name, TensorProto.FLOAT, shape) for name, shape in outputs],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def write_model(
    root: Path, name: str, graphs: list[dict], raws: list[bytes], tables: dict, source: str = SOURCE
) -> None:
    """Writes the folder `root`/`name`: a manifest of `graphs` and `tables`, and the ONNX files `raws`."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for entry, raw in zip(graphs, raws):
        (folder / entry["file"]).write_bytes(raw)
    document = {
        "id": name,
        "version": "1",
        "license": "MIT OR Apache-2.0",
        "source": source,
        "training_data": "none",
        "domain": {"input_rates_hz": [8000, 192000], "speech": "none: a test model"},
        "graph": graphs,
        **tables,
    }
    # Tests replace parts of a line of the manifest, so lists stay on one line.
    (folder / "model.toml").write_text(to_toml(document, width=1_000_000), encoding="utf-8")


def front_end(
    rate_hz: int, window: int, hop: int, window_shape: str, lookahead: int = 0, **more: float
) -> dict:
    return {
        "rate_hz": rate_hz,
        "window": window,
        "hop": hop,
        "lookahead": lookahead,
        "window_shape": window_shape,
        **more,
    }


def write_spectrum(root: Path) -> None:
    shape = [1, 257, 1, 2]
    raw = onnx_bytes(
        [helper.make_node("Mul", ["mix", "one"], ["enh"])],
        [("mix", shape)],
        [("enh", shape)],
        {"one": np.ones(1, np.float32)},
    )
    inputs, outputs = ([tensor(name, "spectrum", shape, layout="bin-part")] for name in ("mix", "enh"))
    tables = {"front_end": front_end(16_000, 512, 256, "hann", spectrum_scale=0.5)}
    write_model(root, "spectrum", [graph("model.onnx", raw, inputs, outputs)], [raw], tables)


def write_frame(root: Path) -> None:
    gain = onnx_bytes(
        [
            helper.make_node("Mul", ["mag", "zero"], ["none"]),
            helper.make_node("Add", ["none", "one"], ["mask"]),
        ],
        [("mag", [1, 1, 257])],
        [("mask", [1, 1, 257])],
        {"zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32)},
    )
    # Four rectangular windows overlap at every sample.
    windowed = onnx_bytes(
        [helper.make_node("Mul", ["in", "quarter"], ["out"])],
        [("in", [1, 1, 512])],
        [("out", [1, 1, 512])],
        {"quarter": np.full(1, 0.25, np.float32)},
    )
    graphs = [
        graph(
            "gain.onnx",
            gain,
            [tensor("mag", "magnitude", [1, 1, 257])],
            [tensor("mask", "gain", [1, 1, 257])],
        ),
        graph(
            "frame.onnx",
            windowed,
            [tensor("in", "windowed", [1, 1, 512])],
            [tensor("out", "windowed", [1, 1, 512])],
        ),
    ]
    tables = {"front_end": front_end(16_000, 512, 128, "rectangular")}
    write_model(root, "frame", graphs, [gain, windowed], tables)


def write_linked(root: Path) -> None:
    taps = np.zeros((1, 1, 96, 10), np.float32)
    taps[..., 2 * 2] = 1.0  # five hops, oldest first, two of them ahead: the third is the current hop
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
    code = tensor("code", "link", [1, 1, "S", 1])
    tap_layout = {"order": 5, "bins": 96, "ahead": 2, "layout": "bin-oldest-part"}
    graphs = [
        graph(
            "enc.onnx",
            encoder,
            [
                tensor("levels", "band-levels", [1, 1, "S", 32]),
                tensor("spec", "unit-spectrum", [1, 2, "S", 96], layout="part-bin"),
            ],
            [code, tensor("snr", "snr", [1, "S", 1])],
        ),
        graph(
            "dec.onnx",
            decoder,
            [code],
            [
                tensor("gain", "gain", [1, 1, "S", 32]),
                tensor("taps", "taps", [1, "S", 96, 10], taps=tap_layout),
            ],
        ),
    ]
    widths = [2] * 16 + [4] * 8 + [50] * 7
    widths.append(481 - sum(widths))
    tables = {
        "front_end": front_end(48_000, 960, 480, "vorbis", lookahead=2, spectrum_scale=0.001),
        "bands": {"widths": widths},
        "band_levels": {"keep": 0.99, "start_db": [-60.0, -90.0], "step_db": 40.0},
        "unit_spectrum": {"bins": 96, "keep": 0.99, "start": [0.001, 0.0001]},
        "gate": {"noise_below_db": -10.0, "no_taps_above_db": 20.0, "clean_above_db": 30.0},
    }
    write_model(root, "linked", graphs, [encoder, decoder], tables)


def write_whole_signal(root: Path, name: str, before: int, after: int) -> None:
    """`before` and `after` are the hops of padding on either side of the convolution."""
    rng = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

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
    inputs = [tensor("input", "log-power", ["N", "S", 161])]
    outputs = [tensor("output", "gain", ["N", "S", 161])]
    tables = {"front_end": front_end(16_000, 320, 160, "sqrt-hann-symmetric")}
    write_model(root, name, [graph("model.onnx", raw, inputs, outputs, hidden_states=2)], [raw], tables)


def write_all(root: Path) -> None:
    write_spectrum(root)
    write_frame(root)
    write_linked(root)
    write_whole_signal(root, "whole", 2, 0)
    write_whole_signal(root, "backward", 1, 1)
