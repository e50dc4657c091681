"""The watch over a container: its log is followed, and one that ends or is no longer ready is started again.

Docker's own restart policy is not used: it would start a container again whose launcher is gone, tells nobody, and sees
neither a server that hangs nor a Python process that died or was stopped.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cortex_compile.launchers.docker_stubs import ContainerFinding, ContainerStubs
from cortex_compile.launchers.health import ANSWERS_NOBODY, SERVER
from cortex_compile.launchers.model_probes import ModelProbes

_LOOK_EVERY_S = 0.2
# A server that repairs or loads something may be not ready for a while.
_UNREADY_FOR_S = 20.0
_REPAIRS, _WITHIN_S = 5, 600.0
_STOP_S = 5
_KILLED = 128 + 9


class Watch:
    """Over one container that was created. ``status`` is its exit status once it has ended for good, and ``failure``
    says why it is not started again. ``asked`` are the models that ``probes`` ask whether they answer; ``changed`` is
    called when any of what is said here may be something else."""

    def __init__(
        self,
        container: Any,
        log: Callable[[str], None],
        tell: Callable[[str], None],
        probes: ModelProbes | None = None,
        asked: Sequence[str] = (),
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.status: int | None = None
        self.failure: str | None = None
        self.faults: dict[str, str] = {}
        """What is wrong at the moment, by API, or ``SERVER`` for all of it: told to clients."""
        self.repairs: dict[str, int] = {}
        """How often the container was started again, by reason."""
        self._container = container
        self._probes = probes or ModelProbes(0)
        self._asked = asked
        self._changed = changed
        self._stubs = ContainerStubs(container, self._probes.unanswered_s)
        self._log = log
        self._tell = tell
        self._repairs: deque[float] = deque(maxlen=_REPAIRS)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start_container(self) -> None:
        """Start it, with its log followed from the first line."""
        lines = self._container.attach(stdout=True, stderr=True, stream=True, logs=False)
        threading.Thread(target=self._follow, args=(lines,), daemon=True).start()
        self._container.start()

    def begin(self, is_ready: Callable[[], bool]) -> None:
        """Repair from now on."""
        self._thread = threading.Thread(target=self._watch, args=(is_ready,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Repair no more; returns when no repair is under way."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, is_ready: Callable[[], bool]) -> None:
        last_ready = time.monotonic()
        while self.status is None and not self._ending.wait(_LOOK_EVERY_S):
            try:
                self._container.reload()
                if self._container.status != "running":
                    last_ready = self._repair("ended", what_ended_it(self._container.attrs["State"], None))
                elif is_ready():
                    last_ready = self._look_at_stubs()
                elif time.monotonic() - last_ready > _UNREADY_FOR_S:
                    self._container.stop(timeout=_STOP_S)
                    last_ready = self._repair("silent", f"Triton was not ready for {_UNREADY_FOR_S:g} s")
                else:
                    self._probes.excuse()
            except Exception as error:
                self._give_up(f"the Docker engine does not answer, or the container is gone ({error})")
        self._probes.look([])

    def _look_at_stubs(self) -> float:
        """As ``_repair``, of a container in which one is not well."""
        self._probes.look(self._asked)
        finding: ContainerFinding | None = None
        with contextlib.suppress(Exception):  # it has just ended, which is seen when it is looked at again
            finding = self._stubs.look()
        if finding is None:
            faults = dict.fromkeys(self._stubs.answering_nobody, ANSWERS_NOBODY)
            if faults != self.faults:
                self.faults = faults
                self._changed()
            return time.monotonic()
        # Triton would wait for what the process was at.
        self._container.kill()
        self._container.wait()
        return self._repair(finding.reason, finding.what)

    def _repair(self, reason: str, what: str) -> float:
        now = time.monotonic()
        if len(self._repairs) == _REPAIRS and now - self._repairs[0] < _WITHIN_S:
            self._give_up(f"{what}, {_REPAIRS} times within {_WITHIN_S / 60:g} minutes")
            return now
        self._repairs.append(now)
        self.faults = {SERVER: "it ended, and is started again"}
        self.repairs = {**self.repairs, reason: self.repairs.get(reason, 0) + 1}
        self._changed()
        self._tell(f"{what[:1].upper()}{what[1:]}; starting it again.")
        self._stubs.forget()
        self._probes.look([])
        self.start_container()
        # As long as loading takes, which has no limit of ours, readiness is not asked for.
        return time.monotonic() + _WITHIN_S

    def _give_up(self, reason: str) -> None:
        self.failure = f"{reason[:1].upper()}{reason[1:]}; it is not started again"
        self._tell(f"{self.failure}.")
        self.status = self._container.attrs.get("State", {}).get("ExitCode") or 1
        self._changed()

    def _follow(self, lines: Any) -> None:
        rest = ""
        for chunk in lines:
            rest += chunk.decode(errors="replace")
            *whole, rest = rest.split("\n")
            for line in whole:
                self._log(line)
        if rest:
            self._log(rest)


def what_ended_it(state: Mapping[str, Any], memory: str | None) -> str:
    """Why a container is not running, in words, from what the engine says of its state."""
    code = state.get("ExitCode", 0)
    if state.get("OOMKilled"):
        limit = f" of {memory}" if memory else ""
        return (
            f"The container ran out of memory (exit status {code}): its limit{limit} is too small for the models; "
            "give it more with --memory, or serve fewer processes"
        )
    if code == _KILLED:
        return (
            f"The container was killed (exit status {code}): by somebody, or by the system because the machine had no "
            "memory left"
        )
    said = state.get("Error")
    return f"The container ended (exit status {code}{f', {said}' if said else ''})"
