from __future__ import annotations

import socket
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.backends.protocol import Available, Missing
from cortex_compile.cli import doctor
from cortex_compile.launchers import checks, server_folder


class FakeEngine:
    """An engine of which only the availability is asked."""

    def __init__(self, name: str, answer: Available | Missing) -> None:
        self.name = name
        self._answer = answer

    def availability(self) -> Available | Missing:
        return self._answer


HERE = Available("1.0")
GONE = Missing("not installed", "pip install it")


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10), "FAIL"), ((3, 11), "PASS"), ((3, 13), "PASS"), ((3, 14), "FAIL")]
)
def test_python_is_one_of_those_we_support(version: tuple[int, int], status: str) -> None:
    assert doctor.check_python(version).status == status


@pytest.mark.parametrize(
    ("answers", "statuses"),
    [
        ({"onnxruntime": HERE, "eager": HERE}, ["PASS", "PASS"]),
        ({"onnxruntime": HERE, "tensorrt": GONE, "eager": HERE}, ["PASS", "WARN", "PASS"]),
        ({"onnxruntime": GONE, "tensorrt": GONE, "eager": HERE}, ["FAIL", "FAIL", "PASS"]),
        ({"onnxruntime": HERE, "eager": GONE}, ["PASS", "FAIL"]),
    ],
)
def test_one_engine_that_compiles_is_enough(answers: dict[str, Any], statuses: list[str]) -> None:
    rows = doctor.engine_checks([FakeEngine(name, answer) for name, answer in answers.items()])  # type: ignore[misc]
    assert [row.status for row in rows] == statuses
    assert all(row.remedy == "pip install it" for row in rows if row.status != "PASS")


@pytest.mark.parametrize(
    ("installed", "status"),
    [((), "PASS"), (("onnxruntime",), "PASS"), (("onnxruntime", "onnxruntime-gpu"), "FAIL")],
)
def test_two_packages_of_onnxruntime_fail(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], status: str
) -> None:
    def distribution(name: str) -> object:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return object()

    monkeypatch.setattr(metadata, "distribution", distribution)
    assert doctor.check_onnxruntime_packages().status == status


def test_a_server_that_is_not_installed_is_one_row_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEX_COMPILE_CACHE", str(tmp_path))
    row = checks.server_checks()[0]
    assert (row.name, row.status, row.remedy) == ("embedded server", "FAIL", "cortex-compile install-server")


def test_a_python_without_its_shared_library_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(tmp_path))
    monkeypatch.setattr(server_folder.sys, "base_prefix", str(tmp_path))
    row = checks.check_libpython()
    assert row.status == "FAIL"
    assert "was built without its shared library" in row.found


def test_a_taken_default_port_is_a_warning_with_its_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(checks, "_PORTS", {other.getsockname()[1]: "--port"})
        (row,) = checks.port_checks()
    assert (row.status, row.found, row.remedy) == ("WARN", "address already in use", "serve with --port PORT")
