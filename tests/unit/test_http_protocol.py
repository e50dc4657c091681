"""The limits of a request's head, asked over sockets: sizes, counts and times, and what stays as it was."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from cortex_compile.facade import http_protocol
from cortex_compile.facade.changing_app import _closing
from cortex_compile.facade.connection import ClientLeft, connection_of, while_client_waits
from cortex_compile.facade.direct_protocol import direct_protocol
from cortex_compile.facade.read_body import read_body
from cortex_compile.facade.server import _Server
from cortex_compile.facade.settings import FacadeSettings

LIMITS = FacadeSettings(max_header_count=10, max_header_bytes=2000, max_target_bytes=300, head_timeout_s=0.3)
# Where nothing answers straight.
PROTOCOL = direct_protocol(LIMITS, lambda target: None)
HEAD = b"POST /x HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(autouse=True)
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """These clients read on until the connection is closed."""
    monkeypatch.setattr(http_protocol, "_LINGER_S", 0.1)
    monkeypatch.setattr(http_protocol, "_LAST_REQUEST_S", 0.1)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells how many bytes it got; /early answers before it reads any."""
    size = 0
    if scope["path"] != "/early":
        with contextlib.suppress(ClientLeft):
            size = len(await read_body(receive, scope["headers"], connection_of(scope), 10**8, 10))
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(keep_alive_s: float = 30) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            http=PROTOCOL,
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_keep_alive=keep_alive_s,  # type: ignore[arg-type]  # a fraction is fine
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


