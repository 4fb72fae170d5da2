"""Checkpoint to model folder: `model.onnx` and `model.toml`.

The graph is written node by node, not traced. It computes one hop, has a symbolic batch axis, and
every recurrent state is an input and an output. The same checkpoint gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import manifest
from .checkpoint import IncompatibleNetwork, Weights, gru_tensors, read, read_manifest, require_finite
from .frontend import FrontEnd
from .net import SUBBAND_BANDS, Net, NetShape

OPSET = 17
IR_VERSION = 8


def to_int8(value: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights as 8-bit integers, and the scale of each output. `axis`: that of the inputs, of size 1 in the scales."""
    scale = (np.abs(value).max(axis, keepdims=True) / 127).astype(np.float32)
    return np.round(value / np.where(scale > 0, scale, 1)).astype(np.int8), scale


class Graph:
    """Collects the nodes and weights of a graph. A node has the name of its output."""

    def __init__(self, bits: int = 32) -> None:
        self.bits = bits
        self.states: dict[str, list[int]] = {}  # names and shapes without the batch
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def sizes(self, name: str, *values: int) -> str:
        return self.weight(name, np.array(values, dtype=np.int64))

    def matrix(self, name: str, value: np.ndarray, inner: bool = False) -> str:
        """A weight matrix [in, out], stored in `bits` bits.

        Only an `inner` matrix, one between two hidden layers, is stored in 8 bits; the first and the
        last layers need more precision and get 16. The engine multiplies 8-bit weights as integers
        and converts float16 to float32 while loading.
        """
        if self.bits == 8 and inner:
            quantized, scale = to_int8(value, 0)
            quantized = self.weight(f"{name}.int8", quantized)
            number = self.node("Cast", [quantized], f"{name}.f32", to=TensorProto.FLOAT)
            return self.node("Mul", [number, self.weight(f"{name}.scale", scale)], name)
        if self.bits == 32:
            return self.weight(name, value)
        if np.abs(value).max() > np.finfo(np.float16).max:
            raise ValueError(f"{name}: a weight above 65504 has no float16 form; export with --bits 32")
        return self.node(
            "Cast", [self.weight(f"{name}.f16", value.astype(np.float16))], name, to=TensorProto.FLOAT
        )

    def node(self, op: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def dense(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray, inner: bool = False) -> str:
        """x [..., k] -> x W^T + b [..., m]; `weight` is [m, k] as in PyTorch."""
        matrix = self.matrix(f"{name}.weight", weight.T, inner)
        product = self.node("MatMul", [x, matrix], f"{name}.mm")
        return self.node("Add", [product, self.weight(f"{name}.bias", bias)], f"{name}.out")


def blend(weights: Weights, others: Weights, share: float) -> Weights:
    """(1 - `share`) `weights` + `share` `others`, both of one network.

    A share from 0 to 1 interpolates between two runs of which one was fine-tuned from the other
    (Wortsman et al. 2022, WiSE-FT). A share below 0 extrapolates the change that fine-tuning made
    (Ilharco et al. 2023, task arithmetic).
    """
    return {
        name: ((1 - share) * value + share * others[name]).astype(np.float32)
        for name, value in weights.items()
    }


def _recurrence(g: Graph, weights: Weights, x: str, name: str, state: str, state_shape: list[int]) -> str:
    """The nodes of a `Recurrence`; adds the state to the inputs and outputs of the graph."""
    g.states[state] = state_shape
    gates = g.dense(x, f"{name}.gates", weights[f"{name}.gates.weight"], weights[f"{name}.gates.bias"], True)
    # Rows of a reshaped product instead of a Split: for a Split the engine would compute three
    # products.
    gate_shape = g.sizes(f"{name}.gate_shape", -1, *state_shape[:-1], 3, state_shape[-1])
    gates = g.node("Reshape", [gates, gate_shape], f"{name}.gate_rows")
    update, candidate, output_gate = (
        g.node("Gather", [gates, f"gate{at}"], f"{name}.{part}", axis=len(state_shape))
        for at, part in enumerate(("update", "candidate", "output_gate"))
    )
    update = g.node("Sigmoid", [update], f"{update}.sigmoid")
    delta = g.node("Sub", [candidate, state], f"{name}.delta")
    delta = g.node("Mul", [update, delta], f"{name}.scaled_delta")
    after = g.node("Add", [state, delta], f"{state}_next")
    output_gate = g.node("Sigmoid", [output_gate], f"{output_gate}.sigmoid")
    tanh = g.node("Tanh", [after], f"{name}.tanh")
    gated = g.node("Mul", [output_gate, tanh], f"{name}.gated")
    return g.node("Add", [x, gated], f"{name}.out")


def _subband_fullband(
    g: Graph, shape: NetShape, subbands: int, weights: Weights, x: str, block: int
) -> tuple[str, str]:
    """The nodes of `net.Block` number `block`: output and summary."""
    name = f"blocks.{block}"
    x = _recurrence(g, weights, x, f"{name}.subband", f"subband{block}", [subbands, shape.channels])
    return _fullband(g, shape, weights, x, block)


def _fullband(g: Graph, shape: NetShape, weights: Weights, x: str, block: int) -> tuple[str, str]:
    """The nodes of the fullband layers of a block: output and summary."""
    name = f"blocks.{block}"

    def dense(x: str, layer: str) -> str:
        layer = f"{name}.{layer}"
        return g.dense(x, layer, weights[f"{layer}.weight"], weights[f"{layer}.bias"], True)

    flat = g.node("Reshape", [x, "flat_shape"], f"{name}.flat")
    summary = g.node("Relu", [dense(flat, "to_fullband")], f"{name}.summary")
    summary = _recurrence(g, weights, summary, f"{name}.fullband", f"fullband{block}", [shape.summary])
    back = g.node("Reshape", [dense(summary, "from_fullband"), "block_shape"], f"{name}.back")
    return g.node("Add", [x, back], f"{name}.out"), summary


def _time_frequency(
    g: Graph, shape: NetShape, subbands: int, weights: Weights, x: str, block: int
) -> tuple[str, str]:
    """The nodes of `net.TimeFrequencyBlock` number `block`: output and summary ("" but in the last)."""
    name = f"blocks.{block}"
    x = _recurrence(g, weights, x, f"{name}.subband", f"subband{block}", [subbands, shape.channels])
    # GRU: [steps, rows, channels] to [steps, directions, rows, state].
    rows = g.node("Transpose", [x], f"{name}.rows", perm=[1, 0, 2])
    along = f"{name}.frequency"
    tensors = [g.weight(f"{along}.{kind}", value) for kind, value in gru_tensors(weights, along).items()]
    sizes = {"hidden_size": shape.frequency, "linear_before_reset": 1}
    both = g.node("GRU", [rows, *tensors], f"{along}.both", direction="bidirectional", **sizes)
    both = g.node("Transpose", [both], f"{along}.by_row", perm=[2, 0, 1, 3])
    wide = g.sizes(f"{along}.shape", -1, subbands, 2 * shape.frequency)
    both = g.node("Reshape", [both, wide], f"{along}.out")
    layer = f"{name}.from_frequency"
    change = g.dense(both, layer, weights[f"{layer}.weight"], weights[f"{layer}.bias"], True)
    x = g.node("Add", [x, change], f"{name}.combined")
    return _fullband(g, shape, weights, x, block) if block == shape.blocks - 1 else (x, "")


# Writers of the nodes of a block, by the names of net.BLOCKS.
BLOCK_GRAPHS = {"subband_fullband": _subband_fullband, "time_frequency": _time_frequency}
# Blocks whose graph has a batch of one: the engine runs the GRU of a hop for one stream at a time.
ONE_STREAM = {"time_frequency"}


def build_onnx(front: FrontEnd, shape: NetShape, weights: Weights, bits: int = 32) -> onnx.ModelProto:
    """The graph of one hop: `features` and states in; `gain`, `taps`, `vad` and next states out.

    The batch is one stream for the blocks of ONE_STREAM, and of any size for others.

    Weight matrices are stored in `bits` bits, those of the encoder and of the heads in 16 at least.
    All arithmetic of the graph is in float32. Raises IncompatibleNetwork for a block that has no
    writer and for weights that are not finite.
    """
    if shape.block not in BLOCK_GRAPHS:
        raise IncompatibleNetwork(f"the block {shape.block!r} has no writer in export.BLOCK_GRAPHS")
    require_finite(weights, "export")
    g = Graph(bits)
    net = Net(front, shape)
    subbands, channels, local_size = net.subbands, shape.channels, net.feature_index.shape[1]

    for at in range(3):
        g.weight(f"gate{at}", np.array(at, dtype=np.int64))

    # The features of every subband; a padded zero stands for a feature that does not exist.
    padding = g.sizes("padding", 0, 0, 0, 1)
    padded = g.node("Pad", ["features", padding], "padded")
    index = g.weight("feature_index", net.feature_index.numpy().ravel())
    gathered = g.node("Gather", [padded, index], "gathered", axis=1)
    local = g.node("Reshape", [gathered, g.sizes("local_shape", -1, subbands, local_size)], "local")
    encoder = g.matrix("encoder.weight", weights["encoder.weight"].T)
    encoded = local
    if shape.input_hops > 1:
        # Oldest hop first: [hops, subbands, features of a subband].
        g.states["past_features"] = [shape.input_hops - 1, subbands, local_size]
        one_hop = g.node("Reshape", [local, g.sizes("hop_shape", -1, 1, subbands, local_size)], "local.hop")
        hops = g.node("Concat", ["past_features", one_hop], "hops", axis=1)
        bounds = [g.sizes(f"hops.{name}", value) for name, value in (("start", 1), ("end", shape.input_hops))]
        g.node("Slice", [hops, *bounds, g.sizes("hops.axis", 1)], "past_features_next")
        by_subband = g.node("Transpose", [hops], "hops.by_subband", perm=[0, 2, 1, 3])
        wide = g.sizes("hops.shape", -1, subbands, shape.input_hops * local_size)
        encoded = g.node("Reshape", [by_subband, wide], "hops.flat")
    x = g.node("MatMul", [encoded, encoder], "encoder.mm")
    x = g.node("Add", [x, g.weight("subband_embedding", weights["subband_embedding"])], "encoder.out")
    x = g.node("Relu", [x], "encoded")
    g.sizes("flat_shape", -1, subbands * channels)
    g.sizes("block_shape", -1, subbands, channels)
    for block in range(shape.blocks):
        x, summary = BLOCK_GRAPHS[shape.block](g, shape, subbands, weights, x, block)

    # One product gives gains and taps of all subbands, also those of the high subbands, which have
    # no taps: a second product would cost more. It is split by its inputs, trunk and local features.
    trunk = g.node("Relu", [x], "trunk")
    parts = 2 * shape.tap_order
    head_size = SUBBAND_BANDS * (1 + parts)
    head = np.concatenate([weights["gain.weight"], weights["taps.weight"]])
    bias = np.concatenate([np.zeros(SUBBAND_BANDS, np.float32), weights["taps.bias"]])
    from_trunk = g.node("MatMul", [trunk, g.matrix("head.weight", head[:, :channels].T)], "head.trunk")
    from_local = g.dense(local, "head.local", head[:, channels:], bias)
    flat = g.node("Add", [from_trunk, from_local], "head")
    flat = g.node("Reshape", [flat, g.sizes("head.shape", -1, subbands * head_size)], "head.flat")
    # Indices of [subbands, head_size] in the flat output.
    of = head_size * np.arange(subbands)[:, None] + np.arange(head_size)
    gain_index = g.weight("gain_index", of[:, :SUBBAND_BANDS].ravel()[: front.bands])
    gain = g.node("Gather", [flat, gain_index], "gain.gathered", axis=1)
    gain_bias = g.weight("gain_bias", weights["gain_bias"].ravel()[: front.bands])
    gain = g.node("Sigmoid", [g.node("Add", [gain, gain_bias], "gain.sum")], "gain")
    low = of[: shape.tap_bins // SUBBAND_BANDS, SUBBAND_BANDS:].reshape(-1, parts, SUBBAND_BANDS)
    tap_index = g.weight("tap_index", low.swapaxes(0, 1).ravel())
    fine = g.node("Gather", [flat, tap_index], "fine.gathered", axis=1)
    fine = g.node("Tanh", [fine], "fine")
    # The low bands are one bin wide: their gain is added to the real part of the tap of this hop.
    first = np.full(parts * shape.tap_bins, front.bands)
    first[: shape.tap_bins] = np.arange(shape.tap_bins)
    padded = g.node("Pad", [gain, padding], "gain.padded")
    first = g.node("Gather", [padded, g.weight("first_tap_index", first)], "gain.first_tap", axis=1)
    flat = g.node("Add", [fine, first], "taps.flat")
    g.node("Reshape", [flat, g.sizes("taps.shape", -1, shape.tap_order, 2, shape.tap_bins)], "taps")
    g.node("Sigmoid", [g.dense(summary, "vad", weights["vad.weight"], weights["vad.bias"])], "vad")

    inputs = [("features", [front.features]), *g.states.items()]
    outputs = [("gain", [front.bands]), ("taps", [shape.tap_order, 2, shape.tap_bins]), ("vad", [1])]
    outputs += [(f"{name}_next", size) for name, size in g.states.items()]

    streams = 1 if shape.block in ONE_STREAM else "N"
    graph = helper.make_graph(
        g.nodes,
        "quietwire",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [streams, *size]) for n, size in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [streams, *size]) for n, size in outputs],
        g.weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="quietwire-train"
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(front: FrontEnd, shape: NetShape, model: onnx.ModelProto, raw: bytes, **about: str) -> dict:
    """The manifest of `model`, whose file has the content `raw`.

    `about` gives id, version, license, source and training_data.
    """

    def tensor(name: str, role: str, sizes: list[int], **more: object) -> dict:
        return manifest.tensor(name, role, [1 if shape.block in ONE_STREAM else "N", *sizes], **more)

    states = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim[1:]]
        for value in model.graph.input
        if value.name != "features"
    }
    # Without a batch axis the filter does not follow from the shape.
    filter_of_taps = {"order": shape.tap_order, "bins": shape.tap_bins, "layout": "newest-part-bin"}
    filter_of_taps = {"taps": filter_of_taps} if shape.block in ONE_STREAM else {}
    inputs = [tensor("features", "features", [front.features])]
    inputs += [tensor(name, "state", sizes, initial=0.0) for name, sizes in states.items()]
    outputs = [
        tensor("gain", "gain", [front.bands]),
        tensor("taps", "taps", [shape.tap_order, 2, shape.tap_bins], **filter_of_taps),
        tensor("vad", "vad", [1]),
    ]
    outputs += [tensor(f"{name}_next", "state", sizes, of=name) for name, sizes in states.items()]
    return {
        **about,
        "domain": {
            "input_rates_hz": [8000, 192000],
            "speech": "close and distant talkers, any language; not singing, not music",
        },
        "graph": [manifest.graph("model.onnx", raw, inputs, outputs)],
        "front_end": {
            "rate_hz": front.rate_hz,
            "window": front.window,
            "hop": front.hop,
            "lookahead": 0,
            "window_shape": "sqrt-hann",
        },
        "features": {
            "bands": {
                "centers": front.centers,
                "range_low_db": front.range_low_db,
                "range_high_db": front.range_high_db,
                "range_step_db": front.range_step_db,
                "range_offset": front.range_offset,
            },
            "phase_advance": {"first_bin": 1, "bins": front.phase_bins},
            "level": {
                "first_bin": front.level_first_bin,
                "attack": front.level_attack,
                "release_db": front.level_release_db,
                "floor_db": front.level_floor_db,
            },
        },
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, help="checkpoint of `train`, or a model folder to store again"
    )
    parser.add_argument("out", type=Path, help="model folder to write")
    parser.add_argument("--id", help="name of the model (default: name of the folder)")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument(
        "--license",
        help="license of the weights, an SPDX expression such as MIT; needed for a checkpoint, for a model "
        "folder the default is its own",
    )
    parser.add_argument("--source", default="quietwire-train", help="text for the manifest")
    parser.add_argument(
        "--bits",
        type=int,
        choices=(32, 16, 8),
        default=32,
        help="storage of the weight matrices: float32; float16 (half the size, same speed); or 8-bit "
        "integers in the blocks and float16 elsewhere (a quarter of the size, half the time per hop)",
    )
    parser.add_argument(
        "--blend",
        nargs=2,
        action="append",
        default=[],
        metavar=("OTHER", "SHARE"),
        help="mix in SHARE (0 to 1) of the weights of OTHER, a checkpoint or model folder of the same "
        "network; SHARE from -1 to 0 extrapolates away from OTHER; may be given several times",
    )
    parser.add_argument("--training-data", default="see CARD.md", help="text for the manifest")


