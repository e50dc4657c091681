"""The Docker engine of this machine, through Docker's own SDK, and what it refuses in words that say what to do."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cortex_compile.errors import LaunchError, UsageError
from cortex_compile.launchers.arguments import ServerVersion
from cortex_compile.launchers.docker_inside import VERSION_VARIABLE, read_server_version

DEFAULT_IMAGE = "nvcr.io/nvidia/tritonserver:26.06-py3"
# The first without the holes that were published until it came (docs/containers.md).
SAFE_SINCE: ServerVersion = (2, 70)
# What Python and Docker call a processor.
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}

AnyGpu = TypeVar("AnyGpu")


@dataclass(frozen=True)
class Gpus:
    """Which GPUs a container gets: all, some by their index, or none."""

    all: bool = False
    ids: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return self.all or bool(self.ids)

    def among(self, gpus: Sequence[AnyGpu]) -> tuple[AnyGpu, ...]:
        """Those of the machine's that the container sees, in its order."""
        return tuple(gpu for index, gpu in enumerate(gpus) if self.all or str(index) in self.ids)


NO_GPUS = Gpus()


@dataclass(frozen=True)
class TritonImage:
    """An image that is there, and the version of the Triton in it."""

    name: str
    version: ServerVersion


def parse_gpus(text: str) -> Gpus:
    """``all``, ``none``, or indices as in ``0,1``.

    Raises:
        UsageError: it is none of these.
    """
    if text in ("all", "none"):
        return Gpus(all=text == "all")
    ids = tuple(text.split(","))
    if not all(each.isdecimal() for each in ids) or len(set(ids)) != len(ids):
        raise UsageError(f"--gpus {text!r}: expected 'all', 'none' or indices of GPUs, as in 0 or 0,1")
    return Gpus(ids=ids)


def connect_to_engine() -> Any:
    """A client of the engine that DOCKER_HOST names, or of this machine's.

    Raises:
        LaunchError: the SDK is not installed, there is no engine, it may not be used, or it is on another machine.
    """
    try:
        import docker
    except ImportError:
        raise LaunchError(
            "Docker's SDK for Python is not installed: pip install 'cortex-compile[docker]' (or pip install docker)."
        ) from None
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if urlsplit(address).scheme not in ("unix", "npipe"):
        raise LaunchError(
            f"DOCKER_HOST is {address!r}, an engine on another machine, which sees neither these builds nor this "
            "machine's loopback address; serve there, or use the image that `cortex-compile package BUILD` writes."
        )
    try:
        # Starting a container with gigabytes of image takes its time; an engine that is not there says so at once.
        client = docker.from_env(timeout=120)
        client.ping()
    except Exception as error:  # the SDK raises its own errors, requests' and urllib3's
        raise _no_engine(address, error) from error
    return client


def find_image(client: Any, name: str) -> TritonImage:
    """
    Raises:
        LaunchError: the image is not there, for another processor, or no image of Triton's.
    """
    from docker.errors import APIError, ImageNotFound

    try:
        found = client.images.get(name)
    except ImageNotFound:
        hint = " (NVIDIA's are about 10 GB)" if "nvcr.io/" in name else ""
        raise LaunchError(
            f"The Docker engine has no image {name!r}. Fetch it{hint}: docker pull {name}; or name another: --image."
        ) from None
    except APIError as error:
        raise LaunchError(f"The Docker engine refuses the image {name!r}: {_said(error)}.") from error
    _check_machine(name, found.attrs.get("Architecture", ""), client.version().get("Arch", ""))
    return TritonImage(name, _triton_version(name, found.attrs))


def check_gpus(client: Any, gpus: Gpus) -> None:
    """
    Raises:
        LaunchError: GPUs are asked for, and the engine would start the container without them.
    """
    components = {component.get("Name", "") for component in client.version().get("Components") or ()}
    if gpus.any and any("podman" in name.lower() for name in components):
        raise LaunchError(
            "--gpus: this engine is Podman, which ignores a request for GPUs that comes through Docker's API; "
            "use Docker's engine, or --gpus none."
        )


def explain_refusal(error: Exception, image: str) -> LaunchError:
    """What the engine said when a container was to be made or started, with what to do."""
    said = _said(error)
    low = said.lower()
    if "could not select device driver" in low or "nvidia-container-cli" in low or "cdi" in low.split():
        return LaunchError(
            f"The Docker engine cannot give a container GPUs ({said}). Install NVIDIA's Container Toolkit and restart "
            "the engine, or serve with --gpus none."
        )
    if "port is already allocated" in low or "address already in use" in low:
        return LaunchError(
            f"A port is taken by something else ({said}). Choose others with --triton-http-port, --triton-grpc-port "
            "and --triton-metrics-port."
        )
    if "exec format error" in low:
        return LaunchError(f"The image {image!r} is for another processor than this machine's ({platform.machine()}).")
    if "executable file not found" in low or ("no such file or directory" in low and "exec" in low):
        return LaunchError(
            f"The image {image!r} has no tritonserver ({said}). Use an image FROM nvcr.io/nvidia/tritonserver."
        )
    if "bind source path does not exist" in low or "invalid mount config" in low:
        return LaunchError(
            f"The Docker engine does not see the build's folder ({said}). It has to be on the engine's own machine, "
            "and with Docker Desktop in a folder that is shared with it."
        )
    return LaunchError(f"The Docker engine refuses to start {image!r}: {said}.")


def _no_engine(address: str, error: Exception) -> LaunchError:
    causes = list(_chain(error))
    if any(isinstance(cause, PermissionError) or "permission denied" in str(cause).lower() for cause in causes):
        return LaunchError(
            f"This user may not use the Docker engine at {address}. Add the user to its group (sudo usermod -aG docker "
            "$USER, then log in again), or use rootless Docker."
        )
    return LaunchError(
        f"No Docker engine answers at {address}. Start it (sudo systemctl start docker; Docker Desktop: open it), or "
        "set DOCKER_HOST to where it listens. Without Docker: --runtime embedded."
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error with all that caused it; the SDK keeps some as arguments."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__, *(a for a in each.args if isinstance(a, BaseException))]
    return found


def _check_machine(name: str, image: str, engine: str) -> None:
    image, engine = (MACHINES.get(each, each) for each in (image, engine))
    if image and engine and image != engine:
        raise LaunchError(
            f"The image {name!r} is for {image}, and this Docker engine runs {engine}. "
            f"Fetch the one for it: docker pull --platform linux/{engine} {name}"
        )


def _triton_version(name: str, attributes: Mapping[str, Any]) -> ServerVersion:
    variables = dict(line.partition("=")[::2] for line in attributes.get("Config", {}).get("Env") or ())
    try:
        return read_server_version(variables)
    except LaunchError as error:
        raise LaunchError(
            f"The image {name!r} is none of Triton's: {VERSION_VARIABLE} is not set in it. Use one FROM "
            "nvcr.io/nvidia/tritonserver."
        ) from error


def _said(error: Exception) -> str:
    text = str(getattr(error, "explanation", None) or error)
    return " ".join(text.split()).rstrip(".")
