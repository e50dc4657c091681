"""Reading a request's body within limits of size and time."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Receive

from .connection import ClientLeft, Connection
from .errors import too_large, too_slow
from .headers import RawHeaders

__all__ = ["discard_rest", "read_body"]

# A client that is still sending would lose the answer if the connection were closed under it.
_DISCARD_TIMEOUT_S = 5.0


async def read_body(
    receive: Receive, headers: RawHeaders, connection: Connection, max_bytes: int, timeout_s: float
) -> bytes:
    """
    Raises:
        ClientLeft: before all of it was there.
        HttpError: it is larger than ``max_bytes``, as declared or as counted, or took longer than ``timeout_s``.
    """
    if _declared_length(headers) > max_bytes:
        raise too_large(max_bytes)
    if connection.has_whole_body:
        return await _read(receive, max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(receive, max_bytes)
    except TimeoutError:
        raise too_slow(timeout_s) from None


async def _read(receive: Receive, max_bytes: int) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise too_large(max_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _declared_length(headers: RawHeaders) -> int:
    declared = next((value for name, value in headers if name == b"content-length"), b"")
    return int(declared) if declared.isdigit() else 0


async def discard_rest(receive: Receive, max_bytes: int) -> None:
    """Read on, within limits, until a client that was already answered stops sending or leaves."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_TIMEOUT_S):
            while max_bytes > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                max_bytes -= len(message.get("body", b""))
