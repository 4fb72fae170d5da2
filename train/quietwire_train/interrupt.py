"""Ends a loop after the current step on SIGINT or SIGTERM."""

from __future__ import annotations

import signal
from contextlib import contextmanager


class Interrupt:
    """Set by SIGINT or SIGTERM, so that the loop can end after its current work.

    `work` names it in the message, such as "this step".
    """

    def __init__(self, work: str = "this step") -> None:
        self.requested = False
        self.work = work

    def _request(self, number: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"{signal.Signals(number).name}: ending after {self.work}; again: at once", flush=True)

    @staticmethod
    def leave_to_parent() -> None:
        """For worker processes: a terminal signals them too, but the parent ends them."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

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
