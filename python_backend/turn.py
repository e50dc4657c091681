"""The turn: of the threads that answer requests, one runs the user's Python at a time.

It is passed on only while its holder waits in a compiled call. So many requests of a predictor that knows nothing of
threads are under way at once, and their compiled calls run side by side, or share a batch in Triton.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
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

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._waiting: deque[tuple[int, int, Callable[[], None]]] = deque()
        """When each asked, its thread, and what wakes that."""
        self._asked = count()
        self._when_free: list[Callable[[], None]] = []

    @property
    def is_free(self) -> bool:
        """Whether nobody has it, nor waits for it."""
        return self._holder is None

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
            self._waiting.append((next(self._asked), me, gate.release))
        # It is handed over: who opens the gate has made this thread the holder.
        gate.acquire()

    def line_up(self, threads: Iterable[tuple[int, Callable[[], None]]]) -> None:
        """As if each of these, by its ident, asked for it now, in this order; each is told when it has it.

        All that may happen there is that its thread wakes up.
        """
        with self._lock:
            for ident, tell in threads:
                if self._holder is None:
                    self._holder = ident
                    tell()
                else:
                    self._waiting.append((next(self._asked), ident, tell))

    def give_back(self) -> None:
        """Hand it to whoever has waited longest.

        Raises:
            RuntimeError: it is not this thread's.
        """
        with self._lock:
            if self._holder != threading.get_ident():
                raise RuntimeError("this thread does not have the turn")
            self._hand_on()
        self._tell_if_free()

    def _hand_on(self) -> None:
        """To be called with the lock."""
        self._holder = None
        if self._waiting:
            _, self._holder, tell = self._waiting.popleft()
            tell()

    def _tell_if_free(self) -> None:
        if self.is_free:
            for tell in self._when_free:
                tell()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
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
