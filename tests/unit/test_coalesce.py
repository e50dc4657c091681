"""Requests that share calls, in every order that a machine of random steps finds: none lost, doubled or mixed up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cortex_compile.facade import coalesce
from cortex_compile.facade.coalesce import LARGEST_SHARED_BYTES, Coalescer, Prediction
from cortex_compile.facade.pace import LARGEST_CALL, Pace
from cortex_compile.facade.triton_answer import PredictorAnswer, TritonCallError

FAST = {"queue": 0.0, "prepost": 0.05, "core": 0.0}


@dataclass(eq=False)
class Call:
    """A call that the coalescer made: what is in it, and what will come of it when somebody says so."""

    predictions: list[Prediction]
    result: asyncio.Future[list[PredictorAnswer]]


@dataclass
class Predictor:
    """Stands in for Triton, so that the test decides when a call ends, and how."""

    calls: list[Call] = field(default_factory=list)

    async def send(self, predictions: Sequence[Prediction], timeout_s: float) -> list[PredictorAnswer]:
        call = Call(list(predictions), asyncio.get_running_loop().create_future())
        self.calls.append(call)
        try:
            async with asyncio.timeout(timeout_s):
                return await call.result
        except TimeoutError:
            raise TritonCallError(grpc.StatusCode.DEADLINE_EXCEEDED, "too late") from None

    def under_way(self) -> list[Call]:
        return [call for call in self.calls if not call.result.done()]


def answer_to(prediction: Prediction) -> PredictorAnswer:
    return PredictorAnswer(200, [], b"answer to " + prediction.payload, dict(FAST))


def settle(loop: asyncio.AbstractEventLoop) -> None:
    """Let everything that can happen now happen."""
    for _ in range(10):
        loop.run_until_complete(asyncio.sleep(0))
    if coalesce._LONGEST_HOLD_S < 0.001:
        loop.run_until_complete(asyncio.sleep(0.002))


def make_fast(coalescer: Coalescer) -> None:
    for _ in range(32):
        coalescer.pace.note(FAST)
    assert coalescer.pace.together > 1


class Requests(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.predictor = Predictor()
        self.asked: dict[bytes, asyncio.Task[PredictorAnswer]] = {}
        self.left: set[bytes] = set()
        self.number = 0
        self.kept_hold_s, coalesce._LONGEST_HOLD_S = coalesce._LONGEST_HOLD_S, 0.0005

    @initialize(
        calls_at_once=st.integers(1, 3),
        threads=st.integers(1, 3),
        fast=st.booleans(),
        shared_rows=st.sampled_from([1, 1, 2, 4]),
    )
    def start(self, calls_at_once: int, threads: int, fast: bool, shared_rows: int) -> None:
        self.calls_at_once, self.shared_rows = calls_at_once, shared_rows
        self.most_under_way = 2 * threads * calls_at_once
        self.coalescer = Coalescer(self.predictor.send, calls_at_once, self.most_under_way, shared_rows)
        if fast:
            make_fast(self.coalescer)

    @rule(count=st.integers(1, 5), size=st.sampled_from([0, 10, LARGEST_SHARED_BYTES]))
    def ask(self, count: int, size: int) -> None:
        for _ in range(count):
            self.number += 1
            payload = str(self.number).encode().ljust(size)
            asking = self.coalescer.predict(Prediction(payload, b"{}"), 60.0)
            self.asked[payload] = self.loop.create_task(asking)
        settle(self.loop)

    @rule(count=st.integers(1, 3))
    def ask_in_haste(self, count: int) -> None:
        """Their time is over at once; whether they were sent by then or not, they are told so."""
        asked = []
        for _ in range(count):
            self.number += 1
            payload = str(self.number).encode()
            asking = self.coalescer.predict(Prediction(payload, b"{}"), 0.0)
            self.asked[payload] = self.loop.create_task(asking)
            asked.append(self.asked[payload])
        self.loop.run_until_complete(asyncio.wait(asked, timeout=10))
        settle(self.loop)
        for task in asked:
            error = task.exception()
            assert isinstance(error, TritonCallError)
            assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED

    @precondition(lambda self: self.predictor.under_way())
    @rule(data=st.data(), fails=st.booleans())
    def end_a_call(self, data: st.DataObject, fails: bool) -> None:
        call = data.draw(st.sampled_from(self.predictor.under_way()))
        if fails:
            call.result.set_exception(TritonCallError(grpc.StatusCode.UNAVAILABLE, "gone"))
        else:
            call.result.set_result([answer_to(prediction) for prediction in call.predictions])
        settle(self.loop)

    @precondition(lambda self: any(not task.done() for task in self.asked.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        payload = data.draw(st.sampled_from([name for name, task in self.asked.items() if not task.done()]))
        self.asked[payload].cancel()
        self.left.add(payload)
        settle(self.loop)

    @invariant()
    def each_is_sent_once_at_most(self) -> None:
        sent = [prediction.payload for call in self.predictor.calls for prediction in call.predictions]
        assert len(sent) == len(set(sent))

    @invariant()
    def each_answer_is_its_own(self) -> None:
        for payload, task in self.asked.items():
            if task.done() and not task.cancelled():
                error = task.exception()
                assert isinstance(error, TritonCallError) if error else task.result().body == b"answer to " + payload

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Who waits is in a call under way; or there are as many calls as may be, or predictions in them."""
        sent = self.sent()
        waiting = [payload for payload, task in self.asked.items() if not task.done() and payload not in sent]
        if waiting and self.goes_by_predictions():
            assert len(sent) >= self.most_under_way
        else:
            assert not waiting or len(self.predictor.under_way()) >= self.calls_at_once

    @invariant()
    def no_more_are_under_way_than_are_made_ready(self) -> None:
        if self.goes_by_predictions():
            assert len(self.sent()) <= self.most_under_way

    def sent(self) -> set[bytes]:
        return {prediction.payload for call in self.predictor.under_way() for prediction in call.predictions}

    def goes_by_predictions(self) -> bool:
        return self.shared_rows > 1 or self.coalescer.pace.together == 1

    @invariant()
    def no_call_is_for_nobody(self) -> None:
        for call in self.predictor.under_way():
            assert any(not self.asked[prediction.payload].done() for prediction in call.predictions)

    @invariant()
    def no_call_is_too_large(self) -> None:
        for call in self.predictor.calls:
            assert len(call.predictions) <= LARGEST_CALL
            if len(call.predictions) > 1:
                assert sum(len(prediction.payload) for prediction in call.predictions) <= LARGEST_SHARED_BYTES

    def teardown(self) -> None:
        while self.predictor.under_way():
            for call in self.predictor.under_way():
                call.result.set_result([answer_to(prediction) for prediction in call.predictions])
            settle(self.loop)
        for payload, task in self.asked.items():
            assert task.done()
            assert task.cancelled() is (payload in self.left)
            if not task.cancelled():
                task.exception()
        self.loop.close()
        coalesce._LONGEST_HOLD_S = self.kept_hold_s


