from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex_compile.launchers.stubs import StubList, how_it_ended, read_process

# A program of that name with a stub's arguments, and a child that it forks.
STUB = "import os, sys, time\nif sys.argv[1] == 'forks': os.fork()\nprint(flush=True)\ntime.sleep(60)"


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "exited with status 0"),
        (3 << 8, "exited with status 3"),
        (9, "was killed (SIGKILL: by somebody, or by the system because the machine had no memory left)"),
        (11 | 0x80, "crashed (SIGSEGV)"),
        (64, "crashed (SIGRTMAX)"),
        (40, "crashed (signal 40)"),
    ],
)
def test_how_it_ended_in_words(exit_code: int, words: str) -> None:
    assert how_it_ended(exit_code) == words


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = tmp_path / "triton_python_backend_stub"
    program.write_text(f"#!{sys.executable}\n{STUB}")
    arguments = [str(program), "-c", STUB, "forks", "/models/a_b/1/model.py", "region", "a_b_0_12", "DEFAULT"]
    with subprocess.Popen(arguments, executable=sys.executable, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        (forked,) = _children(process.pid)
        yield process
        os.kill(forked, signal.SIGKILL)
        process.kill()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_stubs_are_found_by_their_instance_and_not_what_they_forked(stub: subprocess.Popen[bytes]) -> None:
    stubs = StubList()
    stubs.follow(os.getpid())
    stubs.look_for_new()
    assert [(each.pid, each.model) for each in stubs.of_model("a_b")] == [(stub.pid, "a_b")]
    assert list(stubs.known) == [stub.pid]


def test_a_stub_that_ended_is_known_until_its_status_is_taken(stub: subprocess.Popen[bytes]) -> None:
    stubs = StubList()
    stubs.follow(os.getpid())
    stubs.look_for_new()
    os.kill(stub.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not (process := read_process(stub.pid)) or not process.has_ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.exit_code == signal.SIGKILL
    stubs.look_for_new()
    assert list(stubs.known) == [stub.pid]
    stub.wait()
    stubs.look_for_new()
    assert not stubs.known


def test_another_server_has_other_stubs(stub: subprocess.Popen[bytes]) -> None:
    stubs = StubList()
    stubs.follow(os.getpid())
    stubs.look_for_new()
    stubs.follow(os.getppid())
    stubs.look_for_new()
    assert not stubs.known
