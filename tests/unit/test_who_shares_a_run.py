"""Which calls share a run: as many as were measured, and those whose predictions are only about to get there."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cortex_compile.python_backend import shared_runs
from cortex_compile.python_backend.manifest import Dimension, SharedRun
from cortex_compile.python_backend.shared_runs import SharingSession
from cortex_compile.python_backend.turn import Turn

from .test_shared_runs import LONG_S, VARIANT, World, ask, assert_answers, call, core


def test_as_many_samples_fill_a_run_as_were_measured_though_they_are_counted_filled_up() -> None:
    world = World()
    seven = replace(VARIANT, dimensions=(Dimension("batch", 0, 64, 1), Dimension("length", 0, 64, 7)))
    shared = replace(core(4), shared_run=SharedRun(4, 4 * 7))  # the bucket of 7 is 8
    world.session = SharingSession(world.engine, seven, shared, world.turn)
    world.ask_all([(0,), *[(number,) * 7 for number in range(1, 5)]])
    assert world.engine.shapes == [(1, 1), (4, 7)]


def test_a_run_waits_for_the_predictions_of_a_call_that_have_no_turn_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "_LONGEST_WAIT_S", LONG_S)
    world = World(rows=8, call_ms=1000 * LONG_S)
    world.turn.expect(3)
    with ThreadPoolExecutor(3) as threads:
        asked = []
        for number in range(3):
            assert world.engine.shapes == []
            asked.append(threads.submit(ask, world.turn, world.session, call(number)))
            time.sleep(0.02)  # in which it would have begun
        for number, each in enumerate(asked):
            assert_answers((number,), each.result(LONG_S))
    assert world.engine.shapes == [(3, 1)]


def test_a_run_waits_for_nobody_who_has_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "_LONGEST_WAIT_S", LONG_S)
    world = World(rows=8, call_ms=1000 * LONG_S)
    world.turn = Turn(threads=2)
    world.session = SharingSession(world.engine, VARIANT, core(8, 1000 * LONG_S), world.turn)
    world.turn.expect(3)
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(ask, world.turn, world.session, call(number)) for number in range(3)]
        for number, each in enumerate(asked):
            assert_answers((number,), each.result(LONG_S / 2))
    assert world.engine.shapes == [(2, 1), (1, 1)]


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
