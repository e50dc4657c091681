"""Who gets large pages: tritonserver wherever it is started, unless somebody has said otherwise of glibc."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cortex_compile.launchers import docker_inside
from cortex_compile.launchers.docker_container import container_settings
from cortex_compile.launchers.server_folder import server_environment

from .test_docker_container import PLAN

VARIABLE, ASKED_FOR = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"


def embedded() -> dict[str, str]:
    folder: Any = SimpleNamespace(libraries=Path("/libraries"))
    return server_environment(folder, folder)


def test_the_embedded_server_gets_them_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert embedded()[VARIABLE] == ASKED_FOR
    monkeypatch.setenv(VARIABLE, "glibc.malloc.hugetlb=0")
    assert embedded()[VARIABLE] == "glibc.malloc.hugetlb=0"


def test_so_does_the_one_of_an_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tritonserver").touch()
    monkeypatch.setattr(docker_inside, "SERVER_ROOT", tmp_path)
    monkeypatch.setenv(docker_inside.VERSION_VARIABLE, "2.70.0")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert docker_inside.prepare_server_of_the_image().environment[VARIABLE] == ASKED_FOR


def test_so_does_one_in_a_container() -> None:
    assert container_settings(PLAN)["environment"][VARIABLE] == ASKED_FOR
