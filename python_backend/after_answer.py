"""The user's work for after an answer (post_predict, a response's background task): in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .logs import RUNTIME_LOGGER

__all__ = ["AfterAnswer"]

_LOGGER = logging.getLogger(f"{RUNTIME_LOGGER}.after_answer")

Work = Callable[[], None]


class AfterAnswer:
    """Does the work of one answer after the other. Whoever hands it in goes on, unless ``places`` are taken already:
    then it is done at once, so that a predictor that gives more work than one thread can do slows down and loses none.
    """

    def __init__(self, places: int = 64) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="after-answer")

    def run(self, work: Work | None) -> None:
        """Never raises what the work does; that is logged."""
        if work is None:
            return
        if self._places.acquire(blocking=False):
            self._thread.submit(self._run_and_release, work)
        else:
            _run(work)

    def drain(self) -> None:
        """Return when all of it is done. There may be no more."""
        self._thread.shutdown(wait=True)

    def _run_and_release(self, work: Work) -> None:
        try:
            _run(work)
        finally:
            self._places.release()


def _run(work: Work) -> None:
    try:
        work()
    except BaseException:
        _LOGGER.exception("work after the answer failed")
