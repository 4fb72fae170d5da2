"""Measures how many live streams with Opus in and out one worker of `quietwire relay` carries.

    python scripts/relay_capacity.py target/release/quietwire [--max-ms 30] [--seconds 30] [--low 10] [--high 400]

Runs scripts/soak.py with one worker and more or fewer streams, and searches the largest number for which
99.9 % of the packets leave at most --max-ms after they are due, and no hop was without time for a model.
Every number of streams between --low and --high is tried by bisection, so a run takes about eight times
--seconds. Prints one line for each try, and the processor time of one stream by stage. Valid only on a
machine without other load and with a core for the sender: soak.py reports both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SOAK = Path(__file__).resolve().parent / "soak.py"


def measure(binary: str, streams: int, seconds: float) -> dict:
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, SOAK, binary, "--workers", "1", "--steady"]
        command += ["--streams", str(streams), "--seconds", str(seconds), "--json", file]
        ended = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if ended.returncode == 2 or not file.exists():
            sys.exit(f"{streams} streams: not valid:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
        return json.loads(file.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary", help="the quietwire program")
    parser.add_argument("--max-ms", type=float, default=30.0, help="largest p99.9 of the added latency")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run, at least 15")
    parser.add_argument("--low", type=int, default=10, help="a number of streams that a worker carries")
    parser.add_argument("--high", type=int, default=400, help="a number that it does not carry")
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args()
    if not 1 <= args.low < args.high:
        parser.error("expected 1 <= --low < --high")

    runs = []

    def carries(streams: int) -> bool:
        figures = measure(args.binary, streams, args.seconds)
        latency, missed = figures["latency_ms"], figures["missed_deadlines"]
        is_carried = latency["p99.9"] <= args.max_ms and missed == 0
        runs.append({"streams": streams, "carried": is_carried, "figures": figures})
        stages = figures["stage_cores"]
        of_stream = ", ".join(f"{stage} {1e3 * cores / streams:.2f}" for stage, cores in stages.items())
        print(
            f"{streams:4} streams: p50 {latency['p50']:.1f}, p99 {latency['p99']:.1f}, p99.9 {latency['p99.9']:.1f} ms, "
            f"{missed} hops without a model, {figures['cpu_cores']['relay']:.2f} cores; "
            f"thousandths of a core for each stream: {of_stream}: {'carried' if is_carried else 'too many'}",
            flush=True,
        )
        return is_carried

    if not carries(args.low):
        sys.exit(f"{args.low} streams are too many: use a smaller --low")
    low, high = args.low, args.high
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        low, high = (middle, high) if carries(middle) else (low, middle)
    print(f"one worker carries {low} streams with at most {args.max_ms:g} ms added for 99.9 % of the packets")
    if args.json:
        args.json.write_text(json.dumps({"max_ms": args.max_ms, "streams": low, "runs": runs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
