"""A predictor that cannot be loaded any more."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from .server import Server
from .stage import Fault, Skipped, Stage
from .traffic import Traffic

__all__ = ["FAULTS"]

_END_S = 240.0


def _crash_loop(stage: Stage) -> None:
    if stage.quick:
        raise Skipped("it takes a minute or two: not with --quick")
    with stage.own_server(stage.new_server("slow")) as server:
        with Traffic(server.url, ["slow"], clients=3) as traffic:
            time.sleep(0.5)
            (server.folder / "weights-are-gone").touch()
            os.kill(server.stub("slow"), signal.SIGKILL)
            began = time.monotonic()
            status = _wait(server)
            ended = time.monotonic()
        stage.record([each for each in traffic.sent if each.ended < ended - 5], statuses=(503,))
        tries = server.log().count("the weights are gone")
    last = server.log().strip().splitlines()[-1]
    stage.check("it is tried again, with pauses", f"{tries} times in {ended - began:.0f} s", ended - began > 10)
    stage.check("then it ends", f"exit status {status}", status == 1)
    stage.check("and says why in one line", last[:300], last.startswith("error: ") and "the weights are gone" in last)


def _wait(server: Server) -> int | None:
    try:
        return server.process.wait(_END_S)
    except subprocess.TimeoutExpired:
        return None


FAULTS = [
    Fault(
        "crash loop",
        "the predictor's process is killed, and its __init__ raises from now on",
        "requests get 503; it is tried again with growing pauses; then the server ends, naming the exception",
        _crash_loop,
    )
]
