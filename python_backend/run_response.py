"""Responses that make their body as they go: what they send, one message at a time, on the thread that asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["iterate_here", "run_response"]

Item = TypeVar("Item")
_END: Any = object()


def iterate_here(iterator: AsyncIterator[Item]) -> Generator[Item]:
    """The items of an asynchronous iterator, each made when it is asked for. Closing it closes the iterator."""
    with asyncio.Runner() as runner:
        try:
            while (item := runner.run(_next(iterator))) is not _END:
                yield item
        finally:
            runner.run(_close(iterator))


async def _next(iterator: AsyncIterator[Item]) -> Item:
    return await anext(iterator, _END)


async def _close(iterator: AsyncIterator[Any]) -> None:
    # Only a generator has it.
    if hasattr(iterator, "aclose"):
        await iterator.aclose()


def run_response(response: Response) -> Generator[Any]:
    """The ASGI messages of a response, which does not go on before the next one is asked for.

    Its background task is left to the caller: called as a whole, a response runs it before its answer is sent.
    """
    task, response.background = response.background, None
    try:
        _keep_on_this_thread(response)
        yield from iterate_here(_messages(response))
    finally:
        response.background = task


async def _messages(response: Response) -> AsyncIterator[Any]:
    sent: asyncio.Queue[Any] = asyncio.Queue()
    wanted = asyncio.Semaphore(0)

    async def send(message: Any) -> None:
        sent.put_nowait(message)
        await wanted.acquire()

    async def receive() -> Any:
        # A client that leaves is noticed between two messages, and then the response is cancelled.
        await asyncio.Event().wait()

    # From ASGI 2.4 on starlette needs no second task that listens for a disconnect.
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "method": "POST", "headers": []}
    running = asyncio.ensure_future(response(scope, receive, send))
    running.add_done_callback(lambda _: sent.put_nowait(_END))
    try:
        while (message := await sent.get()) is not _END:
            yield message
            wanted.release()
        await running
    finally:
        running.cancel()
        with contextlib.suppress(BaseException):
            await running
        body = getattr(response, "body_iterator", None)
        if body is not None:
            await _close(body)


def _keep_on_this_thread(response: Any) -> None:
    """starlette takes a plain iterator to threads of its own, and nothing of the user's may run in another thread."""
    from starlette.concurrency import iterate_in_threadpool

    body = getattr(response, "body_iterator", None)
    if inspect.isasyncgen(body) and body.ag_code is iterate_in_threadpool.__code__:
        assert body.ag_frame is not None  # it was not begun
        (iterable,) = body.ag_frame.f_locals.values()
        response.body_iterator = _as_async(iterable)


async def _as_async(iterable: Iterable[Item]) -> AsyncIterator[Item]:
    def items() -> Generator[Item]:
        yield from iterable

    with contextlib.closing(items()) as closed_with_it:
        for item in closed_with_it:
            yield item
