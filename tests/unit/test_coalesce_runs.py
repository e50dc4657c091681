"""Where the predictor's calls share runs, so do the requests' calls to it."""

from __future__ import annotations

import asyncio

import pytest

from cortex_compile.facade import coalesce
from cortex_compile.facade.coalesce import Coalescer

from .test_coalesce import Call, Predictor, answer_to, ask


def end(call: Call) -> None:
    call.result.set_result([answer_to(prediction) for prediction in call.predictions])


def sizes(predictor: Predictor) -> list[int]:
    return [len(call.predictions) for call in predictor.calls]


def hold_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Longer than a machine that is busy with other things stalls."""
    monkeypatch.setattr(coalesce, "_RETURN_SHARE", 1e6)
    monkeypatch.setattr(coalesce, "_LONGEST_HOLD_S", seconds)


def test_those_who_were_answered_together_are_waited_for_where_runs_are_shared() -> None:
    async def play() -> None:
        predictor = Predictor()
        coalescer = Coalescer(predictor.send, 1, most_under_way=8, shared_rows=4)
        asked = await ask(coalescer, 4)
        await asyncio.sleep(0.2)  # 5 ms are waited then, at most
        (call,) = predictor.calls
        end(call)
        await asyncio.gather(*asked)
        again = [*await ask(coalescer, 1), *await ask(coalescer, 3, first=1)]
        await asyncio.sleep(0.05)
        assert sizes(predictor) == [4, 4]
        call = predictor.calls[1]
        end(call)
        await asyncio.gather(*again)
        all_again = await ask(coalescer, 4)
        assert sizes(predictor) == [4, 4, 4]  # nobody else is waited for
        call = predictor.calls[2]
        end(call)
        await asyncio.gather(*all_again)
        (alone,) = await ask(coalescer, 1)  # the others do not come
        await asyncio.sleep(0.05)
        assert sizes(predictor) == [4, 4, 4, 1]
        alone.cancel()

    asyncio.run(play())


@pytest.mark.parametrize("more", [0, 4], ids=["who asks again", "who waits"])
def test_calls_of_one_become_a_call_of_a_run_while_another_is_under_way(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    hold_for(monkeypatch, 30.0)

    async def play() -> None:
        predictor = Predictor()
        coalescer = Coalescer(predictor.send, 1, most_under_way=8, shared_rows=4)
        asked = [task for number in range(8) for task in await ask(coalescer, 1, first=number)]
        asked += await ask(coalescer, more, first=8)
        assert sizes(predictor) == [1] * 8
        for number in range(4):
            end(predictor.calls[number])
            asked += await ask(coalescer, 1 if more == 0 else 0, first=12 + number)
        await asyncio.sleep(0)
        assert sizes(predictor) == [1] * 8 + [4]
        while under_way := predictor.under_way():
            for call in under_way:
                end(call)
            await asyncio.sleep(0)
        await asyncio.gather(*asked)

    asyncio.run(play())


@pytest.mark.parametrize("clients", [2, 7, 8], ids=["two", "almost a run", "a run"])
def test_calls_of_one_become_one_call_as_all_of_them_are_answered(
    monkeypatch: pytest.MonkeyPatch, clients: int
) -> None:
    """Each client asks again before the next is answered; the run waits for all of them in any case."""
    hold_for(monkeypatch, 30.0)

    async def play() -> None:
        predictor = Predictor()
        coalescer = Coalescer(predictor.send, 1, most_under_way=16, shared_rows=8)
        asked = [task for number in range(clients) for task in await ask(coalescer, 1, first=number)]
        assert sizes(predictor) == [1] * clients
        for number in range(clients):
            end(predictor.calls[number])
            asked += await ask(coalescer, 1, first=10 + number)
        await asyncio.sleep(0)
        assert sizes(predictor) == [1] * clients + [clients]
        end(predictor.calls[-1])
        await asyncio.gather(*asked)

    asyncio.run(play())


def test_after_the_last_answer_all_who_were_answered_with_it_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_for(monkeypatch, 30.0)

    async def play() -> None:
        predictor = Predictor()
        coalescer = Coalescer(predictor.send, 1, most_under_way=16, shared_rows=8)
        asked = [task for number in range(4) for task in await ask(coalescer, 1, first=number)]
        for number in range(4):
            end(predictor.calls[number])
        await asyncio.gather(*asked)
        again = [task for number in range(3) for task in await ask(coalescer, 1, first=10 + number)]
        await asyncio.sleep(0.02)
        assert sizes(predictor) == [1] * 4
        again += await ask(coalescer, 1, first=13)
        await asyncio.sleep(0)
        assert sizes(predictor) == [1] * 4 + [4]
        end(predictor.calls[-1])
        await asyncio.gather(*again)

    asyncio.run(play())


def test_who_may_go_out_is_not_held_for_long_when_no_more_may(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_for(monkeypatch, 0.2)

    async def play() -> None:
        predictor = Predictor()
        coalescer = Coalescer(predictor.send, 1, most_under_way=8, shared_rows=4)
        asked = [task for number in range(10) for task in await ask(coalescer, 1, first=number)]
        end(predictor.calls[0])
        end(predictor.calls[1])
        await asyncio.sleep(0.001)
        assert len(predictor.calls) == 8
        await asyncio.sleep(0.4)
        assert sizes(predictor) == [1] * 8 + [2]
        for call in predictor.under_way():
            end(call)
        await asyncio.gather(*asked)

    asyncio.run(play())


def test_after_requests_at_random_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "_RETURN_SHARE", 0.01)

    async def play() -> None:
        predictor = Predictor()
        coalescer = Coalescer(predictor.send, 1, most_under_way=8, shared_rows=4)
        for number in range(20):
            asked = await ask(coalescer, 4)
            await asyncio.sleep(0.005)
            end(predictor.calls[number])
            await asyncio.gather(*asked)
            await asyncio.sleep(0.002)
        coalescer._returning._share = coalescer._returning._longest_s = 1000.0
        await ask(coalescer, 4)
        end(predictor.calls[-1])
        await asyncio.sleep(0.001)
        (alone,) = await ask(coalescer, 1)
        await asyncio.sleep(0.001)
        assert sizes(predictor) == [4] * 21 + [1]
        alone.cancel()

    asyncio.run(play())