async def exchange(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """All that comes back until the server closes, or says that it will."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):  # it may be closed already, and the answer there
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(), timeout=20)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def run(scenario: Callable[[int], Awaitable[None]], keep_alive_s: float = 30) -> None:
    async def whole() -> None:
        async with serving(keep_alive_s) as port:
            await scenario(port)

    asyncio.run(whole())


def status_and_error(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]


CLOSE = b"connection: close\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (HEAD + b"a: %s\r\n\r\n" % (b"b" * 2000), 431, "the headers are larger than 2000 bytes"),
        (HEAD + b"a: b\r\n" * 10 + b"\r\n", 431, "there are more than 10 headers"),
        (
            b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"q" * 300),
            414,
            "the path and the query are longer than 300 bytes",
        ),
        (b"GET /?%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"q" * 300), 414, "the path and the query are longer"),
        (b"GARBAGE\r\n\r\n", 400, "this is not HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, "this is not HTTP/1.1"),
    ],
)
def test_what_is_too_much(request_: bytes, status: int, words: str) -> None:
    async def scenario(port: int) -> None:
        for answer in (await exchange(port, request_), await exchange(port, request_[:9], request_[9:], pause_s=0.02)):
            found, error = status_and_error(answer)
            assert found == status
            assert words in error

    run(scenario)


def test_what_is_just_within_the_limits() -> None:
    async def scenario(port: int) -> None:
        fields = b"a: %s\r\n" % (b"b" * (2000 - len(b"host: xconnection: close") - 2 - 9 - len(b"content-length: 5")))
        whole = HEAD + CLOSE + b"content-length: 5\r\n" + fields + b"\r\n12345"
        assert (await exchange(port, whole)).endswith(b"\r\n\r\n5")
        nine = HEAD + CLOSE + b"a: b\r\n" * 8 + b"\r\n"
        assert (await exchange(port, nine)).endswith(b"\r\n\r\n0")

    run(scenario)


def test_a_body_is_no_part_of_the_head() -> None:
    async def scenario(port: int) -> None:
        body = HEAD + CLOSE + b"content-length: 9000\r\n\r\n" + b"b" * 9000
        assert (await exchange(port, body)).endswith(b"\r\n\r\n9000")
        # The head in pieces, with the whole body behind the last of them; then another request on the connection.
        half = len(HEAD) - 4
        twice = body.replace(CLOSE, b"") + body
        assert (await exchange(port, twice[:half], twice[half:], pause_s=0.02)).count(b"\r\n\r\n9000") == 2

    run(scenario)


def test_headers_without_an_end_are_not_gathered() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"a: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"b" * 10_000)
                await writer.drain()
        assert status_and_error(await asyncio.wait_for(reader.read(), 20))[0] == 431
        writer.close()

    run(scenario)


def test_a_head_that_comes_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "_LINGER_S", 1.0)  # it still sends when it is refused

    async def scenario(port: int) -> None:
        # A byte now and then does not begin the time anew.
        answer = await exchange(port, *(bytes([byte]) for byte in HEAD[:12]), pause_s=0.05)
        assert status_and_error(answer) == (408, "the request's headers did not arrive within 0.3 s")
        # Nor does a connection that was used before.
        first = HEAD + b"content-length: 0\r\n\r\n"
        assert b"408 Request Timeout" in await exchange(port, first, HEAD)

    run(scenario)


def test_a_connection_that_never_asks_is_closed() -> None:
    async def scenario(port: int) -> None:
        assert await exchange(port, b"") == b""

    run(scenario, keep_alive_s=0.2)


def test_what_was_answered_early_need_not_be_read_for_ever() -> None:
    async def scenario(port: int) -> None:
        early = b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
        assert (await exchange(port, early)).endswith(b"\r\n\r\n0")
        # The rest comes after all: the connection goes on, and ends when it is idle.
        again = await exchange(port, early, b"b" * 100, early, b"b" * 100, pause_s=0.02)
        assert again.count(b"200 OK") == 2

    run(scenario, keep_alive_s=4)


def test_nor_for_as_long_as_a_byte_comes_now_and_then() -> None:
    async def drip(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        reading = asyncio.create_task(reader.read())
        with contextlib.suppress(ConnectionError):
            while not reading.done():
                writer.write(b"b")
                await asyncio.sleep(0.05)
            assert b"200 OK" in await reading
        writer.close()

    async def scenario(port: int) -> None:
        await asyncio.wait_for(drip(port), timeout=20)

    run(scenario, keep_alive_s=1)


def test_an_answer_under_way_is_not_mixed_with_an_error() -> None:
    async def scenario(port: int) -> None:
        # The second request of the connection is garbage while the first still waits for its body's end.
        answer = await exchange(port, HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nGARBAGE\r\n")
        assert answer.count(b"HTTP/1.1") <= 1

    run(scenario)


def test_a_client_that_leaves_while_the_first_of_its_requests_is_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """uvicorn tells the last of them alone, and uvloop's transports raise when a closed one is written to."""
    began, has_left = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await receive()
        told.append((await receive())["type"])
        has_left.set()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setitem(globals(), "app", answer)

    async def scenario() -> None:
        async with serving() as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(3 * (HEAD + b"content-length: 1\r\n\r\nx"))
            await began.wait()
            writer.close()
            await asyncio.wait_for(has_left.wait(), timeout=20)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
    assert told == ["http.disconnect"]
    assert "Exception in ASGI application" not in caplog.text


@pytest.mark.parametrize("requests", [1, 3])
@pytest.mark.parametrize("at_once", [True, False])
def test_the_work_for_a_client_that_leaves_is_ended(
    monkeypatch: pytest.MonkeyPatch, requests: int, at_once: bool
) -> None:
    began, has_left = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await read_body(receive, scope["headers"], connection_of(scope), 10**8, 10)
        if at_once:  # it leaves before anything is done for it
            assert (await receive())["type"] == "http.disconnect"
        with pytest.raises(ClientLeft):
            await while_client_waits(work(), connection_of(scope))
        has_left.set()

    monkeypatch.setitem(globals(), "app", answer)

    async def scenario() -> None:
        async with serving() as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(requests * (HEAD + b"content-length: 1\r\n\r\nx"))
            await began.wait()
            await asyncio.sleep(0.02)
            writer.close()
            await asyncio.wait_for(has_left.wait(), timeout=20)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
    assert ended == ([] if at_once else ["cancelled"])


def test_a_client_that_stays_gets_what_was_worked_out_and_who_leaves_later_ends_nothing() -> None:
    class Connection:
        has_whole_body = True
        tell: Callable[[], None] | None = None

        def when_client_leaves(self, tell: Callable[[], None] | None) -> bool:
            self.tell = tell
            return True

    async def scenario() -> None:
        connection = Connection()

        async def work() -> int:
            assert connection.tell is not None
            return 7

        assert await while_client_waits(work(), connection) == 7
        assert connection.tell is None

        async def fail() -> None:
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011  # it has no words
            await while_client_waits(fail(), connection)
        # Another's cancellation is no client that leaves.
        task = asyncio.ensure_future(while_client_waits(asyncio.sleep(60), connection))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_a_request_that_comes_as_the_server_stops_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "_LAST_REQUEST_S", 30.0)

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = await _started(listener)
            kept = socket.create_connection(listener.getsockname())
            reader, writer = await asyncio.open_connection(sock=kept)
            writer.write(HEAD + b"content-length: 1\r\n\r\nx")
            await reader.readuntil(b"\r\n\r\n1")
            # The loop sees none of these before it is told to stop.
            late = [socket.create_connection(listener.getsockname()) for _ in range(3)]
            for connection in late:
                connection.sendall(HEAD + b"content-length: 2\r\n\r\nxy")
            stopping = asyncio.create_task(server.shutdown([listener]))
            while listener.fileno() != -1:
                await asyncio.sleep(0.01)
            writer.write(HEAD + b"content-length: 3\r\n\r\nxyz")
            answers = [await reader.read()]
            for connection in late:
                late_reader, late_writer = await asyncio.open_connection(sock=connection)
                answers.append(await late_reader.read())
                late_writer.close()
            writer.close()
            await stopping
        assert [answer[-1:] for answer in answers] == [b"3", b"2", b"2", b"2"]
        assert all(b"connection: close" in answer for answer in answers)

    asyncio.run(asyncio.wait_for(scenario(), 20))


async def _started(listener: socket.socket) -> _Server:
    """As the facade stops it: it answers, and closes connections with that."""

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, _closing(send) if listener.fileno() == -1 else send)

    config = uvicorn.Config(closing, http=PROTOCOL, ws="none", lifespan="off", log_config=None)
    config.load()
    server = _Server(config, None)  # type: ignore[arg-type]  # it is not told by a signal
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    return server
