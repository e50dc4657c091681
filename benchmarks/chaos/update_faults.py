"""New builds under load."""

from __future__ import annotations

import subprocess
import sys

from .server import Server
from .stage import Fault, Skipped, Stage

__all__ = ["FAULTS"]


def _updates(stage: Stage) -> None:
    command = [sys.executable, "-m", "cortex_compile", "update"]
    if subprocess.run([*command, "--help"], capture_output=True).returncode:
        raise Skipped("this release has no `cortex-compile update`")
    count = 4 if stage.quick else 20
    said: list[str] = []

    def inject(server: Server) -> None:
        for number in range(count):
            build = stage.builds["near" if number % 2 else "next"]
            ended = subprocess.run([*command, server.url, str(build)], capture_output=True, text=True, timeout=120)
            if ended.returncode:
                said.append(ended.stderr.strip().splitlines()[-1])

    stage.strike(inject, statuses=())
    stage.check(f"{count} updates are taken", said[:2] or "all", not said)
    stage.end_shared_server()


FAULTS = [
    Fault(
        "updates",
        "20 updates of a predictor, one after the other",
        "no request fails",
        _updates,
    )
]