TestRequests = Requests.TestCase
TestRequests.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def run(scenario: Callable[[Coalescer, Predictor], Coroutine[Any, Any, None]]) -> None:
    async def play() -> None:
        predictor = Predictor()
        coalescer = Coalescer(predictor.send, 1, most_under_way=2)
        make_fast(coalescer)
        await scenario(coalescer, predictor)

    asyncio.run(play())


async def ask(coalescer: Coalescer, count: int, first: int = 0) -> list[asyncio.Task[PredictorAnswer]]:
    asking = [
        asyncio.ensure_future(coalescer.predict(Prediction(str(number).encode(), b"{}"), 60.0))
        for number in range(first, first + count)
    ]
    for _ in range(10):
        await asyncio.sleep(0)
    return asking


def test_what_comes_meanwhile_goes_out_together_and_the_wait_is_told() -> None:
    async def scenario(coalescer: Coalescer, predictor: Predictor) -> None:
        asked = [*await ask(coalescer, 1), *await ask(coalescer, 5, first=1)]
        assert [len(call.predictions) for call in predictor.calls] == [1]
        await asyncio.sleep(0.02)
        for number in range(2):
            call = predictor.calls[number]
            call.result.set_result([answer_to(prediction) for prediction in call.predictions])
            await asyncio.sleep(0.01)
        assert [len(call.predictions) for call in predictor.calls] == [1, 5]
        answers = await asyncio.gather(*asked)
        assert answers[0].timing_ms["queue"] < 15 < answers[5].timing_ms["queue"]

    run(scenario)


