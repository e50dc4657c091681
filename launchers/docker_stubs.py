"""The Python processes of models in a container, as a program of ours that runs in there tells of them.

The launcher may have no right to see them, and the engine may be in a virtual machine. Triton before 25.12 says that it
is ready when one of them has died, and never answers for it again; that one is stuck, no Triton says.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex_compile.launchers import tell_stubs
from cortex_compile.launchers.judge_work import DUMB_S, OVERDUE_S, Work, WorkJudge
from cortex_compile.launchers.stubs import STOPPED, ZOMBIE, model_of_command

__all__ = ["ContainerFinding", "ContainerStubs"]

_SERVER = "tritonserver"
_COMMAND = ["python3", "-I", "-c", Path(tell_stubs.__file__).read_text()]
# More than any line is long: what comes from a container is the user's code's to write.
_LONGEST_LINE = 1 << 20
# A program that was ended by somebody, or that the image does not have, is tried again after a while.
_TRY_AGAIN_S = 5.0
# What was told is believed for as long: the program may have been stopped.
_FRESH_S = 3.0


@dataclass(frozen=True)
class ContainerFinding:
    """``reason`` is a word for the metric; ``what`` tells a person."""

    reason: str
    what: str


@dataclass(frozen=True)
class _Process:
    pid: int
    model: str
    state: str
    work: Work


class ContainerStubs:
    """``look`` is to be called every fraction of a second, while the container runs.

    Args:
        unanswered_s: see ``WorkJudge``.
    """

    def __init__(self, container: Any, unanswered_s: Callable[[str], float] = lambda _: 0.0) -> None:
        self.answering_nobody: set[str] = set()
        """Models, when ``look`` was called last: those that may answer again by themselves."""
        self._container = container
        self._unanswered_s = unanswered_s
        self.forget()

    def forget(self) -> None:
        """The container was started again."""
        self.answering_nobody = set()
        self._judge = WorkJudge(OVERDUE_S, DUMB_S, self._unanswered_s)
        self._known: dict[int, str] = {}
        self._stopped_since_s: dict[int, float] = {}
        self._told: _Told | None = None
        self._try_again_s = 0.0

    def look(self) -> ContainerFinding | None:
        """What became of one since; None where all are well, or where nothing is told at the moment.

        Raises:
            docker.errors.APIError: the container has ended, or the engine does not tell.
        """
        self.answering_nobody = set()
        processes = self._listen()
        if processes is None:
            return None
        for pid in self._known.keys() - processes.keys():
            return ContainerFinding("process", f"the process of {self._known[pid]!r} ended")
        self._known = {pid: process.model for pid, process in processes.items()}
        # Told twice: a moment's stop is a debugger's.
        at_s = self._told.at_s if self._told is not None else 0.0
        stopped = [pid for pid, process in processes.items() if process.state == STOPPED]
        self._stopped_since_s = {pid: self._stopped_since_s.get(pid, at_s) for pid in stopped}
        for pid, since_s in self._stopped_since_s.items():
            if since_s < at_s:
                return ContainerFinding("process", f"the process of {processes[pid].model!r} was stopped (SIGSTOP)")
        return self._judge_work(processes)

    def _judge_work(self, processes: dict[int, _Process]) -> ContainerFinding | None:
        models = list(self._known.values())
        for process in processes.values():
            is_only_one = models.count(process.model) == 1
            verdict = self._judge.judge(process.pid, process.model, process.work, is_only_one=is_only_one)
            if verdict.stuck is not None:
                return ContainerFinding("stuck", f"the process of {process.model!r} {verdict.stuck}")
            if verdict.answers_nobody:
                self.answering_nobody.add(process.model)
        return None

    def _listen(self) -> dict[int, _Process] | None:
        """What was told last, if that was just now."""
        now_s = time.monotonic()
        if (self._told is None or self._told.has_ended) and now_s > self._try_again_s:
            self._try_again_s = now_s + _TRY_AGAIN_S
            self._told = _Told(self._container.exec_run(_COMMAND, stream=True, stderr=False).output)
        if self._told is None or now_s - self._told.at_s > _FRESH_S:
            return None
        return self._told.processes


class _Told:
    """What one run of the program tells, heard by a thread of its own that ends with it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.processes: dict[int, _Process] = {}
        self.at_s = 0.0
        self.has_ended = False
        threading.Thread(target=self._hear, args=(chunks,), daemon=True).start()

    def _hear(self, chunks: Iterable[bytes]) -> None:
        rest = b""
        try:
            for chunk in chunks:
                *whole, rest = (rest + chunk).split(b"\n")
                if whole:
                    self.processes, self.at_s = _read_line(whole[-1]), time.monotonic()
                if len(rest) > _LONGEST_LINE:
                    return
        except Exception:  # the engine is gone, or the line is none of ours: as if the program had ended
            return
        finally:
            self.has_ended = True


def _read_line(line: bytes) -> dict[int, _Process]:
    """
    Raises:
        ValueError, TypeError: it is not what the program writes.
    """
    found = {}
    for pid, parent, state, words, late_by_s in json.loads(line):
        model = model_of_command([str(word) for word in words])
        # A process that a predictor forked has the same command line, and another parent.
        if parent == _SERVER and state != ZOMBIE and model is not None:
            work = Work(tuple(None if late_s is None else float(late_s) for late_s in late_by_s))
            found[int(pid)] = _Process(int(pid), model, str(state), work)
    return found
