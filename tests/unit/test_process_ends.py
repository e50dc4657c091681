from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from cortex_compile.launchers.process_ends import ProcessEnds


@pytest.fixture
def ends() -> Iterator[ProcessEnds]:
    ends = ProcessEnds()
    yield ends
    ends.close()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_an_end_is_told_at_once_and_only_once(ends: ProcessEnds, process: subprocess.Popen[bytes]) -> None:
    ends.follow([process.pid])
    assert not ends.wait(0.05)
    process.kill()
    assert ends.wait(30)
    ends.follow([process.pid])  # it is a zombie now
    assert not ends.wait(0.05)


def test_a_grandchild_is_followed(ends: ProcessEnds) -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE)
    assert shell.stdout is not None
    with shell, shell.stdout as said:
        grandchild = int(said.readline())
        ends.follow([grandchild])
        os.kill(grandchild, 9)
        assert ends.wait(30)


def test_what_is_not_followed_any_more_is_not_told(ends: ProcessEnds, process: subprocess.Popen[bytes]) -> None:
    ends.follow([process.pid])
    ends.follow([])
    process.kill()
    assert not ends.wait(0.05)


def test_a_process_that_is_gone_is_no_error(ends: ProcessEnds) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    ends.follow([gone.pid])
    assert not ends.wait(0.01)


def test_it_can_be_woken_before_and_while_it_waits(ends: ProcessEnds) -> None:
    ends.wake()
    assert not ends.wait(60)
    threading.Timer(0.05, ends.wake).start()
    began_s = time.monotonic()
    assert not ends.wait(60)
    assert time.monotonic() - began_s < 30


def test_it_is_closed_as_often_as_one_likes() -> None:
    ends = ProcessEnds()
    ends.follow([os.getpid()])
    ends.close()
    ends.close()
