"""Process 1 of a container, as a process here: it is told to be the one to whom orphans come."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cortex_compile.launchers import docker_init

_PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def start(*command: str) -> Iterator[subprocess.Popen[str]]:
    def become_reaper() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    # preexec_fn, since being a subreaper is inherited by exec and not by fork.
    words = [sys.executable, docker_init.__file__, *command]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, preexec_fn=become_reaper, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_it_ends_as_its_command_does() -> None:
    for command, code in ((["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["/none/such"], 127)):
        with start(*command) as process:
            assert process.wait(timeout=20) == code


def test_signals_reach_the_command() -> None:
    with start("sh", "-c", "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.05; done") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 3
        assert process.stdout.read() == "told\n"


def test_orphans_do_not_stay_as_zombies() -> None:
    # The middle process ends at once, so the first sleep becomes a child of the init, and ends a little later.
    with start("sh", "-c", "sh -c 'sleep 0.2 & echo $!'; exec sleep 30") as process:
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        deadline = time.monotonic() + 20
        while Path(f"/proc/{orphan}").exists():
            assert time.monotonic() < deadline, "the orphan is still there"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
