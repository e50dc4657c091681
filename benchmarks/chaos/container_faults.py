"""The same with Triton in a container, whose watch starts the whole of it again; and what befalls a container only."""

from __future__ import annotations

from dataclasses import replace

from . import client_faults, ending_faults, engine_faults, overload, predictor_faults, process_faults
from .container import ContainerServer
from .process_faults import TRITON_S
from .server import Server
from .stage import Fault, Stage

__all__ = ["FAULTS"]

_SAME_FILES = (predictor_faults, client_faults, overload, engine_faults, process_faults)
# What is asked again within 3 s is too late for a container that takes longer to be started again.
_NOT_THERE = {process_faults.IDEMPOTENT}


def _kill(stage: Stage) -> None:
    server = stage.server
    stage.strike(lambda _: _in_container(server).container().kill(), server=server, healthy_within_s=TRITON_S)


def _remove(stage: Stage) -> None:
    with stage.own_server(stage.new_server("near", "far")) as server:
        _in_container(server).container().remove(force=True)
        server.process.wait(30)
        stage.check("serve ends with status 1", server.process.returncode, server.process.returncode == 1)
        said = "the container is gone" in server.log()
        stage.check("it says why", "yes" if said else server.log()[-200:], said)


def _in_container(server: Server) -> ContainerServer:
    assert isinstance(server, ContainerServer)
    return server


def _contained(fault: Fault) -> Fault:
    more = "the whole container is started again where a part of it ends, which may take so much longer"
    return replace(fault, name=f"container: {fault.name}", holds=f"{fault.holds}; {more}")


_OWN = [
    Fault(
        "killed", "the container, by docker kill", "requests get 503 until it is ready again; nothing is lost", _kill
    ),
    Fault("removed by hand", "the container, by docker rm -f", "serve ends with a status and says why", _remove),
]
FAULTS = [
    _contained(fault)
    for fault in (
        *(fault for file in _SAME_FILES for fault in file.FAULTS if fault.name not in _NOT_THERE),
        *_OWN,
        *ending_faults.FAULTS,
    )
]
