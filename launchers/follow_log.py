"""Passing on the lines of a file that somebody writes, as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from cortex_compile.launchers.file_changes import FileChanges

# Between two looks, while many lines come; and where the system does not tell that some came.
_LOOK_AGAIN_S, _LOOK_EVERY_S = 0.05, 0.5


class LogFollower:
    """Calls ``tell`` with each line, from a thread of its own, until it is ended; those that stand there then, too."""

    def __init__(self, file: Path, tell: Callable[[str], None]) -> None:
        self._file = file
        self._tell = tell
        self._changes = FileChanges(file)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def end(self, timeout_s: float) -> None:
        if not self._ending.is_set():
            self._changes.wake()  # before: the thread closes what it waits for once it is ending
            self._ending.set()
        self._thread.join(timeout_s)

    def _follow(self) -> None:
        with self._file.open(errors="replace") as lines:
            rest = ""
            while True:
                last_look = self._ending.is_set()
                rest += lines.read()
                *whole, rest = rest.split("\n")
                for line in whole:
                    self._tell(line)
                if last_look:
                    self._changes.close()
                    return
                self._changes.wait(_LOOK_EVERY_S)
                self._ending.wait(_LOOK_AGAIN_S)
