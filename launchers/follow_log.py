"""Passing on the lines of a file that somebody writes, as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

# While lines come, and while none do.
_LOOK_AGAIN_S, _LOOK_EVERY_S = 0.1, 0.8


class LogFollower:
    """Calls ``tell`` with each line, from a thread of its own, until it is ended; those that stand there then, too."""

    def __init__(self, file: Path, tell: Callable[[str], None]) -> None:
        self._file = file
        self._tell = tell
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def end(self, timeout_s: float) -> None:
        self._ending.set()
        self._thread.join(timeout_s)

    def _follow(self) -> None:
        with self._file.open(errors="replace") as lines:
            rest = ""
            while True:
                last_look = self._ending.is_set()
                new = lines.read()
                rest += new
                *whole, rest = rest.split("\n")
                for line in whole:
                    self._tell(line)
                if last_look:
                    return
                self._ending.wait(_LOOK_AGAIN_S if new else _LOOK_EVERY_S)
