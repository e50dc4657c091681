from __future__ import annotations

import threading
from functools import partial

import pytest

from cortex_compile.python_backend.after_answer import AfterAnswer


def test_the_work_is_done_in_order_while_others_go_on() -> None:
    after, go, done = AfterAnswer(), threading.Event(), list[tuple[int, bool]]()
    here = threading.get_ident()

    def wait(number: int) -> None:
        go.wait(10)
        done.append((number, threading.get_ident() == here))

    for number in range(3):
        after.run(partial(wait, number))
    after.run(None)
    assert done == []
    go.set()
    after.drain()
    assert done == [(0, False), (1, False), (2, False)]


def test_what_has_no_place_is_done_at_once() -> None:
    after, go, done = AfterAnswer(places=1), threading.Event(), list[str]()

    def wait() -> None:
        go.wait(10)
        done.append("first")

    after.run(wait)
    after.run(lambda: done.append("second"))
    assert done == ["second"]
    go.set()
    after.drain()
    assert done == ["second", "first"]


@pytest.mark.parametrize("places", [1, 0])
def test_work_that_fails_is_logged_and_nothing_else(places: int, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise SystemExit("no database")

    after = AfterAnswer(places)
    after.run(fail)
    after.drain()
    assert [record.getMessage() for record in caplog.records] == ["work after the answer failed"]
