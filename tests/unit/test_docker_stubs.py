"""What is made of what the program in a container tells of the processes there, and what that program tells."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cortex_compile.launchers import docker_stubs, tell_stubs
from cortex_compile.launchers.docker_stubs import ContainerFinding, ContainerStubs
from cortex_compile.launchers.judge_work import DEADLINES_VARIABLE
from cortex_compile.launchers.stubs import STUB

ENDED, STUCK = "process", "stuck"


def stub(
    pid: int, model: str, parent: str = "tritonserver", state: str = "S", late_by_s: list[float | None] | None = None
) -> list[Any]:
    words = [f"/opt/backends/python/{STUB}", f"/builds/{model}/1/model.py", "336", f"{model}_0_0", "DEFAULT"]
    return [pid, parent, state, words, late_by_s or [None]]


class Container:
    """Runs a program that tells what ``tell`` is given, in pieces."""

    def __init__(self) -> None:
        self.runs = 0
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[None] = queue.SimpleQueue()

    def exec_run(self, command: list[str], *, stream: bool, stderr: bool) -> Any:
        assert (command[0], stream, stderr) == ("python3", True, False)
        self.runs += 1
        return SimpleNamespace(output=self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        while (line := self._lines.get()) is not None:
            try:
                yield line[:7]
                yield line[7:]
            finally:
                self._heard.put(None)

    def tell(self, *processes: list[Any]) -> None:
        self.write(json.dumps(processes).encode() + b"\n")

    def write(self, line: bytes) -> None:
        self._lines.put(line)
        with contextlib.suppress(queue.Empty):
            self._heard.get(timeout=5)

    def end_program(self) -> None:
        self._lines.put(None)


def listening(container: Container, **more: Any) -> ContainerStubs:
    stubs = ContainerStubs(container, **more)
    assert stubs.look() is None  # nothing is told yet
    return stubs


def test_those_that_run_are_well() -> None:
    container = Container()
    stubs = listening(container)
    for _ in range(2):
        container.tell(stub(7, "near"), stub(8, "far--core"))
        assert stubs.look() is None
    container.tell(stub(7, "near"), stub(8, "far--core"), stub(9, "later"))
    assert stubs.look() is None
    assert container.runs == 1


def test_one_that_ended_is_named() -> None:
    container = Container()
    stubs = listening(container)
    container.tell(stub(7, "near"), stub(8, "far--core"))
    assert stubs.look() is None
    container.tell(stub(7, "near"))
    assert stubs.look() == ContainerFinding(ENDED, "the process of 'far--core' ended")
    stubs.forget()
    assert stubs.look() is None
    assert container.runs == 2


def test_one_that_is_stopped_is_seen_twice() -> None:
    container = Container()
    stubs = listening(container)
    stopped = ContainerFinding(ENDED, "the process of 'near' was stopped (SIGSTOP)")
    for state, said in (("T", None), ("S", None), ("T", None), ("T", stopped)):
        container.tell(stub(7, "near", state=state))
        assert [stubs.look(), stubs.look()] == [said, said]


def test_one_that_is_late_is_stuck_in_the_end_and_answers_nobody_before() -> None:
    container = Container()
    stubs = listening(container)
    for late_by_s, answering_nobody in (([-1.0, None], set()), ([2.0, None], set()), ([2.0, 1.0], {"near"})):
        container.tell(stub(7, "near", late_by_s=late_by_s), stub(8, "far"))
        assert stubs.look() is None
        assert stubs.answering_nobody == answering_nobody
    container.tell(stub(7, "near", late_by_s=[10.5, None]), stub(8, "far"))
    said = "the process of 'near' is stuck: a prediction takes 10 s longer than its request may"
    assert stubs.look() == ContainerFinding(STUCK, said)


def test_one_of_two_that_is_late_leaves_the_other_to_answer() -> None:
    container = Container()
    stubs = listening(container)
    container.tell(stub(7, "near", late_by_s=[2.0]), stub(8, "near"))
    assert stubs.look() is None
    assert stubs.answering_nobody == set()


def test_one_that_has_nothing_to_do_and_does_not_answer_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("cortex_compile.launchers.judge_work.time", SimpleNamespace(monotonic=lambda: now_s))
    container = Container()
    stubs = listening(container, unanswered_s=lambda model: 20.0 if model == "near" else 0.0)
    container.tell(stub(7, "near"), stub(8, "far"))
    for passed_s, answering_nobody in ((0.0, set()), (4.0, {"near"})):
        now_s += passed_s
        assert stubs.look() is None
        assert stubs.answering_nobody == answering_nobody
    now_s += 12.0
    finding = stubs.look()
    assert finding is not None
    assert finding.what == "the process of 'near' is stuck: it has nothing to do and has not answered for 16 s"


def test_what_a_predictor_forked_may_end() -> None:
    container = Container()
    stubs = listening(container)
    container.tell(stub(7, "near"), stub(9, "near", parent="triton_python_b"))
    assert stubs.look() is None
    container.tell(stub(7, "near"))
    assert stubs.look() is None


def test_nothing_that_is_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_stubs, "_TRY_AGAIN_S", 0.0)
    container = Container()
    stubs = listening(container)
    for number, line in enumerate((b"[[]]\n", b'{"a": 1}\n', b"[[1,2,3,4,5]]\n", b"not JSON\n", b"x" * (1 << 21))):
        container.write(line)
        deadline = time.monotonic() + 5
        while container.runs == number + 1 and time.monotonic() < deadline:
            assert stubs.look() is None
        assert container.runs == number + 2


def test_a_program_that_ended_is_run_again_and_what_it_said_is_not_believed_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docker_stubs, "_FRESH_S", 0.05)
    container = Container()
    stubs = listening(container)
    container.tell(stub(7, "near"), stub(8, "far"))
    assert stubs.look() is None
    container.tell(stub(7, "near"))
    time.sleep(0.1)
    assert stubs.look() is None  # it was told too long ago
    monkeypatch.setattr(docker_stubs, "_TRY_AGAIN_S", 0.0)
    stubs._try_again_s = 0.0
    container.end_program()
    deadline = time.monotonic() + 5
    while container.runs == 1 and time.monotonic() < deadline:
        stubs.look()
    assert container.runs == 2


@pytest.fixture
def tells(tmp_path: Path) -> Iterator[Callable[[], list[Any]]]:
    """The next line of the program, which runs as in a container."""
    program = Path(tell_stubs.__file__).read_text()
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, DEADLINES_VARIABLE: str(tmp_path)},
    )
    assert process.stdout is not None
    lines = process.stdout
    yield lambda: json.loads(lines.readline())
    process.kill()
    process.wait()
    lines.close()


def test_the_program_tells_of_each_stub(tells: Callable[[], list[Any]], tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    link = tmp_path / STUB
    link.symlink_to(sleep)
    process = subprocess.Popen([link, "300"])
    try:
        table = struct.pack("=3d", time.monotonic() - 3.0, 0.0, float("inf"))
        (tmp_path / str(process.pid)).write_bytes(table)
        deadline = time.monotonic() + 10
        # Only its own: other tests have processes of such a name too.
        while not (found := [line for line in tells() if line[0] == process.pid]) or found[0][4] == []:
            assert time.monotonic() < deadline
        ((pid, parent, state, words, late_by_s),) = found
        assert (pid, state, words) == (process.pid, "S", [str(link), "300"])
        assert parent == Path("/proc/self/comm").read_text().strip()
        assert late_by_s[0] >= 3.0
        assert late_by_s[1:] == [None, -1e9]
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while any(line[0] == process.pid for line in tells()):
        assert time.monotonic() < deadline
