"""Counts the instructions of a hop and fails when a path takes more than its limit.

    python scripts/check_instructions.py             checks
    python scripts/check_instructions.py --update    writes the limits after an intended change
    python scripts/check_instructions.py --aarch64   prints the counts of an emulated aarch64, minutes

Valgrind counts instructions, so other programs and the clock of the processor have no influence. It has no
AVX-512: the counts are those of the kernels for AVX2, on every processor. They include the checks of the dev
profile and depend on the compiler, so the limits have a tolerance and name the compiler. The difference
between two runs with different numbers of hops has no start and no load of the model in it.

On aarch64 qemu counts, without and with the dot product of NEON. It needs aarch64-linux-gnu-gcc and the target
aarch64-unknown-linux-gnu.
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
    "a layer of 256 to 768 in 16-bit weights, a row": (["layer", "1"], []),
    "a layer of 256 to 768 in 16-bit weights, each of 16 rows": (["layer", "16"], []),
}


# Emulated processors by what they have.
AARCH64 = {"NEON": "cortex-a72", "NEON with the dot product": "neoverse-n1"}
AARCH64_TARGET = "aarch64-unknown-linux-gnu"
# A hop takes seconds.
AARCH64_HOPS = (1, 3)


def build(*arguments: str) -> str:
    """The program benches/hop.rs."""
    command = ["cargo", "build", "-q", "-p", "quietwire", "--bench", "hop", "--message-format", "json", *arguments]
    linker = {"CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc"}
    output = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, env={**linker, **os.environ}
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


def emulated_instructions(program: str, processor: str, hops: int) -> int:
    """Instructions of a whole run. Each is a block of its own, and qemu traces blocks."""
    trace = ["-singlestep", "-d", "exec,nochain", "-D", "/dev/stdout"]
    command = ["qemu-aarch64", *trace, "-L", "/usr/aarch64-linux-gnu", "-cpu", processor, program]
    with subprocess.Popen([*command, "base", "1", str(hops)], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        count = sum(line.startswith(b"Trace") for line in run.stdout)
    if run.returncode != 0 or count == 0:
        raise SystemExit(f"error: {' '.join(command)}: exit status {run.returncode}, {count} instructions")
    return count


def print_aarch64() -> int:
    program = build("--no-default-features", "--features", "embedded-model", "--target", AARCH64_TARGET)
    for name, processor in AARCH64.items():
        few, many = (emulated_instructions(program, processor, hops) for hops in AARCH64_HOPS)
        count = round((many - few) / (AARCH64_HOPS[1] - AARCH64_HOPS[0]))
        print(f"base, a stream alone, {name} ({processor}): {count} instructions per hop")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the limits")
    parser.add_argument("--aarch64", action="store_true", help="print the counts of an emulated aarch64")
    arguments = parser.parse_args()
    if arguments.aarch64:
        return print_aarch64()
    compiler = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    program = build("--workspace", "--all-features")
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
