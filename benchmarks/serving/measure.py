"""One cell: a server under a load, what it answered, and what its processes used meanwhile."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

from cortex_compile.cli.load import Load, percentile_ms, run_load

from .processes import cpu_s, family
from .servers import Running

_TIMEOUT_S = 60.0
_IN_TIME_MS = 1000.0


@dataclass(frozen=True)
class Cell:
    """What one round found. Latencies in ms; ``cpu_ms`` is of all processes of the server, for each answer.

    ``in_time`` is the share of requests answered well within a second; ``generator`` and ``others`` are the cores that
    the load itself and other work on the machine took.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    in_time: float
    generator: float
    others: float
    failed: dict[str, int] = field(default_factory=dict)


def measure(running: Running, load: Load, seconds: float) -> Cell:
    warm_up = Load(clients=min(load.clients, 8))
    run_load(running.url, running.shots, warm_up, min(1.0, seconds / 2), _TIMEOUT_S)
    server_before, all_before, own_before, began = _used(running.pid)
    outcome = run_load(running.url, running.shots, load, seconds, _TIMEOUT_S, running.judge)
    server_after, all_after, own_after, ended = _used(running.pid)
    elapsed, server, own = ended - began, server_after - server_before, own_after - own_before
    good, bad = len(outcome.latencies_ms), sum(outcome.failed.values())
    return Cell(
        per_second=round(outcome.per_second, 2),
        p50_ms=_rounded(percentile_ms(outcome, 0.50)),
        p99_ms=_rounded(percentile_ms(outcome, 0.99)),
        cpu_ms=_rounded(1000 * server / good if good else float("inf")),
        in_time=round(sum(ms <= _IN_TIME_MS for ms in outcome.latencies_ms) / max(1, good + bad), 4),
        generator=round(own / elapsed, 2),
        others=round(max(0.0, (all_after - all_before - server - own) / elapsed), 2),
        failed=outcome.failed,
    )


def _used(pid: int) -> tuple[float, float, float, float]:
    """CPU seconds of the server, of the whole machine and of this process, and the time."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return cpu_s(family(pid)), busy_s(), own.ru_utime + own.ru_stime, time.perf_counter()


def busy_s() -> float:
    """Of all cores since the machine started: all but idle and waiting for disks (proc(5), /proc/stat)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def cores_in_use(seconds: float) -> float:
    """By anything on the machine, while this process sleeps."""
    before = busy_s()
    time.sleep(seconds)
    return (busy_s() - before) / seconds


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
