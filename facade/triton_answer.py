"""What Triton sends back for a prediction: one response, or a stream of them, checked against the contract."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import grpc
import grpc.aio

from .headers import RawHeaders, is_sendable

__all__ = ["PredictorAnswer", "PredictorStream", "TritonCallError", "read_answer", "read_answers", "read_contents"]


@dataclass(frozen=True)
class PredictorAnswer:
    """What the predictor answered, its own errors included. ``timing_ms`` are the parts of its time, by name."""

    status_code: int
    headers: RawHeaders
    body: bytes
    timing_ms: dict[str, float] = field(default_factory=dict)
    rest: PredictorStream | None = None
    """The chunks after ``body``, which then is the first one. To be read to its end, or cancelled."""


class TritonCallError(Exception):
    """The call failed: there is no answer of the predictor's. ``details`` are for the log, not for a client."""

    def __init__(self, code: grpc.StatusCode, details: str):
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


def cancel_later(call: Any, answer: asyncio.Future[Any], sent_s: float, cancel_after_s: float | None) -> None:
    """Cancel a call that nobody waits for, when it is surely no longer on its way to the model's process.

    If a request is cancelled in Triton's own queue, Triton 2.51 loses the model: seen after some hundred of them, its
    process idle, its thread waiting in RateLimiter::DequeuePayload, every later request waiting for ever. A process
    takes requests as they come, so a second after it was sent none is in that queue; with several processes to a model
    it waits there, so the call goes on until its first ``answer``.
    """
    if cancel_after_s is None:
        answer.add_done_callback(lambda _: call.cancel())
    else:
        left_s = max(0.0, cancel_after_s - (time.monotonic() - sent_s))
        asyncio.get_running_loop().call_later(left_s, call.cancel)


def forget(answer: asyncio.Future[Any]) -> None:
    """Of an answer that nobody waits for, look at the exception, so that asyncio does not complain."""
    if not answer.cancelled():
        answer.exception()


class PredictorStream:
    """The responses of one call, each waited for ``timeout_s`` at most."""

    def __init__(self, call: Any, timeout_s: float, cancel_after_s: float | None = None) -> None:
        self._call = call
        self._timeout_s = timeout_s
        self._is_final = False
        self._sent_s = time.monotonic()
        self._cancel_after_s = cancel_after_s
        self._first: asyncio.Future[Any] | None = None

    async def begin(self, request: Any) -> PredictorAnswer:
        """
        Raises:
            TritonCallError: there is no answer, or none that follows the contract.
        """
        try:
            answer = read_answer(await self._exchange(request))
            if not self._is_final:
                return replace(answer, rest=self)
            await self._wait_for_end()
            return answer
        except BaseException:
            self.cancel()
            raise

    async def next_chunk(self) -> bytes | None:
        """None after the last.

        Raises:
            TritonCallError: the stream broke off, or the next chunk did not come in time.
        """
        try:
            chunk = None if self._is_final else _contents_of(await self._exchange()).get("response", b"")
            # The final response may hold a chunk, or nothing.
            if chunk or not self._is_final:
                return chunk
            await self._wait_for_end()
            return None
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """End the call, in Triton too. Nothing happens where it has ended."""
        if self._first is None or self._first.done():
            self._call.cancel()
        else:
            cancel_later(self._call, self._first, self._sent_s, self._cancel_after_s)

    async def _exchange(self, request: Any = None) -> Any:
        """Send, if there is something to send, and wait for a response."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if request is None:
                    message = await self._call.read()
                else:
                    # A read that is cancelled cancels the call, for which it may be too early.
                    self._first = asyncio.ensure_future(self._send(request))
                    self._first.add_done_callback(forget)
                    message = await asyncio.shield(self._first)
        except TimeoutError:
            problem = f"no chunk within {self._timeout_s:g} s"
            raise TritonCallError(grpc.StatusCode.DEADLINE_EXCEEDED, problem) from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise await self._failure() from error
        if message is grpc.aio.EOF:
            raise await self._failure()
        if message.error_message:
            raise TritonCallError(grpc.StatusCode.INTERNAL, message.error_message)
        self._is_final = message.infer_response.parameters["triton_final_response"].bool_param
        return message.infer_response

    async def _send(self, request: Any) -> Any:
        await self._call.write(request)
        await self._call.done_writing()
        return await self._call.read()

    async def _wait_for_end(self) -> None:
        """Cancelled instead, a call that is over would leave a complaint in Triton's log."""
        with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError):
            async with asyncio.timeout(self._timeout_s):
                await self._call.read()

    async def _failure(self) -> TritonCallError:
        code, details = await self._call.code(), await self._call.details()
        if code is grpc.StatusCode.OK:
            code, details = grpc.StatusCode.INTERNAL, "the responses ended without a final one"
        return TritonCallError(code, details or "")


def read_answer(response: Any) -> PredictorAnswer:
    """
    Raises:
        TritonCallError: it does not follow the contract.
    """
    (answer,) = read_answers(response, 1)
    return answer


def read_answers(response: Any, count: int) -> list[PredictorAnswer]:
    """The answers of a call with ``count`` predictions, in their order.

    Raises:
        TritonCallError: they do not follow the contract.
    """
    return read_contents(response.model_name, lambda: _contents_of(response), count)


def read_contents(model: str, outputs: Callable[[], dict[str, bytes]], count: int) -> list[PredictorAnswer]:
    """The answers in the ``outputs`` of a call, by name.

    Raises:
        TritonCallError: they do not follow the contract.
    """
    try:
        contents = outputs()
        if count == 1:
            return [_read_answer(contents["response"], contents["status"])]
        sizes = struct.unpack(f"<{2 * count}q", contents["_sizes"])
        bodies = _cut(contents["response"], sizes[:count])
        statuses = _cut(contents["status"], sizes[count:])
        return [_read_answer(body, status) for body, status in zip(bodies, statuses, strict=True)]
    except (KeyError, TypeError, ValueError, struct.error) as error:
        problem = f"model {model!r} answered against its contract: {type(error).__name__}: {error}"
        raise TritonCallError(grpc.StatusCode.INTERNAL, problem) from error


def _cut(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    if min(lengths) < 0 or sum(lengths) != len(data):
        raise ValueError(f"lengths that add up to {sum(lengths)} for {len(data)} bytes")
    return [data[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]


def _contents_of(response: Any) -> dict[str, bytes]:
    outputs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {output.name: raw for output, raw in outputs}


def _read_answer(body: bytes, encoded_status: bytes) -> PredictorAnswer:
    status = json.loads(encoded_status)
    status_code = status["status_code"]
    if not isinstance(status_code, int) or not 200 <= status_code <= 599:
        raise ValueError(f"status code {status_code!r}")
    headers = [_read_header(name, value) for name, value in status["headers"]]
    timing = {name.removesuffix("_ms"): float(ms) for name, ms in status.get("timing", {}).items()}
    return PredictorAnswer(status_code, headers, body, timing)


@lru_cache(256)  # a predictor's answers mostly have the same
def _read_header(name: str, value: str) -> tuple[bytes, bytes]:
    header = (name.encode("latin-1"), value.encode("latin-1"))
    if not is_sendable(*header):
        raise ValueError(f"header {name!r}: {value!r}")
    return header
