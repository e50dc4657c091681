"""The embedded server: a real tritonserver as a child of this process, on the loopback address only.

It has known holes that can be used by whoever reaches its ports, so no setting makes it listen anywhere else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.arguments import TOKEN_HEADER, ServerSettings, server_arguments
from cortex_compile.launchers.follow_log import LogFollower
from cortex_compile.launchers.gpu_memory import check_gpu_memory, read_gpus
from cortex_compile.launchers.judge_work import DEADLINES_VARIABLE
from cortex_compile.launchers.keep_server import Order
from cortex_compile.launchers.model_control import ModelControl
from cortex_compile.launchers.ports import LOOPBACK, Ports, choose_ports, is_listening, is_ready
from cortex_compile.launchers.protocol import Endpoints
from cortex_compile.launchers.served_folder import ServedFolder, folders_beside
from cortex_compile.launchers.served_models import ServedModel, read_builds, read_models, slots_of
from cortex_compile.launchers.server_folder import PreparedServer, prepare_embedded_server
from cortex_compile.launchers.server_log import read_complaint, read_load_failures
from cortex_compile.launchers.shared_memory import (
    choose_region_bytes,
    new_region_prefix,
    remove_regions,
    remove_regions_of_dead_launchers,
)
from cortex_compile.launchers.start_keeper import end_keeper, start_keeper
from cortex_compile.launchers.watch_server import Patience, ServerWatch

# The server waits so long for requests in flight when it is told to end. stop() waits longer, by default.
_EXIT_TIMEOUT_S = 7
_ORPHAN_GRACE_S = 3.0
_LOOK_EVERY_S = 0.02
_LOG_NAME = "server.log"
_DEADLINES = "deadlines"


class EmbeddedServer:
    """Serves builds on the embedded tritonserver. Starts once; as a context manager it starts and stops.

    Args:
        builds: build folders, each of another name.
        http_port: Triton's HTTP port; 0 is a free one. The same goes for ``grpc_port`` and ``metrics_port``.
        log: is called with each line of the server's log, from a thread of its own.
        repair: what dies or hangs is started again, and this is called with lines that tell people of it; without it,
            nothing is.
        patience: how long what is waited for, where that is not what docs/reliability.md says.
        updatable: what is served is taken out of the builds, where they stand, so that others can take their place
            (``folders``) and nobody else changes it; if that cannot be, ``not_updatable_since`` says why.
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
        repair: Callable[[str], None] | None = None,
        patience: Patience | None = None,
        updatable: bool = False,
        prepare: Callable[[Path], PreparedServer] = prepare_embedded_server,
    ) -> None:
        self._builds = [Path(build).absolute() for build in builds]
        self._wanted_ports = Ports(http_port, grpc_port, metrics_port)
        self._log = log
        self._tell = repair
        self._patience = patience or Patience()
        self._updatable = updatable
        self._prepare = prepare
        self._token = secrets.token_urlsafe(32)
        self._region_prefix = new_region_prefix()
        self._hardware = ""
        self._keeper: subprocess.Popen[str] | None = None
        self._folder: Path | None = None
        self._follower: LogFollower | None = None
        self._told_to_stop = threading.Event()
        self._order: Order | None = None
        self._ports: Ports | None = None
        self._log_start = 0
        self._watch: ServerWatch | None = None
        self._changed: Callable[[], None] = lambda: None
        self.server_pid: int | None = None
        self.models: tuple[ServedModel, ...] = ()
        self.folders: tuple[ServedFolder, ...] = ()
        self.not_updatable_since: str | None = None

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
            self._ports = ports = choose_ports(self._wanted_ports)
            remove_regions_of_dead_launchers()
            self._folder = Path(tempfile.mkdtemp(prefix="cortex-compile-"))
            self._order = self._order_of(ports, self._prepare(self._folder))
            try:
                self._launch()
                self._wait_until_ready(timeout_s)
            except LaunchError as error:
                raise LaunchError(f"{error}. {self._where_the_log_is()}") from error
        except BaseException as error:
            self._end(timeout_s=_EXIT_TIMEOUT_S, keep_log=isinstance(error, LaunchError))
            raise
        http, grpc, metrics = (f"{LOOPBACK}:{port}" for port in (ports.http, ports.grpc, ports.metrics))
        if self._tell is not None:
            self._watch = ServerWatch(
                self,
                ports.http,
                self.control,
                self._folder / _DEADLINES,
                self._tell,
                self._patience,
                lambda: self._changed(),
            )
            self._watch.begin()
        return Endpoints(http=http, grpc=grpc, metrics=metrics)

    @property
    def control(self) -> ModelControl:
        """The models of the server that runs."""
        assert self._ports is not None
        http, grpc = (f"{LOOPBACK}:{port}" for port in (self._ports.http, self._ports.grpc))
        return ModelControl(http, grpc, self.restricted_headers)

    def models_changed(self) -> None:
        """What ``folders`` show is what is served, should the server have to be started again."""
        assert self._order is not None
        old = {model.name for model in self.models}
        self.models = self._models_of_folders()
        kept = [word for word in self._order.command if word not in {f"--load-model={name}" for name in old}]
        command = [*kept, *(f"--load-model={model.name}" for model in self.models)]
        self._order = replace(self._order, command=command)

    def leave_alone(self, pids: Iterable[int]) -> None:
        """These processes of models were replaced: the watch over the server need not repair them."""
        if self._watch is not None:
            self._watch.leave_alone(pids)

    def _models_of_folders(self) -> tuple[ServedModel, ...]:
        return tuple(model for folder in self.folders for model in read_models(folder.repository, self._hardware))

    def poll(self) -> int | None:
        """The server's exit status (128 + n when signal n ended it), or None while it runs or before it was started.

        One that is repaired runs. One that cannot be has ended, and ``failure`` says why.
        """
        if self._watch is None or self._told_to_stop.is_set():
            return self.server_status()
        if self._watch.failure is None:
            return None
        return self.server_status() or 1

    def server_status(self) -> int | None:
        """The same of the process that runs now, whether it is to be started again or not."""
        return None if self._keeper is None else self._keeper.poll()

    @property
    def failure(self) -> str | None:
        """Why the server was given up: what failed again and again, and where the whole log is."""
        if self._watch is None or self._watch.failure is None:
            return None
        return f"{self._watch.failure}. {self._where_the_log_is()}"

    def health(self) -> Mapping[str, str]:
        """Why APIs are not ready, by their names, with "" for the server as a whole; empty when all is well.

        Cheap, and to be called from any thread. Holds nothing internal.
        """
        return {} if self._watch is None else self._watch.health.faults()

    def repairs(self) -> Mapping[str, Mapping[str, int]]:
        """How often something was replaced, by API ("" for the server as a whole) and reason.

        Requests that an API had under way are lost with it, unless the reason begins with ``core_``: that was a
        compiled module's own process. To be called from any thread.
        """
        return {} if self._watch is None else self._watch.health.repairs()

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called, from any thread, when ``poll``, ``health`` or ``repairs`` may say something else."""
        self._changed = tell

    def start_again(self) -> None:
        """Start a server that has ended on the same ports, and return when every model is ready.

        Raises:
            LaunchError: it does not start, or another program has taken a port. It may be tried again.
        """
        assert self._ports is not None
        choose_ports(self._ports)
        remove_regions(self._region_prefix)  # its keeper did, unless that was killed
        self._launch()
        try:
            self._wait_until_ready(self._patience.load_timeout_s)
        except LaunchError:
            assert self._keeper is not None
            end_keeper(self._keeper, timeout_s=0, is_hopeless=lambda: False)
            raise

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server. Requests in flight are answered; after ``timeout_s`` it is killed. May be called again."""
        self._told_to_stop.set()
        if self._watch is not None:
            self._watch.end()
        ended_by_itself = self.server_status() is not None or self.failure is not None
        self._end(timeout_s, keep_log=ended_by_itself)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _order_of(self, ports: Ports, server: PreparedServer) -> Order:
        assert self._folder is not None
        deadlines = self._folder / _DEADLINES
        deadlines.mkdir()
        self._hardware = server.hardware
        models = read_builds(self._builds, server.hardware)
        repositories = [build / "model_repository" for build in self._builds]
        if self._updatable:
            try:
                self.folders = folders_beside(self._builds)
                repositories = [folder.repository for folder in self.folders]
                models = self._models_of_folders()
            except LaunchError as error:
                self.not_updatable_since = str(error)
        self.models = models
        for line in check_gpu_memory(self._builds, self.models, read_gpus() if server.hardware == "gpu" else ()):
            if self._log is not None:
                self._log(line)
        instances = sum(model.instances for model in self.models)
        region = {
            "shm-region-prefix-name": self._region_prefix,
            "shm-default-byte-size": str(choose_region_bytes(instances)),
        }
        log_file = self._folder / _LOG_NAME
        settings = ServerSettings(
            repositories=tuple(repositories),
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
            strict_readiness=not self.folders,
            backend_directory=server.backends,
            backend_config={backend: region for backend in server.python_backends},
            slots=slots_of(self.models),
        )
        return Order(
            launcher_pid=os.getpid(),
            command=[str(server.binary), *server_arguments(settings, server.version)],
            secret=self._token,
            environment={**server.environment, DEADLINES_VARIABLE: str(deadlines)},
            log_file=str(log_file),
            region_prefix=self._region_prefix,
            folders=[str(self._folder), *(str(folder.root) for folder in self.folders)],
            orphan_grace_s=_ORPHAN_GRACE_S,
        )

    def _launch(self) -> None:
        assert self._order is not None
        log_file = Path(self._order.log_file)
        self._log_start = log_file.stat().st_size if log_file.exists() else 0
        self._keeper, pid = start_keeper(self._order)
        if pid is None:
            raise self._failure("The server could not be started")
        self.server_pid = pid
        if self._log is not None and self._follower is None:
            self._follower = LogFollower(log_file, self._log)

    def _wait_until_ready(self, timeout_s: float) -> None:
        assert self._ports is not None
        deadline = time.monotonic() + timeout_s
        # Triton opens its ports one after the other, that of its metrics last.
        while not (is_ready(self._ports.http) and is_listening(self._ports.metrics)):
            if self._told_to_stop.is_set():
                raise LaunchError("The server was stopped while it was starting")
            if self.server_status() is not None:
                raise self._failure("The server ended while it was starting")
            if time.monotonic() > deadline:
                raise self._failure(f"The server was not ready within {timeout_s:g} s")
            time.sleep(2 * _LOOK_EVERY_S)

    def _failure(self, what: str) -> LaunchError:
        assert self._folder is not None
        log_file = self._folder / _LOG_NAME
        with log_file.open("rb") as file:
            file.seek(self._log_start)
            log = file.read().decode(errors="replace")
        failures = read_load_failures(log)
        if failures:
            said = "; ".join(f"{failure.model!r} does not load: {failure.reason}" for failure in failures)
        else:
            said = f"{what}: {read_complaint(log)}"
        return LaunchError(said)

    def _where_the_log_is(self) -> str:
        return f"The server's whole log is {self._folder and self._folder / _LOG_NAME}."

    def _end(self, timeout_s: float, keep_log: bool) -> None:
        keeper, folder = self._keeper, self._folder
        if keeper is not None and keeper.poll() is None:
            has_left = self._watch is not None and self._watch.has_dead_stubs()
            end_keeper(
                keeper, timeout_s, lambda: has_left and self._watch is not None and self._watch.only_dead_stubs()
            )
        if self._follower is not None:
            self._follower.end(timeout_s=1.0)
        remove_regions(self._region_prefix)  # the keeper did, unless it was killed
        for served in self.folders:
            served.remove()
        if folder is not None and keep_log and (folder / _LOG_NAME).is_file():
            for each in folder.iterdir():
                if each.is_dir():
                    shutil.rmtree(each, ignore_errors=True)
        elif folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
