"""A predictor's model in Triton over HTTP with the binary extension, for what is answered in a moment.

Measured beside gRPC with the same calls (``python -m benchmarks.serving.ways``): a fraction of this process's CPU time,
less of Triton's, half of the time until the answer. What gRPC has over it is that a call can be cancelled in Triton,
which does not read from an HTTP connection while a call of it is under way (triton-inference-server/server#7077).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import cast

import grpc

from .triton_answer import PredictorAnswer, TritonCallError, read_contents

__all__ = ["LARGEST_QUICK_BYTES", "TritonHttpClient"]

# Below what Triton takes at most in one request over HTTP, in versions that have such a limit.
LARGEST_QUICK_BYTES = 16 * 1024 * 1024

# An answer that nobody waits for, and that has not come so long after its time, will not come.
_LEFT_OPEN_S = 60.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)
_JSON_LENGTH = re.compile(rb"\r\ninference-header-content-length: *(\d+) *\r\n", re.IGNORECASE)
# Triton makes none of an output that nobody asked for.
_OUTPUTS = [f'{{"name":"{name}","parameters":{{"binary_data":true}}}}' for name in ("response", "status", "_sizes")]
_ONE_ANSWER, _SEVERAL_ANSWERS = ",".join(_OUTPUTS[:2]), ",".join(_OUTPUTS)
_CODES = {404: grpc.StatusCode.NOT_FOUND, 503: grpc.StatusCode.UNAVAILABLE, 499: grpc.StatusCode.CANCELLED}


class _Connection(asyncio.Protocol):
    """One connection, which is at one call at a time. Its answer is the head, with its last line end, and the body."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._left: tuple[Callable[[_Connection], None], asyncio.TimerHandle] | None = None

    @property
    def is_usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and self._answer is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[: end + 2]
        length = _LENGTH.search(head)
        whole = end + 4 + (int(length[1]) if length else 0)
        if length is not None and len(self._received) < whole:
            return
        answer, self._answer = self._answer, None
        if length is None or len(self._received) > whole or answer is None:
            self.close()  # it is not what was agreed on, and where an answer ends is not known
        if answer is not None and not answer.done():
            answer.set_result((bytes(head), bytes(self._received[end + 4 : whole])))
        self._received.clear()
        if self._left is not None:
            (give_back, timer), self._left = self._left, None
            timer.cancel()
            give_back(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_failure(grpc.StatusCode.UNAVAILABLE, "Triton closed the connection"))

    async def exchange(self, request: Sequence[bytes], timeout_s: float) -> tuple[bytes, bytes]:
        """
        Raises:
            TimeoutError: there is no answer yet, and one may still come.
            TritonCallError: there will be none.
        """
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[bytes, bytes]] = loop.create_future()
        self._answer = answer
        # Not joined: of a large body that would be one more copy, in this process's one thread.
        self._transport.writelines(request)
        timer = loop.call_later(timeout_s, _end, answer)
        try:
            return await answer
        finally:
            timer.cancel()

    def leave(self, give_back: Callable[[_Connection], None], timeout_s: float) -> None:
        """Nobody waits any longer: when the answer has come, the connection is given back."""
        self._left = give_back, asyncio.get_running_loop().call_later(timeout_s + _LEFT_OPEN_S, self.close)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class TritonHttpClient:
    """Connections to one Triton, as many as there are calls at a time. To be used in one event loop."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._idle: list[_Connection] = []

    async def predict_many(
        self, model: str, payloads: Sequence[bytes], contexts: Sequence[bytes], timeout_s: float
    ) -> list[PredictorAnswer]:
        """Ask for one or several predictions in one call. Cancelling the task ends the wait, and not the call.

        Raises:
            TritonCallError: there are no answers, or none that follow the contract.
        """
        request = _request(self._address, model, payloads, contexts)
        try:
            head, body = await self._exchange(request, timeout_s)
        except TimeoutError:
            raise _failure(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout_s:g} s") from None
        status_code = int(head[9:12]) if head[9:12].isdigit() else 0
        if status_code != 200:
            raise _failure(_CODES.get(status_code, grpc.StatusCode.INTERNAL), body.decode(errors="replace"))
        return read_contents(model, lambda: _contents_of(head, body), len(payloads))

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, request: Sequence[bytes], timeout_s: float) -> tuple[bytes, bytes]:
        connection = await self._connect(timeout_s)
        try:
            found = await connection.exchange(request, timeout_s)
        except (asyncio.CancelledError, TimeoutError):
            # Not closed: Triton would take that for a cancellation (see triton_answer.py).
            connection.leave(self._idle.append, timeout_s)
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return found

    async def _connect(self, timeout_s: float) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
        try:
            async with asyncio.timeout(timeout_s):
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(_Connection, self._host, self._port)
        except TimeoutError:  # which is an OSError
            raise
        except OSError as error:
            raise _failure(grpc.StatusCode.UNAVAILABLE, f"Triton's HTTP port cannot be reached: {error}") from error
        return connection


def _end(answer: asyncio.Future[tuple[bytes, bytes]]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _failure(code: grpc.StatusCode, details: str) -> TritonCallError:
    return TritonCallError(code, details)


def _request(address: str, model: str, payloads: Sequence[bytes], contexts: Sequence[bytes]) -> list[bytes]:
    """The request, in parts."""
    vectors = [b"".join(payloads), b"".join(contexts)]
    inputs = [_input("payload", "UINT8", [len(vectors[0])], len(vectors[0]))]
    inputs.append(_input("context", "UINT8", [len(vectors[1])], len(vectors[1])))
    outputs = _ONE_ANSWER
    if len(payloads) > 1:
        outputs = _SEVERAL_ANSWERS
        sizes = b"".join(len(part).to_bytes(8, "little") for part in (*payloads, *contexts))
        vectors.append(sizes)
        inputs.append(_input("_sizes", "INT64", [2, len(payloads)], len(sizes)))
    head = f'{{"inputs":[{",".join(inputs)}],"outputs":[{outputs}]}}'.encode()
    length = len(head) + sum(map(len, vectors))
    line = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {address}\r\n"
        f"Inference-Header-Content-Length: {len(head)}\r\nContent-Length: {length}\r\n\r\n"
    )
    return [line.encode() + head, *vectors]


def _input(name: str, datatype: str, shape: list[int], size: int) -> str:
    return f'{{"name":"{name}","datatype":"{datatype}","shape":{shape},"parameters":{{"binary_data_size":{size}}}}}'


def _contents_of(head: bytes, body: bytes) -> dict[str, bytes]:
    """The outputs by name.

    Raises:
        ValueError, KeyError, TypeError: it is not what the binary extension says.
    """
    told = _JSON_LENGTH.search(head)
    if told is None:
        raise ValueError("no length of the JSON before the vectors")
    length = int(told[1])
    outputs = json.loads(body[:length])["outputs"]
    ends = accumulate((output["parameters"]["binary_data_size"] for output in outputs), initial=length)
    places = list(pairwise(ends))
    if (places[-1][1] if places else length) != len(body):
        raise ValueError(f"outputs that end elsewhere than the {len(body)} bytes")
    return {output["name"]: body[start:end] for output, (start, end) in zip(outputs, places, strict=True)}
