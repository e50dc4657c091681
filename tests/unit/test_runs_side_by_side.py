"""With calls enough, runs of one thread go on side by side; with fewer, one run at a time has all threads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from cortex_compile.python_backend import shared_runs
from cortex_compile.python_backend.manifest import SharedRun
from cortex_compile.python_backend.shared_runs import SharingSession
from cortex_compile.python_backend.turn import Turn

from .test_shared_runs import LONG_S, VARIANT, Engine, ask, assert_answers, call, core
from .test_turn_threads import wait_until


class Beside:
    """Two threads in each of two engines, the second of which is the one whose runs go on side by side."""

    def __init__(self, side_by_side_from: int = 1, rows: int = 4, threads: int = 2) -> None:
        self.turn, self.all_threads, self.one_thread = Turn(), Engine(), Engine()
        measured = replace(core(rows, 5.0, threads), shared_run=SharedRun(rows, rows * 8, side_by_side_from))
        self.session = SharingSession(self.all_threads, VARIANT, measured, self.turn, self.one_thread)
        self.hold()

    @property
    def shapes(self) -> list[list[tuple[int, ...]]]:
        return [self.all_threads.shapes, self.one_thread.shapes]

    def hold(self) -> None:
        """Let no run end."""
        self.all_threads.go.clear()
        self.one_thread.go.clear()

    def go_on(self) -> None:
        self.all_threads.go.set()
        self.one_thread.go.set()

    @contextmanager
    def threads(self, count: int) -> Iterator[ThreadPoolExecutor]:
        """For requests; when the test ends, so do their runs."""
        with ThreadPoolExecutor(count) as pool:
            try:
                yield pool
            finally:
                self.go_on()

    def ask(self, pool: ThreadPoolExecutor, number: int) -> Future[list[Any]]:
        return pool.submit(ask, self.turn, self.session, call(number))

    def waits(self, count: int) -> bool:
        return len(self.session._waiting) == count and self.turn.is_free


def assert_all(asked: Sequence[Future[list[Any]]]) -> None:
    for number, each in enumerate(asked):
        assert_answers((number,), each.result(LONG_S))


def test_a_lone_call_has_all_threads_and_one_that_comes_has_its_own() -> None:
    world = Beside()
    with world.threads(3) as pool:
        asked = [world.ask(pool, 0)]
        wait_until(lambda: world.shapes == [[(1, 1)], []])
        asked.append(world.ask(pool, 1))
        wait_until(lambda: world.shapes == [[(1, 1)], [(1, 1)]])
        asked.append(world.ask(pool, 2))
        wait_until(lambda: world.waits(1))
        time.sleep(0.05)
        assert world.shapes == [[(1, 1)], [(1, 1)]]  # no more than there are threads
        world.go_on()
        assert_all(asked)
    assert world.shapes == [[(1, 1), (1, 1)], [(1, 1)]] or world.shapes == [[(1, 1)], [(1, 1), (1, 1)]]


def test_those_who_wait_are_divided_between_the_threads_that_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "_LONGEST_WAIT_S", LONG_S)
    world = Beside(rows=8)
    world.session._patience_s = LONG_S  # none begins while another is in Python
    with world.threads(5) as pool:
        with world.turn:
            asked = []
            for number in range(5):
                asked.append(world.ask(pool, number))
                wait_until(lambda count=number + 1: len(world.turn._waiting) == count)  # type: ignore[misc]
        wait_until(lambda: world.shapes == [[], [(3, 1), (2, 1)]])
        world.go_on()
        assert_all(asked)


def test_a_full_run_takes_no_more_than_its_rows() -> None:
    world = Beside(rows=2)
    with world.threads(6) as pool:
        asked = [world.ask(pool, 0)]
        wait_until(lambda: world.shapes[0] == [(1, 1)])
        asked.append(world.ask(pool, 1))
        wait_until(lambda: world.shapes[1] == [(1, 1)])
        for number in range(2, 6):
            asked.append(world.ask(pool, number))
            wait_until(lambda count=number - 1: world.waits(count))  # type: ignore[misc]
        world.one_thread.go.set()
        assert_answers((1,), asked[1].result(LONG_S))
        wait_until(lambda: world.one_thread.shapes == [(1, 1), (2, 1), (2, 1)])
        world.go_on()
        assert_all(asked)


def test_fewer_calls_than_side_by_side_gains_for_share_the_next_run_of_all_threads() -> None:
    world = Beside(side_by_side_from=2)  # four calls for two threads
    with world.threads(4) as pool:
        asked = [world.ask(pool, 0)]
        wait_until(lambda: world.shapes == [[(1, 1)], []])
        for number in (1, 2):
            asked.append(world.ask(pool, number))
            wait_until(lambda count=number: world.waits(count))  # type: ignore[misc]
        time.sleep(0.05)
        assert world.shapes == [[(1, 1)], []]
        asked.append(world.ask(pool, 3))
        wait_until(lambda: world.shapes == [[(1, 1)], [(3, 1)]])
        world.go_on()
        assert_all(asked)
        assert_answers((4,), ask(world.turn, world.session, call(4)))
    assert world.shapes == [[(1, 1), (1, 1)], [(3, 1)]]  # alone again, it has all threads again


def test_a_call_that_fails_beside_others_fails_alone() -> None:
    world = Beside()
    with world.threads(4) as pool:
        asked = [world.ask(pool, 0)]
        wait_until(lambda: world.shapes[0] == [(1, 1)])
        asked.append(world.ask(pool, 1))
        wait_until(lambda: world.shapes[1] == [(1, 1)])
        asked.append(world.ask(pool, 2))
        wait_until(lambda: world.waits(1))
        fails = world.ask(pool, 13)
        wait_until(lambda: world.waits(2))
        world.one_thread.go.set()
        assert_answers((1,), asked[1].result(LONG_S))
        with pytest.raises(ValueError, match="an index out of range"):
            fails.result(LONG_S)
        world.go_on()
        assert_all(asked)
    assert world.one_thread.shapes == [(1, 1), (2, 1), (1, 1), (1, 1)]
