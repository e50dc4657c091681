"""A child process that reports: what it tells, how it ended, and that it never outlives who reads it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from cortex_compile.compiler import isolation
from cortex_compile.compiler.isolation import Ended, run_child
from cortex_compile.compiler.undisturbed import undisturbed

HELLO = """
import json, os, sys, time
pipe = os.fdopen(int(sys.argv[2]), "w")
print(json.dumps({"pid": os.getpid()}), file=pipe, flush=True)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the module ``child``, to be written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "child.py"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ending_of(child: Path, source: str) -> Ended:
    child.write_text(source)
    *_, last = run_child("child", {}, child.with_name("request.json"), 60.0)
    assert isinstance(last, Ended)
    return last


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", None),
        ("raise SystemExit(7)", "its process ended with exit code 7"),
        ("os.abort()", "its process was ended by SIGABRT"),
        ("os.kill(os.getpid(), 9)", "its process was killed (SIGKILL), as a system does when memory runs out"),
    ],
)
def test_how_a_child_ended_is_told(child: Path, source: str, reason: str | None) -> None:
    assert ending_of(child, f"{HELLO}pipe.close()\n{source}\n").reason == reason


def test_a_child_that_was_killed_for_memory_is_named_so(child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr(isolation, "_killed_for_memory", lambda: next(counts))
    ended = ending_of(child, "import os\nos.kill(os.getpid(), 9)\n")
    assert ended.reason == "its process was killed (SIGKILL), since memory ran out"


def test_the_kernel_counts_those_it_killed_for_memory() -> None:
    assert isolation._killed_for_memory() >= 0
    assert "oom_kill " in Path("/proc/vmstat").read_text()


def test_a_child_does_not_outlive_who_reads_it(child: Path) -> None:
    child.write_text(f"{HELLO}time.sleep(60)\n")
    pids: list[int] = []

    def read_and_fail() -> None:
        with closing(run_child("child", {}, child.with_name("request.json"), 60.0)) as messages:
            message = next(messages)
            assert isinstance(message, dict)
            pids.append(message["pid"])
            raise KeyboardInterrupt  # while what was told is worked on

    with pytest.raises(KeyboardInterrupt):
        read_and_fail()
    assert not is_running(pids[0])


def test_signals_wait_until_the_work_is_done_and_come_once() -> None:
    done = []

    def work() -> None:
        with undisturbed():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
