"""The processes of a server, found from outside by who started whom."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "descendants_of", "is_alive", "open_files_of", "regions_of", "resident_bytes"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    command: str


def descendants_of(pid: int) -> list[Process]:
    """All that it started, and what those started; without zombies."""
    children: dict[int, list[Process]] = {}
    for entry in os.listdir("/proc"):
        process = _read(int(entry)) if entry.isdigit() else None
        if process is not None:
            children.setdefault(process.parent, []).append(process)
    found, left = [], [pid]
    while left:
        mine = children.get(left.pop(), [])
        found += mine
        left += [process.pid for process in mine]
    return found


def is_alive(pid: int) -> bool:
    return _read(pid) is not None


def _read(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    return None if stat[0] in "ZX" else Process(pid, int(stat[1]), command)


def resident_bytes(pid: int) -> int:
    """Of its own, without what is shared; 0 when it is gone."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE


def open_files_of(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def regions_of(launcher_pid: int) -> list[str]:
    """The shared memory of the servers that a process launched."""
    pattern = re.compile(rf"cortex-compile-\d+-{launcher_pid}-")
    return [name for name in os.listdir("/dev/shm") if pattern.match(name)]
