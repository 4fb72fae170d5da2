"""Counts the instructions of a hop and fails when a path takes more than its limit.

    python scripts/check_instructions.py             checks
    python scripts/check_instructions.py --update    writes the limits after an intended change

Valgrind counts instructions, so other programs and the clock of the processor have no influence. It has no
AVX-512: the counts are those of the kernels for AVX2, on every processor. They include the checks of the dev
profile and depend on the compiler, so the limits have a tolerance and name the compiler. The difference
between two runs with different numbers of hops has no start and no load of the model in it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMITS = ROOT / "benches/instructions.json"
TOLERANCE = 0.03
HOPS = (20, 60)
# Name of the path: arguments of benches/hop.rs before and after the number of hops.
PATHS = {
    "base, a stream alone": (["base", "1"], []),
    "base, each stream of a batch of 16": (["base", "16"], []),
    "tiny, a stream alone": (["tiny", "1"], []),
    "base at 44.1 kHz, a stream alone": (["base", "1"], ["44100"]),
    "base at 16 kHz, a stream alone": (["base", "1"], ["16000"]),
}


def build() -> str:
    """The program benches/hop.rs."""
    command = ["cargo", "build", "-q", "--workspace", "--all-features", "-p", "quietwire", "--bench", "hop"]
    output = subprocess.run(
        [*command, "--message-format", "json"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    messages = [json.loads(line) for line in output.splitlines()]
    programs = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "hop"]
    return programs[-1]


def instructions(program: str, arguments: list[str]) -> int:
    with tempfile.NamedTemporaryFile() as profile:
        result = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile.name}", program, *arguments],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    return int(re.search(r"Collected : (\d+)", result.stderr)[1])


def per_hop(program: str, before: list[str], after: list[str]) -> int:
    """Instructions of a hop of one stream."""
    few, many = (instructions(program, [*before, str(hops), *after]) for hops in HOPS)
    return round((many - few) / (HOPS[1] - HOPS[0]) / int(before[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the limits")
    arguments = parser.parse_args()
    compiler = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    program = build()
    found = {name: per_hop(program, *parts) for name, parts in PATHS.items()}
    if arguments.update:
        document = {"compiler": compiler, "instructions_per_hop": found}
        LIMITS.write_text(json.dumps(document, indent=2) + "\n")
    document = json.loads(LIMITS.read_text())
    failed = False
    for name, count in found.items():
        limit = document["instructions_per_hop"][name]
        ratio = count / limit - 1
        is_above = ratio > TOLERANCE
        failed |= is_above
        print(f"{'FAIL' if is_above else 'ok  '}  {name}: {count} instructions per hop, {ratio:+.1%}")
        if ratio < -TOLERANCE:
            print("      less than before: run scripts/check_instructions.py --update")
    if failed:
        print(
            f"The limits were measured with {document['compiler']}, these counts with {compiler}. After an "
            "intended change run scripts/check_instructions.py --update.",
            file=sys.stderr,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
