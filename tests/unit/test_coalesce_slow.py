"""What a slow predictor has not begun waits in the facade: it costs nothing there, and is told when it is too late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from cortex_compile.facade.coalesce import Coalescer, Prediction
from cortex_compile.facade.triton_answer import PredictorAnswer, TritonCallError

from .test_coalesce import Predictor, answer_to, ask


def make_slow(coalescer: Coalescer) -> Coalescer:
    for _ in range(64):
        coalescer.pace.note({"prepost": 1.0, "core": 20.0})
    return coalescer


def test_a_slow_predictor_gets_each_request_alone_and_no_more_than_it_can_make_ready() -> None:
    async def play() -> None:
        predictor = Predictor()
        coalescer = make_slow(Coalescer(predictor.send, 1, most_under_way=4))
        asked = await ask(coalescer, 6)
        assert [len(call.predictions) for call in predictor.calls] == [1] * 4
        predictor.calls[1].result.set_result([answer_to(prediction) for prediction in predictor.calls[1].predictions])
        await asyncio.wait_for(asked[1], 20)
        await asyncio.sleep(0.01)
        assert [call.predictions[0].payload for call in predictor.calls] == [b"0", b"1", b"2", b"3", b"4"]
        for task in asked:
            task.cancel()

    asyncio.run(play())


def test_what_would_be_over_too_late_is_told_so_and_never_sent() -> None:
    async def play() -> None:
        predictor = Predictor()
        coalescer = make_slow(Coalescer(predictor.send, 1, most_under_way=1))
        first = await ask(coalescer, 1)
        # A prediction takes 21 ms: one with less than three times as much left is not begun.
        late = asyncio.ensure_future(coalescer.predict(Prediction(b"late", b"{}"), 0.2))
        await asyncio.sleep(0.15)
        in_time = await ask(coalescer, 1, first=1)
        call = predictor.calls[0]
        call.result.set_result([answer_to(prediction) for prediction in call.predictions])
        with pytest.raises(TritonCallError) as raised:
            await late
        assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.sleep(0.01)
        assert [call.predictions[0].payload for call in predictor.calls] == [b"0", b"1"]
        for task in [*first, *in_time]:
            task.cancel()

    asyncio.run(play())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("timeout_s", [0.2, 60.0])
def test_whoever_leaves_in_the_very_turn_in_which_a_place_is_free_is_nobodys_fault(
    timeout_s: float, turns: int
) -> None:
    async def play() -> None:
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        predictor = Predictor()
        coalescer = make_slow(Coalescer(predictor.send, 1, most_under_way=1))
        first = await ask(coalescer, 1)
        leaving = asyncio.ensure_future(coalescer.predict(Prediction(b"gone", b"{}"), timeout_s))
        await asyncio.sleep(0.15)  # of 0.2 s, less than three predictions take is left then
        after = await ask(coalescer, 1, first=1)
        call = predictor.calls[0]
        call.result.set_result([answer_to(prediction) for prediction in call.predictions])
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving], timeout=10)
        await asyncio.sleep(0.01)
        assert leaving.cancelled() or isinstance(leaving.exception(), TritonCallError)
        assert timeout_s > 1 or b"gone" not in [call.predictions[0].payload for call in predictor.calls]
        assert predictor.calls[-1].predictions[0].payload == b"1"
        assert not faults
        for task in [*first, *after]:
            task.cancel()

    asyncio.run(play())


@pytest.mark.parametrize("leaves", [True, False])
def test_a_call_is_ended_for_a_client_that_leaves_and_ends_by_its_own_limit_for_one_that_is_late(leaves: bool) -> None:
    ended = []

    async def send(predictions: Sequence[Prediction], timeout_s: float) -> list[PredictorAnswer]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("from outside")
            raise
        raise AssertionError

    async def play() -> None:
        coalescer = Coalescer(send, 1, most_under_way=2)
        asked = asyncio.ensure_future(coalescer.predict(Prediction(b"", b"{}"), 60.0 if leaves else 0.02))
        await asyncio.sleep(0.01)
        if leaves:
            asked.cancel()
        await asyncio.wait([asked], timeout=10)
        await asyncio.sleep(0.01)
        assert ended == (["from outside"] if leaves else [])
        assert leaves or isinstance(asked.exception(), TritonCallError)

    asyncio.run(play())
