"""What `--runtime` may be: the Triton that runs the builds, one that is started and stopped, or one that runs."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from cortex_compile.errors import LaunchError, UsageError

if TYPE_CHECKING:
    from cortex_compile.launchers.protocol import Endpoints, Launcher

__all__ = ["STARTED", "RunningTriton", "Runtime", "parse_runtime", "running_triton"]

# What we start ourselves; anything else is the address of a Triton that runs.
STARTED = ("embedded", "docker", "image")
# Together with the default of --drain-timeout below the ten seconds that people and Kubernetes give a process.
_STOP_TRITON_S = 4.0
_DEFAULT_GRPC_PORT = 8001
# What Docker's SDK takes.
_MEMORY = re.compile(r"\d+[kmgt]?b?", re.IGNORECASE)


@dataclass(frozen=True)
class Runtime:
    """Which Triton. ``image``, ``gpus`` and ``memory`` are of a container alone."""

    kind: str
    ports: tuple[int, int, int]
    address: str | None = None
    image: str | None = None
    gpus: str | None = None
    memory: str | None = None


def parse_runtime(
    text: str, ports: tuple[int, int, int], image: str | None, gpus: str | None, memory: str | None
) -> Runtime:
    """
    Raises:
        UsageError: it is none of ours and no address, or an option does not go with it.
    """
    for option, value in (("--image", image), ("--gpus", gpus), ("--memory", memory)):
        if value is not None and text != "docker":
            raise UsageError(f"{option} is for --runtime docker; with --runtime {text} it has no meaning")
    if memory is not None and _MEMORY.fullmatch(memory) is None:
        raise UsageError(f"--memory {memory!r}: expected a size, as 512m or 4g")
    if text in STARTED:
        return Runtime(text, ports, image=image, gpus=gpus, memory=memory)
    return Runtime("running", ports, address=_address_of(text))


@dataclass(frozen=True)
class RunningTriton:
    """Where it listens, and how it is: ``launchers/protocol.py`` says what the three tell."""

    addresses: Endpoints
    poll: Callable[[], int | None]
    health: Callable[[], Mapping[str, str]]
    repairs: Callable[[], Mapping[str, Mapping[str, int]]]
    when_changed: Callable[[Callable[[], None]], None]
    server: Launcher | None = None
    """What started it, if we did."""


@contextlib.contextmanager
def running_triton(runtime: Runtime, builds: Sequence[Path]) -> Iterator[RunningTriton]:
    """Of one that was started, what dies is started again, and it is stopped in the end.

    Raises:
        LaunchError: it does not start, or something in it failed again and again.
    """
    from cortex_compile.launchers.protocol import Endpoints

    if runtime.address is not None:
        http_port, _, metrics_port = runtime.ports
        host = runtime.address.rpartition(":")[0]
        addresses = Endpoints(f"{host}:{http_port}", runtime.address, f"{host}:{metrics_port}")
        yield RunningTriton(addresses, poll=lambda: None, health=dict, repairs=dict, when_changed=lambda tell: None)
        return
    server = _launcher(runtime, builds)
    # Until the facade runs, and takes the signals over.
    signal.signal(signal.SIGTERM, _exit_at_signal)
    try:
        click.echo(f"Starting Triton with {', '.join(str(build) for build in builds)} …", err=True)
        yield RunningTriton(server.start(), server.poll, server.health, server.repairs, server.when_changed, server)
    except LaunchError as error:
        if server.failure is not None:  # then this is what came of it
            raise LaunchError(server.failure) from error
        raise
    finally:
        # A second signal must not leave Triton behind, half stopped.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        server.stop(_STOP_TRITON_S)


def _launcher(runtime: Runtime, builds: Sequence[Path]) -> Launcher:
    from cortex_compile.cli.server_lines import ServerLines

    http_port, grpc_port, metrics_port = runtime.ports
    log = ServerLines().show
    if runtime.kind == "docker":
        from cortex_compile.launchers.docker_engine import DEFAULT_IMAGE, parse_gpus
        from cortex_compile.launchers.docker_server import DockerServer

        return DockerServer(
            builds,
            image=runtime.image or DEFAULT_IMAGE,
            gpus=parse_gpus(runtime.gpus or "none"),
            memory=runtime.memory,
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            log=log,
            tell=lambda line: click.echo(line, err=True),
        )
    from cortex_compile.launchers.docker_inside import prepare_server_of_the_image
    from cortex_compile.launchers.embedded import EmbeddedServer
    from cortex_compile.launchers.server_folder import prepare_embedded_server

    prepare = prepare_server_of_the_image if runtime.kind == "image" else prepare_embedded_server
    return EmbeddedServer(
        builds,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        log=log,
        repair=lambda line: click.echo(line, err=True),
        # Nobody replaces builds inside an image, and linking them would copy them out of its layers.
        updatable=runtime.kind == "embedded",
        prepare=prepare,
    )


def _address_of(text: str) -> str:
    address = urlsplit(text if "://" in text else f"grpc://{text}")
    try:
        port = address.port or _DEFAULT_GRPC_PORT
    except ValueError:
        port = 0
    usable = ":" in text and address.scheme in ("grpc", "http") and address.hostname and port
    if not usable or address.path not in ("", "/"):
        raise UsageError(
            f"--runtime {text!r} is neither 'embedded' nor 'docker' nor the gRPC address of a running Triton, "
            "as in 127.0.0.1:8001 or http://127.0.0.1:8001"
        )
    host = f"[{address.hostname}]" if ":" in str(address.hostname) else address.hostname
    return f"{host}:{port}"


def _exit_at_signal(*_: Any) -> None:
    sys.exit(0)
