"""Engines that fail while they serve."""

from __future__ import annotations

import os
import signal

from .server import Server
from .stage import Fault, Stage

__all__ = ["FAULTS"]


def _local_engine(stage: Stage) -> None:
    before = stage.server.metric("cortex_compile_eager_calls_total", api="near", reason="engine failed")
    alarmed: list[float] = []

    def inject(server: Server) -> None:
        server.ask("near", do="break_engine", id=0, row=[0.0] * 4)

    def look(server: Server) -> None:
        alarmed.append(server.metric("cortex_compile_engine_failing", api="near"))

    stage.strike(inject, last_s=3.0, undo=look, healthy_within_s=0.5, statuses=())
    after = stage.server.metric("cortex_compile_eager_calls_total", api="near", reason="engine failed")
    stage.check("the metric is an alarm", alarmed, alarmed == [1.0])
    stage.check("calls are answered by the module itself", after - before, after > before)
    os.kill(stage.server.stub("near"), signal.SIGKILL)  # and with it, what was broken
    stage.end_shared_server()


FAULTS = [
    Fault(
        "engine fails",
        "each run of the graph raises, from now on",
        "every request is answered right by the module itself; cortex_compile_engine_failing is 1",
        _local_engine,
    )
]
