"""The facade as several processes: what they count adds up, one that dies is replaced, and none outlives its parent."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cortex_compile.launchers.embedded import EmbeddedServer

from .conftest import RunningServer
from .facade_process import metric
from .processes import wait_until
from .told_predictor import told_build

# Faults are what the file holds, and the APIs change when it is told so; both as the launcher would tell.
LAUNCHER = """
import json, sys, threading
from dataclasses import replace
from pathlib import Path
from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.facade.listener import listen
from cortex_compile.facade.settings import FacadeSettings
from cortex_compile.facade.supervisor import FacadeSupervisor

address, workers, faults = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
listeners = listen("127.0.0.1", 0, workers)

def change_apis():
    for line in sys.stdin:
        facade.set_apis([ApiRoute(**api) for api in json.loads(line)])
        print("changed", flush=True)

with FacadeSupervisor(listeners) as facade:
    threading.Thread(target=change_apis, daemon=True).start()
    facade.serve(
        [ApiRoute("told", "/told", 64)],
        address,
        FacadeSettings(drain_timeout_s=20),
        when_ready=lambda: print(listeners[0].getsockname()[1], flush=True),
        poll_triton=lambda: None,
        health=lambda: json.loads(faults.read_text()),
    )
"""


BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Workers:
    """A facade of two workers, in front of a Triton."""

    launcher: subprocess.Popen[str]
    url: str
    faults: Path

    def pids(self) -> list[int]:
        pid = self.launcher.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def ask(self, path: str, method: str = "POST") -> tuple[int, str]:
        """Status and body, over a connection of its own, and so by whichever worker. The body sent is ``x``."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        try:
            connection.request(method, path, b"x")
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def in_flight(self) -> float:
        with httpx.Client(base_url=self.url) as client:
            return metric(client, "cortex_compile_requests_in_flight", api="told")


@pytest.fixture(scope="module")
def triton(installed_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    build = told_build(tmp_path_factory.mktemp("builds") / "told", "told")
    server = EmbeddedServer([build], http_port=0, grpc_port=0, metrics_port=0)
    try:
        yield RunningServer(server, server.start(timeout_s=90))
    finally:
        server.stop()


@pytest.fixture
def start_workers(triton: RunningServer, tmp_path: Path) -> Iterator[Callable[[], Workers]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> Workers:
        faults = tmp_path / "faults.json"
        faults.write_text("{}")
        command = [sys.executable, "-c", LAUNCHER, triton.endpoints.grpc, "2", str(faults)]
        launcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(launcher)
        assert launcher.stdout is not None
        return Workers(launcher, f"http://127.0.0.1:{int(launcher.stdout.readline())}", faults)

    yield start
    for launcher in started:
        launcher.kill()
        launcher.communicate()


@pytest.fixture
def workers(start_workers: Callable[[], Workers]) -> Workers:
    return start_workers()


def test_all_take_requests_each_tells_the_counts_of_all_and_one_that_dies_is_replaced(workers: Workers) -> None:
    first = workers.pids()
    assert len(first) == 2
    for _ in range(32):
        assert workers.ask("/told?echo=") == (200, "x")
    counts = {"api": "told", "status_class": "2xx"}
    for _ in range(8):
        with httpx.Client(base_url=workers.url) as client:
            assert metric(client, "cortex_compile_requests_total", **counts) == 32
            assert metric(client, "cortex_compile_request_duration_seconds_count", **counts) == 32
        assert workers.in_flight() == 0
    assert all(_cpu_ticks(pid) > 0 for pid in first)

    # One is at a request that it will not answer: nothing of it may be counted as under way for ever.
    # The kernel draws who takes a connection: of so many neither gets none.
    with ThreadPoolExecutor(32) as clients:
        asked = [clients.submit(workers.ask, "/told?sleep=3&echo=") for _ in range(32)]
        assert wait_until(lambda: workers.in_flight() == 32, timeout_s=20)
        os.kill(first[0], signal.SIGKILL)
        ends = [future.exception(timeout=60) or future.result() for future in asked]
    answered = ends.count((200, "x"))
    assert 0 < answered < 32
    assert all(end == (200, "x") or isinstance(end, BROKEN) for end in ends)
    assert wait_until(lambda: len(workers.pids()) == 2 and first[0] not in workers.pids(), timeout_s=20)
    # Whoever connects meanwhile waits in the socket that stayed open.
    for _ in range(16):
        assert workers.ask("/told?echo=") == (200, "x")
    for _ in range(8):
        with httpx.Client(base_url=workers.url) as client:
            assert metric(client, "cortex_compile_requests_total", **counts) == 32 + answered + 16
        assert workers.in_flight() == 0


def test_every_worker_tells_faults_and_serves_what_changed(workers: Workers) -> None:
    assert all(workers.ask("/readyz", "GET")[0] == 200 for _ in range(8))
    workers.faults.write_text('{"told": "its process has ended"}')
    assert wait_until(lambda: all(workers.ask("/readyz", "GET")[0] == 503 for _ in range(8)), 20)
    report = json.loads(workers.ask("/readyz", "GET")[1])
    assert report["ready"] is False
    assert report["models"] == {"told": False}
    assert report["faults"] == {"told": "its process has ended"}
    workers.faults.write_text("{}")
    assert wait_until(lambda: all(workers.ask("/readyz", "GET")[0] == 200 for _ in range(8)), 20)

    assert workers.launcher.stdin is not None
    assert workers.launcher.stdout is not None
    asked: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: asked.append(workers.ask("/told?sleep=2&echo=")))
    asking.start()
    assert wait_until(lambda: workers.in_flight() == 1, timeout_s=20)
    workers.launcher.stdin.write('[{"name": "told", "endpoint": "/elsewhere", "max_concurrency": 64}]\n')
    workers.launcher.stdin.flush()
    assert workers.launcher.stdout.readline() == "changed\n"
    for _ in range(8):
        assert workers.ask("/elsewhere?echo=") == (200, "x")
        assert workers.ask("/told?echo=")[0] == 404
    asking.join()
    assert asked == [(200, "x")]
    assert workers.in_flight() == 0


def test_sigterm_answers_what_is_under_way(workers: Workers) -> None:
    pids = workers.pids()
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(workers.ask, "/told?sleep=2&echo=") for _ in range(8)]
        assert wait_until(lambda: workers.in_flight() == 8, timeout_s=20)
        workers.launcher.terminate()
        assert [future.result(timeout=60) for future in asked] == [(200, "x")] * 8
    assert workers.launcher.wait(timeout=20) == 0
    assert not [pid for pid in pids if _is_alive(pid)]


def test_a_second_sigterm_waits_for_nothing(workers: Workers) -> None:
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(workers.ask, "/told?sleep=15&echo=")
        assert wait_until(lambda: workers.in_flight() == 1, timeout_s=20)
        workers.launcher.terminate()
        time.sleep(0.5)  # a signal that comes twice at a time is one
        workers.launcher.terminate()
        end = asked.exception(timeout=12) or asked.result()
        assert isinstance(end, BROKEN) or end[0] == 503
    assert workers.launcher.wait(timeout=20) == 0


def test_they_end_with_a_launcher_that_is_killed_even_one_that_is_stopped(
    workers: Workers, temporary_folder: Path
) -> None:
    pids = workers.pids()
    os.kill(pids[0], signal.SIGSTOP)
    workers.launcher.kill()
    workers.launcher.wait()
    assert wait_until(lambda: not any(_is_alive(pid) for pid in pids), timeout_s=5)
    assert list(temporary_folder.iterdir()) == []


def _cpu_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
