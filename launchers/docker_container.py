"""What Docker is told of a container that runs Triton on builds: pure functions, so that tests can read all of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.arguments import ServerSettings, ServerVersion, server_arguments
from cortex_compile.launchers.docker_engine import Gpus
from cortex_compile.launchers.judge_work import DEADLINES_VARIABLE
from cortex_compile.launchers.large_pages import with_large_pages
from cortex_compile.launchers.ports import LOOPBACK, Ports
from cortex_compile.launchers.served_models import ServedModel, slots_of
from cortex_compile.launchers.shared_memory import LARGEST_REGION

LABEL = "io.cortex-compile.launcher"
# triton-server in NVIDIA's images, for a launcher that is root itself.
_USER_OF_THE_IMAGE = (1000, 1000)
_INSIDE = Ports(8000, 8001, 8002)
_PIDS = 8192
# Where a process writes by when it is done, and tell_stubs.py reads it: some bytes for each.
_DEADLINES = "/run/cortex-compile"


@dataclass(frozen=True)
class ContainerPlan:
    """One run of Triton in a container. ``published``: the engine has a network of its own and forwards the ports;
    else the container shares this machine's network and listens on the loopback address itself."""

    name: str
    image: str
    version: ServerVersion
    builds: tuple[Path, ...]
    models: tuple[ServedModel, ...]
    ports: Ports
    published: bool
    gpus: Gpus
    user: tuple[int, int]
    shm_bytes: int
    memory: str | None
    token: str
    exit_timeout_s: int


def container_settings(plan: ContainerPlan) -> dict[str, Any]:
    """The arguments of the SDK's ``containers.create``. Restarting is left to our watch, so Docker does not."""
    settings: dict[str, Any] = {
        "image": plan.image,
        "name": plan.name,
        "command": ["tritonserver", *_triton_arguments(plan)],
        "labels": {LABEL: str(os.getpid())},
        "volumes": {
            str(build): {"bind": str(_inside(number, build)), "mode": "ro"} for number, build in enumerate(plan.builds)
        },
        "user": "{}:{}".format(*plan.user),
        # A user whom the image does not know has neither a home nor a name, which torch for one asks for.
        "environment": with_large_pages(
            {"HOME": "/tmp", "USER": "triton-server", "PYTHONUNBUFFERED": "1", DEADLINES_VARIABLE: _DEADLINES}
        ),
        "read_only": True,
        # Owned, not open to all: runc gives the mode of the folder below to a tmpfs of a container that starts again.
        "tmpfs": {"/tmp": "exec,mode=1777", _DEADLINES: "size=4m,mode=0755,uid={},gid={}".format(*plan.user)},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "shm_size": plan.shm_bytes,
        "ipc_mode": "private",
        "pids_limit": _PIDS,
    }
    if plan.published:
        pairs = zip(_numbers(_INSIDE), _numbers(plan.ports), strict=True)
        settings["ports"] = {f"{inside}/tcp": (LOOPBACK, port) for inside, port in pairs}
    else:
        settings["network_mode"] = "host"
    if plan.memory is not None:
        settings["mem_limit"] = settings["memswap_limit"] = plan.memory
    if plan.gpus.any:
        settings["device_requests"] = [_device_request(plan.gpus)]
    return settings


def choose_user(builds: Sequence[Path]) -> tuple[int, int]:
    """Who runs Triton: this user, or that of the image where this one is root.

    Raises:
        LaunchError: that user may not read a build.
    """
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    for build in builds:
        repository = build / "model_repository"
        for path in (build, repository, *repository.rglob("*")):
            wanted = 0o005 if path.is_dir() else 0o004
            if path.stat().st_mode & wanted != wanted:
                raise LaunchError(
                    f"{path}: may not be read by the user whom Triton runs as in its container "
                    f"({_USER_OF_THE_IMAGE[0]}, since this one is root). Run chmod -R a+rX {build}"
                )
    return _USER_OF_THE_IMAGE


def _triton_arguments(plan: ContainerPlan) -> list[str]:
    listening = _INSIDE if plan.published else plan.ports
    settings = ServerSettings(
        repositories=tuple(_inside(number, build) / "model_repository" for number, build in enumerate(plan.builds)),
        models=tuple(model.name for model in plan.models),
        address="0.0.0.0" if plan.published else LOOPBACK,
        http_port=listening.http,
        grpc_port=listening.grpc,
        metrics_port=listening.metrics,
        token=plan.token,
        hardware="gpu" if plan.gpus.any else "cpu",
        exit_timeout_s=plan.exit_timeout_s,
        gpu_metrics=plan.gpus.any,
        backend_config={"python": {"shm-default-byte-size": str(LARGEST_REGION)}},
        slots=slots_of(plan.models),
    )
    return server_arguments(settings, plan.version)


def _inside(number: int, build: Path) -> Path:
    return Path("/builds") / str(number) / build.name


def _numbers(ports: Ports) -> tuple[int, int, int]:
    return ports.http, ports.grpc, ports.metrics


def _device_request(gpus: Gpus) -> Any:
    from docker.types import DeviceRequest

    chosen: dict[str, Any] = {"count": -1} if gpus.all else {"device_ids": list(gpus.ids)}
    return DeviceRequest(capabilities=[["gpu"]], **chosen)
