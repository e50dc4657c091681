from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from cortex_compile.python_backend import timing
from cortex_compile.python_backend.timing import Stopwatch, Timing, add_core_time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def test_where_the_time_went(clock: list[float]) -> None:
    stopwatch = Stopwatch()
    clock[0] += 0.5
    assert stopwatch.start() == 0.5
    add_core_time(0.25)
    add_core_time(0.25)
    clock[0] += 2
    assert stopwatch.read() == Timing(500.0, 1500.0, 500.0)


def test_compiled_models_count_for_the_prediction_of_their_thread_and_its_coroutines() -> None:
    stopwatch = Stopwatch()
    stopwatch.start()

    def run_elsewhere() -> None:
        add_core_time(100)
        Stopwatch().start()
        add_core_time(100)

    other = threading.Thread(target=run_elsewhere)
    other.start()
    other.join()

    async def run_here() -> None:
        add_core_time(1)
        await asyncio.to_thread(add_core_time, 2)

    asyncio.run(run_here())
    assert stopwatch.core_s == 3


def test_nobody_need_ask() -> None:
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(add_core_time(1)))
    thread.start()
    thread.join()
    assert seen == [None]
