"""The threads of predict: how many there are, in which order they work, and that nothing ends them but shutdown."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from queue import SimpleQueue

import pytest

from cortex_compile.python_backend.places import Places
from cortex_compile.python_backend.predict_threads import PredictThreads
from cortex_compile.python_backend.turn_threads import TurnThreads

PATIENCE_S = 20.0

Kind = type[PredictThreads] | type[TurnThreads]
KINDS = (PredictThreads, TurnThreads)


def nothing() -> None:
    pass


def name() -> str:
    return threading.current_thread().name


@pytest.mark.parametrize("kind", KINDS)
def test_one_thread_does_all_in_the_order_in_which_it_came(kind: Kind) -> None:
    threads, seen = kind(1, nothing), list[tuple[int, str]]()
    assert threads.run(name) == "predict_0"
    for number in range(100):
        threads.submit(lambda number: seen.append((number, name())), number)
    threads.shutdown()
    assert seen == [(number, "predict_0") for number in range(100)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_run_is_returned_or_raised(kind: Kind) -> None:
    threads = kind(1, nothing)
    assert threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(SystemExit, match="bye"):
        threads.run(sys.exit, "bye")
    assert threads.run(name) == "predict_0"
    threads.shutdown()


def test_a_thread_is_started_when_all_others_are_busy_and_begins() -> None:
    begun, names = list[str](), SimpleQueue[str]()
    threads = PredictThreads(3, lambda: begun.append(name()))
    gate = threading.Event()

    def wait() -> None:
        names.put(name())
        assert gate.wait(PATIENCE_S)

    assert begun == []
    for number in range(5):
        threads.submit(wait)
        if number < 3:
            assert names.get(timeout=PATIENCE_S) == f"predict_{number}"
            assert begun == [f"predict_{index}" for index in range(number + 1)]
    assert names.empty()
    gate.set()
    threads.shutdown()
    assert names.qsize() == 2
    assert len(begun) == 3


def test_one_thread_is_enough_while_it_is_idle() -> None:
    threads = PredictThreads(4, nothing)
    for _ in range(3):
        assert threads.run(name) == "predict_0"
        while threads._unfinished:  # the answer comes before the thread is idle
            pass
    threads.shutdown()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(), KeyboardInterrupt()])
def test_what_is_raised_is_logged_and_ends_no_thread(
    kind: Kind, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    threads = kind(1, nothing)
    with caplog.at_level(logging.ERROR):
        threads.submit(fail)
        assert threads.run(name) == "predict_0"
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error]
    threads.shutdown()
    threads.shutdown()


@pytest.mark.parametrize("kind", KINDS)
def test_python_ends_without_a_shutdown_when_what_was_submitted_is_done(kind: Kind) -> None:
    code = (
        "import threading, time\n"
        f"from {kind.__module__} import {kind.__name__}\n"
        f"threads = {kind.__name__}(2, lambda: None)\n"
        "threads.submit(time.sleep, 0.2)\n"
        "threads.submit(print, 'first')\n"
        "threads.submit(print, 'last')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["first", "last"]


def test_places_are_as_many_as_they_are() -> None:
    places = Places(2)
    assert [places.take(wait=False) for _ in range(3)] == [True, True, False]
    threading.Timer(0.05, places.give_back).start()
    assert places.take(wait=True)
    assert not places.take(wait=False)