def run(args: argparse.Namespace) -> int:
    try:
        license_id = args.license
        if license_id is None and args.checkpoint.is_dir():
            stored = read_manifest(args.checkpoint)
            license_id = stored.get("license") or stored.get("licence")
        if not license_id:
            raise ValueError(
                "state the license under which the weights may be used: --license SPDX, such as --license MIT"
            )
        front, shape, weights = read(args.checkpoint)
        for name, text in args.blend:
            other, share = Path(name), float(text)
            other_front, other_shape, others = read(other)
            if (front, shape) != (other_front, other_shape):
                raise IncompatibleNetwork(
                    f"{other}: another network than {args.checkpoint}, which has {shape}"
                )
            if not -1 <= share <= 1:
                raise ValueError(f"--blend {other} {share}: a share is from -1 to 1")
            weights = blend(weights, others, share)
        model = build_onnx(front, shape, weights, args.bits)
    except (OSError, ValueError) as error:
        print(f"error: {error}")
        return 1
    raw = model.SerializeToString(deterministic=True)
    about = describe(
        front,
        shape,
        model,
        raw,
        id=args.id or args.out.resolve().name,
        version=args.version,
        license=license_id,
        source=args.source,
        training_data=args.training_data,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    files = {"model.onnx": raw, "model.toml": manifest.to_toml(about).encode()}
    for name, content in files.items():
        (args.out / f"{name}.part").write_bytes(content)
    for name in files:
        os.replace(args.out / f"{name}.part", args.out / name)
    print(f"{args.out}: {len(raw)} bytes, sha256 {about['graph'][0]['sha256']}")
    return 0
