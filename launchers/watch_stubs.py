"""Which stubs of a server died, are stopped or are stuck, and which models answer nobody at the moment."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cortex_compile.launchers.judge_work import DUMB_S, Work, WorkJudge
from cortex_compile.launchers.stubs import Stub, StubList, how_it_ended, read_process


@dataclass(frozen=True)
class Finding:
    """``reason`` is a word for the metric; ``how`` continues "its process"."""

    stub: Stub
    reason: str
    how: str


class StubWatch:
    """``look`` is to be called every fraction of a second.

    Args:
        deadlines: the folder in which the predictors' processes write by when they are done
            (``python_backend/deadlines.py``).
        overdue_s, dumb_s, unanswered_s: see ``WorkJudge``.
    """

    def __init__(
        self,
        stubs: StubList,
        deadlines: Path,
        overdue_s: float,
        dumb_s: float = DUMB_S,
        unanswered_s: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        self.answering_nobody: set[str] = set()
        """Models, when ``look`` was called last: those that may answer again by themselves included."""
        self.is_calm = True
        """Whether no process of a model was seen to have ended, or to be stopped, when ``look`` was called last."""
        self._stubs = stubs
        self._deadlines = deadlines
        self._judge_of_work = WorkJudge(overdue_s, dumb_s, unanswered_s)
        self._seen_before: dict[int, str] = {}
        self._settled: set[int] = set()
        self._lock = threading.Lock()

    def look(self) -> list[Finding]:
        """What is wrong with stubs that were not settled."""
        before = set(self._stubs.known)
        self._stubs.look_for_new()
        for gone in before - self._stubs.known.keys():
            (self._deadlines / str(gone)).unlink(missing_ok=True)
            self._judge_of_work.forget(gone)
        with self._lock:
            self._settled &= self._stubs.known.keys()
        self.answering_nobody = set()
        self.is_calm = True
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
        self.is_calm = self.is_calm and not state
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
        is_only_one = len(self._stubs.of_model(stub.model)) == 1
        verdict = self._judge_of_work.judge(stub.pid, stub.model, self._read_work(stub.pid), is_only_one=is_only_one)
        if verdict.answers_nobody:
            self.answering_nobody.add(stub.model)
        return Finding(stub, "stuck", verdict.stuck) if verdict.stuck is not None else None

    def _read_work(self, pid: int) -> Work:
        with contextlib.suppress(OSError):
            table, now_s = (self._deadlines / str(pid)).read_bytes(), time.monotonic()
            deadlines = struct.unpack(f"={len(table) // 8}d", table)
            return Work(tuple(now_s - deadline if deadline else None for deadline in deadlines))
        return Work()
