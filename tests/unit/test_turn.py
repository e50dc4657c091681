"""The passed turn: one thread in the user's code at a time, in the order of asking, and no request lost or mixed up."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cortex_compile.python_backend.answer import Answer
from cortex_compile.python_backend.thread_state import capture_thread_state
from cortex_compile.python_backend.timing import Stopwatch, add_core_time
from cortex_compile.python_backend.triton_call import PendingCall
from cortex_compile.python_backend.turn import PassingSession, Turn

LONG_S = 30.0


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.0005)


class Stop:
    """Where a thread waits until the test lets it go on, or makes it raise."""

    def __init__(self) -> None:
        self._order: list[BaseException | None] = []
        self._go = threading.Semaphore(0)

    def wait(self) -> None:
        assert self._go.acquire(timeout=LONG_S)
        error = self._order.pop()
        if error is not None:
            raise error

    def let_go(self, error: BaseException | None = None) -> None:
        self._order.append(error)
        self._go.release()


class Prediction:
    """A request on a thread of its own: user code, a compiled call, user code, …; each step waits to be let go."""

    def __init__(self, number: int, calls: int, world: World, finish: Callable[[Answer], None]) -> None:
        self.number, self.calls_left = number, calls
        self.in_user_code, self.in_engine = Stop(), Stop()
        self._world, self._finish = world, finish
        self.thread = threading.Thread(target=self._answer, daemon=True)

    def _answer(self) -> None:
        try:
            with self._world.turn:
                total = self._predict()
        except ArithmeticError:
            total = -1
        self._finish(Answer(f"{self.number}: {total}".encode(), 200, ()))

    def _predict(self) -> int:
        session = PassingSession(self, self._world.turn)
        total, calls = 0, self.calls_left
        self._enter()
        for _ in range(calls):
            self._leave()
            try:
                (array,) = session.run([np.array([self.number])])
                total += int(array[0])
            except ValueError:
                total += 1  # the engine failed, and eager answers
            finally:
                self._enter()
        self._leave()
        return total

    def _enter(self) -> None:
        self._world.inside.append(self.number)
        self._world.most_inside = max(self._world.most_inside, len(self._world.inside))
        self.in_user_code.wait()

    def _leave(self) -> None:
        self._world.inside.remove(self.number)

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """The engine."""
        self._world.running.add(self.number)
        try:
            self.in_engine.wait()
        finally:
            self._world.running.discard(self.number)
        return [inputs[0] * 10]


class World:
    """What really is."""

    def __init__(self) -> None:
        self.turn = Turn()
        self.inside: list[int] = []
        self.most_inside = 0
        self.running: set[int] = set()
        self.sent: list[list[bytes]] = []


class PassedTurn(RuleBasedStateMachine):
    """Beside the world, a model of what must be: who has the turn, who waits for it in which order, who is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.predictions: list[Prediction] = []
        self.holder: int | None = None
        self.queue: deque[int] = deque()
        self.running: set[int] = set()
        self.totals: list[int] = []
        self.done: set[int] = set()
        self.calls: list[list[int]] = []

    @rule(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=3))
    def submit(self, sizes: list[int]) -> None:
        def send(answers: list[Answer]) -> None:
            self.world.sent.append([answer.body for answer in answers])

        call = PendingCall(len(sizes), send)
        self.calls.append([])
        for index, size in enumerate(sizes):
            number = len(self.predictions)
            self.predictions.append(Prediction(number, size, self.world, partial(call.finish, index)))
            self.calls[-1].append(number)
            self.totals.append(0)
            self.ask(number)
            self.predictions[number].thread.start()
            self.settle()

    @precondition(lambda self: self.holder is not None)
    @rule(fails=st.booleans())
    def user_code_goes_on(self, fails: bool) -> None:
        assert self.holder is not None
        number, self.holder = self.holder, None
        prediction = self.predictions[number]
        if fails or not prediction.calls_left:
            self.totals[number] = -1 if fails else self.totals[number]
            self.done.add(number)
        else:
            prediction.calls_left -= 1
            self.running.add(number)
        if self.queue:
            self.holder = self.queue.popleft()
        if fails:
            self.world.inside.remove(number)
        prediction.in_user_code.let_go(ArithmeticError() if fails else None)
        self.settle()

    @precondition(lambda self: self.running)
    @rule(chance=st.randoms(use_true_random=False), fails=st.booleans())
    def engine_answers(self, chance: random.Random, fails: bool) -> None:
        number = chance.choice(sorted(self.running))
        self.running.discard(number)
        self.totals[number] += 1 if fails else number * 10
        self.ask(number)
        self.predictions[number].in_engine.let_go(ValueError() if fails else None)
        self.settle()

    def ask(self, number: int) -> None:
        if self.holder is None:
            self.holder = number
        else:
            self.queue.append(number)

    def settle(self) -> None:
        """The world comes to where the model is, and no further."""
        expected = [] if self.holder is None else [self.holder]
        wait_until(lambda: self.world.inside == expected and self.world.running == self.running)
        wait_until(lambda: len(self.world.turn._waiting) == len(self.queue))
        alive = len(self.predictions) - len(self.done)
        wait_until(lambda: sum(prediction.thread.is_alive() for prediction in self.predictions) == alive)

    @invariant()
    def one_at_a_time(self) -> None:
        assert self.world.most_inside <= 1

    @invariant()
    def whole_calls_are_answered_once_and_rightly(self) -> None:
        whole = [call for call in self.calls if self.done.issuperset(call)]
        expected = [[f"{number}: {self.totals[number]}".encode() for number in call] for call in whole]
        assert sorted(self.world.sent) == sorted(expected)

    def teardown(self) -> None:
        """Shutting down: what is under way is answered, whoever waits."""
        while self.holder is not None or self.running:
            if self.holder is not None:
                self.user_code_goes_on(False)
            else:
                self.engine_answers(random.Random(0), False)
        self.whole_calls_are_answered_once_and_rightly()
        assert len(self.world.sent) == len(self.calls)


