"""One relay for the tests that can share it. Tests share `ogg.py` with the scripts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from harness import Relay, noise, to_opus  # noqa: E402


@pytest.fixture(scope="module")
def long_lived() -> Iterator[Relay]:
    with Relay() as relay:
        yield relay


@pytest.fixture
def relay(long_lived: Relay) -> Iterator[Relay]:
    """One relay for all tests, without streams at first; it must survive each of them."""
    yield long_lived
    assert long_lived.is_alive()
    for id in long_lived.ids():
        assert long_lived.ask("DELETE", f"/v1/streams/{id}").status == 204


@pytest.fixture(scope="module")
def opus_noise() -> list[bytes]:
    return to_opus(noise(96000))
