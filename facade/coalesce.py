"""Requests that come while the predictor is at others wait here, and where that helps share its next call.

A call to Triton costs a few tenths of a millisecond on each side, more than many a prediction. While one is under way,
what comes waits and goes out together when it returns; when none is, a request goes out at once. Those of a slow
predictor go out one by one, as many as it is at and as many more: one that waits here for too long costs the predictor
nothing. Where its calls share runs, those that may go out as its answers come do so together: they would stay calls of
one for ever. What each request is answered, how long it may take and whether its client has left stay its own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc

from cortex_compile.python_backend.returning import ReturningClients

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


# Of the usual time: with less left, a prediction is over too late, since it waits in the process for one before it.
_ENOUGH = 3.0


@dataclass(eq=False)
class _Waiting:
    prediction: Prediction
    timeout_s: float
    since: float
    answer: asyncio.Future[PredictorAnswer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    call: _Call | None = None

    @property
    def deadline(self) -> float:
        return self.since + self.timeout_s

    def end(self) -> None:
        """It had its time."""
        if not self.answer.done():
            self.answer.set_exception(_too_late(self))

    def is_too_late(self, usual_s: float) -> bool:
        """Whoever is next where more is asked than can be answered has waited for nearly all of its time: begun in
        vain, it would take the place of one that can still be answered."""
        return self.deadline - time.monotonic() < min(_ENOUGH * usual_s, self.timeout_s / 2)


@dataclass(eq=False)
class _Call:
    """``members`` wait for it to return; of one in its request's own task there are none."""

    predictions: int
    members: Sequence[_Waiting] = ()
    task: asyncio.Task[None] | None = None

    def is_wanted(self) -> bool:
        return any(not member.answer.done() for member in self.members)


# Of the time that a call took: so long after it the next one waits for as many as were answered. Those clients have
# their answers now, and where clients ask again they do so at once.
_RETURN_SHARE = 0.05
_LONGEST_HOLD_S = 0.005


