"""Calls under way at once share runs: each gets its own rows, or its own error, and nobody waits in vain."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cortex_compile.python_backend import shared_runs
from cortex_compile.python_backend.manifest import (
    Core,
    Dimension,
    PaddedAxis,
    PaddingSpec,
    SharedRun,
    TensorSpec,
    Variant,
)
from cortex_compile.python_backend.shared_runs import SharingSession
from cortex_compile.python_backend.timing import Stopwatch, add_core_time
from cortex_compile.python_backend.turn import Turn

LONG_S = 30.0

IDS = TensorSpec("ids", "int64", ("batch", "length"))
MASK = TensorSpec("mask", "int64", ("batch", "length"))
VARIANT = Variant(
    name="first",
    arguments="",
    argument_leaves=(),
    result="",
    result_leaves=(),
    inputs=(IDS, MASK),
    outputs=(TensorSpec("sum", "int64", ("batch", 1)), TensorSpec("doubled", "int64", ("batch", "length"))),
    dimensions=(Dimension("batch", 0, 64, 1), Dimension("length", 0, 64, 8)),
    batch_dimension="batch",
    graph="first.onnx",
    paddings=(
        PaddingSpec("length", "mask", {"ids": 999}, (PaddedAxis("doubled", 1, 0),), largest=16, buckets=(8, 16)),
    ),
)


def core(rows: int, call_ms: float = 5.0, threads: int = 1) -> Core:
    return Core(
        name="net",
        path="predictor.net",
        class_name="",
        structure_sha256="",
        weights_sha256="",
        attributes=(),
        engine="onnxruntime",
        placement="local",
        threads=threads,
        weights_file=None,
        parameters=(),
        variants=(VARIANT,),
        call_ms=call_ms,
        shared_run=SharedRun(rows, rows * 8),
    )


class Engine:
    """Sums and doubles what the mask shows; keeps the shapes of its runs. 13 anywhere makes a run fail."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.go = threading.Event()
        self.go.set()
        self.seconds = 0.0
        self.took_s: list[float] = []

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        ids, mask = inputs
        assert ids.shape == mask.shape
        self.shapes.append(ids.shape)
        started_s = time.perf_counter()
        assert self.go.wait(LONG_S)
        time.sleep(self.seconds)
        self.took_s.append(time.perf_counter() - started_s)
        if (ids == 13).any():
            raise ValueError("an index out of range")
        return [(ids * mask).sum(1, keepdims=True), ids * mask * 2]


def call(*values: int) -> list[Any]:
    return [np.array([values]), np.ones((1, len(values)), np.int64)]


def ask(turn: Turn, session: SharingSession, inputs: list[Any]) -> list[Any]:
    with turn:
        return session.run(inputs)


def assert_answers(values: Sequence[int], found: list[Any]) -> None:
    assert found[0].tolist() == [[sum(values)]]
    assert found[1].tolist() == [[2 * value for value in values]]


class World:
    def __init__(self, rows: int = 4, call_ms: float = 5.0, threads: int = 1) -> None:
        self.turn, self.engine = Turn(), Engine()
        self.session = SharingSession(self.engine, VARIANT, core(rows, call_ms, threads), self.turn)

    def ask_all(self, calls: Sequence[Sequence[int]]) -> list[Any]:
        """Those after the first while the first is in the engine; the answers in order, exceptions among them."""
        self.engine.go.clear()
        with ThreadPoolExecutor(len(calls)) as threads:
            asked = [threads.submit(ask, self.turn, self.session, call(*calls[0]))]
            self.wait_until_runs(1)
            for number, values in enumerate(calls[1:], 1):
                asked.append(threads.submit(ask, self.turn, self.session, call(*values)))
                self.wait_until_waiting(number)
            self.engine.go.set()
            return [each.exception(LONG_S) or each.result() for each in asked]

    def wait_until_runs(self, count: int) -> None:
        end = time.monotonic() + LONG_S
        while len(self.engine.shapes) < count:
            assert time.monotonic() < end
            time.sleep(0.0005)

    def wait_until_waiting(self, count: int) -> None:
        end = time.monotonic() + LONG_S
        while len(self.session._waiting) < count or not self.turn.is_free:
            assert time.monotonic() < end
            time.sleep(0.0005)

    def wait_until_lined_up(self, count: int) -> None:
        end = time.monotonic() + LONG_S
        while len(self.turn._waiting) < count:
            assert time.monotonic() < end
            time.sleep(0.0005)


