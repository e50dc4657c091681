"""Waiting until somebody writes to a file, told by the system (inotify) and not by looking again and again."""

from __future__ import annotations

import ctypes
import os
import select
from pathlib import Path

__all__ = ["FileChanges"]

_MODIFIED = 0x2  # IN_MODIFY of inotify(7)


class FileChanges:
    """Of one file that is there. For one thread to wait in; ``wake`` may be called from any."""

    def __init__(self, file: Path) -> None:
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._changes = ctypes.CDLL(None).inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_told = self._changes >= 0 and (
            ctypes.CDLL(None).inotify_add_watch(self._changes, os.fsencode(file), _MODIFIED) >= 0
        )

    def wait(self, otherwise_s: float) -> None:
        """Return when it was written to since the last time, or ``wake`` was called.

        Where the system tells nothing (a file system over a network, too many who want to be told), after
        ``otherwise_s``.
        """
        waited_for = [self._wake, self._changes] if self._is_told else [self._wake]
        told, _, _ = select.select(waited_for, [], [], None if self._is_told else otherwise_s)
        if self._changes in told:
            os.read(self._changes, 65536)

    def wake(self) -> None:
        """From now on nobody waits any more."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        os.close(self._wake)
        if self._changes >= 0:
            os.close(self._changes)
