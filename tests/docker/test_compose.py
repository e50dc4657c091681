"""The compose file that `package` writes, by Docker Compose itself: built, started, asked, broken and taken down."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..triton.processes import wait_until
from .compose import find_compose
from .conftest import ROOT, Image
from .serving import ask

pytestmark = pytest.mark.timeout(900)

SAMPLE = ROOT / "examples" / "echo" / "sample.json"


@dataclass(frozen=True)
class Project:
    """What compose has made of one folder. ``port`` is the facade's on this machine."""

    words: tuple[str, ...]
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *words: str) -> str:
        done = subprocess.run(
            [*self.words, *words],
            cwd=self.folder,
            env={**os.environ, "PORT": f"127.0.0.1:{self.port}"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def project(engine: Any, echo_image: Image) -> Iterator[Project]:
    words = find_compose()
    if words is None:
        pytest.skip("Docker Compose is not installed and cannot be fetched from Debian")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    project = Project(tuple(words), echo_image.context, port)
    yield project
    project.compose("down", "--volumes", "--rmi", "local", "--timeout", "10")


def test_compose_builds_starts_and_repairs_both_services(engine: Any, project: Project) -> None:
    project.compose("up", "--build", "--detach", "--wait", "--wait-timeout", "300")
    assert project.is_ready(), project.compose("logs")
    assert ask(f"{project.url}/", SAMPLE)["payload"] == json.loads(SAMPLE.read_text())

    containers = engine.containers.list(filters={"label": "com.docker.compose.project=echo"})
    services = {each.labels["com.docker.compose.service"]: each for each in containers}
    assert set(services) == {"triton", "facade"}
    assert services["triton"].ports == {} or not any(services["triton"].ports.values())  # it has no way out
    assert [network for network in services["triton"].attrs["NetworkSettings"]["Networks"]] == ["echo_inside"]

    assert services["triton"].exec_run(["python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)"]).exit_code == 0
    assert wait_until(lambda: not project.is_ready(), timeout_s=30)
    assert wait_until(project.is_ready, timeout_s=90), project.compose("logs")
    assert ask(f"{project.url}/", SAMPLE)["payload"] == json.loads(SAMPLE.read_text())

    project.compose("stop", "--timeout", "10")
    for each in services.values():
        each.reload()
        assert each.attrs["State"]["ExitCode"] == 0, each.logs().decode()


def test_compose_reads_what_is_for_gpus(project: Project) -> None:
    told = json.loads(project.compose("-f", "compose.yaml", "-f", "compose.gpu.yaml", "config", "--format", "json"))
    (device,) = told["services"]["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"], device["count"]) == ("nvidia", ["gpu"], -1)
