"""Waiting for the user's coroutines, on an event loop that stays from one request to the next.

A client that keeps connections open (httpx, aiohttp, a database's pool) belongs to the loop that it first waited in. So
a process whose threads answer side by side has one loop for all of them, in a thread of its own; a process that answers
one request after the other waits in the thread that called ``__init__``, to which what that made may be bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections.abc import Awaitable
from contextvars import copy_context
from typing import Any

__all__ = ["CommonLoop", "wait_for", "wait_here"]


class CommonLoop:
    """While it is there, coroutines of all threads run together in its own. What they leave behind goes on."""

    def __init__(self) -> None:
        global _common
        self._loop = asyncio.new_event_loop()
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="coroutines", daemon=True)
        self._thread.start()
        _common = self

    def _run(self) -> None:
        while self._is_open:
            # What one request left behind may not end the loop that all others wait in.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self._loop.run_forever()

    def wait_for(self, awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
        return asyncio.run_coroutine_threadsafe(_outcome_of(awaitable), self._loop).result()

    def close(self) -> None:
        """There may be no more. What was left behind is cancelled."""
        global _common
        _common = None
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._is_open = False
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


_common: CommonLoop | None = None


_here = threading.local()


class _ThreadsLoop:
    """Made when a thread first needs it, and closed with the thread."""

    def __init__(self) -> None:
        runner = asyncio.Runner()
        self.run = runner.run
        weakref.finalize(self, _close, runner, os.getpid())

    @classmethod
    def of_this_thread(cls) -> _ThreadsLoop:
        found: _ThreadsLoop | None = getattr(_here, "loop", None)
        if found is None:
            found = _here.loop = cls()
        return found


def _close(runner: asyncio.Runner, process: int) -> None:
    if os.getpid() == process:
        runner.close()
    else:
        # A copy of the process that another thread made: closed, it would take its sockets from the original's loop.
        _not_ours.append(runner)


_not_ours: list[asyncio.Runner] = []


def wait_for(awaitable: Awaitable[Any]) -> Any:
    """What it gives, or raises, whatever that is."""
    return wait_here(awaitable) if _common is None else _given(_common.wait_for(awaitable))


def wait_here(awaitable: Awaitable[Any]) -> Any:
    """As ``wait_for``, and in any case in this thread."""
    # With the context of now: that of the request, in which its times and its deadline are kept.
    return _given(_ThreadsLoop.of_this_thread().run(_run_alone(awaitable), context=copy_context()))


def _given(outcome: tuple[Any, BaseException | None]) -> Any:
    value, error = outcome
    if error is not None:
        raise error
    return value


async def _run_alone(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """What is left behind is cancelled, as by asyncio.run: a thread's own loop runs nothing before the next request."""
    try:
        return await _outcome_of(awaitable)
    finally:
        await _cancel_others()


async def _outcome_of(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Caught, since SystemExit would end the loop that others wait in too."""
    process = os.getpid()
    try:
        return await awaitable, None
    except BaseException as error:
        return None, error
    finally:
        # The user's code forked: this is the copy, and its answer would be the second one.
        if os.getpid() != process:
            os._exit(0)


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.gather(*others, return_exceptions=True)
