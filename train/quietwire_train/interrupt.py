"""Ends a loop after the current step on SIGINT or SIGTERM."""

from __future__ import annotations

import signal
from contextlib import contextmanager


class Interrupt:
    """Set by SIGINT or SIGTERM, so that the loop can end after the current step."""

    def __init__(self) -> None:
        self.requested = False

    def _request(self, number: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"{signal.Signals(number).name}: ending after this step; again: at once", flush=True)

    @contextmanager
    def installed(self):
        """Handles both signals inside the block."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        try:
            before = {number: signal.signal(number, self._request) for number in numbers}
        except ValueError:  # not the main thread: a caller handles signals
            yield self
            return
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
