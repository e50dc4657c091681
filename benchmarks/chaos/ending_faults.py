"""Servers that are told to end, or killed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import aiohttp

from .processes import is_alive
from .server import Server
from .stage import Fault, Stage
from .traffic import Sent, Traffic, ask

__all__ = ["FAULTS"]

_IN_FLIGHT = 64
_ORPHANS_END_S = 5.0


def _sigterm(stage: Stage) -> None:
    server = stage.server
    pids = [process.pid for process in server.processes()]
    sent: list[Sent] = []
    clients = threading.Thread(target=lambda: sent.extend(asyncio.run(_ask_at_once(server))))
    clients.start()
    while server.metric("cortex_compile_requests_in_flight", api="slow") < _IN_FLIGHT - 10:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    while server.readiness() is True and time.monotonic() < told + 5:
        time.sleep(0.01)
    off_s = time.monotonic() - told
    clients.join()
    status = server.end()
    stage.record(sent, statuses=())
    stage.check("readiness is off at once", f"after {off_s:.2f} s", off_s < 0.5)
    stage.check(f"{_IN_FLIGHT} in flight are answered", stage.row.right, stage.row.right == _IN_FLIGHT)
    stage.check("exit status 0", status, status == 0)
    _check_nothing_is_left(stage, server, pids)


async def _ask_at_once(server: Server) -> list[Sent]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asked = (ask(session, f"{server.url}/slow", "slow", 10**9 + number) for number in range(_IN_FLIGHT))
        return list(await asyncio.gather(*asked))


def _sigkill_launcher(stage: Stage) -> None:
    server = stage.server
    pids = [process.pid for process in server.processes()]
    with Traffic(server.url, ["near", "far"], clients=3) as traffic:
        time.sleep(0.5)
        os.kill(server.process.pid, signal.SIGKILL)
        killed = time.monotonic()
    server.process.wait()
    # Nobody is left to answer: what was asked before is what counts.
    stage.record([each for each in traffic.sent if each.ended < killed])
    while any(map(is_alive, pids)) and time.monotonic() < killed + 3 * _ORPHANS_END_S:
        time.sleep(0.05)
    ended_s = time.monotonic() - killed
    stage.check("all else ends within 5 s", f"{ended_s:.1f} s", ended_s <= _ORPHANS_END_S)
    _check_nothing_is_left(stage, server, pids)


def _check_nothing_is_left(stage: Stage, server: Server, pids: list[int]) -> None:
    stage.end_shared_server()
    processes = [pid for pid in pids if is_alive(pid)]
    left = [*([f"{len(processes)} processes"] if processes else []), *server.remains()]
    stage.check("no process, shared memory or file is left", ", ".join(left) or "none", not left)


FAULTS = [
    Fault("sigterm", f"SIGTERM with {_IN_FLIGHT} requests in flight",
          "readiness off at once, all answered, exit 0, nothing left", _sigterm),
    Fault("sigkill launcher", "SIGKILL of cortex-compile serve itself", "everything else ends within 5 s, nothing left",
          _sigkill_launcher),
]  # fmt: skip
