"""On which event loop a request's coroutine waits, and what becomes of what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from cortex_compile.python_backend.coroutines import CommonLoop, wait_for, wait_here

name: ContextVar[str] = ContextVar("name", default="nobody's")


async def the_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.fixture
def common_loop() -> Iterator[CommonLoop]:
    loop = CommonLoop()
    yield loop
    loop.close()


def test_a_thread_keeps_its_loop_from_one_request_to_the_next() -> None:
    assert wait_for(the_loop()) is wait_for(the_loop())


def test_a_client_that_connected_in_one_request_serves_the_next() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def connect() -> tuple[asyncio.Server, asyncio.StreamReader, asyncio.StreamWriter]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        return server, *await asyncio.open_connection(*server.sockets[0].getsockname())

    async def ask(word: bytes) -> bytes:
        writer.write(word + b"\n")
        return await reader.readline()

    common = CommonLoop()  # where the server goes on between the requests
    try:
        server, reader, writer = wait_for(connect())
        assert [wait_for(ask(word)) for word in (b"one", b"two")] == [b"one\n", b"two\n"]
        writer.close()
        server.close()
        wait_for(writer.wait_closed())
    finally:
        common.close()


def test_a_threads_loop_is_closed_with_it() -> None:
    with ThreadPoolExecutor(1) as thread:
        loop = thread.submit(wait_for, the_loop()).result()
        assert not loop.is_closed()
    assert loop.is_closed()


def test_what_a_request_leaves_behind_in_its_threads_loop_is_cancelled() -> None:
    ended = []

    async def leave_something() -> None:
        async def wait() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("cleaned up")

        ended.append(asyncio.create_task(wait()))
        await asyncio.sleep(0)

    wait_for(leave_something())
    assert ended[1:] == ["cleaned up"]


@pytest.mark.parametrize("wait", [wait_for, wait_here])
def test_a_coroutine_sees_the_requests_own_context(wait: object, common_loop: CommonLoop) -> None:
    async def look() -> str:
        return name.get()

    token = name.set("the second's")
    try:
        assert wait_for(look()) == wait_here(look()) == "the second's"
    finally:
        name.reset(token)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), ValueError("no")])
def test_whatever_is_raised_comes_out_and_the_loop_goes_on(error: BaseException, common_loop: CommonLoop) -> None:
    async def fail() -> None:
        raise error

    for wait in (wait_for, wait_here):
        with pytest.raises(type(error)) as raised:
            wait(fail())
        assert raised.value is error
        assert not wait(the_loop()).is_closed()


def test_coroutines_of_several_threads_run_together_in_the_common_loop(common_loop: CommonLoop) -> None:
    met = asyncio.Barrier(2)

    async def meet() -> tuple[asyncio.AbstractEventLoop, int]:
        await met.wait()
        return asyncio.get_running_loop(), threading.get_ident()

    with ThreadPoolExecutor(2) as threads:
        (first, its_thread), second = [
            future.result(10) for future in [threads.submit(wait_for, meet()) for _ in range(2)]
        ]
    assert second == (first, its_thread)
    assert its_thread != threading.get_ident()
    assert wait_here(the_loop()) is not first


def test_what_is_left_behind_in_the_common_loop_goes_on_until_it_is_closed() -> None:
    common, ended = CommonLoop(), []

    async def leave_something() -> asyncio.Event:
        going_on = asyncio.Event()

        async def go_on() -> None:
            going_on.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("cleaned up")

        ended.append(asyncio.create_task(go_on()))
        return going_on

    going_on = wait_for(leave_something())
    wait_for(going_on.wait())
    assert len(ended) == 1
    common.close()
    assert ended[1:] == ["cleaned up"]
    assert wait_for(the_loop()) is wait_here(the_loop())


def test_a_copy_of_the_process_that_a_coroutine_made_answers_nothing(common_loop: CommonLoop) -> None:
    async def fork() -> int:
        await asyncio.sleep(0)
        return os.fork()

    async def use_another_thread() -> int:
        return await asyncio.to_thread(lambda: 5)

    assert wait_here(use_another_thread()) == 5
    for wait in (wait_for, wait_here):
        child = wait(fork())
        assert child > 0
        assert os.waitpid(child, 0) == (child, 0)
        # The loops of the original are as they were: Linux lets copies share what an event loop waits with.
        assert wait_here(use_another_thread()) == wait_for(use_another_thread()) == 5


def test_what_was_left_behind_does_not_end_the_common_loop(common_loop: CommonLoop) -> None:
    async def leave_an_exit() -> None:
        async def leave() -> None:
            raise SystemExit(1)

        left = asyncio.get_running_loop().create_task(leave())
        left.add_done_callback(asyncio.Task.exception)  # seen

    wait_for(leave_an_exit())
    assert not wait_for(the_loop()).is_closed()
