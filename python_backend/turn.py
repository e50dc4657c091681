"""The turn: of the threads that answer requests, one runs the user's Python at a time.

It is passed on only while its holder waits in a compiled call. So many requests of a predictor that knows nothing of
threads are under way at once, and their compiled calls run side by side, or share a batch in Triton.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from .deadlines import suspended_deadline
from .timing import add_turn_wait

__all__ = ["PassTurn", "PassingSession", "Session", "Turn"]

Array = np.ndarray[Any, Any]


class PassTurn(Protocol):
    """What a compiled call needs of a turn."""

    def holds(self) -> bool: ...

    def give_back(self) -> None: ...

    def take(self) -> None: ...


class Turn:
    """Threads get it in the order in which they ask, whether they begin or come back from a compiled call."""

    def __init__(self, threads: int = sys.maxsize) -> None:
        """
        Args:
            threads: how many there are that can ask for it.
        """
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._when_free: list[Callable[[], None]] = []
        self._threads = threads
        self._inside = 0
        self._expected = 0

    @property
    def is_free(self) -> bool:
        """Whether nobody has it, nor waits for it, nor is about to ask for it."""
        return self._holder is None and (self._expected <= 0 or self._inside >= self._threads)

    def expect(self, count: int) -> None:
        """So many more predictions are being given to threads, which enter; or so many fewer, of those expected."""
        with self._lock:
            self._expected += count

    def when_free(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called, on the thread that gave it back, whenever it becomes free. Not to be undone."""
        self._when_free.append(tell)

    def holds(self) -> bool:
        """Whether this thread has it."""
        return self._holder == threading.get_ident()

    def take(self) -> None:
        """Return when it is this thread's.

        Raises:
            RuntimeError: this thread has it already.
        """
        me = threading.get_ident()
        with self._lock:
            if self._holder == me:
                raise RuntimeError("this thread has the turn already")
            if self._holder is None:
                self._holder = me
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append((me, gate))
        # It is handed over: who opens the gate has made this thread the holder.
        gate.acquire()

    def give_back(self) -> None:
        """Hand it to whoever has waited longest.

        Raises:
            RuntimeError: it is not this thread's.
        """
        with self._lock:
            if self._holder != threading.get_ident():
                raise RuntimeError("this thread does not have the turn")
            if self._waiting:
                self._holder, gate = self._waiting.popleft()
                gate.release()
                return
            self._holder = None
        if self.is_free:
            for tell in self._when_free:
                tell()

    def __enter__(self) -> None:
        """Begin a prediction, one of those that were expected if any were."""
        self.take()
        with self._lock:
            self._expected = max(0, self._expected - 1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
        self.give_back()


class Session(Protocol):
    def run(self, inputs: Sequence[Array]) -> list[Array]: ...


class PassingSession:
    """A session whose caller does not have the turn while the graph runs.

    A thread of the user's own has no turn to pass, and runs the graph as it is.
    """

    def __init__(self, session: Session, turn: PassTurn) -> None:
        self._session = session
        self._turn = turn

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        if not self._turn.holds():
            return self._session.run(inputs)
        self._turn.give_back()
        try:
            return self._session.run(inputs)
        finally:
            asked_s = time.perf_counter()
            with suspended_deadline():
                self._turn.take()
            add_turn_wait(time.perf_counter() - asked_s)
