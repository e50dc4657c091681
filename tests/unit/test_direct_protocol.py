"""Requests that come in one piece go past ASGI, all others through it, and a client sees no difference. Over sockets,
with uvicorn; the service behind the route is a fake."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.facade.direct_protocol import direct_protocol
from cortex_compile.facade.errors import overloaded
from cortex_compile.facade.headers import RawHeaders
from cortex_compile.facade.hot_path import HotPath
from cortex_compile.facade.metrics import FacadeMetrics
from cortex_compile.facade.request_id import RequestIdMiddleware
from cortex_compile.facade.routes import PredictionRoute
from cortex_compile.facade.server_timing import ServerTimingMiddleware
from cortex_compile.facade.settings import FacadeSettings
from cortex_compile.facade.triton_client import PredictorAnswer

HEAD = b"POST /x HTTP/1.1\r\nhost: x\r\n"
LARGEST = 1000


def post(body: bytes, *fields: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in (*fields, b"content-length: %d" % len(body))) + b"\r\n" + body


@dataclass
class FakeService:
    """Answers with what it was asked; some bodies make it do something else."""

    api: ApiRoute = field(default_factory=lambda: ApiRoute("x", "/x", 4, max_body_bytes=LARGEST))
    asked: list[tuple[bytes, RawHeaders]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    slots: contextlib.AbstractContextManager[None] = field(default_factory=contextlib.nullcontext)

    async def predict(self, body: bytes, query: bytes, headers: RawHeaders) -> PredictorAnswer:
        self.asked.append((body, headers))
        self.began.set()
        if body == b"wait":
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.events.append("cancelled")
                raise
        if body == b"refuse":
            raise overloaded(4)
        if body == b"break":
            raise ZeroDivisionError("nobody expected that")
        if body == b"nothing":
            return PredictorAnswer(204, [(b"x-mine", b"1"), (b"content-length", b"0")], b"")
        if body.startswith(b"large"):
            return PredictorAnswer(200, [], 9_000_000 * body[-1:])
        return PredictorAnswer(201, [(b"content-type", b"text/plain"), (b"date", b"mine")], body, {"core": 1.5})


class Served:
    def __init__(self) -> None:
        self.service = FakeService()
        self.metrics = FacadeMetrics()
        self.route = PredictionRoute(self.service, self.metrics.of_api("x"))  # type: ignore[arg-type]  # a fake
        self.through_asgi = 0
        self.direct = {b"/x": self.route}
        self.port = 0
        self.server: uvicorn.Server

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.through_asgi += 1
        await ServerTimingMiddleware(RequestIdMiddleware(HotPath({"/x": self.route}, None, None)))(  # type: ignore[arg-type]  # no other paths
            scope, receive, send
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Served]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(
                self._app,
                interface="asgi3",
                http=direct_protocol(FacadeSettings(), self.direct.get),
                ws="none",
                lifespan="off",
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
            self.server = uvicorn.Server(config)
            self.port = listener.getsockname()[1]
            task = asyncio.create_task(self.server.serve(sockets=[listener]))
            while not self.server.started:
                await asyncio.sleep(0.01)
            try:
                yield self
            finally:
                self.server.should_exit = True
                await task


def run(scenario: Callable[[Served], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), Served().running() as served:
            await scenario(served)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


@dataclass(frozen=True)
class Answered:
    status: int
    fields: dict[str, str]
    body: bytes


async def read_answer(reader: asyncio.StreamReader) -> Answered:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)
    assert len(fields) == len([line for line in lines if line]), "a header twice"
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return Answered(int(first.split()[1]), fields, body)


@contextlib.asynccontextmanager
async def connected(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(served: Served, *pieces: bytes) -> Answered:
    async with connected(served) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02 if len(pieces) > 1 else 0)
        return await read_answer(reader)


def same_but_for_what_differs_each_time(answered: Answered) -> Answered:
    fields = {name: re.sub(r"[0-9a-f.]+", "#", value) for name, value in answered.fields.items()}
    return Answered(answered.status, fields, answered.body)


def test_one_that_comes_in_one_piece_goes_straight_and_the_connection_on() -> None:
    async def scenario(served: Served) -> None:
        async with connected(served) as (reader, writer):
            for body in (b"one", b"two", b""):
                writer.write(post(body, b"X-Request-Id: mine", b"X-Mine: A", b"TE: trailers"))
                found = await read_answer(reader)
                assert (found.status, found.body) == (201, body)
                assert found.fields["x-request-id"] == "mine"
                assert found.fields["content-type"] == "text/plain"
                assert found.fields["date"] != "mine"
                assert re.fullmatch(r"core;dur=1\.500, total;dur=[0-9.]+", found.fields["server-timing"])
                headers = served.service.asked[-1][1]
                assert (b"x-mine", b"A") in headers
                assert headers.count((b"x-request-id", b"mine")) == 1
                assert not any(name == b"te" for name, _ in headers)
        assert served.through_asgi == 0
        assert b'requests_total{api="x",status_class="2xx"} 3.0' in served.metrics.as_text()
        assert b'requests_in_flight{api="x"} 0.0' in served.metrics.as_text()

    run(scenario)


@pytest.mark.parametrize("body", [b"one", b"refuse", b"break", b"nothing"])
def test_both_ways_answer_alike(body: bytes) -> None:
    async def scenario(served: Served) -> None:
        direct = same_but_for_what_differs_each_time(await ask(served, post(body)))
        assert served.through_asgi == 0
        served.direct.clear()
        assert same_but_for_what_differs_each_time(await ask(served, post(body))) == direct
        assert served.through_asgi == 1

    run(scenario)


def test_an_exception_that_nobody_expected_is_in_the_log_under_its_id(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(served: Served) -> None:
        found = await ask(served, post(b"break", b"x-request-id: mine"))
        assert (found.status, found.body) == (500, b'{"error": "internal server error"}')

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "request mine failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


STRAIGHT, THROUGH_ASGI, NOWHERE = (0, 1), (1, 1), (0, 0)


@pytest.mark.parametrize(
    ("pieces", "way", "status", "body"),
    [
        ([CHUNKED], STRAIGHT, 201, b"abcde"),
        ([post(b"abc")[:10], post(b"abc")[10:]], STRAIGHT, 201, b"abc"),
        ([post(b"1" * LARGEST)], STRAIGHT, 201, b"1" * LARGEST),
        ([post(b"abc", b"connection: upgrade", b"upgrade: h2c")], STRAIGHT, 201, b"abc"),
        ([post(b"abc")[:-1], b"c"], THROUGH_ASGI, 201, b"abc"),
        ([post(b"abc")[:-3], b"a", b"bc"], THROUGH_ASGI, 201, b"abc"),
        ([CHUNKED[:-9], CHUNKED[-9:]], THROUGH_ASGI, 201, b"abcde"),
        ([post(b"abc").replace(b"/x", b"/x?a=1")], THROUGH_ASGI, 201, b"abc"),
        ([post(b"abc").replace(b"1.1", b"1.0")], THROUGH_ASGI, 201, b"abc"),
        ([post(b"abc", b"connection: close")], THROUGH_ASGI, 201, b"abc"),
        ([post(b"1" * (LARGEST + 1))], (1, 0), 413, b'{"error": "the request body is larger than 1000 bytes"}'),
        ([CHUNKED.replace(b"3\r\nabc", b"3e9\r\n" + 1001 * b"a")], (1, 0), 413, b'{"error": "the request body is'),
        ([CHUNKED.replace(b"2\r\nde", b"x\r\nde")], NOWHERE, 400, b'{"error": "this is not HTTP/1.1"}'),
        ([b"GET /x HTTP/1.1\r\n\r\n"], (1, 0), 200, b'{"message": "make a prediction by'),
        ([b"PUT /x HTTP/1.1\r\ncontent-length: 1\r\n\r\n1"], (1, 0), 405, b'{"error": "PUT is not a method of'),
    ],
)
def test_however_a_request_comes_it_is_answered(
    pieces: list[bytes], way: tuple[int, int], status: int, body: bytes
) -> None:
    """``way``: how many requests the application had, and how many predictions were asked for."""

    async def scenario(served: Served) -> None:
        found = await ask(served, *pieces)
        assert found.status == status
        assert found.body.startswith(body)
        assert (served.through_asgi, len(served.service.asked)) == way

    run(scenario)


def test_a_client_that_would_rather_speak_another_protocol_loses_nothing() -> None:
    async def scenario(served: Served) -> None:
        fields = (b"connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
        async with connected(served) as (reader, writer):
            upgrade = post(b"abc", *fields)
            for pieces in ([upgrade], [upgrade[:60], upgrade[60:]], [upgrade[:-2], upgrade[-2:]], [upgrade + upgrade]):
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0.02)
                assert (await read_answer(reader)).body == b"abc"
            assert (await read_answer(reader)).body == b"abc"
            writer.write(CHUNKED.replace(b"host: x", b"host: x\r\nconnection: upgrade\r\nupgrade: websocket"))
            assert (await read_answer(reader)).body == b"abcde"
        for body, headers in served.service.asked:
            assert body in (b"abc", b"abcde")
            assert not {b"upgrade", b"connection", b"http2-settings"} & dict(headers).keys()

    run(scenario)


def test_however_many_such_requests_come_at_once_each_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(served: Served) -> None:
        async with connected(served) as (reader, writer):
            # As many as there are bytes for in a head: of what comes behind one, nothing is known.
            writer.write(1100 * b"POST /x HTTP/1.1\r\nconnection:upgrade\r\nupgrade:x\r\n\r\n")
            for _ in range(1100):
                assert (await read_answer(reader)).status == 201

    run(scenario)
    assert not caplog.records


def test_a_client_that_asks_for_leave_to_send_gets_it() -> None:
    async def scenario(served: Served) -> None:
        async with connected(served) as (reader, writer):
            writer.write(HEAD + b"expect: 100-continue\r\ncontent-length: 3\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await read_answer(reader)).body == b"abc"

    run(scenario)


def test_several_requests_at_once_are_answered_in_their_order() -> None:
    async def scenario(served: Served) -> None:
        async with connected(served) as (reader, writer):
            writer.write(post(b"wait") + post(b"two") + b"GET /x HTTP/1.1\r\n\r\n" + post(b"four"))
            await served.service.began.wait()
            await asyncio.sleep(0.05)
            assert [body for body, _ in served.service.asked] == [b"wait"]
            served.service.go.set()
            bodies = [(await read_answer(reader)).body for _ in range(4)]
        assert (bodies[0], bodies[1], bodies[3]) == (b"wait", b"two", b"four")
        assert b"make a prediction" in bodies[2]

    run(scenario)


@pytest.mark.parametrize("more", [b"", post(b"two")])
def test_the_work_for_a_client_that_leaves_is_ended(more: bytes) -> None:
    async def scenario(served: Served) -> None:
        async with connected(served) as (_, writer):
            writer.write(post(b"wait") + more)
            await served.service.began.wait()
        while not served.service.events:
            await asyncio.sleep(0.01)
        assert b'requests_total{api="x",status_class="disconnected"} 1.0' in served.metrics.as_text()
        assert (await ask(served, post(b"next"))).body == b"next"

    run(scenario)


def test_garbage_behind_a_request_does_not_mix_with_its_answer() -> None:
    async def scenario(served: Served) -> None:
        async with connected(served) as (reader, writer):
            writer.write(post(b"wait") + b"GARBAGE\r\n\r\n")
            served.service.go.set()
            assert (await reader.read()).count(b"HTTP/1.1") <= 1
        assert (await ask(served, post(b"next"))).body == b"next"

    run(scenario)


def test_answers_that_nobody_reads_are_not_gathered() -> None:
    async def scenario(served: Served) -> None:
        async with connected(served) as (reader, writer):
            for number in b"1234":
                writer.write(post(b"large%c" % number))
                await asyncio.sleep(0.05)
            while len(served.service.asked) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            # The first lies in the buffers; the second waits for that, and the others for the second.
            assert [body for body, _ in served.service.asked] == [b"large1", b"large2"]
            bodies = [(await read_answer(reader)).body for _ in range(4)]
        assert bodies == [9_000_000 * bytes([number]) for number in b"1234"]
        # And where it leaves instead, nothing goes on.
        async with connected(served) as (_, writer):
            writer.write(post(b"large1"))
            await asyncio.sleep(0.05)
            writer.write(post(b"large2"))
            await asyncio.sleep(0.05)
        while served.server.server_state.tasks:
            await asyncio.sleep(0.01)

    run(scenario)


@pytest.mark.parametrize("in_time", [True, False])
def test_what_is_under_way_when_the_server_stops_is_answered(in_time: bool) -> None:
    async def scenario(served: Served) -> None:
        async with connected(served) as (reader, writer):
            writer.write(post(b"wait"))
            await served.service.began.wait()
            served.server.should_exit = True
            await asyncio.sleep(0.3)
            if in_time:
                served.service.go.set()
            found = await read_answer(reader)
            assert found.fields["connection"] == "close"
            assert await asyncio.wait_for(reader.read(), 2) == b""  # sooner than an idle connection is closed
        assert found.status == (201 if in_time else 503)
        assert found.body == (b"wait" if in_time else b'{"error": "the server is ending; try again"}')

    run(scenario)


def test_an_idle_connection_is_closed_after_a_while() -> None:
    async def scenario(served: Served) -> None:
        served.server.config.timeout_keep_alive = 1
        async with connected(served) as (reader, writer):
            writer.write(post(b"one"))
            assert (await read_answer(reader)).body == b"one"
            assert await asyncio.wait_for(reader.read(), 5) == b""

    run(scenario)
