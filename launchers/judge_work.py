"""Whether a process of a model is stuck, by what it is at and by when that should be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

DEADLINES_VARIABLE = "CORTEX_COMPILE_DEADLINES"
"""Tells a model's process the folder in which it writes by when it is done."""

OVERDUE_S, DUMB_S = 10.0, 15.0
"""Of ``WorkJudge``, unless told otherwise; docs/reliability.md tells people."""

# A prediction that is so late has cost its request; where nobody else is answered either, the API is not ready.
_LATE_S = 0.3
# One that has nothing to do, and does not say so.
_DUMB_S = 3.0


@dataclass(frozen=True)
class Work:
    """What a process is at, for each of its threads: by how much its prediction is late, in seconds, less than nothing
    while there is time left; None of a thread that has none."""

    late_by_s: tuple[float | None, ...] = ()

    @property
    def is_idle(self) -> bool:
        return all(late_s is None for late_s in self.late_by_s)

    @property
    def late_s(self) -> float:
        """Of the latest one; less than nothing where there is time left."""
        return max((late_s for late_s in self.late_by_s if late_s is not None), default=0.0)

    @property
    def is_all_late(self) -> bool:
        return bool(self.late_by_s) and all(late_s is not None and late_s > _LATE_S for late_s in self.late_by_s)


@dataclass(frozen=True)
class Verdict:
    """``stuck`` continues "its process"; None while it may go on by itself, though it may answer nobody meanwhile."""

    stuck: str | None = None
    answers_nobody: bool = False


class WorkJudge:
    """``judge`` is to be called every fraction of a second for each process.

    Args:
        overdue_s: a process is stuck when a prediction takes so much longer than its request may.
        dumb_s: and when it has nothing to do and does not answer for so long.
        unanswered_s: for how long a model has not answered whether it answers (``ModelProbes``).
    """

    def __init__(self, overdue_s: float, dumb_s: float, unanswered_s: Callable[[str], float]) -> None:
        self._overdue_s = overdue_s
        self._dumb_s = dumb_s
        self._unanswered_s = unanswered_s
        self._idle_since_s: dict[int, float] = {}

    def judge(self, pid: int, model: str, work: Work, *, is_only_one: bool) -> Verdict:
        """``is_only_one``: the model has no other process."""
        unanswered_s = self._unanswered_s(model)
        late_s, dumb_s = work.late_s, min(unanswered_s, self._idle_s(pid, work))
        if late_s > self._overdue_s:
            return Verdict(f"is stuck: a prediction takes {late_s:.0f} s longer than its request may")
        if dumb_s > self._dumb_s:
            return Verdict(f"is stuck: it has nothing to do and has not answered for {dumb_s:.0f} s")
        is_busy = work.is_all_late and is_only_one
        return Verdict(answers_nobody=dumb_s > _DUMB_S or (late_s > _LATE_S and (is_busy or unanswered_s > _LATE_S)))

    def forget(self, pid: int) -> None:
        """The process is gone."""
        self._idle_since_s.pop(pid, None)

    def _idle_s(self, pid: int, work: Work) -> float:
        now_s = time.monotonic()
        if not work.is_idle:
            self._idle_since_s[pid] = now_s
        return now_s - self._idle_since_s.setdefault(pid, now_s)