class Coalescer:
    """The calls of one API. All of it runs in one event loop."""

    def __init__(self, send: SendCall, calls_at_once: int, most_under_way: int, shared_rows: int = 1) -> None:
        """
        Args:
            calls_at_once: how many calls of several predictions the predictor works at, one for each of its processes.
            most_under_way: how many predictions it works at, and as many more that are made ready meanwhile, where
                they go out one by one or share runs.
            shared_rows: so many predictions take a process hardly longer than one, in any number of calls.
        """
        self._send = send
        self._calls_at_once = calls_at_once
        self._most_under_way = most_under_way
        self._shares_runs = shared_rows > 1
        self._shared_rows = shared_rows
        self._returning = ReturningClients(_RETURN_SHARE, _LONGEST_HOLD_S)
        self._waiting: deque[_Waiting] = deque()
        self._calls: set[_Call] = set()
        self.pace = Pace(shared_rows)
        self._is_starting = False
        self._held: asyncio.TimerHandle | None = None
        self._lonely = False
        """Whether the last call was of one prediction, and none waited for it to return: hardly any come at once."""

    async def predict(self, prediction: Prediction, timeout_s: float) -> PredictorAnswer:
        """The answer to one prediction. Cancelling it leaves the others in its call as they are.

        Raises:
            TritonCallError: there is no answer, or none in time.
        """
        self._returning.note_came(1)
        if self._lonely and not self._calls and not self._waiting:
            return await self._predict_at_once(prediction, timeout_s)
        waiting = _Waiting(prediction, timeout_s, time.monotonic())
        self._waiting.append(waiting)
        if not self._is_starting:
            # After all that came in this turn of the loop.
            self._is_starting = True
            asyncio.get_running_loop().call_soon(self._start_calls)
        timer = asyncio.get_running_loop().call_later(timeout_s, waiting.end)
        try:
            return await waiting.answer
        finally:
            timer.cancel()
            self._give_up(waiting)

    async def _predict_at_once(self, prediction: Prediction, timeout_s: float) -> PredictorAnswer:
        """Nothing is under way: in the request's own task, without all that lets requests wait for each other."""
        call = _Call(1)
        self._calls.add(call)
        started = time.monotonic()
        try:
            (answer,) = await self._send([prediction], timeout_s)
        except Exception as error:
            raise _as_failure(error) from error
        finally:
            self._over(call, started)
        self.pace.note(answer.timing_ms)
        return answer

    def _give_up(self, waiting: _Waiting) -> None:
        """It is answered, or nobody waits for it any longer: then it is not begun, and a call for nobody is ended."""
        if waiting.answer.done() and not waiting.answer.cancelled():
            waiting.answer.exception()  # seen, also by a client that left at this very moment
        else:
            waiting.answer.cancel()
        if waiting.call is None:
            with suppress(ValueError):  # it was just seen to be over
                self._waiting.remove(waiting)
        # A call ends by its own limit, which is this one's, in a way that does not harm a Triton that was stopped.
        elif waiting.answer.cancelled() and not waiting.call.is_wanted() and waiting.call.task is not None:
            waiting.call.task.cancel()

    def _start_calls(self) -> None:
        self._is_starting = False
        if self._held is not None:
            self._held.cancel()
            self._held = None
        while self._waiting and (room := self._room()) > 0:
            hold_s = self._hold_s(room)
            if hold_s > 0:
                self._held = asyncio.get_running_loop().call_later(hold_s, self._start_calls)
                return
            members = self._take(room)
            if not members:
                return
            call = _Call(len(members), members)
            for member in call.members:
                member.call = call
            self._calls.add(call)
            call.task = asyncio.get_running_loop().create_task(self._run(call))
            # Of a task that is cancelled before it begins, nothing runs.
            call.task.add_done_callback(partial(self._end, call, time.monotonic()))

    def _hold_s(self, room: int) -> float:
        """How long to wait for the call to become larger."""
        waiting, under_way = min(len(self._waiting), room), self._most_under_way - room
        if waiting >= min(self._shared_rows, self.pace.together):
            return 0.0
        if under_way >= self._shared_rows:
            # The predictor has a run to do, so it costs nothing.
            until_s = self._returning.moment_until_s
        elif under_way or waiting < self._returning.answered:
            until_s = self._returning.until_s
        else:
            return 0.0
        return max(0.0, until_s - time.perf_counter())

    def _room(self) -> int:
        """How many predictions may go out now; where a call of some is answered whole, an even share of what waits."""
        if self._shares_runs or self.pace.together == 1:
            return self._most_under_way - sum(call.predictions for call in self._calls)
        free = self._calls_at_once - len(self._calls)
        return math.ceil(len(self._waiting) / free) if free > 0 else 0

    def _take(self, room: int) -> list[_Waiting]:
        """The next ones to go out together, as far as their size and the pace allow; those too late are told so."""
        taken: list[_Waiting] = []
        size = 0
        while self._waiting and len(taken) < min(room, self.pace.together):
            first = self._waiting[0]
            if first.answer.done():  # its client has just left
                self._waiting.popleft()
                continue
            if first.is_too_late(self.pace.usual_s):
                self._waiting.popleft()
                first.answer.set_exception(_too_late(first))
                continue
            size += len(first.prediction.payload)
            if taken and size > LARGEST_SHARED_BYTES:
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
                if answer.timing_ms:  # what a request waited here is part of its time in the queue
                    answer.timing_ms["queue"] = answer.timing_ms.get("queue", 0.0) + 1000 * (started - member.since)
                member.answer.set_result(answer)

    def _end(self, call: _Call, started: float, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        for member in call.members:
            if not member.answer.done():
                assert error is not None
                member.answer.set_exception(_as_failure(error))
        self._over(call, started)

    def _over(self, call: _Call, started: float) -> None:
        self._calls.discard(call)
        if self._shares_runs:
            self._returning.note_answered(call.predictions, time.monotonic() - started)
        self._lonely = call.predictions == 1 and not self._waiting and self._returning.answered <= 1
        self._start_calls()


def _too_late(waiting: _Waiting) -> TritonCallError:
    return TritonCallError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {waiting.timeout_s:g} s")


def _as_failure(error: BaseException) -> TritonCallError:
    """One for each request: an exception that is raised in several places gathers all their tracebacks."""
    if isinstance(error, TritonCallError):
        return TritonCallError(error.code, error.details)
    return TritonCallError(grpc.StatusCode.INTERNAL, f"the call ended with {type(error).__name__}: {error}")
