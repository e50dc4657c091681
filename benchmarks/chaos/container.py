"""Triton in a container: the image that it takes here, and a server whose processes are there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cortex_compile.launchers.docker_container import LABEL
from cortex_compile.launchers.docker_engine import connect_to_engine

from .processes import Process, descendants_of
from .server import Server

__all__ = ["ContainerServer", "make_image"]

_TAG = "cortex-compile-chaos:latest"


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

    def __init__(self, builds: Sequence[Path], image: str) -> None:
        self._engine: Any = connect_to_engine()
        super().__init__(builds, ["--runtime", "docker", "--image", image])

    def container(self) -> Any:
        (found,) = self._engine.containers.list(all=True, filters={"label": f"{LABEL}={self.process.pid}"})
        return found

    def processes(self) -> list[Process]:
        """Those of the launcher, and those in the container while it runs."""
        own = descendants_of(self.process.pid)
        pid = self.container().attrs["State"]["Pid"]
        return [*own, *([Process(pid, 0, "tritonserver"), *descendants_of(pid)] if pid else [])]

    def triton(self) -> int:
        # The first process of the container is Triton itself, or the init above it.
        first = int(self.container().attrs["State"]["Pid"])
        below = (process.pid for process in descendants_of(first) if "/tritonserver " in process.command)
        return next(below, first)

    def end(self) -> int:
        status = super().end()
        self._engine.close()
        return status
