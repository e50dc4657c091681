"""Requests that come while the predictor is at others share its next call.

A call to Triton costs a few tenths of a millisecond on each side, more than many a prediction. While one is under way,
what comes waits and goes out together when it returns; when none is, a request goes out at once. What each request is
answered, how long it may take and whether its client has left stay its own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import grpc

from .pace import Pace
from .triton_answer import PredictorAnswer, TritonCallError

__all__ = ["Coalescer", "Prediction"]

# Larger ones together would only be copied once more.
LARGEST_SHARED_BYTES = 64 * 1024


@dataclass(frozen=True)
class Prediction:
    payload: bytes
    context: bytes


# Asks for some predictions in one call, within so many seconds.
SendCall = Callable[[Sequence[Prediction], float], Coroutine[Any, Any, list[PredictorAnswer]]]


@dataclass(eq=False)
class _Waiting:
    prediction: Prediction
    deadline: float
    since: float
    answer: asyncio.Future[PredictorAnswer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    call: _Call | None = None


@dataclass(eq=False)
class _Call:
    members: list[_Waiting]
    task: asyncio.Task[None] | None = None

    def is_wanted(self) -> bool:
        return any(not member.answer.done() for member in self.members)


# Of the time that a call took: so long after it the next one waits for as many as were in that one. Those clients have
# their answers now, and clients that ask again do so at once.
_RETURN_SHARE = 0.05
_LONGEST_HOLD_S = 0.005


@dataclass
class _Expected:
    """How many requests are likely to come in a moment, after a call with as many of them."""

    count: int = 0
    until_s: float = 0.0

    def note(self, count: int, took_s: float) -> None:
        self.count, self.until_s = count, time.monotonic() + min(_RETURN_SHARE * took_s, _LONGEST_HOLD_S)

    def wait_s(self, waiting: int) -> float:
        """How long to wait for them; 0 if there are as many, or they are not coming."""
        return 0.0 if waiting >= self.count else max(0.0, self.until_s - time.monotonic())


class Coalescer:
    """The calls of one API. All of it runs in one event loop."""

    def __init__(self, send: SendCall, calls_at_once: int, shared_rows: int = 1) -> None:
        """
        Args:
            calls_at_once: how many calls the predictor works at, one for each of its processes.
            shared_rows: so many predictions take a process hardly longer than one. With more than one, a process works
                at any number of calls, that hold as many predictions, and has as many more made ready meanwhile.
        """
        self._send = send
        self._calls_at_once = calls_at_once
        self._most_under_way = 2 * shared_rows * calls_at_once if shared_rows > 1 else None
        self._expected = _Expected()
        self._waiting: deque[_Waiting] = deque()
        self._calls: set[_Call] = set()
        self.pace = Pace(shared_rows)
        self._is_starting = False

    async def predict(self, prediction: Prediction, timeout_s: float) -> PredictorAnswer:
        """The answer to one prediction. Cancelling it leaves the others in its call as they are.

        Raises:
            TritonCallError: there is no answer, or none in time.
        """
        if self.pace.together == 1 and not self._waiting:
            (answer,) = await self._send([prediction], timeout_s)
            self.pace.note(answer.timing_ms)
            return answer
        now = time.monotonic()
        waiting = _Waiting(prediction, now + timeout_s, now)
        self._waiting.append(waiting)
        if not self._is_starting:
            # After all that came in this turn of the loop.
            self._is_starting = True
            asyncio.get_running_loop().call_soon(self._start_calls)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting.answer
        except TimeoutError:
            raise TritonCallError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout_s:g} s") from None
        finally:
            self._give_up(waiting)

    def _give_up(self, waiting: _Waiting) -> None:
        """It is answered, or nobody waits for it any longer: then it is not begun, and a call for nobody is ended."""
        if waiting.answer.done() and not waiting.answer.cancelled():
            waiting.answer.exception()  # seen, also by a client that left at this very moment
            return
        waiting.answer.cancel()
        if waiting.call is None:
            self._waiting.remove(waiting)
        elif not waiting.call.is_wanted() and waiting.call.task is not None:
            waiting.call.task.cancel()

    def _start_calls(self) -> None:
        self._is_starting = False
        while self._waiting and (room := self._room()) > 0:
            hold_s = self._expected.wait_s(len(self._waiting))
            if hold_s > 0:
                self._is_starting = True
                asyncio.get_running_loop().call_later(hold_s, self._start_calls)
                return
            call = _Call(self._take(room))
            for member in call.members:
                member.call = call
            self._calls.add(call)
            call.task = asyncio.ensure_future(self._run(call))
            # Of a task that is cancelled before it begins, nothing runs.
            call.task.add_done_callback(partial(self._end, call, time.monotonic()))

    def _room(self) -> int:
        """How many predictions may go out together now: where runs are not shared, an even share of what waits."""
        if self._most_under_way is not None:
            return self._most_under_way - sum(len(call.members) for call in self._calls)
        free = self._calls_at_once - len(self._calls)
        return math.ceil(len(self._waiting) / free) if free > 0 else 0

    def _take(self, room: int) -> list[_Waiting]:
        """The next ones to go out together, as far as their size and the pace allow."""
        taken = [self._waiting.popleft()]
        size = len(taken[0].prediction.payload)
        while self._waiting and len(taken) < min(room, self.pace.together):
            size += len(self._waiting[0].prediction.payload)
            if size > LARGEST_SHARED_BYTES:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _run(self, call: _Call) -> None:
        started = time.monotonic()
        timeout_s = max(member.deadline for member in call.members) - started
        answers = await self._send([member.prediction for member in call.members], max(timeout_s, 0.001))
        for member, answer in zip(call.members, answers, strict=True):
            self.pace.note(answer.timing_ms)
            if not member.answer.done():
                member.answer.set_result(_with_wait(answer, started - member.since))

    def _end(self, call: _Call, started: float, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        for member in call.members:
            if not member.answer.done():
                assert error is not None
                member.answer.set_exception(_as_failure(error))
        self._calls.discard(call)
        if self._most_under_way is not None:
            self._expected.note(len(call.members), time.monotonic() - started)
        self._start_calls()


def _with_wait(answer: PredictorAnswer, seconds: float) -> PredictorAnswer:
    """What a request waited here is part of its time in the queue."""
    if not answer.timing_ms:
        return answer
    return replace(answer, timing_ms={**answer.timing_ms, "queue": answer.timing_ms.get("queue", 0.0) + 1000 * seconds})


def _as_failure(error: BaseException) -> TritonCallError:
    """One for each request: an exception that is raised in several places gathers all their tracebacks."""
    if isinstance(error, TritonCallError):
        return TritonCallError(error.code, error.details)
    return TritonCallError(grpc.StatusCode.INTERNAL, f"the call ended with {type(error).__name__}: {error}")
