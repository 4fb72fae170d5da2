"""Golden vectors: what a model folder does to one clip, by this package and onnxruntime.

Five raw little-endian f32 files; `tests/parity.rs` holds the Rust runtime to them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import tomllib
import torch

from .export import front_end
from .frontend import Analysis
from .net import apply


def run_model(folder: Path, wave: np.ndarray) -> dict[str, np.ndarray]:
    """`wave` [samples] at the model's rate -> features, gain, taps, vad and output, hop by hop."""
    spec = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
    graph = spec["graph"][0]
    session = onnxruntime.InferenceSession(str(folder / graph["file"]), providers=["CPUExecutionProvider"])
    front = front_end(spec)
    analysis = Analysis(front)
    hops = len(wave) // front.hop
    spectrum = analysis.spectrum(torch.from_numpy(wave[None, : hops * front.hop]))
    features = analysis.features(spectrum)[0].numpy()
    states = {
        t["name"]: np.full([1, *t["shape"][1:]], t["initial"], dtype=np.float32)
        for t in graph["inputs"]
        if t["role"] == "state"
    }
    names = [t["name"] for t in graph["outputs"]]
    into = next(t["name"] for t in graph["inputs"] if t["role"] == "features")
    kept: dict[str, list[np.ndarray]] = {t["name"]: [] for t in graph["outputs"] if t["role"] != "state"}
    for hop in range(hops):
        out = dict(zip(names, session.run(names, {into: features[hop : hop + 1], **states})))
        for tensor in graph["outputs"]:
            if tensor["role"] == "state":
                states[tensor["of"]] = out[tensor["name"]]
            else:
                kept[tensor["name"]].append(out[tensor["name"]][0])
    stacked = {name: np.stack(values) for name, values in kept.items()}
    gain, taps = (torch.from_numpy(stacked[name][None]) for name in ("gain", "taps"))
    re, im = apply(spectrum, gain, taps, analysis.bands)
    output = analysis.synthesis(torch.complex(re, im))[0].numpy()
    return {"features": features, **stacked, "output": output}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("clip", type=Path, help="mono recording at the model's rate")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--start", type=float, default=1.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=1.0)


def run(args: argparse.Namespace) -> int:
    wave, rate_hz = soundfile.read(args.clip, dtype="float32")
    start = round(args.start * rate_hz)
    wave = wave[start : start + round(args.seconds * rate_hz)]
    vectors = {"input": wave, **run_model(args.model, wave)}
    args.out.mkdir(parents=True, exist_ok=True)
    for name, values in vectors.items():
        np.ascontiguousarray(values, dtype="<f4").tofile(args.out / f"{name}.f32")
    print(f"{args.out}: " + ", ".join(f"{n} {list(v.shape)}" for n, v in vectors.items()))
    return 0
