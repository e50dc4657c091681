"""Where the time of a request goes: waiting (for a thread, for the turn), Python around the models, compiled models."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["Stopwatch", "Timing", "add_core_time", "add_turn_wait"]


class Timing(NamedTuple):
    """In milliseconds."""

    queue_ms: float
    prepost_ms: float
    core_ms: float


class Stopwatch:
    """Times one prediction: made when its request arrives, started and read on the thread that answers it."""

    __slots__ = ("_arrived_s", "_started_s", "core_s", "turn_wait_s")

    def __init__(self) -> None:
        self.core_s = 0.0
        self.turn_wait_s = 0.0
        self._arrived_s = self._started_s = time.perf_counter()

    def start(self) -> float:
        """The wait is over; how long it was, in seconds. What compiled models take from now on is counted here."""
        self._started_s = time.perf_counter()
        _running.set(self)
        return self._started_s - self._arrived_s

    def read(self) -> Timing:
        """The time until now."""
        answering_s = time.perf_counter() - self._started_s - self.turn_wait_s
        queue_s = self._started_s - self._arrived_s + self.turn_wait_s
        # Those waits are inside compiled calls.
        core_s = max(0.0, self.core_s - self.turn_wait_s)
        prepost_s = max(0.0, answering_s - core_s)
        return Timing(round(1000 * queue_s, 3), round(1000 * prepost_s, 3), round(1000 * core_s, 3))


# A context variable, since coroutines and asyncio.to_thread carry it along.
_running: ContextVar[Stopwatch | None] = ContextVar("cortex_compile_stopwatch", default=None)


def add_core_time(seconds: float) -> None:
    """A compiled model ran so long for the prediction that this thread is at."""
    stopwatch = _running.get()
    if stopwatch is not None:
        stopwatch.core_s += seconds


def add_turn_wait(seconds: float) -> None:
    """This thread waited so long for its turn, after a compiled model had run."""
    stopwatch = _running.get()
    if stopwatch is not None:
        stopwatch.turn_wait_s += seconds
