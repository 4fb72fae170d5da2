"""Golden vectors: the intermediate and final signals of a model for one clip, computed by this
package's front end and onnxruntime.

Raw little-endian float32 files; tests of the Rust runtime compare with them.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import torch

from .checkpoint import front_end, read_manifest
from .deepfilternet import TAP_BINS, DeepFilterAnalysis, DeepFilterFront
from .frontend import Analysis
from .net import apply_mask


def run_model(folder: Path, wave: np.ndarray) -> dict[str, np.ndarray]:
    """`wave` [samples] at the model's rate -> features, the outputs of the graphs, and output.

    Raises ValueError for a wave that is shorter than a hop, for a model with lookahead and for outputs that are
    not finite.
    """
    manifest = read_manifest(folder)
    if lookahead := manifest["front_end"].get("lookahead", 0):
        raise ValueError(
            f"{folder}: golden vectors are of models without lookahead, this one has {lookahead} hops"
        )
    is_deepfilternet = "band_levels" in manifest
    front = DeepFilterFront() if is_deepfilternet else front_end(manifest)
    analysis = DeepFilterAnalysis(front) if is_deepfilternet else Analysis(front)
    hops = len(wave) // front.hop
    if not hops:
        raise ValueError(f"the clip has {len(wave)} samples, less than a hop of {front.hop}")
    spectrum = analysis.spectrum(torch.from_numpy(wave[None, : hops * front.hop]))
    features = analysis.features(spectrum)[0].numpy()
    graphs = _run_deepfilternet if is_deepfilternet else _run_hop_by_hop
    vectors = {"features": features, **graphs(manifest, folder, features)}
    gain, taps = (torch.from_numpy(vectors[name][None]) for name in ("gain", "taps"))
    re, im = apply_mask(spectrum, gain, taps, analysis.bands)
    vectors["output"] = analysis.synthesis(torch.complex(re, im))[0].numpy()
    broken = [name for name, values in vectors.items() if not np.isfinite(values).all()]
    if broken:
        raise ValueError(f"{folder}: the model gives values that are not finite: {', '.join(broken)}")
    return vectors


def _session(folder: Path, graph: dict) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(folder / graph["file"]), providers=["CPUExecutionProvider"])


def _run_deepfilternet(manifest: dict, folder: Path, features: np.ndarray) -> dict[str, np.ndarray]:
    """Gain [hops, bands] and taps [hops, order, 2, bins] of graphs that take a whole signal."""
    bands = features.shape[-1] - 2 * TAP_BINS
    unit = features[:, bands:].reshape(-1, 2, TAP_BINS).transpose(1, 0, 2)
    inputs = {"band-levels": features[None, None, :, :bands], "unit-spectrum": unit[None]}
    values: dict[str, np.ndarray] = {}
    roles: dict[str, np.ndarray] = {}
    for graph in manifest["graph"]:
        feeds = {t["name"]: inputs.get(t["role"], values.get(t["name"])) for t in graph["inputs"]}
        names = [t["name"] for t in graph["outputs"]]
        values |= dict(zip(names, _session(folder, graph).run(names, feeds)))
        roles |= {t["role"]: values[t["name"]] for t in graph["outputs"]}
    # [hops, bins, order and part], oldest first -> [hops, order, part, bins], newest first
    taps = roles["taps"][0].reshape(len(features), TAP_BINS, -1, 2)[:, :, ::-1].transpose(0, 2, 3, 1)
    return {"gain": roles["gain"][0, 0], "taps": np.ascontiguousarray(taps)}


def _run_hop_by_hop(manifest: dict, folder: Path, features: np.ndarray) -> dict[str, np.ndarray]:
    """Gain, taps and vad of a graph whose states are inputs and outputs."""
    graph = manifest["graph"][0]
    session = _session(folder, graph)
    states = {
        t["name"]: np.full([1, *t["shape"][1:]], t["initial"], dtype=np.float32)
        for t in graph["inputs"]
        if t["role"] == "state"
    }
    names = [t["name"] for t in graph["outputs"]]
    feature_input = next(t["name"] for t in graph["inputs"] if t["role"] == "features")
    outputs: dict[str, list[np.ndarray]] = {t["name"]: [] for t in graph["outputs"] if t["role"] != "state"}
    for hop in range(len(features)):
        result = dict(zip(names, session.run(names, {feature_input: features[hop : hop + 1], **states})))
        for tensor in graph["outputs"]:
            if tensor["role"] == "state":
                states[tensor["of"]] = result[tensor["name"]]
            else:
                outputs[tensor["name"]].append(result[tensor["name"]][0])
    return {name: np.stack(values) for name, values in outputs.items()}


def read_clip(path: Path, rate_hz: int, start_s: float, seconds: float) -> np.ndarray:
    """A part of a mono recording. Raises ValueError for another rate and for several channels."""
    wave, actual_hz = soundfile.read(path, dtype="float32")
    if actual_hz != rate_hz:
        raise ValueError(f"{path} has {actual_hz} Hz, the model needs {rate_hz} Hz")
    if wave.ndim > 1:
        raise ValueError(f"{path} has {wave.shape[1]} channels, a mono recording is needed")
    start = round(start_s * rate_hz)
    return wave[start : start + round(seconds * rate_hz)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("clip", type=Path, help="mono recording at the model's rate")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--start", type=float, default=1.0, help="first second of the clip to use")
    parser.add_argument("--seconds", type=float, default=1.0)


def run(args: argparse.Namespace) -> int:
    try:
        rate_hz = read_manifest(args.model)["front_end"]["rate_hz"]
        wave = read_clip(args.clip, rate_hz, args.start, args.seconds)
        vectors = {"input": wave, **run_model(args.model, wave)}
    except (OSError, ValueError, KeyError, soundfile.SoundFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    for name, values in vectors.items():
        part = args.out / f"{name}.part"
        np.ascontiguousarray(values, dtype="<f4").tofile(part)
        os.replace(part, args.out / f"{name}.f32")
    print(f"{args.out}: " + ", ".join(f"{n} {list(v.shape)}" for n, v in vectors.items()))
    return 0
