"""Processes of the server that are killed, or stopped for a while."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from .server import Server
from .stage import Fault, Stage

__all__ = ["FAULTS", "IDEMPOTENT", "STUB_S", "TRITON_S"]

IDEMPOTENT = "kill idempotent predictor"
STUB_S = 2.0
TRITON_S = 3.0
WORKER_S = 2.0

_PARTS: dict[str, tuple[str, Callable[[Server], int], float]] = {
    "predictor": ("the predictor's process", lambda server: server.stub("near"), STUB_S),
    "core": ("the process of a core that is a Triton model", lambda server: server.core_stub("far"), STUB_S),
    "triton": ("tritonserver", lambda server: server.triton(), TRITON_S),
    "worker": ("a worker of the facade", lambda server: server.worker(), WORKER_S),
}


def _kill(part: str, number: signal.Signals) -> Callable[[Stage], None]:
    _, find, limit_s = _PARTS[part]

    def play(stage: Stage) -> None:
        server = stage.server
        load_s = 0.0 if part == "worker" else stage.load_s
        stage.strike(
            lambda server: os.kill(find(server), number),
            server=server,
            healthy_within_s=limit_s + load_s,
            cuts=part == "worker",  # its connections end with it
        )

    return play


def _stop(part: str) -> Callable[[Stage], None]:
    find = _PARTS[part][1]

    def play(stage: Stage) -> None:
        stopped: list[int] = []

        def inject(server: Server) -> None:
            stopped.append(find(server))
            os.kill(stopped[0], signal.SIGSTOP)

        def undo(server: Server) -> None:
            # It may have been replaced meanwhile.
            if any(process.pid == stopped[0] for process in server.processes()):
                os.kill(stopped[0], signal.SIGCONT)

        seconds = 4.0 if stage.quick else 10.0
        stage.strike(inject, last_s=seconds, undo=undo, statuses=(503, 504), cuts=part == "worker")

    return play


def _kill_idempotent(stage: Stage) -> None:
    server = stage.server
    stage.strike(
        lambda server: os.kill(server.stub("far"), signal.SIGKILL),
        server=server,
        healthy_within_s=STUB_S + stage.load_s,
        statuses=(),
    )


_KILLED = "requests in flight get 503; all else is answered; healthy within {:g} s and the predictor's own load time"
FAULTS = [
    *(Fault(f"kill {part}", f"SIGKILL of {about}", _KILLED.format(limit_s), _kill(part, signal.SIGKILL))
      for part, (about, _, limit_s) in _PARTS.items()),
    Fault(
        IDEMPOTENT,
        "SIGKILL of the process of a predictor with compile.idempotent",
        "no request fails: those in flight are asked again",
        _kill_idempotent,
    ),
    Fault(
        "crash core",
        "SIGSEGV of a core's process, as of a native crash in its engine",
        _KILLED.format(STUB_S),
        _kill("core", signal.SIGSEGV),
    ),
    *(Fault(f"stop {part}", f"SIGSTOP of {about} for 10 s",
            "requests end within their time-out, with 503 or 504; all is well when it goes on, or is replaced",
            _stop(part))
      for part, (about, _, _) in _PARTS.items()),
]  # fmt: skip
