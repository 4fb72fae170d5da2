"""Cost of one stream: runs the bench `peers` and writes a result file.

    python benches/cost.py --json benches/results/cost.json [--seconds 2]

Each row is the mean time for 10 ms of one 48 kHz stream of samples/office-fan.wav, one thread, all in
one run of a release build.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))

from criterion_output import times_us
from result_file import rustc_version, write_result

# Names of the bench to names of the table.
NAMES = {
    "quietwire base/48000": "quietwire `base`",
    "quietwire base/44100": "quietwire `base`, caller at 44.1 kHz",
    "quietwire base/16000": "quietwire `base`, caller at 16 kHz",
    "quietwire tiny/48000": "quietwire `tiny`",
    "quietwire off/48000": "quietwire in bypass",
    "nnnoiseless/48000": "nnnoiseless 0.5.2",
    "sonora noise suppression/48000": "sonora 0.2.0, noise suppression only, high",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="result file to write")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    args = parser.parse_args()
    command = ["cargo", "bench", "-p", "quietwire-peers", "--bench", "peers", "--"]
    command += ["--noplot", "--warm-up-time", "0.5", "--measurement-time", str(args.seconds)]
    print(f"$ {shlex.join(command)}", flush=True)
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found = times_us(run.stdout, "10 ms of one stream/")
    missing = NAMES.keys() - found.keys()
    if missing:
        raise RuntimeError(f"the bench printed no time for {', '.join(sorted(missing))}:\n{run.stdout}")
    rows = [{"name": title, "us": round(found[name], 2)} for name, title in NAMES.items()]
    for row in rows:
        print(f"{row['name']:45} {row['us']:8.2f} us")
    write_result(args.json, f"release profile (thin LTO), {rustc_version()}", shlex.join(command), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
