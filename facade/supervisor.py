"""The facade as some worker processes: started, told what to serve, started again when they die, and ended."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from cortex_compile.errors import LaunchError, ServiceError

from .api_keys import ApiKey, KeyFile
from .api_route import ApiRoute
from .orders import Order, State
from .settings import FacadeSettings
from .worker_slot import WorkerSlot

__all__ = ["FacadeSupervisor"]

# What a worker tells, its end, and whatever else was told to look for, is heard at once. The keys' file says nothing.
_LOOK_EVERY_S, _LOOK_AT_KEYS_S = 5.0, 1.0
# Of a worker that is not there.
_START_WITHIN_S = 0.1
# While something is waited for.
_WAIT_S = 0.05
# Beyond what answers may take: closing connections, and Python's own end.
_END_MARGIN_S = 3.0


class FacadeSupervisor:
    """As a context manager it starts its workers on entry, which import what they need, and ends them on exit.

    Args:
        listeners: a listening socket for each worker; closed in the end.
    """

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cortex-compile-facade-"))
        self._slots = [WorkerSlot(number, listener, self._folder) for number, listener in enumerate(listeners)]
        self._told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Not in the end: whoever is late to tell must not write into what has its number then.
        weakref.finalize(self, os.close, self._told)
        self._lock = threading.Lock()
        self._state = State(0, ())
        self._signals = 0

    def __enter__(self) -> Self:
        try:
            for slot in self._slots:
                slot.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def serve(
        self,
        apis: Sequence[ApiRoute],
        triton_address: str,
        settings: FacadeSettings,
        *,
        when_ready: Callable[[], None],
        poll_triton: Callable[[], int | None],
        health: Callable[[], Mapping[str, str]],
        repairs: Callable[[], Mapping[str, Mapping[str, int]]] = dict,
    ) -> None:
        """Serve until SIGTERM or SIGINT; then let the workers answer what is under way and return.

        Args:
            poll_triton: gives Triton's exit status once it has ended.
            health: why a model is not ready, by its name, and "" for the server.
            repairs: how often something was replaced, by API, or "" for the server, and reason.

        What these three give is asked for every few seconds, and after ``look_again``.

        Raises:
            LaunchError: Triton ended, or a worker does not start.
            ServiceError: Triton, or a model in it, is not ready to begin with.
            UsageError: the API keys are wrong.
        """
        key_file = None if settings.api_keys is None else KeyFile(settings.api_keys)
        before = {number: signal.signal(number, self._note_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._update(apis=tuple(apis))
            announced, triton_status = False, None
            while not self._signals and triton_status is None:
                counts = {api: dict(reasons) for api, reasons in repairs().items()}
                keys = () if key_file is None else key_file.read()
                self._update(faults=dict(health()), repairs=counts, keys=keys)
                order = Order(
                    triton_address, settings, self._folder, not announced, self._state, workers=len(self._slots)
                )
                for slot in self._slots:
                    slot.look_after(order)
                if not announced and all(slot.serves() for slot in self._slots):
                    announced = True
                    when_ready()
                self._wait_for_events(_LOOK_EVERY_S if key_file is None else _LOOK_AT_KEYS_S)
                triton_status = poll_triton()
            self._drain(settings.drain_timeout_s)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if triton_status is not None and not self._signals:
            raise LaunchError(f"Triton ended while serving (exit status {triton_status}); its log, above, says why")

    def set_apis(self, apis: Sequence[ApiRoute], timeout_s: float = 10.0) -> None:
        """Serve these APIs from now on; what is under way is answered as it began. From another thread than ``serve``.

        Raises:
            ServiceError: a worker has not taken them over in time; it will when it can.
        """
        serial = self._update(apis=tuple(apis))
        self.look_again()
        deadline = time.monotonic() + timeout_s
        while not all(slot.has_taken(serial) for slot in self._slots):
            if time.monotonic() > deadline:
                raise ServiceError(f"a facade worker did not take over what to serve within {timeout_s:g} s")
            time.sleep(_WAIT_S)

    def look_again(self) -> None:
        """Have ``serve`` ask at once for what it was given to ask for. From any thread."""
        os.eventfd_write(self._told, 1)

    @property
    def apis(self) -> tuple[ApiRoute, ...]:
        """What is served now."""
        return self._state.apis

    def _update(
        self,
        *,
        apis: tuple[ApiRoute, ...] | None = None,
        faults: dict[str, str] | None = None,
        repairs: dict[str, dict[str, int]] | None = None,
        keys: tuple[ApiKey, ...] | None = None,
    ) -> int:
        with self._lock:
            old = self._state
            wanted = State(
                old.serial,
                old.apis if apis is None else apis,
                old.faults if faults is None else faults,
                old.repairs if repairs is None else repairs,
                old.keys if keys is None else keys,
            )
            if wanted != old:
                self._state = replace(wanted, serial=old.serial + 1)
            return self._state.serial

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self.look_again()

    def _wait_for_events(self, timeout_s: float) -> None:
        events = [slot.events for slot in self._slots if slot.events is not None]
        is_complete = len(events) == len(self._slots)
        told, _, _ = select.select([*events, self._told], [], [], timeout_s if is_complete else _START_WITHIN_S)
        if self._told in told:
            os.eventfd_read(self._told)

    def _drain(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s + _END_MARGIN_S
        told = 0
        # Closed here as there: who connects now is refused, and does not wait for a process that is about to end.
        for slot in self._slots:
            slot.listener.close()
        while (running := [slot for slot in self._slots if slot.is_running()]) and time.monotonic() < deadline:
            if told < max(1, self._signals):
                told += 1
                for slot in running:
                    slot.stop()
            time.sleep(_WAIT_S)

    def _end(self) -> None:
        for slot in self._slots:
            slot.end()
        shutil.rmtree(self._folder, ignore_errors=True)