def test_a_lone_call_runs_at_once_as_it_is() -> None:
    world = World(call_ms=20.0)
    world.engine.go.set()
    assert_answers((1, 2, 3), ask(world.turn, world.session, call(1, 2, 3)))
    assert world.engine.shapes == [(1, 3)]


def test_what_comes_during_a_run_shares_the_next_up_to_its_size() -> None:
    world = World(rows=4)
    calls = [(number, 2, 3, 4, 5, 6, 7, 8) for number in range(7)]
    for values, found in zip(calls, world.ask_all(calls), strict=True):
        assert_answers(values, found)
    assert world.engine.shapes == [(1, 8), (4, 8), (2, 8)]


def test_a_full_run_begins_beside_another_where_the_engine_has_a_thread_more() -> None:
    world = World(rows=4, threads=2)
    world.engine.go.clear()
    with ThreadPoolExecutor(10) as threads:
        asked = [threads.submit(ask, world.turn, world.session, call(0))]
        world.wait_until_runs(1)
        for number in range(1, 4):
            asked.append(threads.submit(ask, world.turn, world.session, call(number)))
            world.wait_until_waiting(number)
        time.sleep(0.05)
        assert world.engine.shapes == [(1, 1)]  # three are no full run
        asked.append(threads.submit(ask, world.turn, world.session, call(4)))
        world.wait_until_runs(2)
        for number in range(5, 10):
            asked.append(threads.submit(ask, world.turn, world.session, call(number)))
            world.wait_until_waiting(number - 4)
        time.sleep(0.05)
        assert world.engine.shapes == [(1, 1), (4, 1)]  # and no more than there are threads
        world.engine.go.set()
        for number, each in enumerate(asked):
            assert_answers((number,), each.result(LONG_S))
    assert world.engine.shapes[2:] == [(4, 1), (1, 1)]


def test_runs_that_end_at_once_are_followed_by_as_many() -> None:
    world = World(rows=4, threads=2)
    world.engine.go.clear()
    with ThreadPoolExecutor(16) as threads:
        asked = [threads.submit(ask, world.turn, world.session, call(number)) for number in range(8)]
        world.wait_until_runs(2)
        world.wait_until_waiting(8 - sum(rows for rows, _ in world.engine.shapes))
        waiting = len(world.session._waiting)
        for number in range(8, 16 - waiting):
            asked.append(threads.submit(ask, world.turn, world.session, call(number)))
            world.wait_until_waiting(waiting + number - 7)
        with world.session._lock:
            world.engine.go.set()
            end = time.monotonic() + LONG_S
            while len(world.engine.took_s) < 2:
                assert time.monotonic() < end
                time.sleep(0.0005)
            world.engine.go.clear()
        world.wait_until_runs(4)  # the eight that wait are two full runs
        world.engine.go.set()
        for number, each in enumerate(asked):
            assert_answers((number,), each.result(LONG_S))


def test_unlike_lengths_are_filled_up_to_their_bucket_and_cut_again() -> None:
    world = World(rows=8)
    calls = [(1,), (1, 2), (3, 4, 5), (6,) * 8, (7,) * 9, (8, 9)]
    for values, found in zip(calls, world.ask_all(calls), strict=True):
        assert_answers(values, found)
        assert found[1].flags.writeable
        assert found[1].flags.owndata
    assert sorted(world.engine.shapes[1:]) == [(1, 9), (4, 8)]


def test_equal_lengths_are_not_filled_up() -> None:
    world = World(rows=8)
    world.ask_all([(1,), (1, 2, 3), (4, 5, 6)])
    assert world.engine.shapes == [(1, 1), (2, 3)]


def test_long_calls_fill_a_run_sooner_and_what_no_bucket_holds_runs_by_its_size() -> None:
    world = World(rows=4)  # 32 cells
    world.ask_all([(1,), (1,) * 16, (2,) * 16, (3,) * 16, (4,) * 40])
    assert world.engine.shapes == [(1, 1), (2, 16), (1, 16), (1, 40)]


def test_what_is_hidden_from_its_start_is_not_filled_up() -> None:
    world = World(rows=8)
    hidden = [np.array([[5, 6, 7]]), np.array([[0, 1, 1]])]
    world.engine.go.clear()
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(ask, world.turn, world.session, call(1))]
        world.wait_until_runs(1)
        asked += [threads.submit(ask, world.turn, world.session, inputs) for inputs in (hidden, call(1, 2, 3, 4))]
        world.wait_until_waiting(2)
        world.engine.go.set()
        assert asked[1].result(LONG_S)[0].tolist() == [[13]]
        assert_answers((1, 2, 3, 4), asked[2].result(LONG_S))
    assert sorted(world.engine.shapes[1:]) == [(1, 3), (1, 4)]


