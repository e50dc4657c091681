"""How many requests of each client the workers of a facade have under way, in one file that all of them map."""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path

__all__ = ["ClientCounts"]

# For each worker. Two clients of whom both have requests under way share a place once in so many times, and are then
# counted as one.
_PLACES = 1 << 16
_BYTES = 4


class ClientCounts:
    """Those of one worker, and what the others count.

    Each writes its own part alone, so that there is nothing to lock; two that look in the same moment may both let one
    more in.

    Args:
        number: which worker this is. What the one before it in its place had under way is over.
        workers: how many there are.
    """

    def __init__(self, file: Path, number: int, workers: int) -> None:
        part = _PLACES * _BYTES
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, workers * part)
            mapped = mmap.mmap(descriptor, workers * part)
        finally:
            os.close(descriptor)
        mapped[number * part : (number + 1) * part] = bytes(part)
        self._counts = memoryview(mapped).cast("i")
        self._own = number
        self._others = [other for other in range(workers) if other != number]

    def add(self, client: str, change: int) -> None:
        """So many more requests of a client are under way here."""
        self._counts[self._own * _PLACES + _place_of(client)] += change

    def elsewhere(self, client: str) -> int:
        """How many are under way in other workers."""
        place = _place_of(client)
        return sum(self._counts[other * _PLACES + place] for other in self._others)


def _place_of(client: str) -> int:
    return zlib.crc32(client.encode()) % _PLACES
