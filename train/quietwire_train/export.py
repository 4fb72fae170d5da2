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
from .net import SUBBAND, Net, NetShape

OPSET = 17
IR_VERSION = 8


class NotThisNetwork(ValueError):
    """The checkpoint's tensors are not those of the network its header names."""


class Graph:
    """Collects nodes and weights; names are made from the caller's."""

    def __init__(self, bits: int = 32) -> None:
        self.bits = bits
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def matrix(self, name: str, value: np.ndarray, inner: bool = False) -> str:
        """A weight matrix [in, out], in fewer bits if asked.

        In 8 bits only if it is `inner`, where more layers follow: what is heard first and said last
        needs more. The engine multiplies whole numbers of 8 bits as such; it widens float16 on
        loading.
        """
        if self.bits == 8 and inner:
            scale = (np.abs(value).max(0, keepdims=True) / 127).astype(np.float32)
            whole = np.round(value / np.where(scale > 0, scale, 1)).astype(np.int8)
            whole = self.weight(f"{name}.whole", whole)
            number = self.node("Cast", [whole], f"{name}.number", to=TensorProto.FLOAT)
            return self.node("Mul", [number, self.weight(f"{name}.scale", scale)], name)
        if self.bits == 32:
            return self.weight(name, value)
        if np.abs(value).max() > np.finfo(np.float16).max:
            raise ValueError(f"{name}: a weight beyond 65504 has no half-precision form")
        return self.node(
            "Cast", [self.weight(f"{name}.half", value.astype(np.float16))], name, to=TensorProto.FLOAT
        )

    def node(self, op: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def dense(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray, inner: bool = False) -> str:
        """x [..., k] -> x W^T + b [..., m]; `weight` is [m, k] as PyTorch keeps it."""
        matrix = self.matrix(f"{name}.weight", weight.T, inner)
        product = self.node("MatMul", [x, matrix], f"{name}.mm")
        return self.node("Add", [product, self.weight(f"{name}.bias", bias)], f"{name}.out")


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

    Weights that were stored in fewer bits stay rounded.
    """
    try:
        spec = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
        graph = onnx.load(folder / spec["graph"][0]["file"]).graph
        found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        outputs = {tensor["name"]: tensor["shape"][1:] for tensor in spec["graph"][0]["outputs"]}
        order, _, bins = outputs["taps"]
        inputs = spec["graph"][0]["inputs"]
        blocks = [tensor["shape"][1:] for tensor in inputs if tensor["role"] == "state"]
        (_, channels), (summary,) = blocks[:2]
        shape = NetShape(channels, len(blocks) // 2, summary, bins, order)

        def matrix(name: str) -> np.ndarray:
            if f"{name}.whole" in found:
                whole = found[f"{name}.whole"] * found[f"{name}.scale"]
            else:
                whole = found[name] if name in found else found[f"{name}.half"]
            return np.ascontiguousarray(whole.astype(np.float32).T)

        front = front_end(spec)
        expected = Net(front, shape).state_dict()
        head = np.concatenate([matrix("head.weight"), matrix("head.local.weight")], 1)
        padding = expected["gain_bias"].numel() - front.bands
        made = {
            "gain.weight": head[:SUBBAND],
            "gain_bias": np.pad(found["gain_bias"], (0, padding), constant_values=1.0).reshape(-1, SUBBAND),
            "taps.weight": head[SUBBAND:],
            "taps.bias": found["head.local.bias"][SUBBAND:],
        }
        others = expected.keys() - made.keys()
        weights = {name: matrix(name) if name.endswith(".weight") else found[name] for name in others}
        weights |= made
        return front, shape, weights
    except (KeyError, ValueError, IndexError, DecodeError) as error:
        raise NotThisNetwork(f"{folder}: not an export of this package: {error}") from error


def read(source: Path) -> tuple[FrontEnd, NetShape, dict[str, np.ndarray]]:
    """Of a checkpoint or a model folder."""
    return read_model(source) if source.is_dir() else read_checkpoint(source)


def blend(
    weights: dict[str, np.ndarray], others: dict[str, np.ndarray], share: float
) -> dict[str, np.ndarray]:
    """`weights` with `share` of others of the same network: between two runs of which one went on from
    the other, most of what either is good at is kept (Wortsman et al. 2022, WiSE-FT). A share below 0 goes
    on in the direction that a run took from where it began (Ilharco et al. 2023, task arithmetic)."""
    return {
        name: ((1 - share) * value + share * others[name]).astype(np.float32)
        for name, value in weights.items()
    }


def build_onnx(
    front: FrontEnd, shape: NetShape, weights: dict[str, np.ndarray], bits: int = 32
) -> onnx.ModelProto:
    """One hop: `features` and states in; `gain`, `taps`, `vad` and next states out.

    Weight matrices are stored in so many `bits`, the encoder and the heads in 16 at least; all
    arithmetic of the graph is in float32.
    """
    g = Graph(bits)
    net = Net(front, shape)
    subbands, channels, heard = net.subbands, shape.channels, net.hears.shape[1]

    def sizes(name: str, *values: int) -> str:
        return g.weight(name, np.array(values, dtype=np.int64))

    def dense(x: str, name: str, inner: bool = False) -> str:
        return g.dense(x, name, weights[f"{name}.weight"], weights[f"{name}.bias"], inner)

    gate_places = [g.weight(f"gate{at}", np.array(at, dtype=np.int64)) for at in range(3)]
    inputs = [("features", [front.features])]
    outputs = [("gain", [front.bands]), ("taps", [shape.tap_order, 2, shape.tap_bins]), ("vad", [1])]

    def recurrence(x: str, name: str, state: str, places: list[int]) -> str:
        inputs.append((state, places))
        outputs.append((f"{state}_next", places))
        gates = dense(x, f"{name}.gates", inner=True)
        # Rows of a reshaped product, not a Split: for that the engine would cut the product in three.
        gates = g.node(
            "Reshape", [gates, sizes(f"{name}.form", -1, *places[:-1], 3, places[-1])], f"{name}.rows"
        )
        update, candidate, open_ = (
            g.node("Gather", [gates, gate], f"{name}.{part}", axis=len(places))
            for part, gate in zip(("update", "candidate", "open"), gate_places)
        )
        update = g.node("Sigmoid", [update], f"{update}.share")
        change = g.node("Sub", [candidate, state], f"{name}.change")
        change = g.node("Mul", [update, change], f"{name}.step")
        after = g.node("Add", [state, change], f"{state}_next")
        open_ = g.node("Sigmoid", [open_], f"{open_}.share")
        heard = g.node("Mul", [open_, g.node("Tanh", [after], f"{name}.shape")], f"{name}.heard")
        return g.node("Add", [x, heard], f"{name}.out")

    # What every subband hears, picked from the features and a zero for what is not there.
    padding = sizes("padding", 0, 0, 0, 1)
    padded = g.node("Pad", ["features", padding], "padded")
    picked = g.node("Gather", [padded, g.weight("hears", net.hears.numpy().ravel())], "picked", axis=1)
    local = g.node("Reshape", [picked, sizes("by_subband", -1, subbands, heard)], "heard")
    encoder = g.matrix("encoder.weight", weights["encoder.weight"].T)
    x = g.node("MatMul", [local, encoder], "encoder.mm")
    x = g.node("Add", [x, g.weight("places", weights["places"])], "encoder.out")
    x = g.node("Relu", [x], "encoded")
    whole_form = sizes("whole", -1, subbands * channels)
    form = sizes("form", -1, subbands, channels)
    for block in range(shape.blocks):
        name = f"blocks.{block}"
        x = recurrence(x, f"{name}.alone", f"alone{block}", [subbands, channels])
        flat = g.node("Reshape", [x, whole_form], f"{name}.flat")
        summary = g.node("Relu", [dense(flat, f"{name}.gather", inner=True)], f"{name}.gathered")
        summary = recurrence(summary, f"{name}.together", f"together{block}", [shape.summary])
        told = g.node("Reshape", [dense(summary, f"{name}.spread", inner=True), form], f"{name}.told")
        x = g.node("Add", [x, told], f"{name}.out")

    # One product for gains and taps of all subbands, in two parts for the two things that it hears;
    # taps that are nobody's cost less than a product of their own.
    last = g.node("Relu", [x], "last")
    parts = 2 * shape.tap_order
    said = SUBBAND * (1 + parts)
    head = np.concatenate([weights["gain.weight"], weights["taps.weight"]])
    bias = np.concatenate([np.zeros(SUBBAND, np.float32), weights["taps.bias"]])
    from_last = g.node("MatMul", [last, g.matrix("head.weight", head[:, :channels].T)], "head.last")
    from_local = g.dense(local, "head.local", head[:, channels:], bias)
    flat = g.node("Add", [from_last, from_local], "head")
    flat = g.node("Reshape", [flat, sizes("head.form", -1, subbands * said)], "head.flat")
    of = said * np.arange(subbands)[:, None] + np.arange(said)  # places of [subbands, said] in it
    picked = g.node(
        "Gather", [flat, g.weight("gains", of[:, :SUBBAND].ravel()[: front.bands])], "gain.picked", axis=1
    )
    gain_bias = g.weight("gain_bias", weights["gain_bias"].ravel()[: front.bands])
    gain = g.node("Sigmoid", [g.node("Add", [picked, gain_bias], "gain.sum")], "gain")
    low = of[: shape.tap_bins // SUBBAND, SUBBAND:].reshape(-1, parts, SUBBAND)
    picked = g.node("Gather", [flat, g.weight("fines", low.swapaxes(0, 1).ravel())], "fine.picked", axis=1)
    fine = g.node("Tanh", [picked], "fine")
    # The low bands are one bin wide: their gain is the real part of the tap of this hop.
    first = np.full(parts * shape.tap_bins, front.bands)
    first[: shape.tap_bins] = np.arange(shape.tap_bins)
    padded = g.node("Pad", [gain, padding], "gain.padded")
    first = g.node("Gather", [padded, g.weight("first", first)], "gain.first", axis=1)
    flat = g.node("Add", [fine, first], "taps.flat")
    g.node("Reshape", [flat, sizes("taps.form", -1, shape.tap_order, 2, shape.tap_bins)], "taps")
    g.node("Sigmoid", [dense(summary, "vad")], "vad")

    graph = helper.make_graph(
        g.nodes,
        "quietwire",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *size]) for n, size in inputs],
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

    subbands = -(-front.bands // SUBBAND)
    states = {}
    for block in range(shape.blocks):
        states[f"alone{block}"] = [subbands, shape.channels]
        states[f"together{block}"] = [shape.summary]
    inputs = [tensor("features", "features", [front.features])]
    inputs += [tensor(name, "state", sizes, ", initial = 0.0") for name, sizes in states.items()]
    outputs = [
        tensor("gain", "gain", [front.bands]),
        tensor("taps", "taps", [shape.tap_order, 2, shape.tap_bins]),
        tensor("vad", "vad", [1]),
    ]
    outputs += [tensor(f"{name}_next", "state", sizes, f', of = "{name}"') for name, sizes in states.items()]

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
    parser.add_argument("checkpoint", type=Path, help="of `train`, or a model folder to store anew")
    parser.add_argument("out", type=Path, help="model folder to write")
    parser.add_argument("--id", default="base", help="name that users write")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--source", default="train/ of this repository")
    parser.add_argument(
        "--bits",
        type=int,
        choices=(32, 16, 8),
        default=32,
        help="store weights as float32, float16 (half the size, the same speed) or, those of the "
        "blocks, as whole numbers of 8 bits (a quarter, and half of the time)",
    )
    parser.add_argument(
        "--blend",
        nargs=2,
        action="append",
        default=[],
        metavar=("OTHER", "SHARE"),
        help="take so much (0 to 1) of the weights of this checkpoint or model folder of the same network; "
        "below 0, to -1: go on by so much of the way that led here from it; given again: one after the other",
    )
    parser.add_argument("--training-data", default="see CARD.md")


def run(args: argparse.Namespace) -> int:
    try:
        front, shape, weights = read(args.checkpoint)
        for name, text in args.blend:
            other, share = Path(name), float(text)
            other_front, other_shape, others = read(other)
            if (front, shape) != (other_front, other_shape):
                raise NotThisNetwork(f"{other}: another network than {args.checkpoint}'s {shape}")
            if not -1 <= share <= 1:
                raise ValueError(f"--blend {other} {share}: a share is from -1 to 1")
            weights = blend(weights, others, share)
    except (OSError, ValueError) as error:
        print(f"error: {error}")
        return 1
    raw = build_onnx(front, shape, weights, args.bits).SerializeToString(deterministic=True)
    digest = hashlib.sha256(raw).hexdigest()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "model.onnx").write_bytes(raw)
    text = manifest(front, shape, digest, args.id, args.version, args.source, args.training_data)
    (args.out / "model.toml").write_text(text, encoding="utf-8")
    print(f"{args.out}: {len(raw)} bytes, sha256 {digest}")
    return 0