def test_a_call_that_fails_fails_alone() -> None:
    world = World(rows=8)
    calls = [(1,), (1, 2), (13, 2), (3, 4)]
    found = world.ask_all(calls)
    assert isinstance(found[2], ValueError)
    for index in (0, 1, 3):
        assert_answers(calls[index], found[index])
    assert world.engine.shapes == [(1, 1), (3, 2), (1, 2), (1, 2), (1, 2)]


def test_a_thread_of_the_users_own_runs_the_graph_by_itself() -> None:
    world = World()
    with world.turn, ThreadPoolExecutor(1) as own:
        assert_answers((1, 2), own.submit(world.session.run, call(1, 2)).result(LONG_S))


def test_a_run_does_not_wait_long_for_a_request_that_stays_in_python() -> None:
    world = World(call_ms=5.0)
    stay = threading.Event()

    def stay_in_python() -> None:
        with world.turn:
            stay.wait(LONG_S)

    def ask_then_stay() -> None:
        with world.turn:
            other.start()
            while not world.turn._waiting:
                time.sleep(0.0005)
            world.session.run(call(1, 2))

    other, asking = threading.Thread(target=stay_in_python), threading.Thread(target=ask_then_stay)
    asking.start()
    world.wait_until_runs(1)  # while the other has the turn
    stay.set()
    asking.join(LONG_S)
    other.join(LONG_S)
    assert not asking.is_alive()


def test_the_time_of_a_shared_run_is_divided() -> None:
    world = World(rows=2)
    world.engine.seconds = 0.1

    def timed(*values: int) -> Any:
        stopwatch = Stopwatch()
        with world.turn:
            stopwatch.start()
            started_s = time.perf_counter()
            world.session.run(call(*values))
            add_core_time(time.perf_counter() - started_s)
            return stopwatch.read()

    world.engine.go.clear()
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(copy_context().run, timed, 1)]
        world.wait_until_runs(1)
        asked += [threads.submit(copy_context().run, timed, *[1] * 8) for _ in range(2)]
        world.wait_until_waiting(2)
        world.engine.go.set()
        alone, *together = [each.result(LONG_S) for each in asked]
    assert world.engine.shapes == [(1, 1), (2, 8)]
    assert alone.core_ms >= 100
    # Besides the engine, little is done in a run.
    assert 100 <= sum(timing.core_ms for timing in together) < 1000 * world.engine.took_s[1] + 50
    assert all(timing.queue_ms >= 100 for timing in together)


def test_whoever_leaves_python_last_lets_those_who_wait_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "_LONGEST_WAIT_S", 3600.0)
    world = World(call_ms=3.6e6)
    leave = threading.Event()

    def stay_in_python() -> None:
        with world.turn:
            assert leave.wait(LONG_S)

    def ask_beside() -> list[Any]:
        with world.turn:
            other.start()
            while not world.turn._waiting:
                time.sleep(0.0005)
            return world.session.run(call(1, 2))

    other = threading.Thread(target=stay_in_python)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask_beside)
        while not world.session._waiting:
            time.sleep(0.0005)
        time.sleep(0.05)  # it sleeps by now
        assert world.engine.shapes == []
        leave.set()
        assert_answers((1, 2), asked.result(LONG_S))


def test_a_call_of_several_rows_gets_all_of_them() -> None:
    world = World(rows=8)
    world.engine.go.clear()
    rows = [np.array([[1, 2], [3, 4]]), np.ones((2, 2), np.int64)]
    none = [np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64)]
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(ask, world.turn, world.session, call(1))]
        world.wait_until_runs(1)
        for number, inputs in enumerate((rows, call(5, 6), none), 1):
            asked.append(threads.submit(ask, world.turn, world.session, inputs))
            world.wait_until_waiting(number)
        world.engine.go.set()
        assert asked[1].result(LONG_S)[0].tolist() == [[3], [7]]
        assert_answers((5, 6), asked[2].result(LONG_S))
        assert asked[3].result(LONG_S)[0].tolist() == []
    assert world.engine.shapes == [(1, 1), (3, 2), (0, 2)]


def test_a_variant_of_whose_rows_nothing_is_known_shares_no_runs() -> None:
    assert VARIANT.may_share_runs
    assert not replace(VARIANT, batch_dimension=None).may_share_runs
