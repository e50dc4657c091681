"""A worker's place: a listening socket that stays open, and the one process after the other that accepts from it."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from dataclasses import replace
from pathlib import Path

from cortex_compile import errors
from cortex_compile.errors import CortexCompileError, LaunchError

from .orders import Order
from .worker_process import WorkerProcess

__all__ = ["WorkerSlot"]

_log = logging.getLogger(__name__)

# A worker tells every few seconds that its event loop runs. One that is stopped for less (by a debugger, by a machine
# that swaps) is left to answer what it is at.
_STUCK_AFTER_S = 30.0
# One that dies later than this after it began to serve is replaced at once, and an earlier one after a moment.
_EARLY_S = 1.0
_DELAY_S = 0.5
_MOST_FAILED_STARTS = 5


class WorkerSlot:
    """Keeps one worker running, until ``end``."""

    def __init__(self, number: int, listener: socket.socket, metrics_folder: Path) -> None:
        self.listener = listener
        self._number = number
        self._metrics_folder = metrics_folder
        self._worker: WorkerProcess | None = None
        self._has_order = False
        self._failed_starts = 0
        self._start_at = 0.0

    @property
    def events(self) -> int | None:
        """A file descriptor that can be read from when there is something to look after."""
        return None if self._worker is None else self._worker.events

    def start(self) -> None:
        """Start a worker, which serves when it is looked after."""
        # It is what the one before it was at.
        for gauges in self._metrics_folder.glob(f"gauge_live*_{self._number}.db"):
            gauges.unlink()
        self._worker = WorkerProcess(self.listener.fileno())
        self._has_order = False

    def look_after(self, order: Order) -> None:
        """Give the worker its order or what changed, hear what it has to say, and start another when it has ended.

        Raises:
            CortexCompileError: the first worker of this place says why it cannot serve.
            LaunchError: one worker after the other ends before it serves.
        """
        if self._worker is None:
            if time.monotonic() >= self._start_at:
                self.start()
        elif not self._has_order:
            self._has_order = True
            self._worker.begin(replace(order, number=self._number, listener_fd=self.listener.fileno()))
        else:
            self._worker.give(order.state)
        if self._worker is not None:
            self._worker.hear()
            self._replace_if_ended(self._worker, order.check_ready)

    def _replace_if_ended(self, worker: WorkerProcess, first: bool) -> None:
        status = worker.poll()
        if status is None:
            if worker.serves_since is None or time.monotonic() - worker.heard_at < _STUCK_AFTER_S:
                return
            _log.error("facade worker %d has not moved for %g s and is replaced", self._number, _STUCK_AFTER_S)
        worker.hear()  # its last words
        worker.kill()
        self._worker = None
        if first and worker.failure is not None:
            raise _error_of(*worker.failure)
        now = time.monotonic()
        if worker.serves_since is None:
            self._failed_starts += 1
            self._start_at = now + _DELAY_S
        else:
            self._failed_starts = 0
            self._start_at = now if now - worker.serves_since > _EARLY_S else now + _DELAY_S
            _log.warning("facade worker %d ended (%s) and is replaced", self._number, _words_for(status))
        if self._failed_starts >= _MOST_FAILED_STARTS:
            why = worker.failure[1] if worker.failure else f"{_words_for(status)}; what it said is above"
            raise LaunchError(f"{_MOST_FAILED_STARTS} facade workers ended one after the other as they started: {why}")

    def serves(self) -> bool:
        return self._worker is not None and self._worker.serves_since is not None

    def has_taken(self, serial: int) -> bool:
        """Whether its worker serves this state or a later one; one that is only starting will."""
        worker = self._worker
        return worker is None or worker.serves_since is None or worker.serial >= serial

    def is_running(self) -> bool:
        return self._worker is not None and self._worker.poll() is None

    def stop(self) -> None:
        """The worker ends when it has answered what it is at; told a second time, at once."""
        if self._worker is not None:
            self._worker.stop()

    def end(self) -> None:
        """End the worker at once, and close the socket."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
        with contextlib.suppress(OSError):
            self.listener.close()


def _error_of(kind: str, message: str) -> CortexCompileError:
    error: CortexCompileError = getattr(errors, kind, LaunchError)(message)
    return error


def _words_for(status: int | None) -> str:
    if status is None:
        return "it did not move"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
