"""How long a run of one thread takes beside others, as many as the engine has threads, at a few sizes of the batch."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cortex_compile.compiler.artifacts import SideBySidePoint

if TYPE_CHECKING:
    import torch

__all__ = ["measure_side_by_side"]

BUDGET_S = 3.0
WINDOW_S = 0.15


def measure_side_by_side(
    run: Callable[[Sequence[torch.Tensor]], object],
    tensors_of: Callable[[int], Sequence[torch.Tensor]],
    sizes: Sequence[int],
    threads: int,
) -> tuple[SideBySidePoint, ...]:
    """A point for each of ``sizes``, which grow, as far as the time allows.

    Args:
        run: computes with one thread; called from ``threads`` threads at once.
        tensors_of: a call of so many rows.
    """
    deadline = time.perf_counter() + BUDGET_S
    points: list[SideBySidePoint] = []
    with ThreadPoolExecutor(threads) as pool:
        for size in sizes:
            # A run to warm up, and one to measure.
            if points and 2 * points[-1].ms * size / points[-1].size > (deadline - time.perf_counter()) * 1e3:
                break
            points.append(SideBySidePoint(size, _run_ms(run, tensors_of(size), threads, pool)))
    return tuple(points)


def _run_ms(
    run: Callable[[Sequence[torch.Tensor]], object],
    tensors: Sequence[torch.Tensor],
    threads: int,
    pool: ThreadPoolExecutor,
) -> float:
    """The median of the runs of all threads, each of which had the others beside it."""
    begin = threading.Barrier(threads)

    def work() -> list[float]:
        import torch

        times_ms: list[float] = []
        with torch.no_grad():  # is each thread's own
            try:
                run(tensors)
            except BaseException:
                begin.abort()  # nobody is to wait for this one
                raise
            begin.wait()
            end = time.perf_counter() + WINDOW_S
            while not times_ms or time.perf_counter() < end:
                before = time.perf_counter()
                run(tensors)
                times_ms.append((time.perf_counter() - before) * 1e3)
        return times_ms

    found = [each.result() for each in [pool.submit(work) for _ in range(threads)]]
    return round(statistics.median(time_ms for times_ms in found for time_ms in times_ms), 4)
