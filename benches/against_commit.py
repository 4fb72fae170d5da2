"""Cost beside an earlier commit and other noise suppressors: all of them alternate in one run.

    python benches/against_commit.py COMMIT [--folder DIR] [--rounds 5] [--seconds 0.7] [--json FILE]

Builds the benches `peers` and `batch` of COMMIT in a worktree below DIR (kept for the next run) and those of this
checkout, then runs each benchmark of both in turn. A row is the median over the rounds, microseconds for 10 ms
of one stream. Run it while nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))

from criterion_output import times_us
from result_file import rustc_version, write_result

STREAMS = 64
# Group of criterion, name of its benchmark, streams of an iteration, title. Earlier commits have the same names.
ALONE, BATCH = "10 ms of one stream/", f"10 ms of {STREAMS} streams/"
OURS = [
    ("peers", ALONE, "quietwire base/48000", 1, "`base`, one stream"),
    ("peers", ALONE, "quietwire base/44100", 1, "`base`, one stream at 44.1 kHz"),
    ("peers", ALONE, "quietwire base/16000", 1, "`base`, one stream at 16 kHz"),
    ("batch", BATCH, "base, batch/16", STREAMS, "`base`, batches of 16"),
    ("peers", ALONE, "quietwire tiny/48000", 1, "`tiny`, one stream"),
    ("batch", BATCH, "tiny, batch/16", STREAMS, "`tiny`, batches of 16"),
]
OTHERS = [
    ("batch", BATCH, "nnnoiseless", STREAMS, "nnnoiseless 0.5.2"),
    ("batch", BATCH, "sonora noise suppression", STREAMS, "sonora 0.2.0, noise suppression only, high"),
]


def build(source: Path, target: Path | None) -> dict[str, str]:
    """The bench programs of `source`, by their names."""
    command = ["cargo", "bench", "-p", "quietwire-peers", "--no-run", "--message-format", "json"]
    environment = os.environ | ({"CARGO_TARGET_DIR": str(target)} if target else {})
    print(f"{source}$ {shlex.join(command)}", flush=True)
    run = subprocess.run(command, cwd=source, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in run.stdout.splitlines()]
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


def time_us(program: str, group: str, name: str, seconds: float) -> float:
    """The middle estimate of one benchmark."""
    arguments = ["--bench", "--noplot", "--warm-up-time", "0.3", "--measurement-time", str(seconds), "--exact"]
    # criterion keeps the results of earlier runs in the current folder.
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [program, *arguments, group + name], cwd=folder, check=True, capture_output=True, text=True
        )
    found = times_us(run.stdout, group)
    if name not in found:
        raise RuntimeError(f"the bench printed no time for {name}:\n{run.stdout}{run.stderr}")
    return found[name]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--folder", type=Path, default=Path("target/against-commit"), help="of the worktree")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file to write")
    args = parser.parse_args()

    folder = (ROOT / args.folder).resolve()
    source = folder / "source"
    if not source.is_dir():
        subprocess.run(["git", "worktree", "add", "--detach", str(source), args.commit], cwd=ROOT, check=True)
    subprocess.run(["git", "checkout", "-q", "--detach", args.commit], cwd=source, check=True)
    earlier = build(source, folder / "target")
    present = build(ROOT, None)

    times: dict[str, tuple[list[float], list[float]]] = {}
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", flush=True)
        for bench, group, name, streams, title in [*OURS, *OTHERS]:
            before, now = times.setdefault(title, ([], []))
            now.append(time_us(present[bench], group, name, args.seconds) / streams)
            if (bench, group, name, streams, title) in OURS:
                before.append(time_us(earlier[bench], group, name, args.seconds) / streams)

    medians = {title: [statistics.median(t) if t else None for t in both] for title, both in times.items()}
    alone = medians["`base`, one stream"][0]
    sonora, nnnoiseless = medians[OTHERS[1][4]][1], medians[OTHERS[0][4]][1]
    rows = []
    for title, (before, now) in medians.items():
        row = {"name": title, "us": round(now, 1)}
        if before:
            row |= {"earlier_us": round(before, 1), "ratio": round(now / before, 2)}
        row |= {
            "to_earlier_alone": round(now / alone, 2),
            "to_sonora": round(now / sonora, 2),
            "to_nnnoiseless": round(now / nnnoiseless, 2),
        }
        rows.append(row)
        print(row)
    if args.json:
        command = f"python benches/against_commit.py {shlex.join(sys.argv[1:])}"
        write_result(args.json, f"release profile (thin LTO), {rustc_version()}", command, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
