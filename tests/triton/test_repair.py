"""What dies or hangs in a real server is found, told of, and started again; and what only takes long is left alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.launchers.protocol import Endpoints
from cortex_compile.launchers.watch_server import Patience

from .ask import ask_json
from .clients import echo
from .predictor_build import predictor_build
from .processes import processes_of, wait_until
from .tiny_build import echo_build

TIMEOUT_S = 1.0
PATIENCE = Patience(overdue_s=2.5, dumb_s=6.0, silent_server_s=4.0, pauses_s=(0.0,) * 10)


class Watched:
    """A server that is watched, what it told, and the faults that were seen at any time."""

    def __init__(self, server: EmbeddedServer, endpoints: Endpoints, told: list[str]) -> None:
        self.server, self.endpoints, self.told = server, endpoints, told

    def pid(self) -> int:
        pid: int = ask_json(self.endpoints.grpc, "faulty", {})["pid"]
        return pid

    def wait_for_fault(self) -> dict[str, str]:
        assert wait_until(lambda: bool(self.server.health()), timeout_s=20)
        return dict(self.server.health())

    def wait_until_well(self) -> None:
        assert wait_until(lambda: not self.server.health(), timeout_s=60), self.told

    def repairs(self, api: str, reason: str) -> int:
        return self.server.repairs().get(api, {}).get(reason, 0)


@pytest.fixture(scope="module")
def watched(installed_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    builds = [predictor_build(folder / "faulty", "faulty", request_timeout_s=TIMEOUT_S), echo_build(folder / "echo")]
    told: list[str] = []
    server = EmbeddedServer(builds, http_port=0, grpc_port=0, metrics_port=0, repair=told.append, patience=PATIENCE)
    with_endpoints = server.start(timeout_s=90)
    yield Watched(server, with_endpoints, told)
    server.stop(timeout_s=3)


@pytest.mark.parametrize(
    ("number", "reason", "fault", "line"),
    [
        (signal.SIGKILL, "killed", "its process ended, and is started again", "was killed (SIGKILL"),
        (signal.SIGSEGV, "killed", "its process ended, and is started again", "crashed (SIGSEGV)"),
        (signal.SIGSTOP, "stopped", "its process was stopped, and is started again", "was stopped (SIGSTOP)"),
    ],
)
def test_a_predictor_that_is_hit_by_a_signal(
    watched: Watched, number: signal.Signals, reason: str, fault: str, line: str
) -> None:
    before, pid = watched.repairs("faulty", reason), watched.pid()
    os.kill(pid, number)
    assert watched.wait_for_fault() == {"faulty": fault}
    assert echo(tritonclient.grpc, watched.endpoints.grpc) == [1, 2, 3]
    watched.wait_until_well()
    assert watched.pid() != pid
    assert watched.repairs("faulty", reason) == before + 1
    assert any(f"faulty: its process {line}" in each for each in watched.told)
    # The model, or Triton with it, where that crashed.
    assert wait_until(lambda: ": ready again" in watched.told[-1], timeout_s=10)


@pytest.mark.parametrize("payload", [{"do": "loop"}, {"do": "sleep", "seconds": 600}], ids=["loops", "waits"])
def test_a_predictor_that_never_answers(watched: Watched, payload: dict[str, Any]) -> None:
    pid, before = watched.pid(), watched.repairs("faulty", "stuck")
    with asked(watched, payload, timeout_s=TIMEOUT_S):
        watched.wait_for_fault()
        assert wait_until(lambda: watched.repairs("faulty", "stuck") > before, timeout_s=20), watched.told
        assert watched.server.health() == {"faulty": "its process did not answer in time, and is started again"}
        watched.wait_until_well()
    assert watched.pid() != pid
    assert watched.repairs("faulty", "stuck") == before + 1


def test_a_predictor_that_is_late_is_not_ready_until_it_answers(watched: Watched) -> None:
    pid = watched.pid()
    with asked(watched, {"do": "sleep", "seconds": TIMEOUT_S + 1.2}, timeout_s=TIMEOUT_S):
        assert watched.wait_for_fault() == {"faulty": "it does not answer at the moment"}
        watched.wait_until_well()
    assert watched.pid() == pid


def test_a_predictor_that_hangs_while_nobody_asks(watched: Watched) -> None:
    before, pid = watched.repairs("faulty", "stuck"), ask_json(watched.endpoints.grpc, "faulty", {"do": "hang later"})
    assert watched.wait_for_fault() == {"faulty": "it does not answer at the moment"}
    assert wait_until(lambda: watched.repairs("faulty", "stuck") > before, timeout_s=30), watched.told
    watched.wait_until_well()
    assert watched.pid() != pid["pid"]


def test_what_takes_long_is_left_alone(watched: Watched) -> None:
    pid, repairs = watched.pid(), watched.server.repairs()
    # It may take as long as it likes; and so much and a little more.
    ask_json(watched.endpoints.grpc, "faulty", {"do": "sleep", "seconds": 2.5})
    ask_json(watched.endpoints.grpc, "faulty", {"do": "sleep", "seconds": 1.2}, timeout_s=TIMEOUT_S)
    assert watched.pid() == pid
    assert watched.server.repairs() == repairs


def test_a_server_that_is_killed_answers_on_the_same_ports(watched: Watched) -> None:
    server = watched.server.server_pid
    assert server is not None
    os.kill(server, signal.SIGKILL)
    assert watched.wait_for_fault() == {"": "it ended, and is started again"}
    watched.wait_until_well()
    assert watched.server.server_pid != server
    assert watched.server.poll() is None
    assert processes_of(server) == []
    assert echo(tritonclient.grpc, watched.endpoints.grpc) == [1, 2, 3]
    assert echo(tritonclient.http, watched.endpoints.http) == [1, 2, 3]
    assert watched.repairs("", "killed") >= 1
    # What it started is watched over, too.
    os.kill(watched.pid(), signal.SIGKILL)
    assert "faulty" in watched.wait_for_fault()
    watched.wait_until_well()
    assert watched.pid()


def test_a_server_that_is_stopped_for_a_while_goes_on(watched: Watched) -> None:
    server, pid = watched.server.server_pid, watched.pid()
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    try:
        assert watched.wait_for_fault() == {"": "it is stopped"}
    finally:
        os.kill(server, signal.SIGCONT)
    watched.wait_until_well()
    assert (watched.server.server_pid, watched.pid()) == (server, pid)


def test_a_server_that_stays_stopped_is_replaced(watched: Watched) -> None:
    server = watched.server.server_pid
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    watched.wait_for_fault()
    watched.wait_until_well()
    assert watched.server.server_pid != server
    assert watched.repairs("", "stopped") == 1
    assert watched.pid()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os._exit(7)", "its Python process ended while it was starting"),
        ("raise FileNotFoundError('weights.bin')", "FileNotFoundError: weights.bin"),
    ],
)
def test_what_fails_again_and_again_is_given_up(installed_server: None, tmp_path: Path, code: str, said: str) -> None:
    broken = tmp_path / "broken"
    told: list[str] = []
    server = EmbeddedServer(
        [predictor_build(tmp_path / "build", "faulty", config={"broken": str(broken)})],
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        repair=told.append,
        patience=Patience(pauses_s=(0.0, 0.1)),
    )
    endpoints = server.start(timeout_s=90)
    try:
        broken.write_text(code)
        os.kill(ask_json(endpoints.grpc, "faulty", {})["pid"], signal.SIGKILL)
        assert wait_until(lambda: server.poll() is not None, timeout_s=40), told
        assert server.failure is not None
        # Of the model, or of Triton, where that crashed with a model that does not load.
        assert " failed 3 times without a healthy minute between; at last" in server.failure
        assert "'faulty'" in server.failure
        assert said in server.failure
    finally:
        server.stop(timeout_s=2)
    log = Path(server.failure.rpartition("The server's whole log is ")[2].rstrip("."))
    assert log.is_file()


class asked:
    """A request is under way meanwhile, whatever becomes of it."""

    def __init__(self, watched: Watched, payload: dict[str, Any], timeout_s: float) -> None:
        def ask() -> None:
            with suppress(InferenceServerException):
                ask_json(watched.endpoints.grpc, "faulty", payload, timeout_s=timeout_s)

        # Of a process that died, a call without an end of its own would never end.
        self._thread = threading.Thread(target=ask, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._thread.join(0.1)
