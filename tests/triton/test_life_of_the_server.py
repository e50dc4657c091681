"""The embedded server starts, answers, stops and leaves nothing, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc
import tritonclient.http
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.launchers.shared_memory import remove_regions_of_dead_launchers

from .clients import echo, status_of
from .conftest import RunningServer
from .processes import processes_of, regions_of, wait_until
from .tiny_build import ECHO_MODEL, echo_build, python_model, write_build, write_model

# It tells by a file that it was asked.
SLOW_MODEL = (
    ECHO_MODEL.replace("array =", "from_now_on_it_is_slow()\n            array =")
    + """
    def from_now_on_it_is_slow():
        import pathlib
        import time

        pathlib.Path(__file__).with_name("asked").touch()
        time.sleep(SECONDS)
"""
)
ANSWERS_IN_VAIN = SLOW_MODEL.replace("SECONDS", "60")
ANSWERS_LATE = SLOW_MODEL.replace("SECONDS", "2")

LAUNCHER = """
import json, sys, time
from pathlib import Path
from cortex_compile.launchers.embedded import EmbeddedServer

server = EmbeddedServer([Path(sys.argv[1])], http_port=0, grpc_port=0, metrics_port=0)
endpoints = server.start()
print(json.dumps({"server": server.server_pid, "keeper": server._keeper.pid, "http": endpoints.http}), flush=True)
time.sleep(600)
"""


def test_it_answers_by_http_and_grpc_and_leaves_nothing(
    start_server: Callable[..., RunningServer], tmp_path: Path, temporary_folder: Path
) -> None:
    run = start_server(echo_build(tmp_path / "echo"))
    assert echo(tritonclient.http, run.endpoints.http) == [1, 2, 3]
    assert echo(tritonclient.grpc, run.endpoints.grpc) == [1, 2, 3]
    assert status_of(run.endpoints.metrics, "/metrics") == 200
    assert run.server.server_pid is not None
    assert len(processes_of(run.server.server_pid)) == 2
    assert len(regions_of(os.getpid())) == 1
    assert run.server.poll() is None
    run.server.stop()
    assert run.server.poll() == 0
    assert processes_of(run.server.server_pid) == []
    assert regions_of(os.getpid()) == []
    assert list(temporary_folder.iterdir()) == []
    run.server.stop()


def test_several_builds_are_served_together(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    run = start_server(echo_build(tmp_path / "a", "one"), echo_build(tmp_path / "b", "two", instances=2))
    assert echo(tritonclient.grpc, run.endpoints.grpc, "one") == [1, 2, 3]
    assert echo(tritonclient.grpc, run.endpoints.grpc, "two") == [1, 2, 3]
    assert len(regions_of(os.getpid())) == 3


def test_the_config_for_this_hardware_is_taken(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    config = python_model("echo")
    config.instance_group[0].kind = model_config_pb2.ModelInstanceGroup.KIND_GPU
    write_model(tmp_path / "model_repository", config, {"model.py": ECHO_MODEL})
    config.instance_group[0].kind = model_config_pb2.ModelInstanceGroup.KIND_CPU
    config.instance_group[0].count = 2
    special = tmp_path / "model_repository" / "echo" / "configs" / "cpu.pbtxt"
    special.parent.mkdir()
    special.write_text(text_format.MessageToString(config))
    run = start_server(write_build(tmp_path, "echo"))
    assert [model.instances for model in run.server.models] == [2]
    assert len(regions_of(os.getpid())) == 2


def test_its_log_is_passed_on_to_the_last_line(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    lines: list[str] = []
    run = start_server(echo_build(tmp_path / "echo"), log=lines.append)
    run.server.stop()
    assert any("successfully loaded 'echo'" in line for line in lines)
    assert any("successfully unloaded 'echo'" in line for line in lines)


def test_it_outlives_the_thread_that_started_it(installed_server: None, tmp_path: Path) -> None:
    server = EmbeddedServer([echo_build(tmp_path / "echo")], http_port=0, grpc_port=0, metrics_port=0)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        assert not wait_until(lambda: server.poll() is not None, timeout_s=1.5)
    finally:
        server.stop()


def test_a_request_in_flight_is_answered_before_it_ends(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    build = echo_build(tmp_path / "echo", model=ANSWERS_LATE)
    run = start_server(build)
    answers: list[list[int]] = []
    client = threading.Thread(target=lambda: answers.append(echo(tritonclient.http, run.endpoints.http)))
    client.start()
    assert was_asked(build)
    run.server.stop()
    client.join()
    assert answers == [[1, 2, 3]]


def test_a_server_that_hangs_is_killed_when_the_time_is_over(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    build = echo_build(tmp_path / "echo", model=ANSWERS_IN_VAIN)
    run = start_server(build)
    with asking_in_vain(run.endpoints.http):
        assert was_asked(build)
        run.server.stop(timeout_s=3)
    assert run.server.server_pid is not None
    assert run.server.poll() == 128 + signal.SIGKILL
    assert processes_of(run.server.server_pid) == []
    assert regions_of(os.getpid()) == []


@pytest.mark.parametrize("model", [ECHO_MODEL, ANSWERS_IN_VAIN], ids=["idle", "busy"])
def test_nothing_outlives_a_launcher_that_is_killed(
    installed_server: None, tmp_path: Path, temporary_folder: Path, model: str
) -> None:
    build = echo_build(tmp_path / "echo", model=model)
    with launched_elsewhere(build) as (launcher, told), ExitStack() as requests:
        assert len(processes_of(told["server"])) == 2
        assert len(regions_of(launcher.pid)) == 1
        if model is ANSWERS_IN_VAIN:
            requests.enter_context(asking_in_vain(told["http"]))
            assert was_asked(build)
        launcher.kill()
        launcher.wait()
        assert wait_until(lambda: not processes_of(told["server"]), timeout_s=5)
        assert wait_until(lambda: not regions_of(launcher.pid), timeout_s=5)
        assert wait_until(lambda: not list(temporary_folder.iterdir()), timeout_s=5)


def test_the_server_ends_with_its_keeper(installed_server: None, tmp_path: Path) -> None:
    with launched_elsewhere(echo_build(tmp_path / "echo")) as (launcher, told):
        os.kill(told["keeper"], signal.SIGKILL)
        assert wait_until(lambda: not processes_of(told["server"]), timeout_s=5)
        assert wait_until(lambda: not regions_of(launcher.pid), timeout_s=5)


def test_what_is_left_when_all_are_killed_is_removed_at_the_next_start(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    with launched_elsewhere(echo_build(tmp_path / "killed")) as (launcher, told):
        os.kill(told["keeper"], signal.SIGKILL)
        os.killpg(told["server"], signal.SIGKILL)
        assert wait_until(lambda: not processes_of(told["server"]), timeout_s=5)
        left = regions_of(launcher.pid)
        assert len(left) == 1
        remove_regions_of_dead_launchers()
        assert regions_of(launcher.pid) == left, "its launcher is alive"
        launcher.kill()
        launcher.wait()
    start_server(echo_build(tmp_path / "echo"))
    assert regions_of(launcher.pid) == []


@contextmanager
def launched_elsewhere(build: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-c", LAUNCHER, str(build)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        try:
            yield launcher, json.loads(launcher.stdout.readline())
        finally:
            launcher.kill()


@contextmanager
def asking_in_vain(url: str) -> Iterator[None]:
    """A request is under way that will not be answered."""

    def ask() -> None:
        with suppress(OSError, InferenceServerException, HTTPConnectionClosed, HTTPParseError):
            echo(tritonclient.http, url)

    client = threading.Thread(target=ask)
    client.start()
    yield
    client.join()


def was_asked(build: Path) -> bool:
    return wait_until((build / "model_repository" / "echo" / "1" / "asked").exists, timeout_s=20)
