from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest

from cortex_compile.facade.lost_calls import LostCalls
from cortex_compile.facade.repair_figures import RepairFigures
from cortex_compile.facade.triton_answer import TritonCallError


def test_calls_of_the_api_whose_process_was_replaced_end_and_others_go_on() -> None:
    async def scenario() -> None:
        calls = LostCalls({"one": {"killed": 3}})
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        lost = [asyncio.ensure_future(calls.run("one", asyncio.sleep(60))) for _ in range(3)]
        going_on = asyncio.ensure_future(calls.run("two", answer))
        await asyncio.sleep(0)
        calls.note({"one": {"killed": 3, "core_killed": 1}})
        await asyncio.sleep(0.01)
        assert not any(call.done() for call in lost)
        calls.note({"one": {"killed": 3, "stuck": 1, "core_killed": 1}})
        for call in lost:
            with pytest.raises(TritonCallError, match="its process died meanwhile") as failure:
                await call
            assert failure.value.code is grpc.StatusCode.UNAVAILABLE
        answer.set_result("right")
        assert await going_on == "right"

    asyncio.run(scenario())


def test_calls_that_come_after_a_repair_are_not_lost_with_it() -> None:
    async def scenario() -> None:
        calls = LostCalls({})
        calls.note({"one": {"killed": 1}})
        call = asyncio.ensure_future(calls.run("one", asyncio.sleep(0.02, "right")))
        await asyncio.sleep(0)
        calls.note({"one": {"killed": 1}})
        assert await call == "right"

    asyncio.run(scenario())


def test_with_the_whole_server_all_calls_are_lost() -> None:
    async def scenario() -> None:
        calls = LostCalls({})
        lost = [asyncio.ensure_future(calls.run(api, asyncio.sleep(60))) for api in ("one", "two")]
        await asyncio.sleep(0)
        calls.note({"": {"stopped": 1}})
        for call in lost:
            with pytest.raises(TritonCallError):
                await call

    asyncio.run(scenario())


def test_a_time_out_of_the_calls_own_stays_one() -> None:
    async def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(LostCalls({}).run("one", fail()))


@pytest.mark.parametrize("client_leaves", [True, False])
def test_who_asked_goes_on_after_a_lost_call_unless_it_was_cancelled_itself(client_leaves: bool) -> None:
    async def scenario() -> None:
        calls = LostCalls({})

        async def ask() -> int:
            with contextlib.suppress(TritonCallError):
                await calls.run("one", asyncio.sleep(60))
            await asyncio.sleep(0.01)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        asking = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        calls.note({"one": {"killed": 1}})
        if client_leaves:
            asking.cancel()
        await asyncio.wait([asking], timeout=5)
        assert asking.cancelled() is client_leaves
        assert client_leaves or asking.result() == 0

    asyncio.run(scenario())


def test_repairs_in_prometheus_words() -> None:
    text = RepairFigures(lambda: {"one": {"killed": 2}, "": {"stopped": 1}}).as_text().decode()
    assert 'cortex_compile_repairs_total{api="one",reason="killed"} 2.0' in text
    assert 'cortex_compile_repairs_total{api="",reason="stopped"} 1.0' in text
