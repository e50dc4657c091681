"""What `doctor` looks at before anything is served: each check is one function and one row."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Literal

from cortex_compile.errors import CortexCompileError, LaunchError
from cortex_compile.launchers.install_server import FOLDER_NAME, server_folder
from cortex_compile.launchers.ports import LOOPBACK, why_unusable
from cortex_compile.launchers.self_check import check_that_the_server_runs
from cortex_compile.launchers.server_folder import PYTHON_MINOR, find_libpython, find_stub
from cortex_compile.launchers.shared_memory import MIB, SHARED_MEMORY, choose_region_bytes

# Docker's default. A few models fit, and the larger ones among real requests do not.
_SMALL_SHARED_MEMORY = 64 * MIB

_PORTS = {
    8000: "--triton-http-port",
    8001: "--triton-grpc-port",
    8002: "--triton-metrics-port",
    8888: "--port",
}


@dataclass(frozen=True)
class Check:
    """A row: what was looked at, what was found, and what to do where that is not good."""

    name: str
    status: Literal["PASS", "WARN", "FAIL"]
    found: str
    remedy: str = ""


def server_checks() -> list[Check]:
    """All checks of the embedded server. It is started only where the others find nothing to hinder it."""
    if not server_folder().is_dir():
        found = f"not installed in {server_folder()}"
        return [Check("embedded server", "FAIL", found, "cortex-compile install-server"), check_shared_memory()]
    rows = [check_stub(), check_libpython(), check_shared_memory()]
    if all(row.status != "FAIL" for row in rows):
        rows.insert(0, check_server_runs())
    return rows


def check_stub() -> Check:
    try:
        find_stub(server_folder())
    except LaunchError as error:
        return Check("server's Python stub", "FAIL", str(error), "use an environment of one of these versions")
    return Check("server's Python stub", "PASS", f"for Python {PYTHON_MINOR}")


def check_libpython() -> Check:
    try:
        return Check("libpython", "PASS", str(find_libpython()))
    except LaunchError as error:
        return Check("libpython", "FAIL", str(error), f"apt install libpython{PYTHON_MINOR}, or another Python")


def check_shared_memory() -> Check:
    remedy = f"docker run --shm-size=1g, or mount -o remount,size=1g {SHARED_MEMORY}"
    try:
        choose_region_bytes(instances=1)
    except LaunchError as error:
        return Check("shared memory", "FAIL", str(error), remedy)
    free = shutil.disk_usage(SHARED_MEMORY).free
    found = f"{free // MIB} MiB free in {SHARED_MEMORY}"
    if free <= _SMALL_SHARED_MEMORY:
        return Check("shared memory", "WARN", found, remedy)
    return Check("shared memory", "PASS", found)


def check_server_runs() -> Check:
    try:
        check_that_the_server_runs()
    except CortexCompileError as error:
        remedy = f"read the log; if the files are damaged, remove {server_folder()} and install again"
        return Check("embedded server", "FAIL", str(error), remedy)
    return Check("embedded server", "PASS", f"{FOLDER_NAME} started and answered")


def port_checks() -> list[Check]:
    """The default ports. One that is taken is a warning: each can be chosen."""
    return [_check_port(port, flag) for port, flag in _PORTS.items()]


def _check_port(port: int, flag: str) -> Check:
    reason = why_unusable(port)
    if reason is None:
        return Check(f"port {port}", "PASS", f"free on {LOOPBACK}")
    return Check(f"port {port}", "WARN", reason, f"serve with {flag} PORT")
