"""What a request knows of the connection that it came on, beyond what ASGI tells: that its body is there, and that its
client has left, each without a task that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol, TypeVar

from starlette.types import Scope

__all__ = ["ClientLeft", "Connection", "connection_of", "put_connection", "while_client_waits"]

_IN_SCOPE = "cortex_compile.connection"

Result = TypeVar("Result")


class ClientLeft(Exception):
    """The connection is gone: there is nobody to answer."""


class Connection(Protocol):
    """Of one request: the one on it that is answered now."""

    @property
    def has_whole_body(self) -> bool:
        """Whether the request's body will be received without waiting for it."""
        ...

    def when_client_leaves(self, tell: Callable[[], None] | None) -> bool:
        """Have ``tell`` called, once, or None: nobody any longer. False: the client has left already."""
        ...


class _UnknownConnection:
    """Of a request that came another way than by our HTTP server."""

    has_whole_body = False

    def when_client_leaves(self, tell: Callable[[], None] | None) -> bool:
        return True


_UNKNOWN = _UnknownConnection()


def put_connection(scope: Scope, connection: Connection) -> None:
    scope[_IN_SCOPE] = connection


def connection_of(scope: Scope) -> Connection:
    found: Connection = scope.get(_IN_SCOPE, _UNKNOWN)
    return found


async def while_client_waits(work: Coroutine[None, None, Result], connection: Connection) -> Result:
    """
    Raises:
        ClientLeft: before it was done; it was cancelled.
    """
    # In the request's own task: another one for each request costs more than all else here.
    task = asyncio.current_task()
    assert task is not None
    gone = False

    def stop_work() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    if not connection.when_client_leaves(stop_work):
        work.close()
        raise ClientLeft
    try:
        return await work
    except asyncio.CancelledError:
        if not gone or task.uncancel() > 0:
            raise
        raise ClientLeft from None
    finally:
        connection.when_client_leaves(None)
