"""Runs the Python blocks of the documents, in order."""

from __future__ import annotations

import json
import re
import types
from pathlib import Path

import numpy as np
import pytest
import quietwire
from conftest import SAMPLES, noisy

ROOT = SAMPLES.parent
DOCUMENTS = ["README.md", "docs/python.md", "bindings/python/README.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_blocks_run(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    # The content decides about the format, not the name.
    (tmp_path / "talk.mp3").write_bytes((SAMPLES / "office-fan.wav").read_bytes())
    written: list[np.ndarray] = []
    names = {
        "block": noisy(480),
        "chunks": [noisy(1000, 2), noisy(333, 2)],
        "quietwire": quietwire,
        "samples": noisy(44_100),
        "sink": types.SimpleNamespace(write=written.append),
    }
    for block in blocks:
        modules = re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE)
        if not all(map(available, modules)):
            continue
        (tmp_path / "talk.clean.wav").unlink(missing_ok=True)
        exec(compile(block, document, "exec"), names)
    assert (tmp_path / "talk.clean.wav").exists() or names["cleaned"].size
    if document == "docs/python.md":
        assert sum(len(chunk) for chunk in written) == 1333


def test_the_word_error_rates_are_those_of_the_result_file() -> None:
    result = json.loads((ROOT / "benches/results/recognition.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    keys = ("wer_clean", "wer_10_db", "wer_5_db", "wer_0_db", "wer")
    rows = [row for row in result["rows"] if row["half"] == "all"]
    assert rows
    for row in rows:
        assert " | ".join(f"{100 * row[key]:.1f}" for key in keys) in text, row["name"]
    without = {row["recognizer"]: row["wer"] for row in rows if row["name"] == "raw"}
    default = {row["recognizer"]: row["wer"] for row in rows if row["name"] == "recognition"}
    assert len(default) == 2
    assert all(default[name] <= without[name] for name in default)


def available(module: str) -> bool:
    """Whether an extra is installed. The agents of LiveKit are a package of their own."""
    names = {"livekit": "livekit.agents", "pipecat": "pipecat.transports"}
    if module not in names:
        return True
    try:
        __import__(names[module])
    except ImportError:
        return False
    return True
