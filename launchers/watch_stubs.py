"""Which stubs of a server died, are stopped or are stuck, and which models answer nobody at the moment."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cortex_compile.launchers.stubs import Stub, StubList, how_it_ended, read_process


@dataclass(frozen=True)
class Finding:
    """``reason`` is a word for the metric; ``how`` continues "its process"."""

    stub: Stub
    reason: str
    how: str


# A prediction that is so late has cost its request; where nobody else is answered either, the API is not ready.
_LATE_S = 0.3
# One that has nothing to do, and does not say so.
_DUMB_S = 3.0


@dataclass(frozen=True)
class _Work:
    """What a process is at: the deadlines of its predictions, 0 for each thread that has none."""

    deadlines: tuple[float, ...] = ()

    @property
    def is_idle(self) -> bool:
        return not any(self.deadlines)

    def late_s(self) -> float:
        """Of the latest one; less than nothing where there is time left."""
        return max((time.monotonic() - deadline for deadline in self.deadlines if deadline), default=0.0)

    def is_all_late(self) -> bool:
        now_s = time.monotonic()
        return bool(self.deadlines) and all(deadline and now_s - deadline > _LATE_S for deadline in self.deadlines)


class StubWatch:
    """``look`` is to be called every fraction of a second.

    Args:
        deadlines: the folder in which the predictors' processes write by when they are done
            (``python_backend/deadlines.py``).
        overdue_s: a process is stuck when a prediction takes so much longer than its request may.
        dumb_s: and when it has nothing to do and does not answer for so long.
        unanswered_s: for how long a model has not answered whether it answers (``ModelProbes``).
    """

    def __init__(
        self,
        stubs: StubList,
        deadlines: Path,
        overdue_s: float,
        dumb_s: float = 15.0,
        unanswered_s: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        self.answering_nobody: set[str] = set()
        """Models, when ``look`` was called last: those that may answer again by themselves included."""
        self._stubs = stubs
        self._deadlines = deadlines
        self._overdue_s = overdue_s
        self._dumb_s = dumb_s
        self._unanswered_s = unanswered_s
        self._idle_since_s: dict[int, float] = {}
        self._seen_before: dict[int, str] = {}
        self._settled: set[int] = set()
        self._lock = threading.Lock()

    def look(self) -> list[Finding]:
        """What is wrong with stubs that were not settled."""
        before = set(self._stubs.known)
        self._stubs.look_for_new()
        for gone in before - self._stubs.known.keys():
            (self._deadlines / str(gone)).unlink(missing_ok=True)
            self._idle_since_s.pop(gone, None)
        with self._lock:
            self._settled &= self._stubs.known.keys()
        self.answering_nobody = set()
        found = [self._judge(stub) for pid, stub in self._stubs.known.items() if pid not in self._settled]
        return [finding for finding in found if finding is not None]

    def settle(self, pids: Iterable[int]) -> None:
        """Of these no more is to be told: they are replaced. May be called from any thread."""
        with self._lock:
            self._settled |= set(pids)

    def _judge(self, stub: Stub) -> Finding | None:
        process = read_process(stub.pid)
        if process is None:
            return None  # it ended in order: Triton took its status
        state = "ended" if process.has_ended else "stopped" if process.is_stopped else ""
        # Seen twice: one that is unloaded ends, and is taken at once.
        lasts, self._seen_before[stub.pid] = state == self._seen_before.get(stub.pid), state
        if state == "ended" and lasts:
            how = how_it_ended(process.exit_code)
            return Finding(stub, "killed" if process.exit_code & 0x7F else "exited", how)
        if state == "stopped" and lasts:
            # It may not go on: Triton 2.51 refuses requests to it after a second, and aborts if it then answers them.
            return Finding(stub, "stopped", "was stopped (SIGSTOP)")
        return self._judge_work(stub) if not state else None

    def _judge_work(self, stub: Stub) -> Finding | None:
        work, unanswered_s = self._read_work(stub.pid), self._unanswered_s(stub.model)
        late_s, dumb_s = work.late_s(), min(unanswered_s, self._idle_s(stub.pid, work))
        if late_s > self._overdue_s:
            return Finding(stub, "stuck", f"is stuck: a prediction takes {late_s:.0f} s longer than its request may")
        if dumb_s > self._dumb_s:
            return Finding(stub, "stuck", f"is stuck: it has nothing to do and has not answered for {dumb_s:.0f} s")
        is_busy = work.is_all_late() and len(self._stubs.of_model(stub.model)) == 1
        if dumb_s > _DUMB_S or (late_s > _LATE_S and (is_busy or unanswered_s > _LATE_S)):
            self.answering_nobody.add(stub.model)
        return None

    def _idle_s(self, pid: int, work: _Work) -> float:
        now_s = time.monotonic()
        if not work.is_idle:
            self._idle_since_s[pid] = now_s
        return now_s - self._idle_since_s.setdefault(pid, now_s)

    def _read_work(self, pid: int) -> _Work:
        with contextlib.suppress(OSError):
            table = (self._deadlines / str(pid)).read_bytes()
            return _Work(struct.unpack(f"={len(table) // 8}d", table))
        return _Work()
