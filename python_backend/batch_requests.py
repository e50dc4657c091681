"""Gather requests into batches: one goes out when it is full, or when its first request has waited long enough."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from .manifest import BatchingSpec

__all__ = ["RequestBatcher", "batches_at_once"]

Item = TypeVar("Item")


class RequestBatcher(Generic[Item]):
    """Requests come in by ``add``; each thread in ``run`` takes batches out and answers them.

    While every such thread is busy the next batch goes on growing, so under load batches are full whatever the
    interval.
    """

    def __init__(self, spec: BatchingSpec, answer: Callable[[list[Item]], None]) -> None:
        self._spec = spec
        self._answer = answer
        self._waiting: deque[tuple[float, Item]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def add(self, item: Item) -> None:
        with self._changed:
            self._waiting.append((time.monotonic() + self._spec.batch_interval_s, item))
            self._changed.notify()

    def run(self) -> None:
        """Answer batches until ``close``, and then what is left. ``answer`` may not raise."""
        while batch := self._next_batch():
            self._answer(batch)

    def close(self) -> None:
        """No batch waits for more requests from now on, and ``run`` returns when none is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next_batch(self) -> list[Item]:
        """Wait until one is due; empty when there will be no more."""
        with self._changed:
            while not self._is_due():
                # The wait for a first request has no end; add ends it.
                self._changed.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)
            count = min(len(self._waiting), self._spec.max_batch_size)
            batch = [self._waiting.popleft()[1] for _ in range(count)]
            if self._waiting:
                # They have a thread of their own to wait for them, which one notification too few may have left asleep.
                self._changed.notify()
            return batch

    def _is_due(self) -> bool:
        if self._closed or len(self._waiting) >= self._spec.max_batch_size:
            return True
        return bool(self._waiting) and self._waiting[0][0] <= time.monotonic()


def batches_at_once(spec: BatchingSpec, threads_per_process: int) -> int:
    """How many batches one process answers at a time.

    Cortex wanted as many threads as a batch has requests, since each of its requests waited in a thread.
    """
    return max(1, threads_per_process // spec.max_batch_size)
