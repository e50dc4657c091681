"""Which calls share a run: as many as were measured, and those whose predictions are only about to get there."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from cortex_compile.python_backend import shared_runs
from cortex_compile.python_backend.manifest import Dimension, SharedRun
from cortex_compile.python_backend.predict_threads import settle
from cortex_compile.python_backend.shared_runs import SharingSession
from cortex_compile.python_backend.turn_threads import TurnThreads

from .test_shared_runs import LONG_S, VARIANT, World, ask, assert_answers, call, core


def test_as_many_samples_fill_a_run_as_were_measured_though_they_are_counted_filled_up() -> None:
    world = World()
    seven = replace(VARIANT, dimensions=(Dimension("batch", 0, 64, 1), Dimension("length", 0, 64, 7)))
    shared = replace(core(4), shared_run=SharedRun(4, 4 * 7))  # the bucket of 7 is 8
    world.session = SharingSession(world.engine, seven, shared, world.turn)
    world.ask_all([(0,), *[(number,) * 7 for number in range(1, 5)]])
    assert world.engine.shapes == [(1, 1), (4, 7)]


@pytest.mark.parametrize(
    ("most", "shapes"), [(3, [(3, 1)]), (2, [(2, 1), (1, 1)])], ids=["a thread for each", "one has no thread yet"]
)
def test_a_run_waits_for_those_who_are_given_to_threads_and_for_no_others(
    monkeypatch: pytest.MonkeyPatch, most: int, shapes: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(shared_runs, "_LONGEST_WAIT_S", LONG_S)
    world = World(rows=8, call_ms=1000 * LONG_S)
    threads = TurnThreads(most, lambda: None)
    world.session = SharingSession(world.engine, VARIANT, core(8, 1000 * LONG_S), threads)
    asked = [Future[Any]() for _ in range(3)]
    with threads:  # all of a call come while another has the turn
        for number, outcome in enumerate(asked):
            threads.submit(settle, outcome, world.session.run, (call(number),))
    for number, outcome in enumerate(asked):
        assert_answers((number,), outcome.result(LONG_S / 2))
    threads.shutdown()
    assert world.engine.shapes == shapes


def test_after_a_run_all_are_waited_for_who_were_in_it_or_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else those who came in two parts would go on in two runs for ever."""
    monkeypatch.setattr(shared_runs, "_LONGEST_WAIT_S", LONG_S)
    monkeypatch.setattr(shared_runs, "_RETURN_SHARE", 1000.0)
    world = World(rows=8)
    world.engine.seconds = 0.05
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(ask, world.turn, world.session, call(0))
        world.wait_until_runs(1)
        beside = [threads.submit(ask, world.turn, world.session, call(number)) for number in (1, 2)]
        world.wait_until_waiting(2)
        first.result(LONG_S)
        again = threads.submit(ask, world.turn, world.session, call(3))  # as a client that was answered does
        for each in (*beside, again):
            each.result(LONG_S)
    assert world.engine.shapes == [(1, 1), (3, 1)]


def test_after_a_run_those_in_the_predictors_python_are_waited_for_as_those_still_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For longer than a call takes alone: where all share one core, what follows a run takes a while."""
    monkeypatch.setattr(shared_runs, "_LONGEST_WAIT_S", LONG_S)
    monkeypatch.setattr(shared_runs, "_RETURN_SHARE", 1e6)
    world = World(rows=8, call_ms=1.0)
    ask(world.turn, world.session, call(0))

    def ask_slowly() -> None:
        with world.turn:
            time.sleep(0.2)
            world.session.run(call(4))

    with ThreadPoolExecutor(2) as threads:
        with world.turn:
            asked = [threads.submit(ask, world.turn, world.session, call(3))]
            world.wait_until_lined_up(1)
            asked.append(threads.submit(ask_slowly))
            world.wait_until_lined_up(2)
        for each in asked:
            each.result(LONG_S)
    assert world.engine.shapes == [(1, 1), (2, 1)]


def test_after_requests_at_random_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "_RETURN_SHARE", 0.01)
    world = World(rows=8)
    world.engine.seconds = 0.01
    for _ in range(20):
        ask(world.turn, world.session, call(0))
        time.sleep(0.001)
    world.session._returning._share, world.session._returning._longest_s = 1000.0, LONG_S
    started_s = time.monotonic()
    answers = world.ask_all([(1,), (2,)])
    assert time.monotonic() - started_s < 5  # of the 10 that it would be
    assert_answers((2,), answers[1])
