"""What a run folder records of each session: command, time, code, versions and data."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("quietwire-train", "torch", "numpy", "scipy", "onnx")


def _git(*words: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def code_state() -> dict[str, object]:
    """Commit of this package and whether its files differ from it; None outside a repository."""
    changed = _git("status", "--porcelain", "--", ".")
    return {"commit": _git("rev-parse", "HEAD"), "modified": None if changed is None else bool(changed)}


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if sys.version_info >= (3, 11)
            else (hashlib.sha256(file.read()).hexdigest())
        )


def data_state(store: Path, rir: Path | None) -> dict[str, str | None]:
    """Hashes of the list of clips, of the room impulse responses and of the description of the targets."""
    files = {"clips": store / "clips.json", "rir": rir, "targets": store / "targets.json"}
    if not (store / "targets.json").is_file():
        del files["targets"]
    return {name: None if path is None else file_hash(path) for name, path in files.items()}


def read_record(path: Path) -> list[dict]:
    """Sessions recorded in `path`; none if the file does not exist or has another form."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return record.get("sessions", []) if isinstance(record, dict) else []


def add_session(path: Path, first_step: int, data: dict, **more: object) -> None:
    """Appends a session that begins at `first_step`."""
    session = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "first_step": first_step,
        "command": shlex.join(sys.argv),
        "code": code_state(),
        "versions": versions(),
        "machine": platform.machine(),
        "data": data,
        **more,
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"sessions": [*read_record(path), session]}, indent=1) + "\n")
    os.replace(part, path)
