"""tritonserver's command line, by the version of the server. An option that a version does not know is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cortex_compile.errors import LaunchError

ServerVersion = tuple[int, int]

# Every option that we use, and the first server version that knows it; 2.51 is the oldest that we run.
_KNOWN_SINCE: dict[str, ServerVersion] = {
    "allow-client-shm": (2, 68),
    "allow-gpu-metrics": (2, 51),
    "allow-sagemaker": (2, 51),
    "allow-vertex-ai": (2, 51),
    "backend-config": (2, 51),
    "backend-directory": (2, 51),
    "disable-auto-complete-config": (2, 51),
    "exit-on-error": (2, 51),
    "exit-timeout-secs": (2, 51),
    "grpc-address": (2, 51),
    "grpc-port": (2, 51),
    "grpc-restricted-protocol": (2, 51),
    "http-address": (2, 51),
    "http-port": (2, 51),
    "http-restricted-api": (2, 51),
    "load-model": (2, 51),
    "log-format": (2, 51),
    "metrics-address": (2, 51),
    "metrics-port": (2, 51),
    "model-config-name": (2, 51),
    "model-control-mode": (2, 51),
    "model-repository": (2, 51),
    "rate-limit": (2, 51),
    "rate-limit-resource": (2, 51),
    "strict-readiness": (2, 51),
}

# What only the launcher may call. Clients need the others: health, metadata, inference, model-config, statistics.
RESTRICTED_APIS = ("model-repository", "shared-memory", "trace", "logging")
TOKEN_HEADER = "cortex-compile-token"  # noqa: S105  # the header's name
# Triton puts this before the key of a restricted protocol, so a gRPC client has to send it too.
GRPC_TOKEN_HEADER = f"triton-grpc-protocol-{TOKEN_HEADER}"


@dataclass(frozen=True)
class ServerSettings:
    """What one run of tritonserver is told. ``backend_config`` is by backend, then by setting.

    ``slots`` are what instances take turns for, and how many of each there are on a device.
    """

    repositories: tuple[Path, ...]
    models: tuple[str, ...]
    address: str
    http_port: int
    grpc_port: int
    metrics_port: int
    token: str
    hardware: str
    exit_timeout_s: int
    gpu_metrics: bool = True
    strict_readiness: bool = True
    """It is not ready while any model is not, and never again after one that was only tried did not load."""
    backend_directory: Path | None = None
    backend_config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)


def server_arguments(settings: ServerSettings, version: ServerVersion) -> list[str]:
    """The options of tritonserver for these settings.

    The token stands on the command line, which other users of the machine can read (``ps``): the servers that this
    table knows take it in no other way, neither from a file nor from the environment. ``hide_secret.py`` removes it
    from there once the server has read it.

    Raises:
        LaunchError: the server of this version does not know an option that is needed.
    """
    options: list[tuple[str, str | None]] = [
        *(("model-repository", str(repository)) for repository in settings.repositories),
        ("model-control-mode", "explicit"),
        *(("load-model", model) for model in settings.models),
        ("model-config-name", settings.hardware),
        ("disable-auto-complete-config", None),
        ("exit-on-error", "true"),
        ("exit-timeout-secs", str(settings.exit_timeout_s)),
        ("strict-readiness", "true" if settings.strict_readiness else "false"),
        ("log-format", "ISO8601"),
        ("http-address", settings.address),
        ("grpc-address", settings.address),
        ("metrics-address", settings.address),
        ("http-port", str(settings.http_port)),
        ("grpc-port", str(settings.grpc_port)),
        ("metrics-port", str(settings.metrics_port)),
        ("http-restricted-api", f"{','.join(RESTRICTED_APIS)}:{TOKEN_HEADER}={settings.token}"),
        ("grpc-restricted-protocol", f"{','.join(RESTRICTED_APIS)}:{TOKEN_HEADER}={settings.token}"),
        ("allow-sagemaker", "false"),
        ("allow-vertex-ai", "false"),
    ]
    if knows("allow-client-shm", version):
        options.append(("allow-client-shm", "false"))
    if not settings.gpu_metrics:
        options.append(("allow-gpu-metrics", "false"))
    if settings.backend_directory is not None:
        options.append(("backend-directory", str(settings.backend_directory)))
    if settings.slots:
        # Turns are counted, so that each model gets its share however long the others' calls take.
        options.append(("rate-limit", "execution_count"))
        options += [("rate-limit-resource", f"{name}:{count}") for name, count in sorted(settings.slots.items())]
    for backend, values in settings.backend_config.items():
        options += [("backend-config", f"{backend},{name}={value}") for name, value in values.items()]
    return [server_argument(name, value, version) for name, value in options]


def knows(option: str, version: ServerVersion) -> bool:
    """Whether tritonserver of this version knows an option of our table."""
    return option in _KNOWN_SINCE and _KNOWN_SINCE[option] <= version


def server_argument(option: str, value: str | None, version: ServerVersion) -> str:
    """One option as an argument; a value of None is an option that takes none.

    Raises:
        LaunchError: it is not in our table, or the server of this version does not know it.
    """
    if option not in _KNOWN_SINCE:
        raise LaunchError(f"--{option} is not an option that is passed to tritonserver.")
    if not knows(option, version):
        since = ".".join(map(str, _KNOWN_SINCE[option]))
        found = ".".join(map(str, version))
        raise LaunchError(f"tritonserver {found} does not know --{option}; it came with {since}. Use a newer server.")
    return f"--{option}" if value is None else f"--{option}={value}"
