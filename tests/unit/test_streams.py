from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from cortex_compile.python_backend.streams import Stream, open_stream


class Made:
    """Values that say how far they were made, where, and that they were closed."""

    def __init__(self) -> None:
        self.made = 0
        self.closed_in: int | None = None
        self.threads: set[int] = set()

    def plain(self) -> Iterator[str]:
        try:
            for self.made in (1, 2, 3):
                self.threads.add(threading.get_ident())
                yield str(self.made)
        finally:
            self.closed_in = threading.get_ident()

    async def later(self) -> AsyncIterator[str]:
        try:
            for value in self.plain():
                await asyncio.sleep(0)
                yield value
        finally:
            self.closed_in = threading.get_ident()


class Own(Response):
    """A response that sends by itself, as those for server-sent events do."""

    def __init__(self, made: Made) -> None:
        super().__init__(media_type="text/event-stream")
        self.body_iterator = made.later()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


KINDS = {
    "generator": lambda made: made.plain(),
    "iterator": lambda made: map(str, made.plain()),
    "async generator": lambda made: made.later(),
    "response": lambda made: StreamingResponse(made.plain()),
    "response over a list": lambda made: StreamingResponse(list(made.plain())),
    "async response": lambda made: StreamingResponse(made.later()),
    "response of its own": Own,
}


def opened(result: object) -> Stream:
    stream = open_stream(result, nan_as_null=False)
    assert stream is not None
    return stream


@pytest.mark.parametrize("kind", KINDS)
def test_all_chunks_in_their_order(kind: str) -> None:
    stream = opened(KINDS[kind](Made()))
    assert (stream.first, [*stream.rest]) == (b"1", [b"2", b"3"])
    stream.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "list" not in kind])
def test_each_chunk_is_made_when_it_is_asked_for_in_the_thread_that_asks(kind: str) -> None:
    made = Made()
    stream = opened(KINDS[kind](made))
    assert made.made == 1
    assert next(stream.rest) == b"2"
    assert made.made == 2
    stream.close()
    assert made.threads == {threading.get_ident()}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("iterator", "response over a list")])
def test_closing_ends_the_users_code_in_this_thread(kind: str) -> None:
    made = Made()
    stream = opened(KINDS[kind](made))
    assert made.closed_in is None
    stream.close()
    assert (made.closed_in, made.made) == (threading.get_ident(), 1)


def test_a_first_chunk_that_json_cannot_hold_closes_the_generator() -> None:
    closed = []

    def chunks() -> Iterator[object]:
        try:
            yield {1, 2}
        finally:
            closed.append(True)

    generator = chunks()
    with pytest.raises(TypeError, match="set"):
        open_stream(generator, nan_as_null=False)
    assert closed == [True]


@pytest.mark.parametrize("result", [1, "text", b"bytes", [1], {"a": 1}, JSONResponse(1), None, range(3)])
def test_what_is_no_stream(result: object) -> None:
    assert open_stream(result, nan_as_null=False) is None


def test_a_file_is_no_stream(tmp_path: Any) -> None:
    (tmp_path / "a").write_text("a")
    assert open_stream(FileResponse(tmp_path / "a"), nan_as_null=False) is None


def test_the_status_of_a_response_is_there_with_its_first_chunk() -> None:
    stream = opened(StreamingResponse(Made().plain(), 207, {"x-a": "b", "content-length": "5"}, "video/mp4"))
    assert (stream.status_code, stream.headers) == (207, (("x-a", "b"), ("content-type", "video/mp4")))
    stream.close()