PassedTurn.TestCase.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
test_passed_turn = PassedTurn.TestCase


def test_many_threads_at_full_speed_answer_each_request_with_its_own() -> None:
    turn, inside, most = Turn(), [0], [0]

    class Engine:
        def run(self, inputs: Sequence[Any]) -> list[Any]:
            if inputs[0][0] % 5 == 0:
                time.sleep(0.0002)
            if inputs[0][0] % 7 == 0:
                raise ValueError
            return [inputs[0] * 3]

    session = PassingSession(Engine(), turn)

    def answer(number: int) -> int:
        with turn:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            value = number
            for _ in range(3):
                inside[0] -= 1
                try:
                    value = int(session.run([np.array([value])])[0][0]) % 1_000_003
                except ValueError:
                    value += 1
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            inside[0] -= 1
            return value

    def expected(value: int) -> int:
        for _ in range(3):
            value = value + 1 if value % 7 == 0 else value * 3 % 1_000_003
        return value

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(answer, range(3000)))
    assert answers == [expected(number) for number in range(3000)]
    assert most == [1]


def test_a_thread_without_the_turn_runs_the_graph_as_it_is() -> None:
    turn = Turn()

    class Engine:
        def run(self, inputs: Sequence[Any]) -> list[Any]:
            return list(inputs)

    session = PassingSession(Engine(), turn)
    with turn, ThreadPoolExecutor(1) as own:  # a thread of the user's, while predict waits for it
        assert own.submit(session.run, [np.array([1])]).result(LONG_S) == [np.array([1])]


def test_the_turn_refuses_what_would_break_it() -> None:
    turn = Turn()
    with pytest.raises(RuntimeError, match="does not have"):
        turn.give_back()
    with turn, pytest.raises(RuntimeError, match="already"):
        turn.take()
    with turn, ThreadPoolExecutor(1) as other:
        with pytest.raises(RuntimeError, match="does not have"):
            other.submit(turn.give_back).result(LONG_S)
        assert turn.holds()


def test_waiting_for_the_turn_is_no_time_of_the_engine() -> None:
    class SlowTurn(Turn):
        def take(self) -> None:
            time.sleep(0.05)
            super().take()

    class Engine:
        def run(self, inputs: Sequence[Any]) -> list[Any]:
            return list(inputs)

    turn, stopwatch = SlowTurn(), Stopwatch()
    with turn:
        stopwatch.start()
        started_s = time.perf_counter()
        PassingSession(Engine(), turn).run([])
        add_core_time(time.perf_counter() - started_s)
    timing = stopwatch.read()
    assert timing.queue_ms >= 50
    assert timing.core_ms < 1000 * stopwatch.core_s - 49


def test_what_init_set_for_its_thread_is_there_in_others() -> None:
    import torch

    variable: ContextVar[str] = ContextVar("of_the_test")

    def look() -> tuple[str, bool]:
        return variable.get("nothing"), torch.is_grad_enabled()

    with ThreadPoolExecutor(1) as first:
        first.submit(variable.set, "something").result()
        first.submit(torch.set_grad_enabled, False).result()
        adopt = first.submit(capture_thread_state).result()
    with ThreadPoolExecutor(1, initializer=adopt) as second, ThreadPoolExecutor(1) as third:
        assert second.submit(look).result() == ("something", False)
        assert third.submit(look).result() == ("nothing", True)
