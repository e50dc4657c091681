"""What a server has started and what it holds, seen from outside."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path


def processes_of(server_pid: int) -> list[int]:
    """The server and its Python processes: they are one process group. A zombie counts."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if _group_of(pid) == server_pid]


def regions_of(launcher_pid: int) -> list[Path]:
    """The shared memory of the servers that a process launched."""
    pattern = re.compile(rf"cortex-compile-\d+-{launcher_pid}-")
    return [path for path in Path("/dev/shm").iterdir() if pattern.match(path.name)]


def wait_until(is_true: Callable[[], bool], timeout_s: float) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
