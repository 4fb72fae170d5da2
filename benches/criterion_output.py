"""Reads the times that criterion prints."""

from __future__ import annotations

import re

MICROSECONDS = {"ns": 1e-3, "µs": 1.0, "us": 1.0, "ms": 1e3, "s": 1e6}


def times_us(text: str, prefix: str) -> dict[str, float]:
    """The middle estimate of each benchmark whose name starts with `prefix`, in microseconds.

    criterion prints `NAME time: [LOW UNIT MIDDLE UNIT HIGH UNIT]`; a long name has a line of its own.
    """
    pattern = re.escape(prefix) + r"(.+?)\s+time:\s+\[\S+ \S+ (\S+) (\S+) "
    return {name: float(value) * MICROSECONDS[unit] for name, value, unit in re.findall(pattern, text)}
