"""What predict streams: a generator, or a response that streams, as chunks of bytes made one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from .response import Headers, encode_json, headers_of, is_starlette_response, task_of
from .run_response import iterate_here, run_response
from .timing import Timing

__all__ = ["Stream", "open_stream"]

_NOTHING: Any = object()
_CONTENT_TYPES = {
    "bytes": "application/octet-stream",
    "text": "text/plain; charset=utf-8",
    "json": "application/x-ndjson",
}


@dataclass(frozen=True)
class Stream:
    """An answer that is made while it is sent. All of it belongs on the thread of predict.

    ``first`` is made already, so that what fails before it is an ordinary error. ``rest`` makes each chunk when it is
    asked for. ``close`` ends the user's generator, whose ``finally`` then runs, and is to be called in any case.
    """

    status_code: int
    headers: Headers
    first: bytes
    rest: Iterator[bytes]
    close: Callable[[], None]
    background: Callable[[], None] | None = None
    timing: Timing | None = None
    """Until the first chunk was there."""


def open_stream(result: object, *, nan_as_null: bool) -> Stream | None:
    """Start what predict returned, up to its first chunk; None if it is not a stream. Raises what the user's code does.

    Raises:
        TypeError, ValueError: the first chunk is what JSON cannot hold.
    """
    if is_starlette_response(result):
        return _open_response(result) if hasattr(result, "body_iterator") else None
    if isinstance(result, AsyncIterator):
        return _open_values(iterate_here(result), nan_as_null)
    if isinstance(result, Iterator):
        return _open_values(_values(result), nan_as_null)
    return None


def _values(iterator: Iterator[Any]) -> Generator[Any]:
    # Closed with it, if it can be closed.
    yield from iterator


def _open_values(values: Generator[Any], nan_as_null: bool) -> Stream:
    value = next(values, _NOTHING)
    encode_chunk = partial(_encode_chunk, nan_as_null)
    try:
        first = b"" if value is _NOTHING else encode_chunk(value)
    except BaseException:
        values.close()
        raise
    headers = (("content-type", _CONTENT_TYPES[_kind_of(value)]),)
    return Stream(200, headers, first, map(encode_chunk, values), values.close)


def _kind_of(value: object) -> str:
    if value is _NOTHING or isinstance(value, bytes | bytearray | memoryview):
        return "bytes"
    return "text" if isinstance(value, str) else "json"


def _encode_chunk(nan_as_null: bool, value: Any) -> bytes:
    kind = _kind_of(value)
    if kind == "bytes":
        return bytes(value)
    return str(value).encode() if kind == "text" else encode_json(value, nan_as_null=nan_as_null) + b"\n"


def _open_response(response: Any) -> Stream:
    background = task_of(response)
    messages = run_response(response)
    try:
        start = next(messages)
        chunks = (bytes(message["body"]) for message in messages if message.get("body"))
        first = next(chunks, b"")
    except BaseException:
        messages.close()
        raise
    return Stream(start["status"], headers_of(start["headers"]), first, chunks, messages.close, background)
