"""Eager against compiled, in one process, in turn, on the same inputs. Both are called as predict calls them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from cortex_compile.compiler.artifacts import Measurement

WARM_UP_RUNS = 3
WINDOWS = 5
WINDOW_S = 0.2
# What takes seconds varies less; after so long two windows are enough.
LONG_S = 8.0
LEAST_WINDOWS = 2

# A graph must win by more than the noise of the machine.
MINIMUM_SPEEDUP = 1.05


def measure_latency(
    eager: Callable[[], object],
    compiled: Callable[[], object],
    inputs: str,
    threads: int,
    windows: int = WINDOWS,
    window_s: float | None = None,
) -> Measurement:
    """Windows of eager and compiled alternate, so that a machine that slows down slows both.

    The speed-up is that of the means of a window's calls, and of the windows the middle one: where others use the
    machine too, half of the calls of a quick graph end before it has to give way and hardly one of a slow module's, so
    medians of calls would make it many times too large.
    """
    window_s = WINDOW_S if window_s is None else window_s
    for call in (eager, compiled):
        started = time.perf_counter()
        for _ in range(WARM_UP_RUNS):
            call()
            if time.perf_counter() - started > window_s:
                break
    eager_ms: list[float] = []
    compiled_ms: list[float] = []
    ratios: list[float] = []
    begun = time.perf_counter()
    for number in range(windows):
        if number >= LEAST_WINDOWS and time.perf_counter() - begun > LONG_S:
            break
        eager_window, compiled_window = _window(eager, window_s), _window(compiled, window_s)
        ratios.append(statistics.fmean(eager_window) / statistics.fmean(compiled_window))
        eager_ms += eager_window
        compiled_ms += compiled_window
    return Measurement(
        inputs,
        round(statistics.median(eager_ms), 4),
        round(_percentile(eager_ms, 0.99), 4),
        round(statistics.median(compiled_ms), 4),
        round(_percentile(compiled_ms, 0.99), 4),
        round(statistics.median(ratios), 3),
        len(compiled_ms),
        threads,
    )


def _window(call: Callable[[], object], window_s: float) -> list[float]:
    times_ms: list[float] = []
    started = time.perf_counter()
    while not times_ms or time.perf_counter() - started < window_s:
        before = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - before) * 1e3)
    return times_ms


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
