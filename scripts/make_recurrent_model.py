"""Writes a graph with every kind of operation that the engine's own executor has: `make_test_models.py`
calls it. Its weights are random; it serves to compare executors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from make_role_models import onnx_bytes, write_model
from quietwire_train.manifest import graph, tensor

BANDS, SUBBANDS, CHANNELS, HIDDEN, PAST = 56, 14, 8, 5, 2


def write_recurrent(root: Path, front_end: dict, features: dict) -> None:
    """Past hops at the input, a recurrence over time, and one over the bands in both directions."""
    random = np.random.default_rng(5)

    def floats(*shape: int) -> np.ndarray:
        return random.normal(0, 0.4, shape).astype(np.float32)

    def sizes(*values: int) -> np.ndarray:
        return np.array(values, np.int64)

    local = BANDS // SUBBANDS
    weights = {
        "local_shape": sizes(-1, SUBBANDS, local),
        "hop_axis": sizes(1),
        "end": sizes(PAST + 1),
        "flat_shape": sizes(-1, SUBBANDS, (PAST + 1) * local),
        "encoder": floats((PAST + 1) * local, CHANNELS),
        "embedding": floats(SUBBANDS, CHANNELS),
        "gates.int8": random.integers(-127, 128, (CHANNELS, 3 * CHANNELS)).astype(np.int8),
        "gates.scale": np.abs(floats(1, 3 * CHANNELS)) / 127,
        "gates.bias": floats(3 * CHANNELS),
        "gate_shape": sizes(-1, SUBBANDS, 3, CHANNELS),
        **{f"gate{at}": np.array(at, np.int64) for at in range(3)},
        "w": floats(2, 3 * HIDDEN, CHANNELS),
        "r": floats(2, 3 * HIDDEN, HIDDEN),
        "b": floats(2, 6 * HIDDEN),
        "both_shape": sizes(-1, SUBBANDS, 2 * HIDDEN),
        "back": floats(2 * HIDDEN, CHANNELS),
        "back.bias": floats(CHANNELS),
        "head.f16": floats(CHANNELS, local).astype(np.float16),
        "gain_shape": sizes(-1, BANDS),
        "pads": sizes(0, 1, 0, 1),
        "order": sizes(*range(1, BANDS + 1)),
        "half": np.array(0.5, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Reshape", ["features", "local_shape"], ["local"]),
        node("Unsqueeze", ["local", "hop_axis"], ["one_hop"]),
        node("Concat", ["past", "one_hop"], ["hops"], axis=1),
        node("Slice", ["hops", "hop_axis", "end", "hop_axis"], ["past_next"]),
        node("Transpose", ["hops"], ["by_subband"], perm=[0, 2, 1, 3]),
        node("Reshape", ["by_subband", "flat_shape"], ["flat"]),
        node("MatMul", ["flat", "encoder"], ["encoder.mm"]),
        node("Add", ["encoder.mm", "embedding"], ["encoder.sum"]),
        node("Relu", ["encoder.sum"], ["x"]),
        # The recurrence over time.
        node("Cast", ["gates.int8"], ["gates.f32"], to=TensorProto.FLOAT),
        node("Mul", ["gates.f32", "gates.scale"], ["gates.weight"]),
        node("MatMul", ["x", "gates.weight"], ["gates.mm"]),
        node("Add", ["gates.mm", "gates.bias"], ["gates.sum"]),
        node("Reshape", ["gates.sum", "gate_shape"], ["gates"]),
        *(node("Gather", ["gates", f"gate{at}"], [f"g{at}"], axis=2) for at in range(3)),
        node("Sigmoid", ["g0"], ["update"]),
        node("Sub", ["g1", "time"], ["delta"]),
        node("Mul", ["update", "delta"], ["change"]),
        node("Add", ["time", "change"], ["time_next"]),
        node("Sigmoid", ["g2"], ["output_gate"]),
        node("Tanh", ["time_next"], ["tanh"]),
        node("Mul", ["output_gate", "tanh"], ["gated"]),
        node("Add", ["x", "gated"], ["y"]),
        # The recurrence over the bands.
        node("Transpose", ["y"], ["rows"], perm=[1, 0, 2]),
        node(
            "GRU",
            ["rows", "w", "r", "b"],
            ["both"],
            direction="bidirectional",
            hidden_size=HIDDEN,
            linear_before_reset=1,
        ),
        node("Transpose", ["both"], ["by_row"], perm=[2, 0, 1, 3]),
        node("Reshape", ["by_row", "both_shape"], ["wide"]),
        node("MatMul", ["wide", "back"], ["back.mm"]),
        node("Add", ["back.mm", "back.bias"], ["back.out"]),
        node("Add", ["y", "back.out"], ["z"]),
        node("Cast", ["head.f16"], ["head"], to=TensorProto.FLOAT),
        node("MatMul", ["z", "head"], ["head.mm"]),
        node("Reshape", ["head.mm", "gain_shape"], ["gain.flat"]),
        node("Pad", ["gain.flat", "pads"], ["gain.padded"]),
        node("Gather", ["gain.padded", "order"], ["gain.ordered"], axis=1),
        node("Mul", ["half", "gain.ordered"], ["gain.scaled"]),
        node("Sigmoid", ["gain.scaled"], ["gain"]),
    ]
    shapes = {"past": [PAST, SUBBANDS, local], "time": [SUBBANDS, CHANNELS]}
    states = [(name, [1, *shape]) for name, shape in shapes.items()]
    inputs = [("features", [1, BANDS]), *states]
    outputs = [("gain", [1, BANDS]), *((f"{name}_next", shape) for name, shape in states)]
    raw = onnx_bytes(nodes, inputs, outputs, weights)
    described = graph(
        "model.onnx",
        raw,
        [
            tensor("features", "features", [1, BANDS]),
            *(tensor(name, "state", shape, initial=0.0) for name, shape in states),
        ],
        [
            tensor("gain", "gain", [1, BANDS]),
            *(tensor(f"{name}_next", "state", shape, of=name) for name, shape in states),
        ],
    )
    tables = {"front_end": front_end, "features": features}
    write_model(root, "recurrent", [described], [raw], tables, "scripts/make_recurrent_model.py")
