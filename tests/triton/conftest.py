"""Tests against the real server. Each starts its own, on free ports; none may leave anything behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.launchers.protocol import Endpoints
from cortex_compile.launchers.server_folder import find_installed_server

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.triton)


@dataclass(frozen=True)
class RunningServer:
    """A started server and where it listens."""

    server: EmbeddedServer
    endpoints: Endpoints


@pytest.fixture(scope="session")
def installed_server() -> None:
    """Skips what needs the embedded server where there is none."""
    try:
        find_installed_server()
    except LaunchError as error:
        pytest.skip(str(error))


@pytest.fixture
def start_server(installed_server: None) -> Iterator[Callable[..., RunningServer]]:
    """``start_server(BUILD, …)`` serves builds on free ports and stops at the end of the test."""
    servers: list[EmbeddedServer] = []

    def start(*builds: Path, log: Callable[[str], None] | None = None) -> RunningServer:
        server = EmbeddedServer(builds, http_port=0, grpc_port=0, metrics_port=0, log=log)
        servers.append(server)
        return RunningServer(server, server.start(timeout_s=90))

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def deep_builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """tests/predictors/deep compiled, with its module in the predictor's process and as a Triton model of its own."""
    folder = tmp_path_factory.mktemp("builds")
    return _compile(folder, "deep-local"), _compile(folder, "deep-remote", "--placement", "remote")


def _compile(folder: Path, name: str, *arguments: str) -> Path:
    """Compile with a cache of its own, so that what is tested was exported now."""
    predictor = HERE.parent / "predictors" / "deep" / "predictor.py"
    command = [sys.executable, "-m", "cortex_compile", str(predictor), "--name", name]
    environment = {**os.environ, "CORTEX_COMPILE_CACHE": str(folder / "cache")}
    ended = subprocess.run(
        [*command, "--output", str(folder / name), *arguments], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return folder / name


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the servers of this test, and of the processes that it starts, put their own folders and their logs."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder
