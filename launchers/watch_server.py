"""The watch over the embedded server: whatever of it died, is stopped or is stuck is found, and started again.

Triton 2.51 never starts one of its processes again, and says that it is ready all the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.crash_loop import HEALTHY_S, PAUSES_S, CrashLoop
from cortex_compile.launchers.health import ANSWERS_NOBODY, SERVER, Health
from cortex_compile.launchers.judge_work import DUMB_S, OVERDUE_S
from cortex_compile.launchers.model_control import ModelControl
from cortex_compile.launchers.model_probes import ModelProbes, can_be_asked
from cortex_compile.launchers.ports import is_answering
from cortex_compile.launchers.process_ends import ProcessEnds
from cortex_compile.launchers.repair import Fault, Repairs
from cortex_compile.launchers.served_models import ServedModel
from cortex_compile.launchers.stubs import StubList, how_it_ended, read_process
from cortex_compile.launchers.watch_stubs import Finding, StubWatch

# Of the server itself, once no predictor has answered for so long.
_ASK_EVERY_S, _ASK_AFTER_S = 1.0, 1.5
# Where something was seen that has to be seen twice.
_LOOK_AGAIN_S = 0.1
# An answer is at most as old as a pause and a question that takes its two seconds.
_SILENT_S = 3.0


@dataclass(frozen=True)
class Patience:
    """How long what is waited for; docs/reliability.md tells people."""

    look_every_s: float = 0.8
    """A request that is under way waits while it looks. What ends is seen at once, and what is stopped in this time:
    before Triton refuses its requests, which it does after a second."""
    silent_server_s: float = 15.0
    """A server that is stopped, or does not answer, for so long is replaced."""
    overdue_s: float = OVERDUE_S
    """A process is replaced when a prediction takes so much longer than its request may."""
    dumb_s: float = DUMB_S
    """And when it has nothing to do, and does not answer for so long."""
    load_timeout_s: float = 300.0
    pauses_s: tuple[float, ...] = PAUSES_S
    healthy_s: float = HEALTHY_S


class WatchedServer(Protocol):
    """What the watch asks of a server, from its own thread."""

    server_pid: int | None
    models: tuple[ServedModel, ...]

    def server_status(self) -> int | None:
        """The exit status of the server's process, 128 + n when signal n ended it; None while it runs."""
        ...

    def start_again(self) -> None:
        """Start it on the same ports, and return when every model is ready.

        Raises:
            LaunchError: it does not start.
        """
        ...


class ServerWatch:
    """Over one server that has started.

    Args:
        http_port: the server's, on the loopback address.
        deadlines: see ``StubWatch``.
        tell: is given lines for people.
        changed: is called when ``health`` or ``failure`` says something else.
    """

    def __init__(
        self,
        server: WatchedServer,
        http_port: int,
        control: ModelControl,
        deadlines: Path,
        tell: Callable[[str], None],
        patience: Patience,
        changed: Callable[[], None],
    ) -> None:
        self.health = Health(changed)
        self.failure: str | None = None
        """Why it was given up; None while it is worth the effort."""
        self._server = server
        self._http_port = http_port
        self._tell = tell
        self._patience = patience
        self._stubs = StubList()
        self._probes = ModelProbes(http_port)
        self._stub_watch = StubWatch(
            self._stubs, deadlines, patience.overdue_s, patience.dumb_s, self._probes.unanswered_s
        )
        self._answering_nobody: set[str] = set()
        self._crash_loop = self._new_crash_loop()
        self._repairs = Repairs(
            control, self.health, self._stubs, tell, self._give_up, self._new_crash_loop, patience.load_timeout_s
        )
        self._ending = threading.Event()
        self._ends = ProcessEnds()
        self._is_quiet = threading.Event()
        self._answered_s = time.monotonic()
        self._stopped_since_s: float | None = None
        self._killed_for: str | None = None
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._watch, self._ask_regularly)]

    def begin(self) -> None:
        self._stubs.follow(self._server.server_pid)
        self._stubs.look_for_new()  # one that dies now is known by name
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Start nothing again from now on. Returns when no start of the server is under way."""
        if not self._ending.is_set():
            self._ending.set()
            self._ends.wake()
            self._is_quiet.set()
        self._repairs.abandon()
        self._threads[0].join()
        self._ends.close()

    def leave_alone(self, pids: Iterable[int]) -> None:
        """Whatever becomes of these processes, their models are well. From any thread."""
        self._stub_watch.settle(pids)

    def has_dead_stubs(self) -> bool:
        """Whether processes of models have died that Triton still counts. To be called when the watch has ended."""
        return any(process.has_ended for process in self._stubs.states())

    def only_dead_stubs(self) -> bool:
        """Whether there are no others any more."""
        return all(process.has_ended for process in self._stubs.states())

    def _watch(self) -> None:
        is_calm = True
        while self.failure is None:
            has_ended = self._ends.wait(self._patience.look_every_s if is_calm else _LOOK_AGAIN_S)
            if self._ending.is_set():
                break
            is_calm = False
            try:
                is_calm = self._look() and not has_ended
            except Exception as error:  # a watch that ended would be missed only at the next fault
                self._tell(f"The watch over the server failed ({error!r}); it goes on.")
        self._probes.look([])

    def _look(self) -> bool:
        """Find and repair what is wrong. False where something was seen that has to be seen again."""
        status = self._server.server_status()
        if status is not None:
            self._probes.look([])
            self._start_server_again(status)
        elif self._has_server_ended():
            return False  # and its processes with it, as its keeper is about to tell
        elif self._is_server_silent():
            self._probes.excuse()
            return True  # of a server that does not listen, nothing can be repaired
        self._stubs.follow(self._server.server_pid)
        server = () if self._server.server_pid is None else (self._server.server_pid,)
        # Of a model that is only tried, whoever tries it hears.
        left_alone = [model for model in self._server.models if not self._repairs.are_at(model.name)]
        self._probes.look([model.name for model in left_alone if can_be_asked(model)])
        names = {model.name for model in left_alone}
        for finding in self._stub_watch.look():
            if finding.stub.model in names and not self._repairs.are_at(finding.stub.model):
                self._repair(finding)
        self._ends.follow((*server, *self._stubs.known))
        self._report(self._stub_watch.answering_nobody & names)
        return self._stub_watch.is_calm

    def _report(self, answering_nobody: set[str]) -> None:
        """Have it told which predictors answer nobody, and which do again."""
        for model in answering_nobody - self._answering_nobody:
            self.health.report(model, model, ANSWERS_NOBODY)
        for model in self._answering_nobody - answering_nobody:
            if not self._repairs.are_at(model):  # which tells itself
                self.health.clear(model, model)
        self._answering_nobody = answering_nobody

    def _repair(self, finding: Finding) -> None:
        model = finding.stub.model
        of_build = _models_of_one_build(model, self._server.models)
        api, *cores = sorted(of_build, key=len)  # those of its compiled modules are called API--MODULE
        # A predictor that is stuck may wait for a compiled module that is a model of its own, and stuck itself.
        replaced = [*cores, api] if finding.reason == "stuck" else [model]
        for each in replaced:
            self._stub_watch.settle(stub.pid for stub in self._stubs.of_model(each))
        self._repairs.begin(Fault(api, model, finding.reason, finding.how, tuple(replaced)))

    def _has_server_ended(self) -> bool:
        assert self._server.server_pid is not None
        process = read_process(self._server.server_pid)
        return process is None or process.has_ended

    def _is_server_silent(self) -> bool:
        """Whether it is stopped or does not answer. One that is so for too long is killed."""
        assert self._server.server_pid is not None
        now_s = time.monotonic()
        if now_s - self._probes.answered_s > _ASK_AFTER_S:
            self._is_quiet.set()
        elif not self._ending.is_set():
            self._is_quiet.clear()
        process = read_process(self._server.server_pid)
        if process is not None and process.is_stopped:
            self._stopped_since_s = self._stopped_since_s or now_s
            silent_since_s, fault = self._stopped_since_s, "it is stopped"
        else:
            self._stopped_since_s = None
            silent_since_s, fault = max(self._answered_s, self._probes.answered_s), "it does not answer"
            if now_s - silent_since_s < _SILENT_S:
                self.health.clear(SERVER, SERVER)
                return False
        self.health.report(SERVER, SERVER, fault)
        if now_s - silent_since_s > self._patience.silent_server_s:
            self._tell(f"Triton: {fault} since {now_s - silent_since_s:.0f} s; it is killed.")
            self._killed_for = "stopped" if self._stopped_since_s is not None else "silent"
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server.server_pid, signal.SIGKILL)
            self._ending.wait(1.0)  # until its keeper has seen it
        return True

    def _start_server_again(self, status: int) -> None:
        started_s = time.monotonic()
        what = how_it_ended(status - 128 if status > 128 else status << 8)
        self._tell(f"Triton {what}; it is started again.")
        self.health.report(SERVER, SERVER, "it ended, and is started again")
        self.health.count(SERVER, self._killed_for or ("killed" if status > 128 else "exited"))
        self._killed_for = None
        self._repairs.abandon()
        while (pause_s := self._crash_loop.failed(time.monotonic())) is not None:
            if self._ending.wait(pause_s):
                return
            try:
                self._server.start_again()
            except LaunchError as error:
                if self._ending.is_set():
                    return
                what = f"did not start: {error}"
                continue
            self._crash_loop.recovered(time.monotonic())
            self._answered_s = time.monotonic()
            self._stopped_since_s = None
            self.health.clear(SERVER, SERVER)
            self._tell(f"Triton: ready again after {time.monotonic() - started_s:.1f} s.")
            return
        times = self._crash_loop.failures
        self._give_up(f"Triton failed {times} times without a healthy minute between; at last it {what}")

    def _ask_regularly(self) -> None:
        """While no predictor has something to answer, or can: what one answers, the server does."""
        while True:
            self._is_quiet.wait()
            if self._ending.is_set():
                return
            if is_answering(self._http_port):
                self._answered_s = time.monotonic()
            self._ending.wait(_ASK_EVERY_S)

    def _give_up(self, failure: str) -> None:
        self._tell(f"{failure}. It is not started again.")
        self.failure = failure
        self.health.changed()

    def _new_crash_loop(self) -> CrashLoop:
        return CrashLoop(self._patience.pauses_s, self._patience.healthy_s)


def _models_of_one_build(model: str, models: Sequence[ServedModel]) -> list[str]:
    repository = next((each.folder.parent for each in models if each.name == model), None)
    return [each.name for each in models if each.folder.parent == repository] or [model]
