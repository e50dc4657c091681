"""The threads that run the user's Python where the turn is passed.

What they are to do waits in line with the calls that come back. A thread is woken when the turn is its own, not before.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from .logs import RUNTIME_LOGGER
from .predict_threads import run_logged, settle
from .turn import Turn

__all__ = ["TurnThreads"]

_LOGGER = logging.getLogger(f"{RUNTIME_LOGGER}.turn_threads")

# No thread has this ident: the turn is that of a thread which is just being started.
_STARTING = 0


class _Task(NamedTuple):
    asked: int
    do: Callable[..., object]
    args: tuple[Any, ...]


class _Worker:
    """A thread, with the task that it is to do next; none when it is woken is its end."""

    __slots__ = ("gate", "ident", "task")

    def __init__(self, task: _Task) -> None:
        self.task: _Task | None = task
        self.ident = _STARTING
        self.gate = threading.Lock()
        self.gate.acquire()


class TurnThreads(Turn):
    """A turn, and threads that do with it what they are given, in the order of asking.

    A thread that is done goes on with the next task itself if that is next in line. One is started when there is a task
    that could begin and no other is idle.
    """

    def __init__(self, most: int, begin: Callable[[], None]) -> None:
        """
        Args:
            begin: what each thread does first.
        """
        super().__init__()
        self._most = most
        self._begin = begin
        self._tasks: deque[_Task] = deque()
        self._threads: list[threading.Thread] = []
        self._idle: list[_Worker] = []
        self._is_ending = False
        # Python waits for these threads when it ends, and theirs is to end then, as a ThreadPoolExecutor's do.
        threading._register_atexit(self.shutdown)  # type: ignore[attr-defined]

    def submit(self, task: Callable[..., object], *args: Any) -> None:
        """Have it done. What it raises is logged."""
        with self._lock:
            self._tasks.append(_Task(next(self._asked), task, args))
            if self._holder is None:
                self._hand_on()

    def run(self, task: Callable[..., Any], *args: Any) -> Any:
        """Have it done, and return or raise what it does."""
        outcome: Future[Any] = Future()
        self.submit(settle, outcome, task, args)
        return outcome.result()

    def shutdown(self) -> None:
        """Return when all that was submitted is done. There may be no more."""
        with self._lock:
            self._is_ending = True
            self._end_if_all_is_done()
        for thread in self._threads:
            thread.join()

    def _hand_on(self) -> None:
        if not self._is_task_next() or not self._begin_task():
            super()._hand_on()

    def _is_task_next(self) -> bool:
        return bool(self._tasks) and (not self._waiting or self._tasks[0].asked < self._waiting[0][0])

    def _begin_task(self) -> bool:
        """Whether there is a thread for it."""
        if self._idle:
            worker = self._idle.pop()
            worker.task = self._tasks.popleft()
            self._holder = worker.ident
            worker.gate.release()
            return True
        return len(self._threads) < self._most and self._start_thread()

    def _start_thread(self) -> bool:
        worker = _Worker(self._tasks[0])
        thread = threading.Thread(target=self._work, args=(worker,), name=f"predict_{len(self._threads)}")
        try:
            thread.start()
        except RuntimeError:
            # The system has no more; those that there are go on.
            if not self._threads:
                raise
            _LOGGER.warning("no more than %d threads can be started", len(self._threads))
            self._most = len(self._threads)
            return False
        self._threads.append(thread)
        self._tasks.popleft()
        self._holder = _STARTING
        return True

    def _work(self, worker: _Worker) -> None:
        with self._lock:
            self._holder = worker.ident = threading.get_ident()
        run_logged(self._begin)
        while (task := worker.task) is not None:
            run_logged(task.do, *task.args)
            # Nothing of a request is kept until the next one comes.
            del task
            self._find_next(worker)

    def _find_next(self, worker: _Worker) -> None:
        """Return when the worker has another task and the turn, or its thread is to end."""
        worker.task = None
        with self._lock:
            self._idle.append(worker)
            self._hand_on()  # to this one, the last that became idle, if a task is next
            self._end_if_all_is_done()
        self._tell_if_free()
        worker.gate.acquire()

    def _end_if_all_is_done(self) -> None:
        """Those that are idle end; those at work come here when they are done."""
        if self._is_ending and not self._tasks:
            for worker in self._idle:
                worker.gate.release()
            self._idle.clear()
