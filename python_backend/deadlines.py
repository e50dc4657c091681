"""By when each prediction under way has to be done, in a file that the launcher reads: one that is late is stuck.

The launcher looks from outside, so that no code of the user's can keep it from looking: a predictor may hold Python's
lock for ever. The file is named by the process id and holds native doubles, times of the system's monotonic clock, or
infinity; 0 is a free place. Without a launcher that asks for it, by an environment variable, there is none.
"""

from __future__ import annotations

import math
import mmap
import os
import time
from collections.abc import Iterator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

__all__ = ["FOLDER_VARIABLE", "Deadlines", "suspended_deadline"]

FOLDER_VARIABLE = "CORTEX_COMPILE_DEADLINES"

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class _Place:
    table: np.ndarray[Any, Any]
    index: int


_current: ContextVar[_Place | None] = ContextVar("cortex_compile_deadline", default=None)


class Deadlines:
    """Those of one process, which is at no more than ``at_once`` predictions.

    Each has ``at_least_s``: a client may wait for less, but not have the process ended for that.
    """

    def __init__(self, at_once: int, at_least_s: float) -> None:
        self._at_least_s = at_least_s
        self._free: list[_Place] = []
        folder = os.environ.get(FOLDER_VARIABLE)
        if folder is not None:
            with open(Path(folder) / str(os.getpid()), "w+b") as file:
                file.truncate(8 * at_once)
                table = np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.float64)
            self._free = [_Place(table, index) for index in range(at_once)]

    def within(self, timeout_s: float | None) -> _Within:
        """Say that what is done meanwhile takes no longer. None: it may take as long as it likes."""
        return _Within(self._free, math.inf if timeout_s is None else max(timeout_s, self._at_least_s))

    def each_within(self, timeout_s: float | None, items: Iterator[Item]) -> Iterator[Item]:
        """The same items, each made in that time."""
        while True:
            with self.within(timeout_s):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item


# Classes, since a generator made a context manager takes several times as long.
class _Within:
    __slots__ = ("_free", "_limit_s", "_place", "_token")

    def __init__(self, free: list[_Place], limit_s: float) -> None:
        self._free = free
        self._limit_s = limit_s

    def __enter__(self) -> None:
        self._place: _Place | None = self._free.pop() if self._free else None
        if self._place is not None:
            self._place.table[self._place.index] = time.monotonic() + self._limit_s
            self._token: Token[_Place | None] = _current.set(self._place)

    def __exit__(self, *_: object) -> None:
        if self._place is not None:
            _current.reset(self._token)
            self._place.table[self._place.index] = 0.0
            self._free.append(self._place)


def suspended_deadline() -> _Suspended:
    """What this thread waits for meanwhile is other predictions: the time does not count."""
    return _Suspended()


class _Suspended:
    __slots__ = ("_deadline_s", "_place", "_since_s")

    def __enter__(self) -> None:
        self._place = place = _current.get()
        if place is not None:
            self._since_s, self._deadline_s = time.monotonic(), float(place.table[place.index])
            place.table[place.index] = 0.0

    def __exit__(self, *_: object) -> None:
        place = self._place
        if place is not None:
            place.table[place.index] = self._deadline_s + time.monotonic() - self._since_s
