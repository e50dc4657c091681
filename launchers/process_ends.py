"""Waiting until one of some processes ends, whoever's children they are, without looking again and again."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable

__all__ = ["ProcessEnds"]


class ProcessEnds:
    """For one thread to wait in; ``wake`` may be called from any. Each end is told once."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.POLLIN)
        self._followed: dict[int, int] = {}
        """Process ids, with what tells of their ends; -1 where nothing does, or has."""

    def follow(self, pids: Iterable[int]) -> None:
        """Wait for the ends of these from now on, and of no others. One that has ended is no error."""
        wanted = set(pids)
        for pid in self._followed.keys() - wanted:
            self._forget(self._followed.pop(pid))
        for pid in wanted - self._followed.keys():
            self._followed[pid] = -1
            with contextlib.suppress(OSError):  # it is gone, or a system older than Linux 5.3
                self._followed[pid] = os.pidfd_open(pid)
                self._poll.register(self._followed[pid], select.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Return when one has ended or after ``timeout_s``; whether one has."""
        told = {descriptor for descriptor, _ in self._poll.poll(1000 * timeout_s)}
        if self._wake in told:
            os.eventfd_read(self._wake)
        ended = [pid for pid, descriptor in self._followed.items() if descriptor in told]
        for pid in ended:
            self._forget(self._followed[pid])
            self._followed[pid] = -1
        return bool(ended)

    def wake(self) -> None:
        """Have ``wait`` return, now or when it is called next."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Nobody waits or wakes any more. Does nothing the second time."""
        self.follow(())
        self._forget(self._wake)
        self._wake = -1

    def _forget(self, descriptor: int) -> None:
        if descriptor >= 0:
            self._poll.unregister(descriptor)
            os.close(descriptor)
