"""Times the first build of the program, and the build of the relay after it, in an empty target folder.

    python benches/build_time.py [--json FILE]

Crates are downloaded before the timing. Run it while nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))

from result_file import rustc_version, write_result

BUILDS = [
    ("the program: `cargo build -p quietwire-cli`", ["build", "-q", "-p", "quietwire-cli"]),
    ("then the relay: the same with `--features relay`", ["build", "-q", "-p", "quietwire-cli", "--features", "relay"]),
    ("then the tests: `cargo test --no-run`", ["test", "-q", "--no-run"]),
]


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write a result file for scripts/make_benchmarks.py")
    args = parser.parse_args()
    subprocess.run(["cargo", "fetch", "-q"], cwd=ROOT, check=True)
    rows = []
    with tempfile.TemporaryDirectory() as target:
        environment = {**os.environ, "CARGO_TARGET_DIR": target, "CARGO_INCREMENTAL": "0"}
        for name, command in BUILDS:
            start, cpu = time.monotonic(), cpu_seconds()
            subprocess.run(["cargo", *command], cwd=ROOT, env=environment, check=True)
            rows.append(
                {
                    "name": name,
                    "wall_s": round(time.monotonic() - start),
                    "cpu_s": round(cpu_seconds() - cpu),
                }
            )
            print(f"{name}: {rows[-1]['wall_s']} s, {rows[-1]['cpu_s']} s of processor time", flush=True)
    if args.json:
        build = f"dev profile, {rustc_version()}"
        write_result(args.json, build, "python benches/build_time.py", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
