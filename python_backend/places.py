"""How many predictions a process may have in flight."""

from __future__ import annotations

from queue import Empty, SimpleQueue

__all__ = ["Places"]


class Places:
    """A semaphore of few steps: the standard library's is written in Python, and each request takes a place."""

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    def take(self, *, wait: bool) -> bool:
        """Whether there was one; waiting, there is one in the end."""
        try:
            self._free.get(wait)
        except Empty:
            return False
        return True

    def give_back(self) -> None:
        self._free.put(None)
