"""What a server holds, looked at again and again: memory, handles, threads, shared memory."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.processes import open_files_of, regions_of
from benchmarks.chaos.regularly import Regularly
from benchmarks.chaos.server import Server

__all__ = ["Held", "Lookout", "growth_of"]


@dataclass(frozen=True)
class Held:
    """By all processes of the server together. ``memory`` is their own, in bytes; ``shared`` is in /dev/shm."""

    after_s: float
    memory: int
    handles: int
    threads: int
    shared: int
    processes: int


class Lookout(Regularly):
    """Looks at what a server holds, from ``with`` on."""

    def __init__(self, server: Server, every_s: float) -> None:
        super().__init__(every_s)
        self.found: list[Held] = []
        self._server = server
        self._started = time.monotonic()

    def look(self) -> None:
        self.found.append(_look(self._server, time.monotonic() - self._started))


def growth_of(found: Sequence[Held], what: Callable[[Held], int]) -> float:
    """From the first to the last quarter of the time, as a share; the first fifth, when all warms up, is left out."""
    settled = found[len(found) // 5 :]
    quarter = max(1, len(settled) // 4)
    first, last = (statistics.median(map(what, part)) for part in (settled[:quarter], settled[-quarter:]))
    return last / first - 1


def _look(server: Server, after_s: float) -> Held:
    pids = [server.process.pid, *(process.pid for process in server.processes())]
    statuses = [_status_of(pid) for pid in pids]
    regions = [Path("/dev/shm") / name for name in regions_of(server.process.pid)]
    return Held(
        round(after_s, 1),
        sum(1024 * status.get("RssAnon", 0) for status in statuses),
        sum(map(open_files_of, pids)),
        sum(status.get("Threads", 0) for status in statuses),
        sum(os.stat(region).st_blocks * 512 for region in regions if region.exists()),
        len(pids),
    )


def _status_of(pid: int) -> dict[str, int]:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {name: int(value) for name, value in re.findall(r"^(RssAnon|Threads):\s+(\d+)", text, re.MULTILINE)}
