"""How much memory this process takes."""

from __future__ import annotations

import os
import resource
from pathlib import Path

__all__ = ["own_mib", "peak_mib", "resident_mib"]


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def own_mib() -> float:
    """What is resident and no page of a file, which other processes would share."""
    resident, shared = (int(pages) for pages in Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mib() -> float:
    """The most that was ever resident of this process, or of one that it started and that has ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(each).ru_maxrss for each in whose) / 1024
