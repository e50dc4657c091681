from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.launchers.protocol import Endpoints
from cortex_compile.launchers.server_folder import find_installed_server

from ..contract.live import Live, build_project, serve
from ..triton.processes import processes_of

PROJECT = Path(__file__).with_name("project")


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A build of a predictor that never raises."""
    try:
        find_installed_server()
    except LaunchError as error:
        pytest.skip(str(error))
    return build_project(PROJECT, tmp_path_factory.mktemp("fuzz") / "builds")


@pytest.fixture(scope="session")
def live(builds: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """It behind facade and Triton; nothing may have failed unexpectedly in the end."""
    folder = tmp_path_factory.mktemp("live")
    with serve(builds, folder) as running:
        yield running
    assert "Traceback" not in running.log.read_text()


@dataclass(frozen=True)
class FuzzedTriton:
    """A Triton whose ports are asked directly, and what it logged so far."""

    endpoints: Endpoints
    log: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def triton(builds: list[Path]) -> Iterator[FuzzedTriton]:
    """It in Triton alone; in the end each process is still the one that was started."""
    log: list[str] = []
    server = EmbeddedServer(builds, http_port=0, grpc_port=0, metrics_port=0, log=log.append)
    try:
        endpoints = server.start(timeout_s=90)
        assert server.server_pid is not None
        processes = sorted(processes_of(server.server_pid))
        yield FuzzedTriton(endpoints, log)
        assert sorted(processes_of(server.server_pid)) == processes
        assert [line for line in log if "Traceback" in line] == []
    finally:
        server.stop()
