"""The threads that run the user's Python."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from .logs import RUNTIME_LOGGER

__all__ = ["PredictThreads", "run_logged", "settle"]

_LOGGER = logging.getLogger(f"{RUNTIME_LOGGER}.predict_threads")


class PredictThreads:
    """Do what they are given in the order in which it comes. One is started when all there are have something to do.

    A ThreadPoolExecutor makes a future for each task, with locks of its own: a good part of what a short request takes.
    """

    def __init__(self, most: int, begin: Callable[[], None]) -> None:
        """
        Args:
            begin: what each thread does first.
        """
        self._most = most
        self._begin = begin
        self._tasks: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._lock = threading.Lock()
        # Python waits for these threads when it ends, and theirs is to end then, as a ThreadPoolExecutor's do.
        threading._register_atexit(self.shutdown)  # type: ignore[attr-defined]

    def submit(self, task: Callable[..., object], *args: Any) -> None:
        """Have it done. What it raises is logged."""
        with self._lock:
            self._unfinished += 1
            if len(self._threads) < min(self._unfinished, self._most):
                self._start_thread()
        self._tasks.put((task, args))

    def run(self, task: Callable[..., Any], *args: Any) -> Any:
        """Have it done, and return or raise what it does."""
        outcome: Future[Any] = Future()
        self.submit(settle, outcome, task, args)
        return outcome.result()

    def shutdown(self) -> None:
        """Return when all that was submitted is done. There may be no more."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"predict_{len(self._threads)}")
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        run_logged(self._begin)
        while (entry := self._tasks.get()) is not None:
            run_logged(entry[0], *entry[1])
            # Nothing of a request is kept until the next one comes.
            del entry
            with self._lock:
                self._unfinished -= 1


def settle(outcome: Future[Any], task: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Do it, and put into the future what it returns or raises."""
    try:
        outcome.set_result(task(*args))
    except BaseException as error:
        outcome.set_exception(error)


def run_logged(task: Callable[..., object], *args: Any) -> None:
    """Do it. What it raises is logged."""
    try:
        task(*args)
    except BaseException:
        # The thread is there for the next one.
        _LOGGER.exception("a thread of predict met what it cannot answer")
