"""The command `export-deepfilternet`: a trained DeepFilterNet3 as a model folder.

The weights of a checkpoint, or with no checkpoint the published ones, replace those of the published
graphs. The result has no lookahead: its latency is that of the window, 20 ms.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from . import manifest
from .checkpoint import IncompatibleNetwork, load, require_finite
from .deepfilternet import (
    BAND_INITIAL_DB,
    BAND_STEP_DB,
    BANDS,
    GATE,
    GRAPHS,
    GRUS,
    SMOOTHING,
    TAP_BINS,
    TAP_ORDER,
    UNIT_INITIAL,
    DeepFilterFront,
    DeepFilterNet3,
    read_graphs,
    weight_tensors,
)
from .export import to_int8

WIDTH = 64  # channels of the maps between the graphs
EMBEDDING = 512
HIDDEN_STATES = {"enc": 3, "erb_dec": 2, "df_dec": 3}


def _link(name: str, *sizes: int | str) -> dict:
    return manifest.tensor(name, "intermediate", [1, *sizes])


def graph_tensors(gated: bool = False) -> dict[str, tuple[list[dict], list[dict]]]:
    """Inputs and outputs of each graph."""
    embedding = _link("emb", "S", EMBEDDING)
    maps = [_link(f"e{at}", WIDTH, "S", bands) for at, bands in enumerate((32, 16, 8, 8))]
    low = _link("c0", WIDTH, "S", TAP_BINS)
    features = [
        manifest.tensor("feat_erb", "band-levels", [1, 1, "S", len(BANDS)]),
        manifest.tensor("feat_spec", "unit-spectrum", [1, 2, "S", TAP_BINS], layout="planar"),
    ]
    snr = manifest.tensor("lsnr", "snr", [1, "S", 1])
    gate = [_link(GATE, 1, "S", TAP_BINS)] if gated else []
    taps = {"order": TAP_ORDER, "bins": TAP_BINS, "layout": "bin-oldest-part"}
    return {
        "enc": (features, [*maps, embedding, low, snr]),
        "erb_dec": (
            [embedding, *maps[::-1]],
            [manifest.tensor("m", "gain", [1, 1, "S", len(BANDS)]), *gate],
        ),
        "df_dec": (
            [embedding, low, *gate],
            [
                manifest.tensor("coefs", "taps", [1, "S", TAP_BINS, 2 * TAP_ORDER], taps=taps),
                manifest.tensor("235", "unused", [1, "S", 1]),
            ],
        ),
    }


def describe(raw: dict[str, bytes], gated: bool, **about: str) -> dict:
    """The manifest of graphs with the content `raw`."""
    front = DeepFilterFront()
    tensors = graph_tensors(gated)
    return {
        **about,
        "domain": {"input_rates_hz": [8000, 192000], "speech": "single talkers, any language"},
        "graph": [
            manifest.graph(f"{name}.onnx", raw[name], *tensors[name], hidden_states=HIDDEN_STATES[name])
            for name in GRAPHS
        ],
        "front_end": {
            "rate_hz": front.rate_hz,
            "window": front.window,
            "hop": front.hop,
            "lookahead": 0,
            "window_shape": "vorbis",
            "spectrum_scale": 2 * front.hop / front.window**2,
        },
        "bands": {"widths": list(BANDS)},
        "band_levels": {
            "smoothing": SMOOTHING,
            "initial_db": list(BAND_INITIAL_DB),
            "step_db": BAND_STEP_DB,
        },
        "unit_spectrum": {"bins": TAP_BINS, "smoothing": SMOOTHING, "initial": list(UNIT_INITIAL)},
    }


def round_to_8_bits(model: onnx.ModelProto, name: str) -> None:
    """Stores the weights `name` of a GRU, [1, outputs, inputs], as 8-bit integers and a scale for each output."""
    graph = model.graph
    integers, scale = to_int8(numpy_helper.to_array(weight_tensors(model)[name]), -1)
    # Constants of the export are initializers or nodes.
    for tensor in [tensor for tensor in graph.initializer if tensor.name == name]:
        graph.initializer.remove(tensor)
    for node in [node for node in graph.node if name in node.output]:
        graph.node.remove(node)
    graph.initializer.append(numpy_helper.from_array(integers, f"{name}.int8"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
    graph.node.insert(0, helper.make_node("Mul", [f"{name}.f32", f"{name}.scale"], [name], name=name))
    cast = helper.make_node(
        "Cast", [f"{name}.int8"], [f"{name}.f32"], name=f"{name}.f32", to=TensorProto.FLOAT
    )
    graph.node.insert(0, cast)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `export-deepfilternet` command."""
    parser.add_argument("graphs", type=Path, help="folder with the published graphs, or their tar.gz")
    parser.add_argument("out", type=Path, help="model folder to write")
    parser.add_argument("--checkpoint", type=Path, help="of `train`; without it the published weights")
    parser.add_argument(
        "--bits",
        type=int,
        default=32,
        choices=(8, 32),
        help="of a weight of the recurrences, which are nine tenths of all (default: %(default)s)",
    )
    parser.add_argument("--id", help="name of the model (default: name of the folder)")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument(
        "--license", default="MIT OR Apache-2.0", help="default: that of the published weights, %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the model folder; returns 0, or 1 after an error."""
    try:
        graphs = read_graphs(args.graphs)
        average = load(args.checkpoint).get("average", {}) if args.checkpoint else {}
        net = DeepFilterNet3(graphs, causal=True, gated="gate_bias" in average)
        if args.checkpoint:
            if average.keys() != net.state_dict().keys():
                raise IncompatibleNetwork(f"{args.checkpoint}: not a checkpoint of DeepFilterNet3")
            require_finite({name: value.numpy() for name, value in average.items()}, str(args.checkpoint))
            net.load_state_dict(average)
        with torch.no_grad():
            net.write(graphs)
        if args.bits == 8:
            for graph, modules in GRUS.items():
                for weights, recurrent, _ in modules.values():
                    round_to_8_bits(graphs[graph], weights)
                    round_to_8_bits(graphs[graph], recurrent)
        for model in graphs.values():
            onnx.checker.check_model(model)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    raw = {name: graphs[name].SerializeToString(deterministic=True) for name in GRAPHS}
    about = describe(
        raw,
        net.is_gated,
        id=args.id or args.out.resolve().name,
        version=args.version,
        license=args.license,
        source="DeepFilterNet3, Hendrik Schroeter et al., 2023, without lookahead, trained on by train/",
        training_data="DNS4 challenge data, then see CARD.md",
    )
    args.out.mkdir(parents=True, exist_ok=True)
    files = {f"{name}.onnx": content for name, content in raw.items()}
    files["model.toml"] = manifest.to_toml(about).encode()
    for name, content in files.items():
        (args.out / f"{name}.part").write_bytes(content)
    for name in files:
        os.replace(args.out / f"{name}.part", args.out / name)
    print(f"{args.out}: {sum(map(len, raw.values()))} bytes")
    return 0