def test_what_comes_at_once_goes_out_together() -> None:
    async def scenario(coalescer: Coalescer, predictor: Predictor) -> None:
        asked = await ask(coalescer, 6)
        assert [len(call.predictions) for call in predictor.calls] == [6]
        for task in asked:
            task.cancel()

    run(scenario)


def test_each_request_has_its_own_time_out() -> None:
    async def scenario(coalescer: Coalescer, predictor: Predictor) -> None:
        patient = [*await ask(coalescer, 1), *await ask(coalescer, 1, first=1)]
        with pytest.raises(TritonCallError) as raised:
            await coalescer.predict(Prediction(b"hasty", b"{}"), 0.01)
        assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        predictor.calls[0].result.set_result([answer_to(predictor.calls[0].predictions[0])])
        await asyncio.sleep(0.01)
        assert [prediction.payload for prediction in predictor.calls[1].predictions] == [b"1"]
        for task in patient:
            task.cancel()

    run(scenario)


@pytest.mark.parametrize("turns", range(5))
def test_whoever_leaves_in_any_moment_leaves_the_place_of_the_call(turns: int) -> None:
    async def scenario(coalescer: Coalescer, predictor: Predictor) -> None:
        leaving = asyncio.ensure_future(coalescer.predict(Prediction(b"gone", b"{}"), 60.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()
        asked = await ask(coalescer, 1)
        call = predictor.calls[-1]
        assert [prediction.payload for prediction in call.predictions] == [b"0"]
        call.result.set_result([answer_to(prediction) for prediction in call.predictions])
        assert (await asyncio.wait_for(asked[0], 20)).body == b"answer to 0"

    run(scenario)


def test_where_runs_are_shared_a_call_holds_as_many_unless_they_take_long() -> None:
    pace = Pace(shared_rows=8)
    assert pace.together == 8
    for _ in range(128):
        pace.note({"prepost": 10.0})
    assert pace.together == 8
    for _ in range(256):
        pace.note({"prepost": 60.0})
    assert pace.together == 1


@pytest.mark.parametrize(
    ("times_ms", "together"),
    [
        ([0.05] * 64, 64),
        ([0.5] * 64, 10),
        ([4.0] * 64, 1),
        ([0.05] * 20, 1),  # too few to tell
        ([0.05] * 60 + [2.0] * 4, 29),  # what the machine does now and then
        ([0.1] * 60 + [100.0] * 4, 1),  # some take much longer: they would hold up the others
        ([9.0] * 32 + [0.1] * 128, 50),  # it was slow once
    ],
)
def test_how_many_share_a_call(times_ms: list[float], together: int) -> None:
    pace = Pace()
    for time_ms in times_ms:
        pace.note({"prepost": time_ms})
    assert pace.together == together


def test_a_lone_request_goes_out_in_its_own_task_and_its_call_ends_with_it() -> None:
    async def scenario(coalescer: Coalescer, predictor: Predictor) -> None:
        (first,) = await ask(coalescer, 1)
        predictor.calls[0].result.set_result([answer_to(predictor.calls[0].predictions[0])])
        await first
        (lone,) = await ask(coalescer, 1, first=1)
        assert [call.task for call in coalescer._calls] == [None]
        beside = await ask(coalescer, 2, first=2)  # which wait for it to return
        lone.cancel()
        await asyncio.gather(lone, return_exceptions=True)
        assert predictor.calls[1].result.cancelled()
        await asyncio.sleep(0.01)
        assert [len(call.predictions) for call in predictor.calls] == [1, 1, 2]
        predictor.calls[2].result.set_exception(ValueError("no"))
        for outcome in await asyncio.gather(*beside, return_exceptions=True):
            assert isinstance(outcome, TritonCallError)

    run(scenario)


def test_a_lone_request_whose_call_fails_is_told_so_as_any_other() -> None:
    async def scenario(coalescer: Coalescer, predictor: Predictor) -> None:
        for error in (ValueError("no"), TritonCallError(grpc.StatusCode.NOT_FOUND, "gone")):
            for outcome in ([answer_to(Prediction(b"0", b"{}"))], error):
                (asked,) = await ask(coalescer, 1)
                result = predictor.calls[-1].result
                result.set_exception(outcome) if isinstance(outcome, Exception) else result.set_result(outcome)
                (found,) = await asyncio.gather(asked, return_exceptions=True)
                assert isinstance(found, TritonCallError) == isinstance(outcome, Exception)
            assert coalescer._calls == set()

    run(scenario)
