from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.server_folder import find_installed_server

from ..contract.live import Live, build_project, serve

PROJECT = Path(__file__).with_name("project")


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A predictor that never raises, behind facade and Triton; nothing may have failed unexpectedly in the end."""
    try:
        find_installed_server()
    except LaunchError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("fuzz")
    with serve(build_project(PROJECT, folder / "builds"), folder) as running:
        yield running
    assert "Traceback" not in running.log.read_text()
