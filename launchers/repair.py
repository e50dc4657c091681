"""A model whose process died or is stuck is unloaded and loaded, again and again if need be, until that is hopeless."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cortex_compile.errors import LaunchError, ServiceError
from cortex_compile.launchers.crash_loop import CrashLoop
from cortex_compile.launchers.health import Health
from cortex_compile.launchers.model_control import ModelControl
from cortex_compile.launchers.stubs import Stub, StubList, read_process

# What a stub that hangs gets to write down where its threads are, before it is killed.
_LAST_WORDS_S = 0.5
# Before a server that did not answer is asked again.
_SERVER_PAUSE_S = 1.0


@dataclass(frozen=True)
class Fault:
    """What happened to a model. ``how`` continues the words "its process"; ``reason`` is the metric's label."""

    api: str
    model: str
    reason: str
    how: str
    replaced: tuple[str, ...]
    """What is unloaded and loaded: the model, after the models of its compiled modules where those may hang too."""

    @property
    def is_of_core(self) -> bool:
        return self.model != self.api


class Repairs:
    """Repairs models of one server, each in a thread of its own, since loading may take minutes.

    Args:
        tell: is given lines for people.
        give_up: is told why, when something cannot be repaired.
    """

    def __init__(
        self,
        control: ModelControl,
        health: Health,
        stubs: StubList,
        tell: Callable[[str], None],
        give_up: Callable[[str], None],
        new_crash_loop: Callable[[], CrashLoop],
        load_timeout_s: float,
    ) -> None:
        self._control = control
        self._health = health
        self._stubs = stubs
        self._tell = tell
        self._give_up = give_up
        self._new_crash_loop = new_crash_loop
        self._load_timeout_s = load_timeout_s
        self._crash_loops: dict[str, CrashLoop] = {}
        self._under_way: dict[str, threading.Thread] = {}
        self._abandoned = threading.Event()

    def are_at(self, model: str) -> bool:
        """Whether a model is being repaired."""
        thread = self._under_way.get(model)
        return thread is not None and thread.is_alive()

    def begin(self, fault: Fault) -> None:
        """Repair a model. Returns at once."""
        thread = threading.Thread(target=self._repair, args=(fault, self._abandoned), daemon=True)
        for model in fault.replaced:
            self._under_way[model] = thread
        self._health.report(fault.api, fault.model, _told_to_clients(fault))
        thread.start()

    def abandon(self) -> None:
        """The server has ended: there is nothing to repair in it."""
        self._abandoned.set()
        self._abandoned = threading.Event()
        self._under_way.clear()

    def end(self, timeout_s: float) -> None:
        """Begin no further attempt, and wait for those under way."""
        under_way = set(self._under_way.values())
        self.abandon()
        for thread in under_way:
            thread.join(timeout_s)

    def _repair(self, fault: Fault, abandoned: threading.Event) -> None:
        started_s = time.monotonic()
        self._tell(f"{fault.model}: its process {fault.how}; it is started again.")
        self._health.count(fault.api, f"core_{fault.reason}" if fault.is_of_core else fault.reason)
        failure = self._replace_in_any_server(fault, abandoned)
        if failure is not None:
            self._give_up(failure)
            return
        self._health.clear(fault.api, fault.model)
        if not abandoned.is_set():
            self._tell(f"{fault.model}: ready again after {time.monotonic() - started_s:.1f} s.")

    def _replace_in_any_server(self, fault: Fault, abandoned: threading.Event) -> str | None:
        """``_replace``, and again while the server does not answer: either that comes back without the model, or the
        watch over it starts it again with all of its models, and abandons this."""
        while True:
            try:
                return self._replace(fault, abandoned)
            except ServiceError:
                if abandoned.wait(_SERVER_PAUSE_S):
                    return None

    def _replace(self, fault: Fault, abandoned: threading.Event) -> str | None:
        """Why that is hopeless; None when all is ready, or when it was abandoned.

        Raises:
            ServiceError: Triton does not answer.
        """
        self._clear_away(fault)
        loop = self._crash_loops.setdefault(fault.model, self._new_crash_loop())
        what = f"its process {fault.how}"
        while (pause_s := loop.failed(time.monotonic())) is not None:
            if abandoned.wait(pause_s):
                return None
            if loop.failures > 1:
                self._clear_away(fault)
            failure = self._load(fault.replaced)
            if failure is None:
                loop.recovered(time.monotonic())
                return None
            what = failure
            self._tell(f"{fault.model}: attempt {loop.failures} failed: {what}.")
        return f"{fault.model!r} failed {loop.failures} times without a healthy minute between; at last {what}"

    def _clear_away(self, fault: Fault) -> None:
        """Take the model out of service, and end what is left of its processes.

        Triton never finishes unloading a model of which a process died with a request, so that the process's siblings
        would stay for ever, with all their memory.

        Raises:
            ServiceError: Triton does not answer.
        """
        for model in reversed(fault.replaced):
            self._control.unload(model)
        stubs = [stub for model in fault.replaced for stub in self._stubs.of_model(model)]
        if fault.reason == "stuck":
            _signal(stubs, signal.SIGABRT)
            deadline_s = time.monotonic() + _LAST_WORDS_S
            while time.monotonic() < deadline_s and any(_runs(stub) for stub in stubs):
                time.sleep(0.02)
        _signal(stubs, signal.SIGKILL)

    def _load(self, models: Sequence[str]) -> str | None:
        """Why a model does not load; None when all are ready.

        Raises:
            ServiceError: Triton does not answer at all.
        """
        for model in models:
            try:
                self._control.load(model, self._load_timeout_s)
            except LaunchError as error:
                return str(error)
            except ServiceError as error:
                self._control.ready(model)
                return str(error)
        return None


def _told_to_clients(fault: Fault) -> str:
    what = "a compiled module's process" if fault.is_of_core else "its process"
    ended = {"stopped": "was stopped", "stuck": "did not answer in time"}.get(fault.reason, "ended")
    return f"{what} {ended}, and is started again"


def _signal(stubs: Sequence[Stub], number: signal.Signals) -> None:
    for stub in stubs:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stub.pid, number)


def _runs(stub: Stub) -> bool:
    process = read_process(stub.pid)
    return process is not None and not process.has_ended
