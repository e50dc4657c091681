"""Which stubs of a server died, are stopped or are stuck."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
        overdue_s: a process is stuck when a prediction takes so much longer than its request may.
    """

    def __init__(self, stubs: StubList, deadlines: Path, overdue_s: float) -> None:
        self._stubs = stubs
        self._deadlines = deadlines
        self._overdue_s = overdue_s
        self._seen_before: dict[int, str] = {}
        self._settled: set[int] = set()

    def look(self) -> list[Finding]:
        """What is wrong with stubs that were not settled."""
        before = set(self._stubs.known)
        self._stubs.look_for_new()
        for gone in before - self._stubs.known.keys():
            (self._deadlines / str(gone)).unlink(missing_ok=True)
        self._settled &= self._stubs.known.keys()
        found = [self._judge(stub) for pid, stub in self._stubs.known.items() if pid not in self._settled]
        return [finding for finding in found if finding is not None]

    def settle(self, stubs: Sequence[Stub]) -> None:
        """Of these no more is to be told: they are replaced."""
        self._settled |= {stub.pid for stub in stubs}

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
        if not state and (late_s := self._late_s(stub.pid)) > self._overdue_s:
            return Finding(stub, "stuck", f"is stuck: a prediction takes {late_s:.0f} s longer than its request may")
        return None

    def _late_s(self, pid: int) -> float:
        with contextlib.suppress(OSError):
            table = (self._deadlines / str(pid)).read_bytes()
            deadlines = struct.unpack(f"={len(table) // 8}d", table)
            return max((time.monotonic() - deadline for deadline in deadlines if deadline), default=0.0)
        return 0.0
