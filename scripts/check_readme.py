"""Checks the documents for users: runs their shell blocks, verifies the result, and follows their links.

    python scripts/check_readme.py [--only tests|commands|links]

Runs every ```sh block of README.md and docs/command-line.md, in order. A block marked `no-ci` is
skipped and printed. The commands `quietwire ...` use the program that the README's first command
built. The links are the relative ones of every Markdown file under version control.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "docs/command-line.md")
# Segments of samples/office-fan.wav, in seconds (samples/README.md).
NOISE_ALONE = (0.2, 1.1)
SPEECH = (1.2, 7.8)
MIN_NOISE_REDUCTION_DB = 15
MAX_SPEECH_CHANGE_DB = 2


def shell_blocks(document: str) -> list[str]:
    """Shell blocks of a document that run in CI."""
    found = []
    text = (ROOT / document).read_text(encoding="utf-8")
    for info, block in re.findall(r"^```(sh[^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if "no-ci" in info:
            print(f"{document}: skipped, marked no-ci:\n{block}")
        else:
            found.append(block)
    return found


def run(text: str) -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = f"{target / 'debug'}{os.pathsep}{os.environ['PATH']}"
    print(f"$ {text}", flush=True)
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=ROOT, env={**os.environ, "PATH": path}, check=True
    )


def check_cleaned(path: Path) -> None:
    """The output of the first command: same length, aligned, less noise, unchanged speech level."""
    import numpy as np
    import soundfile

    def level_db(samples: np.ndarray) -> float:
        return 10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-20)

    noisy, rate_hz = soundfile.read(ROOT / "samples/office-fan.wav")
    clean, _ = soundfile.read(ROOT / "samples/office-fan.clean.flac")
    output, output_rate_hz = soundfile.read(path)
    assert output_rate_hz == rate_hz and output.shape == noisy.shape, "expected the input's rate and length"
    size = 1 << (2 * len(clean)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(output, size) * np.conj(np.fft.rfft(clean, size)), size)
    lag = int(np.argmax(correlation))
    lag = lag - size if lag > size // 2 else lag
    noise, speech = (
        slice(round(start * rate_hz), round(end * rate_hz)) for start, end in (NOISE_ALONE, SPEECH)
    )
    # Amplitude of the clean recording within the output: the projection on it.
    kept = np.dot(output[speech], clean[speech]) / np.dot(clean[speech], clean[speech])
    reduction_db = level_db(noisy[noise]) - level_db(output[noise])
    print(f"lag {lag} samples, noise reduction {reduction_db:.1f} dB, speech {20 * np.log10(kept):+.2f} dB")
    assert lag == 0, "expected output aligned with the input"
    assert reduction_db > MIN_NOISE_REDUCTION_DB, f"expected more than {MIN_NOISE_REDUCTION_DB} dB less noise"
    assert abs(20 * np.log10(kept)) < MAX_SPEECH_CHANGE_DB, (
        f"expected speech within {MAX_SPEECH_CHANGE_DB} dB"
    )


def anchors(text: str) -> set[str]:
    """Anchors of a Markdown text's headings, as GitHub makes them."""
    prose = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", prose, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (anchor := slug if number == 0 else f"{slug}-{number}") in found:
            number += 1
        found.add(anchor)
    return found


def broken_links(root: Path, documents: list[str]) -> list[str]:
    """A message for each relative link to a missing file or heading, and each undefined reference."""
    broken = []
    for document in documents:
        text = (root / document).read_text(encoding="utf-8")
        prose = re.sub(r"^(```|~~~).*?^\1|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
        defined = dict(re.findall(r"^\[([^\]]+)\]: +(\S+)", prose, re.MULTILINE))
        used = re.findall(r"\]\[([^\]]+)\]", prose)
        labels = {label.casefold() for label in defined}
        for label in used:
            if " ".join(label.split()).casefold() not in labels:
                broken.append(f"{document}: [{label}] has no definition")
        for target in [*defined.values(), *re.findall(r"\]\(<?([^)\s>]+)>?\)", prose)]:
            if re.match(r"[a-z+]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (root / document).parent / path if path else root / document
            if not file.exists():
                broken.append(f"{document}: {target} does not exist")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
                broken.append(f"{document}: {target} names no heading of that file")
    return broken


def check_links() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    broken = broken_links(ROOT, tracked.split())
    assert not broken, "\n".join(["broken links:", *broken])
    # rustdoc hides lines such as `# Ok::<(), Error>(())` in its examples; GitHub and crates.io show them.
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = "\n".join(re.findall(r"^```rust.*?^```", readme, re.MULTILINE | re.DOTALL))
    hidden = re.findall(r"^ *# .*", examples, re.MULTILINE)
    assert not hidden, f"README.md: lines that only rustdoc hides: {hidden}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["tests", "commands", "links"])
    only = parser.parse_args().only
    blocks = [block for document in DOCUMENTS for block in shell_blocks(document)]
    tests = [text for text in blocks if "cargo test" in text]
    commands = [text for text in blocks if "cargo test" not in text]
    assert tests and commands, "expected a test command and other commands in the README"
    if only in (None, "links"):
        check_links()
    if only in (None, "tests"):
        for text in tests:
            run(text)
    if only in (None, "commands"):
        for name in ("cleaned.wav", "cleaned.png"):
            (ROOT / name).unlink(missing_ok=True)
        run(commands[0])
        check_cleaned(ROOT / "cleaned.wav")
        assert (ROOT / "cleaned.png").read_bytes().startswith(b"\x89PNG"), "expected a PNG picture"
        for text in commands[1:]:
            run(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
