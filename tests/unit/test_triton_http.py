"""The facade's HTTP connection to Triton, against a server that answers as a test says, piece by piece."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable

import grpc
import pytest

from cortex_compile.facade.triton_answer import PredictorAnswer, TritonCallError
from cortex_compile.facade.triton_http import TritonHttpClient

Respond = Callable[[dict[str, bytes], asyncio.StreamWriter], Awaitable[None]]


def ask(respond: Respond, payloads: list[bytes], contexts: list[bytes], timeout_s: float = 10) -> list[PredictorAnswer]:
    """One call to a server that ``respond`` answers for."""

    async def run() -> list[PredictorAnswer]:
        async with served(respond) as client:
            return await client.predict_many("model", payloads, contexts, timeout_s)

    return asyncio.run(run())


class served:
    """A client of a server, which counts its connections."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.connections = 0

    async def __aenter__(self) -> TritonHttpClient:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._client = TritonHttpClient(f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}")
        return self._client

    async def __aexit__(self, *_: object) -> None:
        self._client.close()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._respond(await read_inputs(head, reader), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def read_inputs(head: bytes, reader: asyncio.StreamReader) -> dict[str, bytes]:
    fields = dict(line.lower().split(b": ", 1) for line in head.strip().split(b"\r\n")[1:])
    body = await reader.readexactly(int(fields[b"content-length"]))
    end = int(fields[b"inference-header-content-length"])
    found = {}
    for tensor in json.loads(body[:end])["inputs"]:
        size = tensor["parameters"]["binary_data_size"]
        found[tensor["name"]] = body[end : end + size]
        end += size
    assert end == len(body)
    return found


def response(outputs: dict[str, bytes], status: str = "200 OK") -> bytes:
    told = [{"name": name, "parameters": {"binary_data_size": len(data)}} for name, data in outputs.items()]
    text = json.dumps({"outputs": told}).encode()
    body = text + b"".join(outputs.values())
    head = f"HTTP/1.1 {status}\r\nInference-Header-Content-Length: {len(text)}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def status_of(code: int) -> bytes:
    return json.dumps({"status_code": code, "headers": []}).encode()


async def echo(inputs: dict[str, bytes], writer: asyncio.StreamWriter) -> None:
    """Each payload comes back, with the length of its context as the status."""
    count = len(inputs["_sizes"]) // 16 if "_sizes" in inputs else 1
    sizes = struct.unpack(f"<{2 * count}q", inputs["_sizes"]) if count > 1 else (0, len(inputs["context"]))
    statuses = [status_of(200 + size) for size in sizes[count:]]
    told = struct.pack(f"<{2 * count}q", *(sizes[:count] if count > 1 else [0]), *map(len, statuses))
    writer.write(response({"response": inputs["payload"], "status": b"".join(statuses), "_sizes": told}))


def failure_of(respond: Respond) -> TritonCallError:
    with pytest.raises(TritonCallError) as caught:
        ask(respond, [b"x"], [b"{}"], 10)
    return caught.value


def test_one_prediction() -> None:
    (answer,) = ask(echo, [b"payload"], [b"{}"], 10)
    assert (answer.body, answer.status_code) == (b"payload", 202)


def test_several_predictions_are_cut_apart() -> None:
    answers = ask(echo, [b"one", b"", b"three"], [b"c" * length for length in (1, 2, 3)])
    assert [(answer.body, answer.status_code) for answer in answers] == [(b"one", 201), (b"", 202), (b"three", 203)]


def test_an_answer_may_come_byte_by_byte_and_the_connection_is_used_again() -> None:
    async def in_bytes(inputs: dict[str, bytes], writer: asyncio.StreamWriter) -> None:
        for byte in response({"response": inputs["payload"], "status": status_of(200)}):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async def run() -> tuple[list[bytes], int]:
        server = served(in_bytes)
        async with server as client:
            found = [(await client.predict_many("model", [body], [b"{}"], 10))[0].body for body in (b"one", b"two")]
        return found, server.connections

    assert asyncio.run(run()) == ([b"one", b"two"], 1)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("404 Not Found", grpc.StatusCode.NOT_FOUND),
        ("503 Service Unavailable", grpc.StatusCode.UNAVAILABLE),
        ("500 Internal Server Error", grpc.StatusCode.INTERNAL),
    ],
)
def test_a_refusal_of_triton_is_a_failure_with_its_code(status: str, code: grpc.StatusCode) -> None:
    async def refuse(inputs: dict[str, bytes], writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\nis broken".encode())

    failure = failure_of(refuse)
    assert (failure.code, failure.details) == (code, "is broken")


def test_outputs_that_do_not_add_up_are_no_answer() -> None:
    async def with_rest(inputs: dict[str, bytes], writer: asyncio.StreamWriter) -> None:
        outputs = {"response": b"12345", "status": status_of(200), "_sizes": b"and more"}
        writer.write(response(outputs).replace(b'"binary_data_size": 8', b'"binary_data_size": 7'))

    assert failure_of(with_rest).code is grpc.StatusCode.INTERNAL


def test_a_connection_that_was_closed_while_nobody_asked_is_not_used_again() -> None:
    async def run() -> tuple[list[bytes], int]:
        closed = asyncio.Event()

        async def close_after(inputs: dict[str, bytes], writer: asyncio.StreamWriter) -> None:
            await echo(inputs, writer)
            await writer.drain()
            writer.close()
            closed.set()

        server = served(close_after)
        async with server as client:
            (first,) = await client.predict_many("model", [b"one"], [b"{}"], 10)
            await closed.wait()
            await asyncio.sleep(0.1)  # the end of the connection arrives
            (second,) = await client.predict_many("model", [b"two"], [b"{}"], 10)
        return [first.body, second.body], server.connections

    assert asyncio.run(run()) == ([b"one", b"two"], 2)


def test_a_connection_that_breaks_off_is_a_failure_and_the_next_call_has_another() -> None:
    async def run() -> tuple[grpc.StatusCode, bytes]:
        calls = 0

        async def close_first(inputs: dict[str, bytes], writer: asyncio.StreamWriter) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                writer.write(b"HTTP/1.1 200 OK\r\n")
                writer.close()
            else:
                await echo(inputs, writer)

        async with served(close_first) as client:
            with pytest.raises(TritonCallError) as caught:
                await client.predict_many("model", [b"x"], [b"{}"], 10)
            (answer,) = await client.predict_many("model", [b"again"], [b"{}"], 10)
        return caught.value.code, answer.body

    assert asyncio.run(run()) == (grpc.StatusCode.UNAVAILABLE, b"again")


def test_nobody_there_is_unavailable() -> None:
    client = TritonHttpClient("127.0.0.1:1")
    with pytest.raises(TritonCallError) as caught:
        asyncio.run(client.predict_many("model", [b"x"], [b"{}"], 10))
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_an_answer_that_nobody_waited_for_is_not_the_next_call_s() -> None:
    async def run() -> bytes:
        waiting = asyncio.Event()

        async def late(inputs: dict[str, bytes], writer: asyncio.StreamWriter) -> None:
            if inputs["payload"] == b"first":
                await waiting.wait()
            await echo(inputs, writer)

        async with served(late) as client:
            with pytest.raises(TritonCallError) as caught:
                await client.predict_many("model", [b"first"], [b"{}"], 0.05)
            assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
            waiting.set()
            (answer,) = await client.predict_many("model", [b"second"], [b"{}"], 10)
        return answer.body

    assert asyncio.run(run()) == b"second"
