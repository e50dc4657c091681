"""What a predictor's own code does to the process that it runs in."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable
from typing import Any

from .process_faults import STUB_S
from .server import Server
from .stage import Fault, Stage

__all__ = ["FAULTS"]

_MIB = 2**20
_OVERDUE_S = 10.0
_LAST_WORDS_S = 0.5
_TIMEOUT_S = 3.0  # compile.request_timeout of near and far


def _asked(deed: str, status: int, api: str = "near", times: int = 1, **payload: Any) -> Callable[[Stage], None]:
    """Requests that have the predictor misbehave, and get this status; all others are answered right."""

    def play(stage: Stage) -> None:
        found = []

        def inject(server: Server) -> None:
            for _ in range(times):
                found.append(server.ask(api, do=deed, id=0, row=[0.0] * 4, **payload)[0])

        stage.strike(inject, healthy_within_s=0.5)
        stage.check(f"the request itself gets {status}", sorted(set(found)), set(found) == {status})

    return play


def _ends_process(deed: str) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        found = []
        server = stage.server
        stage.strike(
            lambda server: found.append(server.ask("near", do=deed, id=0, row=[0.0] * 4)[0]),
            server=server,
            healthy_within_s=STUB_S + stage.load_s,
        )
        stage.check("the request itself gets 503", found, found == [503])

    return play


def _loop(stage: Stage) -> None:
    found: list[int] = []
    took: list[float] = []

    def inject(server: Server) -> None:
        began = time.monotonic()
        found.append(server.ask("near", do="loop", id=0)[0])
        took.append(time.monotonic() - began)

    # What is long is not stuck before it is overdue: docs/reliability.md. But nobody is answered meanwhile.
    server = stage.server
    replaced_s = _TIMEOUT_S + _OVERDUE_S + _LAST_WORDS_S + STUB_S + stage.load_s
    stage.strike(
        inject,
        server=server,
        statuses=(503, 504),
        told_within_s=_TIMEOUT_S + 1,
        healthy_within_s=replaced_s,
    )
    stage.check("the request ends in its time-out of 3 s", f"{found} after {took[0]:.1f} s", took[0] < _TIMEOUT_S + 1)
    stage.check("with 504 or 503", found, found[0] in (503, 504))


def _leak(stage: Stage) -> None:
    server = stage.server
    stub = server.stub("near")
    with open(f"/proc/{stub}/statm") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    _limit_memory(stub, str(size + 256 * _MIB))
    found = []

    def inject(server: Server) -> None:
        for _ in range(8):
            found.append(server.ask("near", do="leak", bytes=64 * _MIB, id=0, row=[0.0] * 4)[0])

    try:
        stage.strike(inject, server=server, healthy_within_s=STUB_S + stage.load_s)
    finally:
        if stub in [process.pid for process in server.processes()]:
            _limit_memory(stub, "unlimited")
    stage.check("requests that find no memory get 500", sorted(set(found)), set(found) == {200, 500})
    stage.end_shared_server()  # what was leaked stays


def _limit_memory(pid: int, size: str) -> None:
    # As its owner, who may: root may not everywhere.
    owner = os.stat(f"/proc/{pid}")
    user: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    subprocess.run(["prlimit", f"--pid={pid}", f"--as={size}:"], check=True, **user if os.geteuid() == 0 else {})


_OTHERS = "all other requests are answered right"
_REPLACED = f"requests in flight get 503; healthy within {STUB_S:g} s and the predictor's own load time"

FAULTS = [
    Fault("predictor raises", "predict raises", f"500; {_OTHERS}", _asked("raise_an_error", 500, times=20)),
    Fault("predictor answers garbage", "predict returns an object that nothing can encode", f"500; {_OTHERS}",
          _asked("answer_garbage", 500, times=20)),
    Fault("predictor recurses", "predict calls itself without end", f"500; {_OTHERS}", _asked("recurse", 500, times=5)),
    Fault("predictor closes stdout", "predict closes stdout and stderr, and their descriptors",
          "it and all others are answered right", _asked("close_stdout", 200)),
    Fault("predictor forks", "predict forks, and the child goes on as if it were the predictor",
          "it and all others are answered right, once", _asked("fork", 200, times=5)),
    Fault("predictor leaks", "each request keeps 64 MiB, in a process that may have 256 MiB more", f"500; {_OTHERS}",
          _leak),
    Fault("predictor exits", "predict calls os._exit", _REPLACED, _ends_process("end_the_process")),
    Fault("predictor crashes", "predict reads address 0", _REPLACED, _ends_process("crash")),
    Fault("predictor's stack ends", "predict recurses in C until the process crashes", _REPLACED,
          _ends_process("recurse_until_the_stack_ends")),
    Fault("predictor loops", "predict never returns", "the request ends in its time-out, others with 503 or 504; "
          "/readyz says so a second later; the process is replaced 10 s after the time-out", _loop),
]  # fmt: skip
