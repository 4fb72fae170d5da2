"""Systems to score: the input, a command, a folder of results, a model of the runtime, or old scores."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .audio import AUDIO_SUFFIXES, read_mono

COMMAND_SECONDS = 600
BUILD_HINT = "build it with `cargo build --release -p quietwire-cli` and name it with --quietwire"


@dataclass(frozen=True)
class System:
    """A system to score: a command with {in} and {out}, a folder of results, a model, the records of an
    earlier report by pair, or, with none of these, the unprocessed input."""

    name: str
    command: str | None = None
    folder: Path | None = None
    model: str | None = None
    records: dict[str, dict] | None = None


def load_scores(name: str, path: Path) -> dict[str, dict]:
    """Records of the system `name` in the report `path`, by pair."""
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))["pairs"]
        records = {record["pair"]: record for record in pairs if record["system"] == name}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a report of `score --out`: {error}") from error
    if not records:
        raise ValueError(f"{path} has no system {name}")
    return records


def parse_system(text: str) -> System:
    """`noisy`, NAME=COMMAND, NAME=dir:FOLDER, NAME=model:MODEL or NAME=scores:REPORT.json."""
    if text == "noisy":
        return System("noisy")
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise ValueError(
            f"{text!r} is none of noisy, NAME=COMMAND, NAME=dir:FOLDER, NAME=model:MODEL, NAME=scores:JSON"
        )
    if rest.startswith("scores:"):
        return System(name, records=load_scores(name, Path(rest[7:])))
    if rest.startswith("dir:"):
        return System(name, folder=Path(rest[4:]))
    if rest.startswith("model:"):
        return System(name, model=rest[6:])
    if "{in}" not in rest or "{out}" not in rest:
        raise ValueError(f"the command of {name} needs {{in}} and {{out}}")
    return System(name, command=rest)


def with_commands(systems: list[System], quietwire: str | None) -> list[System]:
    """`systems`, with a command for each that names a model; `quietwire` is the program that runs it."""
    if not any(system.model for system in systems):
        return systems
    program = shutil.which(quietwire or "quietwire")
    if program is None:
        raise ValueError(f"no program {quietwire or 'quietwire'}: {BUILD_HINT}")
    prefix = f"{shlex.quote(program)} clean -q --force --telemetry {{telemetry}} -o {{out}} --model "
    return [
        replace(system, command=f"{prefix}{shlex.quote(system.model)} {{in}}") if system.model else system
        for system in systems
    ]


def audio_files(folder: Path) -> dict[str, Path]:
    """Audio files directly in `folder`, by their names without the suffix."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in files if path.suffix.lower() in AUDIO_SUFFIXES}


def source_file(pairs_dir: Path, folder: str, name: str) -> Path:
    """The file of a pair: NAME.wav, or NAME with another audio suffix."""
    usual = pairs_dir / folder / f"{name}.wav"
    return usual if usual.is_file() else audio_files(usual.parent).get(name, usual)


def _message(stderr: str) -> str:
    """The error line of a program's output: the first that begins with "error", else the last."""
    lines = stderr.strip().splitlines() or ["no message"]
    return next((line for line in lines if line.lower().startswith("error")), lines[-1])


def process(system: System, source: Path, name: str) -> tuple[np.ndarray, dict[str, float], list[dict]]:
    """Output of `system` for the file `source` (48 kHz), its time in `seconds`, and its telemetry."""
    if system.folder is not None:
        return read_mono(source_file(system.folder, ".", name))[0], {}, []
    with tempfile.TemporaryDirectory() as scratch:
        result, telemetry = Path(scratch) / "out.wav", Path(scratch) / "telemetry.jsonl"
        paths = {"{in}": str(source), "{out}": str(result), "{telemetry}": str(telemetry)}
        words = shlex.split(system.command)
        for mark, path in paths.items():
            words = [word.replace(mark, path) for word in words]
        start = time.perf_counter()
        # In a session of its own: Ctrl-C in the terminal does not end the program of a pair that is
        # finished first.
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            start_new_session=True,
        )
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise RuntimeError(f"exit status {done.returncode}: {_message(done.stderr)}")
        lines = telemetry.read_text().splitlines() if "{telemetry}" in system.command else []
        return read_mono(result)[0], {"seconds": seconds}, [json.loads(line) for line in lines if line]
