"""When a container is started again, and when no more: with a container that does as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cortex_compile.launchers import docker_watch
from cortex_compile.launchers.docker_watch import Watch


class Container:
    """Runs after ``start``, until it is ended."""

    def __init__(self) -> None:
        self.status, self.starts, self.gone, self.has_stub = "created", 0, False, True
        self.attrs: dict[str, Any] = {"State": {"ExitCode": 0}}
        self.started = threading.Semaphore(0)
        self.late_by_s: float | None = None

    def attach(self, **_: Any) -> Iterator[bytes]:
        yield from (b"a li", b"ne\nand an", b"other")

    def start(self) -> None:
        self.status, self.starts = "running", self.starts + 1
        self.started.release()

    def reload(self) -> None:
        if self.gone:
            raise LookupError("no such container")

    def stop(self, timeout: int) -> None:
        self.end(0)

    def end(self, code: int) -> None:
        self.attrs["State"] = {"ExitCode": code}
        self.status = "exited"

    def exec_run(self, command: list[str], *, stream: bool, stderr: bool) -> Any:
        return SimpleNamespace(output=self._tell())

    def _tell(self) -> Iterator[bytes]:
        while self.status == "running":
            stub = [2, "tritonserver", "S", ["triton_python_backend_stub", "near_0_0"], [self.late_by_s]]
            yield json.dumps([stub] if self.has_stub else []).encode() + b"\n"
            time.sleep(0.001)

    def kill(self) -> None:
        self.has_stub, self.late_by_s = True, None
        self.end(137)

    def wait(self) -> None: ...


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_watch, "_LOOK_EVERY_S", 0.001)


def finished(watch: Watch) -> int | None:
    """The status that the watch gives up with."""
    assert watch._thread is not None
    watch._thread.join(timeout=20)
    return watch.status


def test_its_log_comes_line_by_line() -> None:
    lines: list[str] = []
    enough = threading.Event()

    def log(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            enough.set()

    Watch(Container(), log, print).start_container()
    assert enough.wait(20)
    assert lines == ["a line", "and another"]


def test_one_that_ends_is_started_five_times_and_then_given_up() -> None:
    container, told = Container(), list[str]()
    watch = Watch(container, lambda line: None, told.append)
    watch.start_container()
    watch.begin(lambda: True)
    for _ in range(6):
        assert container.started.acquire(timeout=20)
        container.end(137)
    assert finished(watch) == 137
    assert container.starts == 6
    assert [line.endswith("; starting it again.") for line in told] == [True] * 5 + [False]
    assert told[-1].endswith("5 times within 10 minutes; it is not started again.")


def test_one_that_is_not_ready_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_watch, "_UNREADY_FOR_S", 0.0)
    container, told = Container(), list[str]()
    watch = Watch(container, lambda line: None, told.append)
    watch.start_container()
    watch.begin(lambda: False)
    assert container.started.acquire(timeout=20)
    assert container.started.acquire(timeout=20)
    watch.end()
    assert watch.status is None
    assert told == ["Triton was not ready for 0 s; starting it again."]


def watched() -> tuple[Container, Watch, list[str]]:
    """One that runs, and has been looked at."""
    container, told = Container(), list[str]()
    watch = Watch(container, lambda line: None, told.append)
    watch.start_container()
    assert container.started.acquire(timeout=20)
    watch.begin(lambda: True)
    deadline = time.monotonic() + 20
    while not watch._stubs._known:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return container, watch, told


def test_one_in_which_a_models_process_ended_is_started_again() -> None:
    container, watch, told = watched()
    container.has_stub = False
    assert container.started.acquire(timeout=20)
    watch.end()
    assert watch.status is None
    assert watch.repairs == {"process": 1}
    assert told == ["The process of 'near' ended; starting it again."]


def test_a_predictor_that_is_late_is_not_ready_and_one_that_is_stuck_has_it_started_again() -> None:
    container, watch, told = watched()
    for late_by_s, faults in ((5.0, {"near": "it does not answer at the moment"}), (None, {})):
        container.late_by_s = late_by_s
        deadline = time.monotonic() + 20
        while watch.faults != faults:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    container.late_by_s = 11.0
    assert container.started.acquire(timeout=20)
    watch.end()
    assert watch.repairs == {"stuck": 1}
    said = "The process of 'near' is stuck: a prediction takes 11 s longer than its request may; starting it again."
    assert told == [said]


def test_one_that_is_gone_is_given_up() -> None:
    container, told = Container(), list[str]()
    container.gone = True
    watch = Watch(container, lambda line: None, told.append)
    watch.begin(lambda: True)
    assert finished(watch) == 1
    assert "no such container" in told[0]


def test_nothing_is_repaired_once_it_is_to_end() -> None:
    container = Container()
    watch = Watch(container, lambda line: None, print)
    watch.start_container()
    watch.begin(lambda: True)
    watch.end()
    container.end(0)
    assert watch.status is None
    assert container.starts == 1
