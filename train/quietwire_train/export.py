"""Checkpoint to model folder: `model.onnx` and `model.toml`.

The graph is written node by node, not traced: one hop, a symbolic batch axis, every recurrent
state an input and an output, and the same checkpoint gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
import tomllib
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from .frontend import FrontEnd
from .net import Net, NetShape

OPSET = 17
IR_VERSION = 8


class NotThisNetwork(ValueError):
    """The checkpoint's tensors are not those of the network its header names."""


class Graph:
    """Collects nodes and weights; names are made from the caller's."""

    def __init__(self, half: bool = False) -> None:
        self.half = half
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def matrix(self, name: str, value: np.ndarray) -> str:
        """A weight matrix, stored in half precision if asked; the engine widens it on loading."""
        if not self.half:
            return self.weight(name, value)
        if np.abs(value).max() > np.finfo(np.float16).max:
            raise ValueError(f"{name}: a weight beyond 65504 has no half-precision form")
        return self.node(
            "Cast", [self.weight(f"{name}.half", value.astype(np.float16))], name, to=TensorProto.FLOAT
        )

    def node(self, op: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def dense(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray, to: str = "") -> str:
        """x [N, k] -> x W^T + b [N, m]; `weight` is [m, k] as PyTorch keeps it."""
        matrix = self.matrix(f"{name}.weight", weight.T)
        product = self.node("MatMul", [x, matrix], f"{name}.mm")
        return self.node("Add", [product, self.weight(f"{name}.bias", bias)], to or f"{name}.out")


def read_checkpoint(path: Path) -> tuple[FrontEnd, NetShape, dict[str, np.ndarray]]:
    """The averaged weights of a run, checked against the network that the header names."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    missing = {"front", "shape", "average"} - set(saved)
    if missing:
        raise NotThisNetwork(f"{path}: no {sorted(missing)} in it: not a checkpoint of `train`")
    try:
        front, shape = FrontEnd(**saved["front"]), NetShape(**saved["shape"])
    except TypeError as error:
        raise NotThisNetwork(f"{path}: made by another architecture: {error}") from error
    weights = {name: value.numpy() for name, value in saved["average"].items()}
    expected = {name: tuple(v.shape) for name, v in Net(front, shape).state_dict().items()}
    found = {name: tuple(v.shape) for name, v in weights.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))
        raise NotThisNetwork(f"{path}: made by another architecture: {wrong[:4]}")
    return front, shape, weights


def front_end(spec: dict) -> FrontEnd:
    """The front end that a manifest describes."""
    front, features = spec["front_end"], spec["features"]
    bands, level = features["bands"], features["level"]
    made = FrontEnd(
        rate_hz=front["rate_hz"],
        window=front["window"],
        hop=front["hop"],
        phase_bins=features["phase_advance"]["bins"],
        level_first_bin=level["first_bin"],
        level_attack=level["attack"],
        level_release_db=level["release_db"],
        level_floor_db=level["floor_db"],
        range_low_db=bands["range_low_db"],
        range_high_db=bands["range_high_db"],
        range_step_db=bands["range_step_db"],
        range_offset=bands["range_offset"],
    )
    if made.centres != bands["centres"]:
        raise ValueError("the manifest's band centres are not those of this package's front end")
    return made


def read_model(folder: Path) -> tuple[FrontEnd, NetShape, dict[str, np.ndarray]]:
    """The inverse of an export: a model folder's weights as a checkpoint would have them.

    Half-precision weights stay rounded. The biases of a GRU that an export adds up come back in one.
    """
    try:
        spec = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
        graph = onnx.load(folder / spec["graph"][0]["file"]).graph
        found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        outputs = {tensor["name"]: tensor["shape"][1:] for tensor in spec["graph"][0]["outputs"]}
        states = [tensor for tensor in spec["graph"][0]["inputs"] if tensor["role"] == "state"]
        order, _, bins = outputs["taps"]
        shape = NetShape(states[0]["shape"][1], len(states), bins, order)

        def get(name: str) -> np.ndarray:
            whole = found[name] if name in found else found[f"{name}.half"]
            return np.ascontiguousarray(whole.astype(np.float32).T)

        weights = {}
        for name in ("encoder", "decoder", "gain", "taps", "vad"):
            for part in ("weight", "bias"):
                weights[f"{name}.{part}"] = get(f"{name}.{part}")
        hidden = shape.hidden
        for index in range(shape.layers):
            name = f"recurrent.{index}"
            rz = get(f"{name}.rz.weight")
            for side, key, part in (("x", "ih", rz[:, :hidden]), ("h", "hh", rz[:, hidden:])):
                weights[f"{name}.weight_{key}_l0"] = np.concatenate([part, get(f"{name}.n.{side}.weight")])
                open_bias = get(f"{name}.rz.bias") * (side == "x")
                weights[f"{name}.bias_{key}_l0"] = np.concatenate([open_bias, get(f"{name}.n.{side}.bias")])
        return front_end(spec), shape, weights
    except (KeyError, ValueError, IndexError, DecodeError) as error:
        raise NotThisNetwork(f"{folder}: not an export of this package: {error}") from error


def build_onnx(
    front: FrontEnd, shape: NetShape, weights: dict[str, np.ndarray], half: bool = False
) -> onnx.ModelProto:
    """One hop: `features` and states in; `gain`, `taps`, `vad` and next states out.

    `half` stores the weight matrices in half precision; all arithmetic stays in float32.
    """
    g = Graph(half)
    hidden = shape.hidden

    def dense(x: str, name: str) -> str:
        return g.dense(x, name, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = g.node("Relu", [dense("features", "encoder")], "encoded")
    inputs = [("features", front.features)]
    outputs = [("gain", [front.bands]), ("taps", [shape.tap_order, 2, shape.tap_bins]), ("vad", [1])]
    rows = g.weight("rows", np.array([-1, 2, hidden], dtype=np.int64))
    first, second = (g.weight(f"row{k}", np.array(k, dtype=np.int64)) for k in range(2))
    for index in range(shape.layers):
        name, state = f"recurrent.{index}", f"state{index}"
        inputs.append((state, hidden))
        outputs.append((f"{state}_next", [hidden]))
        w = {key: weights[f"{name}.{key}_l0"] for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        # PyTorch's order of gates: reset, update, new. The first two take the input and the state
        # in one product, as two rows of a reshaped result: the engine would cut the product in
        # two for a Split, and its tiles of 128 rows fit both gates better than each.
        bias = w["bias_ih"] + w["bias_hh"]
        both = g.node("Concat", [x, state], f"{name}.xh", axis=1)
        weight = np.concatenate([w["weight_ih"], w["weight_hh"]], 1)[: 2 * hidden]
        rz = g.dense(both, f"{name}.rz", weight, bias[: 2 * hidden])
        rz = g.node("Sigmoid", [rz], f"{name}.rz.open")
        rz = g.node("Reshape", [rz, rows], f"{name}.rz.rows")
        r, z = (
            g.node("Gather", [rz, at], f"{name}.{gate}", axis=1) for gate, at in (("r", first), ("z", second))
        )
        new_x, new_h = (
            g.dense(
                value, f"{name}.n.{side}", w[f"weight_{key}"][2 * hidden :], w[f"bias_{key}"][2 * hidden :]
            )
            for value, side, key in ((x, "x", "ih"), (state, "h", "hh"))
        )
        kept = g.node("Mul", [r, new_h], f"{name}.kept")
        new = g.node("Add", [new_x, kept], f"{name}.n.sum")
        new = g.node("Tanh", [new], f"{name}.n")
        # (1 - z) n + z h = n + z (h - n)
        change = g.node("Sub", [state, new], f"{name}.change")
        change = g.node("Mul", [z, change], f"{name}.part")
        after = g.node("Add", [new, change], f"{state}_next")
        x = g.node("Add", [x, after], f"{name}.out")

    x = g.node("Relu", [dense(x, "decoder")], "decoded")
    gain = g.node("Sigmoid", [dense(x, "gain")], "gain")
    fine = g.node("Tanh", [dense(x, "taps")], "fine")
    # The low bands are one bin wide: their gain is the real part of the tap of this hop.
    rest = (2 * shape.tap_order - 1) * shape.tap_bins
    low = g.weight("low", np.array([shape.tap_bins, rest], dtype=np.int64))
    low_gain = g.weight("low_gain", np.array([shape.tap_bins, front.bands - shape.tap_bins], dtype=np.int64))
    g.nodes.append(helper.make_node("Split", [fine, low], ["fine.first", "fine.rest"], axis=1))
    g.nodes.append(helper.make_node("Split", [gain, low_gain], ["gain.low", "gain.high"], axis=1))
    first = g.node("Add", ["fine.first", "gain.low"], "first")
    flat = g.node("Concat", [first, "fine.rest"], "flat", axis=1)
    form = g.weight("form", np.array([-1, shape.tap_order, 2, shape.tap_bins], dtype=np.int64))
    g.node("Reshape", [flat, form], "taps")
    g.node("Sigmoid", [dense(x, "vad")], "vad")

    graph = helper.make_graph(
        g.nodes,
        "quietwire",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", size]) for n, size in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *size]) for n, size in outputs],
        g.weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="quietwire-train"
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def manifest(
    front: FrontEnd, shape: NetShape, sha256: str, model_id: str, version: str, source: str, data: str
) -> str:
    """The text of `model.toml`."""

    def numbers(values: list[int], width: int = 16) -> str:
        rows = [values[i : i + width] for i in range(0, len(values), width)]
        return "[\n" + "".join("    " + ", ".join(map(str, row)) + ",\n" for row in rows) + "]"

    def tensor(name: str, role: str, sizes: list[int], extra: str = "") -> str:
        return f'{{ name = "{name}", role = "{role}", shape = ["N", {", ".join(map(str, sizes))}]{extra} }}'

    states = [f"state{i}" for i in range(shape.layers)]
    inputs = [tensor("features", "features", [front.features])]
    inputs += [tensor(s, "state", [shape.hidden], ", initial = 0.0") for s in states]
    outputs = [
        tensor("gain", "gain", [front.bands]),
        tensor("taps", "taps", [shape.tap_order, 2, shape.tap_bins]),
        tensor("vad", "vad", [1]),
    ]
    outputs += [tensor(f"{s}_next", "state", [shape.hidden], f', of = "{s}"') for s in states]

    def listed(rows: list[str]) -> str:
        return "[\n" + "".join(f"    {row},\n" for row in rows) + "]"

    return f"""\
id = "{model_id}"
version = "{version}"
licence = "MIT OR Apache-2.0"
source = "{source}"
training_data = "{data}"

[domain]
input_rates_hz = [8000, 192000]
speech = "close and distant talkers, any language; not singing, not music"

[[graph]]
file = "model.onnx"
sha256 = "{sha256}"
inputs = {listed(inputs)}
outputs = {listed(outputs)}

[front_end]
rate_hz = {front.rate_hz}
window = {front.window}
hop = {front.hop}
lookahead = 0
window_shape = "sqrt-hann"

[features.bands]
centres = {numbers(front.centres)}
range_low_db = {front.range_low_db}
range_high_db = {front.range_high_db}
range_step_db = {front.range_step_db}
range_offset = {front.range_offset}

[features.phase_advance]
first_bin = 1
bins = {front.phase_bins}

[features.level]
first_bin = {front.level_first_bin}
attack = {front.level_attack}
release_db = {front.level_release_db}
floor_db = {front.level_floor_db}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path, help="model folder to write")
    parser.add_argument("--id", default="base", help="name that users write")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--source", default="train/ of this repository")
    parser.add_argument(
        "--half", action="store_true", help="store weights as float16: half the size, the same speed"
    )
    parser.add_argument("--training-data", default="see CARD.md")


def run(args: argparse.Namespace) -> int:
    try:
        front, shape, weights = read_checkpoint(args.checkpoint)
    except NotThisNetwork as error:
        print(f"error: {error}")
        return 1
    raw = build_onnx(front, shape, weights, args.half).SerializeToString(deterministic=True)
    digest = hashlib.sha256(raw).hexdigest()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "model.onnx").write_bytes(raw)
    text = manifest(front, shape, digest, args.id, args.version, args.source, args.training_data)
    (args.out / "model.toml").write_text(text, encoding="utf-8")
    print(f"{args.out}: {len(raw)} bytes, sha256 {digest}")
    return 0
