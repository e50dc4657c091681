"""The threads of the passed turn: who goes on when, how many there are, and that all is done before they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from cortex_compile.python_backend.predict_threads import settle
from cortex_compile.python_backend.turn import PassingSession
from cortex_compile.python_backend.turn_threads import TurnThreads

from .test_shared_runs import LONG_S


def nothing() -> None:
    pass


def name() -> str:
    return threading.current_thread().name


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.0005)


class Gates:
    """An engine of which each call, by its number, waits until it is opened."""

    def __init__(self, calls: int) -> None:
        self.open = [threading.Event() for _ in range(calls)]
        self.inside: set[int] = set()

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        self.inside.add(inputs[0])
        assert self.open[inputs[0]].wait(LONG_S)
        return list(inputs)


def test_a_thread_that_is_done_goes_on_with_what_is_next() -> None:
    threads, names, gate = TurnThreads(4, nothing), list[str](), threading.Event()
    threads.submit(gate.wait, LONG_S)
    for _ in range(5):
        threads.submit(lambda: names.append(name()))
    gate.set()
    threads.shutdown()
    assert names == ["predict_0"] * 5


def test_another_begins_while_one_waits_in_a_compiled_call_and_no_more_than_there_may_be() -> None:
    begun, engine, done = list[str](), Gates(4), list[tuple[int, str]]()
    threads = TurnThreads(2, lambda: begun.append(name()))
    session = PassingSession(engine, threads)

    def predict(number: int) -> None:
        session.run([number])
        done.append((number, name()))

    for number in range(4):
        threads.submit(predict, number)
    wait_until(lambda: engine.inside == {0, 1})
    time.sleep(0.05)
    assert engine.inside == {0, 1}
    engine.open[1].set()
    wait_until(lambda: engine.inside == {0, 1, 2})
    for gate in engine.open:
        gate.set()
    threads.shutdown()
    assert done[0] == (1, "predict_1")
    assert sorted(number for number, _ in done) == [0, 1, 2, 3]
    assert begun == ["predict_0", "predict_1"]


def test_calls_that_come_back_and_what_is_new_have_the_turn_in_the_order_of_asking() -> None:
    threads, engine, order, stay = TurnThreads(8, nothing), Gates(2), list[str](), threading.Event()
    session = PassingSession(engine, threads)

    def predict(number: int) -> None:
        session.run([number])
        order.append(f"back {number}")

    for number in range(2):
        threads.submit(predict, number)
    wait_until(lambda: engine.inside == {0, 1})
    threads.submit(stay.wait, LONG_S)
    threads.submit(order.append, "new 0")
    for number in (1, 0):
        engine.open[number].set()
        wait_until(lambda number=number: len(threads._waiting) == 2 - number)  # type: ignore[misc]
        threads.submit(order.append, f"new {2 - number}")
    stay.set()
    threads.shutdown()
    assert order == ["new 0", "back 1", "new 1", "back 0", "new 2"]


def test_where_the_system_has_no_more_threads_those_that_there_are_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads, engine = TurnThreads(8, nothing), Gates(3)
    session = PassingSession(engine, threads)
    asked = [Future[Any]() for _ in range(3)]
    threads.submit(settle, asked[0], session.run, ([0],))
    wait_until(lambda: engine.inside == {0})

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    for number in (1, 2):
        threads.submit(settle, asked[number], session.run, ([number],))
    for gate in engine.open:
        gate.set()
    assert [outcome.result(LONG_S) for outcome in asked] == [[0], [1], [2]]
    threads.shutdown()
    assert caplog.messages == ["no more than 1 threads can be started"]


def test_what_waits_is_done_before_the_end() -> None:
    threads, engine, done = TurnThreads(2, nothing), Gates(5), list[int]()
    session = PassingSession(engine, threads)

    def predict(number: int) -> None:
        session.run([number])
        done.append(number)

    for number in range(5):
        threads.submit(predict, number)
    wait_until(lambda: engine.inside == {0, 1})
    ending = threading.Thread(target=threads.shutdown)
    ending.start()
    for gate in engine.open:
        assert ending.is_alive()
        gate.set()
    ending.join(LONG_S)
    assert not ending.is_alive()
    assert sorted(done) == list(range(5))
