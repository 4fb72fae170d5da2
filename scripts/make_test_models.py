"""Writes the models under tests/models: small graphs with a known effect.

    pip install onnx numpy && python scripts/make_test_models.py tests/models

unity      48 kHz, 960/480: every gain is 1.
half       the same, every gain is 0.5 (-6 dB).
lookahead  16 kHz, 512/128, one hop of lookahead, a state, and an identity filter of order 2.
fragile    48 kHz, 960/480: every gain is 1. The engine fails on loud hops.
recurrent  48 kHz, 960/480: random weights, for comparisons of executors.
time_frequency   the same, as the training package exports the block `time_frequency`; needs torch.

make_role_models.py writes the others.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train"))

import make_role_models
from make_recurrent_model import write_recurrent
from make_role_models import onnx_bytes, write_model
from make_time_frequency_model import write_time_frequency
from quietwire_train.manifest import graph, tensor


def feature_graph(features: int, bands: int, gain: float, taps: tuple[int, int] | None) -> bytes:
    """Gains that do not depend on the features. With `taps` (order, bins) also identity taps and a
    state that counts hops."""
    weights = {
        "zeros": np.zeros((features, bands), np.float32),
        "gains": np.full(bands, gain, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["features", "zeros"], ["flat"]),
        helper.make_node("Add", ["flat", "gains"], ["gain"]),
    ]
    inputs = [("features", ["N", features])]
    outputs = [("gain", ["N", bands])]
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
        inputs.append(("count", ["N", 3]))
        outputs += [("taps", ["N", order, 2, bins]), ("count_next", ["N", 3])]
    return onnx_bytes(nodes, inputs, outputs, weights)


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
    centers = [*range(16), *range(16, window // 2, 12), window // 2]
    raw = feature_graph(len(centers), len(centers), gain, taps)
    inputs = [tensor("features", "features", ["N", len(centers)])]
    outputs = [tensor("gain", "gain", ["N", len(centers)])]
    if taps is not None:
        order, bins = taps
        inputs.append(tensor("count", "state", ["N", 3], initial=0.0))
        outputs.append(tensor("taps", "taps", ["N", order, 2, bins]))
        outputs.append(tensor("count_next", "state", ["N", 3], of="count"))
    tables = {
        "front_end": {
            "rate_hz": rate_hz,
            "window": window,
            "hop": hop,
            "lookahead": lookahead,
            "window_shape": "sqrt-hann",
        },
        "features": {
            "bands": {
                "centers": centers,
                "range_low_db": -80.0,
                "range_high_db": 20.0,
                "range_step_db": 20.0,
                "range_offset": 2.0,
            },
            "level": {"first_bin": 2, "attack": 0.1, "release_db": 0.03, "floor_db": -100.0},
        },
    }
    graphs = [graph("model.onnx", raw, inputs, outputs)]
    write_model(root, name, graphs, [raw], tables, "scripts/make_test_models.py")
    if name == "unity":
        write_recurrent(root, tables["front_end"], tables["features"])


def write_fragile(root: Path) -> None:
    """Gains from a table. The largest magnitude of a hop gives the index: that of a loud hop is out
    of range."""
    bins = 481
    nodes = [
        helper.make_node("ReduceMax", ["magnitude"], ["peak"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["peak", "scale"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["entry"], axis=0),
        helper.make_node("Mul", ["magnitude", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "entry"], ["gain"]),
    ]
    weights = {
        "scale": np.array(1 / 50, np.float32),
        "table": np.ones(4, np.float32),
        "zero": np.array(0, np.float32),
    }
    shape = ["N", bins]
    raw = onnx_bytes(nodes, [("magnitude", shape)], [("gain", shape)], weights)
    inputs = [tensor("magnitude", "magnitude", shape)]
    outputs = [tensor("gain", "gain", shape)]
    front_end = {
        "rate_hz": 48_000,
        "window": 960,
        "hop": 480,
        "lookahead": 0,
        "window_shape": "sqrt-hann",
    }
    graphs = [graph("model.onnx", raw, inputs, outputs)]
    tables = {"front_end": front_end}
    write_model(root, "fragile", graphs, [raw], tables, "scripts/make_test_models.py")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    write_fragile(root)
    write(root, "unity", 48_000, 960, 480, 0, 1.0)
    write(root, "half", 48_000, 960, 480, 0, 0.5)
    write(root, "lookahead", 16_000, 512, 128, 1, 1.0, taps=(2, 16))
    make_role_models.write_all(root)
    write_time_frequency(root)
