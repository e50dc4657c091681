"""Triton in a container of the Docker engine of this machine: started on builds, watched, repaired, and removed."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.docker_container import ContainerPlan, choose_user, container_settings
from cortex_compile.launchers.docker_engine import (
    DEFAULT_IMAGE,
    NO_GPUS,
    SAFE_SINCE,
    Gpus,
    check_gpus,
    connect_to_engine,
    explain_refusal,
    find_image,
)
from cortex_compile.launchers.docker_watch import Watch, what_ended_it
from cortex_compile.launchers.gpu_memory import check_gpu_memory, read_gpus
from cortex_compile.launchers.model_probes import ModelProbes, can_be_asked
from cortex_compile.launchers.ports import LOOPBACK, Ports, choose_ports, is_ready
from cortex_compile.launchers.protocol import Endpoints
from cortex_compile.launchers.served_models import read_builds
from cortex_compile.launchers.server_log import read_complaint, read_load_failures
from cortex_compile.launchers.shared_memory import shared_memory_of_a_container
from cortex_compile.python_backend.manifest import read_manifest

_EXIT_TIMEOUT_S = 7


class DockerServer:
    """Serves builds on Triton in a container. Starts once; as a context manager it starts and stops.

    Args:
        builds: build folders, each of another name; the container sees them read-only.
        image: a Triton image that the engine has.
        gpus: those that the container gets.
        memory: the most memory that it may take, as Docker writes it (``4g``); None is no limit.
        http_port: Triton's HTTP port on the loopback address; 0 is a free one. So are ``grpc_port``, ``metrics_port``.
        log: is called with each line of the server's log, from a thread of its own.
        tell: is called with what a person should know of a start or a repair.
    """

    def __init__(
        self,
        builds: Sequence[Path],
        *,
        image: str = DEFAULT_IMAGE,
        gpus: Gpus = NO_GPUS,
        memory: str | None = None,
        http_port: int = 8000,
        grpc_port: int = 8001,
        metrics_port: int = 8002,
        log: Callable[[str], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._builds = tuple(Path(build).absolute() for build in builds)
        self._image, self._gpus, self._memory = image, gpus, memory
        self._wanted_ports = Ports(http_port, grpc_port, metrics_port)
        self._log = log or (lambda line: None)
        self._tell = tell or (lambda line: None)
        self.name = f"cortex-compile-{secrets.token_hex(6)}"
        self._client: Any = None
        self._container: Any = None
        self._keeper: subprocess.Popen[str] | None = None
        self._watch: Watch | None = None
        self._changed: Callable[[], None] = lambda: None

    def start(self, timeout_s: float = 300.0) -> Endpoints:
        """Start the container and return when every model is ready.

        Raises:
            LaunchError: no engine, no permission, no image, no GPUs, a port is taken, no memory, a model does not load,
                too slow; nothing is left running, and of a server that had started the log is kept.
            BuildError: a folder is not a build, or is damaged.
            UsageError: no build, or two of one name.
        """
        if self._keeper is not None:
            raise LaunchError("This server was started before. Make another one.")
        try:
            ports = self._start_container()
            self._wait_until_ready(ports.http, timeout_s)
            assert self._watch is not None
            self._watch.begin(lambda: is_ready(ports.http))
        except BaseException:
            self.stop(timeout_s=0)
            raise
        http, grpc, metrics = (f"{LOOPBACK}:{port}" for port in (ports.http, ports.grpc, ports.metrics))
        return Endpoints(http=http, grpc=grpc, metrics=metrics)

    def poll(self) -> int | None:
        """The container's exit status once it has ended for good, or None; one that is being repaired still runs."""
        return self._watch.status if self._watch is not None else None

    @property
    def failure(self) -> str | None:
        """Why the container was given up, when it was."""
        return self._watch.failure if self._watch is not None else None

    def health(self) -> Mapping[str, str]:
        """Why an API is not ready, or, under "", why nothing is; empty when all is well."""
        return self._watch.faults if self._watch is not None else {}

    def repairs(self) -> Mapping[str, Mapping[str, int]]:
        """How often the container was started again, under "", by reason."""
        return {"": self._watch.repairs} if self._watch is not None and self._watch.repairs else {}

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called, from any thread, when ``poll``, ``health`` or ``repairs`` may say something else."""
        self._changed = tell

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop the container and remove it. Requests in flight are answered; after ``timeout_s`` it is killed."""
        if self._watch is not None:
            self._watch.end()
        if self._container is not None:
            from docker.errors import APIError, NotFound

            container, self._container = self._container, None
            try:
                if timeout_s >= 1:
                    container.stop(timeout=int(timeout_s))
                container.remove(force=True, v=True)
            except NotFound:
                pass  # somebody removed it
            except APIError as error:
                self._tell(f"The container {self.name} could not be removed: {error}. Run docker rm -f {self.name}")
        if self._keeper is not None and self._keeper.stdin is not None and not self._keeper.stdin.closed:
            with self._keeper.stdin as line:
                line.write("done\n")
            self._keeper.wait()
        if self._client is not None:
            self._client.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start_container(self) -> Ports:
        models = read_builds(self._builds, "gpu" if self._gpus.any else "cpu")
        self._client = client = connect_to_engine()
        image = find_image(client, self._image)
        if image.version < SAFE_SINCE:
            self._tell(
                f"{image.name} has Triton {'.'.join(map(str, image.version))}, which has published security holes; "
                "here only this machine reaches it. Use 26.06 or newer where others may."
            )
        check_gpus(client, self._gpus)
        if self._gpus.any:
            for line in check_gpu_memory(self._builds, models, self._gpus.among(read_gpus())):
                self._tell(line)
        ports = choose_ports(self._wanted_ports)
        bodies = [read_manifest(build / "manifest.json").max_body_bytes for build in self._builds]
        plan = ContainerPlan(
            name=self.name,
            image=image.name,
            version=image.version,
            builds=self._builds,
            models=models,
            ports=ports,
            published=bool(client.networks.list(names=["bridge"])),
            gpus=self._gpus,
            user=choose_user(self._builds),
            shm_bytes=shared_memory_of_a_container(sum(model.instances for model in models), max(bodies)),
            memory=self._memory,
            token=secrets.token_urlsafe(32),
            exit_timeout_s=_EXIT_TIMEOUT_S,
        )
        settings = container_settings(plan)
        self._keeper = self._start_keeper()
        try:
            self._container = client.containers.create(**settings)
            asked = [model.name for model in models if can_be_asked(model)]
            probes = ModelProbes(ports.http)
            self._watch = Watch(self._container, self._log, self._tell, probes, asked, lambda: self._changed())
            self._watch.start_container()
        except Exception as error:  # the SDK's own errors, and requests' beneath it
            raise explain_refusal(error, self._image) from error
        return ports

    def _start_keeper(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "cortex_compile.launchers.docker_keeper", self.name]
        keeper = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert keeper.stdout is not None
        with keeper.stdout as answer:
            if answer.readline() != "ready\n":
                raise LaunchError("The process that removes the container when this one is killed did not start.")
        return keeper

    def _wait_until_ready(self, http_port: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_ready(http_port):
            self._container.reload()
            if self._container.status != "running":
                state = self._container.attrs["State"]
                raise self._failure(what_ended_it(state, self._memory), is_known=bool(state.get("OOMKilled")))
            if time.monotonic() > deadline:
                raise self._failure(f"The server was not ready within {timeout_s:g} s")
            time.sleep(0.1)

    def _failure(self, what: str, *, is_known: bool = False) -> LaunchError:
        log = self._container.logs().decode(errors="replace")
        failures = read_load_failures(log)
        if is_known:
            said = what
        elif failures:
            said = "; ".join(f"{failure.model!r} does not load: {failure.reason}" for failure in failures)
        else:
            said = f"{what}: {read_complaint(log)}"
        if "ModuleNotFoundError" in said:
            said += (
                f". The image {self._image!r} lacks it; `cortex-compile package BUILD` writes one that has what the "
                "build requires, to be named with --image"
            )
        with tempfile.NamedTemporaryFile("w", prefix="cortex-compile-", suffix=".log", delete=False) as file:
            file.write(log)
        return LaunchError(f"{said}. The server's whole log is {file.name}.")
