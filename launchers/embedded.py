"""The embedded server: a real tritonserver as a child of this process, on the loopback address only.

It has known holes that can be used by whoever reaches its ports, so no setting makes it listen anywhere else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.arguments import TOKEN_HEADER, ServerSettings, server_arguments
from cortex_compile.launchers.keep_server import Order
from cortex_compile.launchers.ports import LOOPBACK, Ports, choose_ports, is_ready
from cortex_compile.launchers.protocol import Endpoints
from cortex_compile.launchers.served_models import ServedModel, read_builds, slots_of
from cortex_compile.launchers.server_folder import PreparedServer, prepare_embedded_server
from cortex_compile.launchers.server_log import read_complaint, read_load_failures
from cortex_compile.launchers.shared_memory import (
    choose_region_bytes,
    new_region_prefix,
    remove_regions,
    remove_regions_of_dead_launchers,
)

# The server waits so long for requests in flight when it is told to end. stop() waits longer, by default.
_EXIT_TIMEOUT_S = 7
# What is left of stop()'s time for killing and cleaning, when the server did not end by itself.
_KILL_S = 2.0
_ORPHAN_GRACE_S = 3.0
_LOG_NAME = "server.log"


class EmbeddedServer:
    """Serves builds on the embedded tritonserver. Starts once; as a context manager it starts and stops.

    Args:
        builds: build folders, each of another name.
        http_port: Triton's HTTP port; 0 is a free one. The same goes for ``grpc_port`` and ``metrics_port``.
        log: is called with each line of the server's log, from a thread of its own.
        prepare: finds the server and fills a folder of this run with what it needs; ours of PyPI, if nothing is said.
    """

    def __init__(
        self,
        builds: Sequence[Path],
        *,
        http_port: int = 8000,
        grpc_port: int = 8001,
        metrics_port: int = 8002,
        log: Callable[[str], None] | None = None,
        prepare: Callable[[Path], PreparedServer] = prepare_embedded_server,
    ) -> None:
        self._builds = [Path(build).absolute() for build in builds]
        self._wanted_ports = Ports(http_port, grpc_port, metrics_port)
        self._log = log
        self._prepare = prepare
        self._token = secrets.token_urlsafe(32)
        self._region_prefix = new_region_prefix()
        self._keeper: subprocess.Popen[str] | None = None
        self._folder: Path | None = None
        self._follower: threading.Thread | None = None
        self._stopping = threading.Event()
        self.server_pid: int | None = None
        self.models: tuple[ServedModel, ...] = ()

    @property
    def restricted_headers(self) -> dict[str, str]:
        """The HTTP header that opens what only the launcher may call: the model repository."""
        return {TOKEN_HEADER: self._token}

    def start(self, timeout_s: float = 300.0) -> Endpoints:
        """Start the server and return when every model is ready.

        Raises:
            LaunchError: not installed, a port is taken, no shared memory, a model does not load, too slow; nothing is
                left running, and the message says where the server's log is.
            BuildError: a folder is not a build, or is damaged.
            UsageError: no build, or two of one name.
        """
        if self._folder is not None:
            raise LaunchError("This server was started before. Make another one.")
        try:
            ports = choose_ports(self._wanted_ports)
            remove_regions_of_dead_launchers()
            self._folder = Path(tempfile.mkdtemp(prefix="cortex-compile-"))
            self._launch(ports, self._prepare(self._folder))
            self._wait_until_ready(ports, timeout_s)
        except BaseException as error:
            self._end(timeout_s=_EXIT_TIMEOUT_S, keep_log=isinstance(error, LaunchError))
            raise
        http, grpc, metrics = (f"{LOOPBACK}:{port}" for port in (ports.http, ports.grpc, ports.metrics))
        return Endpoints(http=http, grpc=grpc, metrics=metrics)

    def poll(self) -> int | None:
        """The server's exit status (128 + n when signal n ended it), or None while it runs or before it was started."""
        return None if self._keeper is None else self._keeper.poll()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server. Requests in flight are answered; after ``timeout_s`` it is killed. May be called again."""
        ended_by_itself = self.poll() is not None
        self._end(timeout_s, keep_log=ended_by_itself)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, ports: Ports, server: PreparedServer) -> None:
        assert self._folder is not None
        self.models = read_builds(self._builds, server.hardware)
        instances = sum(model.instances for model in self.models)
        region = {
            "shm-region-prefix-name": self._region_prefix,
            "shm-default-byte-size": str(choose_region_bytes(instances)),
        }
        log_file = self._folder / _LOG_NAME
        settings = ServerSettings(
            repositories=tuple(build / "model_repository" for build in self._builds),
            models=tuple(model.name for model in self.models),
            address=LOOPBACK,
            http_port=ports.http,
            grpc_port=ports.grpc,
            metrics_port=ports.metrics,
            token=self._token,
            hardware=server.hardware,
            exit_timeout_s=_EXIT_TIMEOUT_S,
            # Without a GPU they would start NVIDIA's host engine inside the server, with a log of its own.
            gpu_metrics=server.hardware == "gpu",
            backend_directory=server.backends,
            backend_config={backend: region for backend in server.python_backends},
            slots=slots_of(self.models),
        )
        order = Order(
            launcher_pid=os.getpid(),
            command=[str(server.binary), *server_arguments(settings, server.version)],
            environment=server.environment,
            log_file=str(log_file),
            region_prefix=self._region_prefix,
            folder=str(self._folder),
            orphan_grace_s=_ORPHAN_GRACE_S,
        )
        self._start_keeper(order, log_file)

    def _start_keeper(self, order: Order, log_file: Path) -> None:
        command = [sys.executable, "-P", "-m", "cortex_compile.launchers.keep_server"]
        with log_file.open("a") as log:
            # In a session of its own: Ctrl-C in a terminal is for the launcher, which then stops the server in order.
            self._keeper = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        with self._keeper.stdin as order_line:
            order_line.write(order.to_line())
        with self._keeper.stdout as answer:
            pid = answer.readline().strip()
        if not pid:
            raise self._failure("The server could not be started")
        self.server_pid = int(pid)
        if self._log is not None:
            self._follower = threading.Thread(target=self._follow_log, args=(self._log, log_file), daemon=True)
            self._follower.start()

    def _wait_until_ready(self, ports: Ports, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_ready(ports.http):
            if self.poll() is not None:
                raise self._failure("The server ended while it was starting")
            if time.monotonic() > deadline:
                raise self._failure(f"The server was not ready within {timeout_s:g} s")
            time.sleep(0.05)

    def _failure(self, what: str) -> LaunchError:
        assert self._folder is not None
        log_file = self._folder / _LOG_NAME
        log = log_file.read_text(errors="replace")
        failures = read_load_failures(log)
        if failures:
            said = "; ".join(f"{failure.model!r} does not load: {failure.reason}" for failure in failures)
        else:
            said = f"{what}: {read_complaint(log)}"
        return LaunchError(f"{said}. The server's whole log is {log_file}.")

    def _end(self, timeout_s: float, keep_log: bool) -> None:
        keeper, folder = self._keeper, self._folder
        if keeper is not None and keeper.poll() is None:
            _end_keeper(keeper, timeout_s)
        if self._follower is not None:
            self._stopping.set()
            self._follower.join(timeout=1.0)
        remove_regions(self._region_prefix)  # the keeper did, unless it was killed
        if folder is not None and keep_log and (folder / _LOG_NAME).is_file():
            for each in folder.iterdir():
                if each.is_dir():
                    shutil.rmtree(each, ignore_errors=True)
        elif folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _follow_log(self, log: Callable[[str], None], log_file: Path) -> None:
        with log_file.open(errors="replace") as lines:
            rest = ""
            while True:
                last_look = self._stopping.is_set()
                rest += lines.read()
                *whole, rest = rest.split("\n")
                for line in whole:
                    log(line)
                if last_look:
                    return
                self._stopping.wait(0.2)


def _end_keeper(keeper: subprocess.Popen[str], timeout_s: float) -> None:
    keeper.terminate()
    try:
        keeper.wait(max(0.0, timeout_s - _KILL_S))
    except subprocess.TimeoutExpired:
        keeper.terminate()  # the second time it does not wait for the server
        try:
            keeper.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            keeper.kill()  # and the server gets its death signal
            keeper.wait()
