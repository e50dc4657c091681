"""Triton in a container: the image that it takes here, a server whose processes are there, and its stage."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cortex_compile.launchers.docker_container import LABEL
from cortex_compile.launchers.docker_engine import connect_to_engine

from .processes import Process, descendants_of
from .server import Server
from .stage import Stage

__all__ = ["ContainerServer", "ContainerStage", "make_image"]

_TAG = "cortex-compile-chaos:latest"
# The engine's own part: to tell, to end the container, to start it; and Triton's, which is started again with it.
_AGAIN_S = 6.0
_NOTHING_ENDED_S = 1.0


def make_image(build: Path) -> str:
    """What `package` makes of a build, on the stand-in for NVIDIA's image that the tests have: no network is needed but
    that to the package index.

    Raises:
        SystemExit: it cannot be made here.
    """
    from tests.docker.stand_in import IMAGE, PYTHON, build_stand_in, why_not_buildable

    if reason := why_not_buildable():
        raise SystemExit(reason)
    engine: Any = connect_to_engine()
    build_stand_in(engine)
    with tempfile.TemporaryDirectory(prefix="cortex-compile-chaos-") as work:
        context = Path(work) / "image"
        words = ["package", build, "--image", IMAGE, "--python", PYTHON, "--wheels", "--output", context]
        subprocess.run([sys.executable, "-m", "cortex_compile", *map(str, words)], check=True, capture_output=True)
        engine.images.build(path=str(context), tag=_TAG, rm=True, forcerm=True, network_mode="none")
    engine.close()
    return _TAG


class ContainerServer(Server):
    """`serve --runtime docker`: its processes are also those in the container, seen from this machine."""

    def __init__(self, builds: Sequence[Path], image: str, options: Sequence[str] = ()) -> None:
        self._engine: Any = connect_to_engine()
        super().__init__(builds, ["--runtime", "docker", "--image", image, *options])

    def containers(self) -> list[Any]:
        label = f"{LABEL}={self.process.pid}"
        found: list[Any] = self._engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        return found

    def container(self) -> Any:
        (found,) = self.containers()
        return found

    def processes(self) -> list[Process]:
        """Those of the launcher, and those in the container while it runs."""
        found = descendants_of(self.process.pid)
        for container in self.containers():
            if pid := container.attrs["State"]["Pid"]:
                found += [Process(pid, 0, "tritonserver"), *descendants_of(pid)]
        return found

    def triton(self) -> int:
        # The first process of the container is Triton itself, or the init above it.
        first = int(self.container().attrs["State"]["Pid"])
        below = (process.pid for process in descendants_of(first) if "/tritonserver " in process.command)
        return next(below, first)

    def remains(self) -> list[str]:
        return [*super().remains(), *(f"the container {container.name}" for container in self.containers())]


class ContainerStage(Stage):
    """Where servers have their Triton in a container of this image, all of which is started again when a part ends."""

    def __init__(self, builds: Mapping[str, Path], quick: bool, image: str) -> None:
        super().__init__(builds, quick)
        self._image = image

    def new_server(self, *apis: str, options: Sequence[str] = ()) -> ContainerServer:
        return ContainerServer([self.builds[api] for api in apis], self._image, options)

    def allowed_s(self, healthy_within_s: float) -> float:
        if healthy_within_s < _NOTHING_ENDED_S:
            return healthy_within_s
        return healthy_within_s + _AGAIN_S + self.load_s
