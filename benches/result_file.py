"""Result files of the benchmarks: JSON that `scripts/make_benchmarks.py` turns into BENCHMARKS.md.

A result file has `environment` (machine, build, command, commit), `rows`, and optional `notes`:
sentences that are printed below the table. Writing a file again keeps its notes.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def machine() -> str:
    """Processor model, number of cores and operating system."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def rustc_version() -> str:
    run = subprocess.run(["rustc", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    return " ".join(run.stdout.split()[:2])


def commit() -> str:
    """Short hash of the checkout, with a `+` when tracked files differ from it."""
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def write_result(path: Path, build: str, command: str, rows: list[dict], is_timed: bool = True) -> None:
    """Writes the rows and the environment of this run to `path`; keeps the notes of an older file.

    Results that are not timed do not depend on the machine, which is then left out.
    """
    environment = {"machine": machine()} if is_timed else {}
    environment |= {"build": build, "command": command, "commit": commit()}
    result: dict = {"environment": environment, "rows": rows}
    if path.is_file():
        notes = json.loads(path.read_text(encoding="utf-8")).get("notes")
        if notes:
            result["notes"] = notes
            print(f"{path}: kept the notes of the earlier run; check that they still hold")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
