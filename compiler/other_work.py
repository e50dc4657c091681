"""How much of the machine others used meanwhile: on a busy machine timings are rough, and a reader should know.

torch's threads wait for each other, so one that gets no core makes eager many times slower than it is.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

# Cores used by others from which timings are called rough.
BUSY_CORES = 0.2


class OtherWork:
    """Made before the work and asked after it, when the children that did it have ended."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._all, self._ours = _busy_seconds(), _our_seconds()

    def notice(self) -> str | None:
        """A sentence for the report, or None on a quiet machine."""
        elapsed = max(time.monotonic() - self._began, 0.01)
        others = (_busy_seconds() - self._all - (_our_seconds() - self._ours)) / elapsed
        if others < BUSY_CORES:
            return None
        cores = len(os.sched_getaffinity(0))
        return f"other processes used {others:.1f} of {cores} cores while this was measured: the speed-ups are rough"


def _busy_seconds() -> float:
    """Of all cores since the machine started: all but idle and waiting for disks (proc(5), /proc/stat)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _our_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
