"""The tritonserver of NVIDIA's image, seen from inside the container.

Run as ``python -m cortex_compile.launchers.docker_inside BUILD…`` it becomes that server, for a container that runs
Triton alone: the facade, in another one, asks it by gRPC.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from cortex_compile.errors import CortexCompileError, LaunchError
from cortex_compile.launchers.arguments import ServerSettings, ServerVersion, server_arguments
from cortex_compile.launchers.gpu_memory import check_gpu_memory, read_gpus
from cortex_compile.launchers.large_pages import with_large_pages
from cortex_compile.launchers.served_models import read_builds, slots_of
from cortex_compile.launchers.server_folder import PreparedServer
from cortex_compile.launchers.shared_memory import choose_region_bytes

SERVER_ROOT = Path("/opt/tritonserver")
VERSION_VARIABLE = "TRITON_SERVER_VERSION"
# What the Docker engine gives a container; longer than the seven seconds of Triton's own.
_EXIT_TIMEOUT_S = 7
_GPU = Path("/dev/nvidiactl")


def prepare_server_of_the_image(_: Path | None = None) -> PreparedServer:
    """
    Raises:
        LaunchError: this is no container of Triton's image.
    """
    binary = SERVER_ROOT / "bin" / "tritonserver"
    if not binary.is_file():
        raise LaunchError(
            f"{binary} is not there, so this is not a container of Triton's image; use --runtime embedded or docker."
        )
    environment = with_large_pages(os.environ)
    # The stub looks for a python on PATH to learn which environment it is in.
    environment["PATH"] = os.pathsep.join([os.path.join(sys.prefix, "bin"), environment.get("PATH", os.defpath)])
    environment["PYTHONUNBUFFERED"] = "1"
    return PreparedServer(
        binary=binary,
        version=read_server_version(os.environ),
        backends=SERVER_ROOT / "backends",
        python_backends=("python",),
        environment=environment,
        hardware="gpu" if _GPU.exists() else "cpu",
    )


def read_server_version(environment: Mapping[str, str]) -> ServerVersion:
    """Triton's version from the environment that its image sets.

    Raises:
        LaunchError: the variable is missing or no version.
    """
    found = environment.get(VERSION_VARIABLE)
    version = re.match(r"(\d+)\.(\d+)", found or "")
    if version is None:
        raise LaunchError(
            f"{VERSION_VARIABLE} is {found!r}, expected Triton's version, as in 2.70.0, which NVIDIA's images set; "
            "build the image FROM nvcr.io/nvidia/tritonserver."
        )
    return int(version[1]), int(version[2])


def command_of_triton(builds: list[Path], server: PreparedServer) -> list[str]:
    """The command line of a Triton that listens on all addresses of its container, on the usual ports.

    Nobody knows the token, so nobody may load or unload models.

    Raises:
        BuildError: a folder is not a build, or is damaged.
        LaunchError: there is not shared memory enough, or not of a GPU's.
    """
    models = read_builds(builds, server.hardware)
    for line in check_gpu_memory(builds, models, read_gpus() if server.hardware == "gpu" else ()):
        print(line, file=sys.stderr, flush=True)
    region = {"shm-default-byte-size": str(choose_region_bytes(sum(model.instances for model in models)))}
    settings = ServerSettings(
        repositories=tuple(build / "model_repository" for build in builds),
        models=tuple(model.name for model in models),
        address="0.0.0.0",  # noqa: S104  # in a container of its own, which publishes no port
        http_port=8000,
        grpc_port=8001,
        metrics_port=8002,
        token=secrets.token_urlsafe(32),
        hardware=server.hardware,
        exit_timeout_s=_EXIT_TIMEOUT_S,
        gpu_metrics=server.hardware == "gpu",
        backend_directory=server.backends,
        backend_config={backend: region for backend in server.python_backends},
        slots=slots_of(models),
    )
    return [str(server.binary), *server_arguments(settings, server.version)]


def main() -> None:
    try:
        server = prepare_server_of_the_image()
        command = command_of_triton([Path(name) for name in sys.argv[1:]], server)
    except CortexCompileError as error:
        sys.exit(f"error: {error}")
    os.execve(command[0], command, server.environment)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
