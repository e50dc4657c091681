"""A server's processes: all that descend from the one that was started, their CPU time and their memory."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """``private_mib`` is what nobody else has; ``proportional_mib`` counts a share of what several have."""

    processes: int
    private_mib: float
    proportional_mib: float


def family(pid: int) -> list[int]:
    """The process and its descendants, as far as they live."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += parents.get(one, [])
    return [one for one in found if _stat(one)]


def cpu_s(pids: Iterable[int]) -> float:
    """What they and their ended children have used."""
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS_S


def memory_of(pids: Iterable[int]) -> Memory:
    private = proportional = count = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = dict(_sizes(Path(f"/proc/{pid}/smaps_rollup").read_text()))
            private += fields["Private_Clean"] + fields["Private_Dirty"]
            proportional += fields["Pss"]
            count += 1
    return Memory(count, round(private / 1024, 1), round(proportional / 1024, 1))


def end(pids: list[int], timeout_s: float) -> None:
    """The first is told to stop; what is left of them after ``timeout_s`` is killed."""
    if not pids:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pids[0], signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and _running(pids[:1]):
        time.sleep(0.05)
    for pid in _running(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _running(pids: list[int]) -> list[int]:
    return [pid for pid in pids if (fields := _stat(pid)) and fields[0] != "Z"]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _sizes(text: str) -> Iterable[tuple[str, int]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            yield words[0].rstrip(":"), int(words[1])
