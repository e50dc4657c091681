"""Ctrl-C as people press it: several times at once is once."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

__all__ = ["take_presses_together"]

_AT_ONCE_S = 1.0


def take_presses_together() -> None:
    """From now on what comes within a second of a Ctrl-C belongs to it, and disturbs neither the cleaning up after it
    nor Python's own end.

    Only where Ctrl-C does what it does in Python by itself.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Presses().note)


class _Presses:
    def __init__(self) -> None:
        self._together_until_s = 0.0

    def note(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if now_s >= self._together_until_s:
            self._together_until_s = now_s + _AT_ONCE_S
            raise KeyboardInterrupt
