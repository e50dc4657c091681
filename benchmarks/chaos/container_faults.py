"""The same with Triton in a container, whose watch starts the whole of it again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from .container import ContainerServer
from .server import Server
from .stage import Fault, Skipped, Stage

__all__ = ["FAULTS"]

# The engine's own part: to tell, to end the container, to start it.
_AGAIN_S = 8.0

_PARTS: dict[str, tuple[str, Callable[[ContainerServer], int]]] = {
    "predictor": ("the predictor's process", lambda server: server.stub("near")),
    "core": ("the process of a core that is a Triton model", lambda server: server.core_stub("far")),
    "triton": ("tritonserver", lambda server: server.triton()),
}


def _strike(inject: Callable[[ContainerServer], object]) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        if stage.image is None:
            raise Skipped("there is no image; scripts/chaos --container makes one where a Docker engine runs")
        builds = [stage.builds["near"], stage.builds["far"]]
        with stage.own_server(ContainerServer(builds, stage.image)) as server:
            load_s = max(server.tell(api)["load_s"] for api in ("near", "far"))

            def strike(server: Server) -> None:
                assert isinstance(server, ContainerServer)
                inject(server)

            # A container that is told to be ended is seen to have ended within a second, one whose process is gone
            # within two, and Triton says nothing of that.
            stage.strike(strike, server=server, healthy_within_s=_AGAIN_S + 2 * load_s, told_within_s=2.5)

    return play


def _signal(part: str, number: signal.Signals) -> Callable[[ContainerServer], object]:
    return lambda server: os.kill(_PARTS[part][1](server), number)


def _remove(stage: Stage) -> None:
    if stage.image is None:
        raise Skipped("there is no image; scripts/chaos --container makes one where a Docker engine runs")
    with stage.own_server(ContainerServer([stage.builds["near"]], stage.image)) as server:
        server.container().remove(force=True)
        server.process.wait(30)
        stage.check("serve ends with status 1", server.process.returncode, server.process.returncode == 1)
        said = "the container is gone" in server.log()
        stage.check("it says why", "yes" if said else server.log()[-200:], said)


_HOLDS = "requests in flight get 503, all others until it is ready again, too; nothing is lost"
FAULTS = [
    *(
        Fault(
            f"container: kill {part}",
            f"SIGKILL of {about} in the container",
            _HOLDS,
            _strike(_signal(part, signal.SIGKILL)),
        )
        for part, (about, _) in _PARTS.items()
    ),
    Fault(
        "container: stop predictor",
        "SIGSTOP of the predictor's process in the container, for ever",
        _HOLDS,
        _strike(_signal("predictor", signal.SIGSTOP)),
    ),
    Fault(
        "container: killed", "the container, by docker kill", _HOLDS, _strike(lambda server: server.container().kill())
    ),
    Fault(
        "container: removed by hand",
        "the container, by docker rm -f",
        "serve ends with a status and says why",
        _remove,
    ),
]
