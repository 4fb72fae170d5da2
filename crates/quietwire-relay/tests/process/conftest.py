"""Fixtures: one relay for all tests of a module. `ogg.py` is shared with the scripts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[4] / "scripts"))

from harness import Relay, noise, to_opus  # noqa: E402


@pytest.fixture(scope="module")
def long_lived() -> Iterator[Relay]:
    with Relay() as relay:
        yield relay


@pytest.fixture
def relay(long_lived: Relay) -> Iterator[Relay]:
    """The shared relay, without streams at the start. It must still run after the test."""
    yield long_lived
    assert long_lived.is_alive()
    for id in long_lived.ids():
        assert long_lived.request("DELETE", f"/v1/streams/{id}").status == 204


@pytest.fixture(scope="module")
def opus_noise() -> list[bytes]:
    return to_opus(noise(96000))
