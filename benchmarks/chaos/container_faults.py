"""The same with Triton in a container, whose watch starts the whole of it again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .container import ContainerServer
from .stage import Fault, Skipped, Stage

__all__ = ["FAULTS"]

# The engine's own part: to tell, to end the container, to start it.
_AGAIN_S = 8.0

_PARTS: dict[str, tuple[str, Callable[[ContainerServer], int]]] = {
    "predictor": ("the predictor's process", lambda server: server.stub("near")),
    "core": ("the process of a core that is a Triton model", lambda server: server.core_stub("far")),
    "triton": ("tritonserver", lambda server: server.triton()),
}


@contextmanager
def _server(stage: Stage) -> Iterator[tuple[ContainerServer, float]]:
    """One in a container, and how long that takes to be ready again."""
    if stage.image is None:
        raise Skipped("there is no image; scripts/chaos --container makes one where a Docker engine runs")
    builds = [stage.builds["near"], stage.builds["far"]]
    with stage.own_server(ContainerServer(builds, stage.image)) as server:
        yield server, _AGAIN_S + 2 * max(server.tell(api)["load_s"] for api in ("near", "far"))


def _strike(inject: Callable[[ContainerServer], object]) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        with _server(stage) as (server, again_s):
            # A container that ended is seen to have ended within a second, one whose process is gone within two, and
            # Triton says nothing of that.
            stage.strike(lambda _: inject(server), server=server, healthy_within_s=again_s, told_within_s=2.5)

    return play


def _stop_triton(stage: Stage) -> None:
    with _server(stage) as (server, again_s):
        pid = server.triton()
        stage.strike(
            lambda _: os.kill(pid, signal.SIGSTOP),
            server=server,
            last_s=4.0 if stage.quick else 10.0,
            undo=lambda _: os.kill(pid, signal.SIGCONT),
            statuses=(503, 504),
            healthy_within_s=again_s,
            told_within_s=2.5,
        )


def _raise(stage: Stage) -> None:
    found = []
    with _server(stage) as (server, _):
        stage.strike(
            lambda _: found.extend(_ask(server, "raise_an_error") for _ in range(20)),
            server=server,
            healthy_within_s=0.5,
        )
    stage.check("the request itself gets 500", sorted(set(found)), set(found) == {500})


def _ask(server: ContainerServer, deed: str) -> int:
    return server.ask("near", do=deed, id=0, row=[0.0] * 4)[0]


def _signal(part: str, number: signal.Signals) -> Callable[[ContainerServer], object]:
    return lambda server: os.kill(_PARTS[part][1](server), number)


def _remove(stage: Stage) -> None:
    with _server(stage) as (server, _):
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
        "container: stop triton",
        "SIGSTOP of tritonserver in the container for 10 s",
        "requests end within their time-out, with 503 or 504; all is well when it goes on, or is replaced",
        _stop_triton,
    ),
    Fault("container: predictor raises", "predict raises", "500; all other requests are answered right", _raise),
    Fault(
        "container: predictor exits",
        "predict calls os._exit",
        _HOLDS,
        _strike(lambda server: _ask(server, "end_the_process")),
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
