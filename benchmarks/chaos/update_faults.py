"""New builds under load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .server import Server
from .stage import Fault, Stage

__all__ = ["FAULTS"]

_PATIENCE_S = 60.0


def _command(*words: str) -> str | None:
    """What `cortex-compile` complains of; None if it does not."""
    command = [sys.executable, "-m", "cortex_compile", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return ended.stderr.strip().splitlines()[-1] if ended.returncode else None


def _count(stage: Stage) -> int:
    return 4 if stage.quick else 20


def _updates(stage: Stage) -> None:
    said: list[str | None] = []

    def inject(server: Server) -> None:
        for number in range(_count(stage)):
            said.append(_command("update", server.url, str(stage.builds["near" if number % 2 else "next"])))

    stage.strike(inject, statuses=())
    _check_all(stage, "updates are taken", said)
    stage.end_shared_server()


def _rollbacks(stage: Stage) -> None:
    said: list[str | None] = []

    def inject(server: Server) -> None:
        said.append(_command("update", server.url, str(stage.builds["next"])))
        said.extend(_command("rollback", server.url, "near") for _ in range(4))

    stage.strike(inject, statuses=())
    _check_all(stage, "updates and rollbacks are taken", said)
    stage.end_shared_server()


def _refused(stage: Stage) -> None:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    damaged = folder / "near"
    shutil.copytree(stage.builds["near"], damaged)
    next(damaged.rglob("project/predictor.py")).write_text("raise RuntimeError('damaged')")
    said: list[str | None] = []

    def inject(server: Server) -> None:
        said.append(_command("update", server.url, str(damaged)))
        gone = server.folder / "weights-are-gone"
        gone.touch()
        said.append(_command("update", server.url, str(stage.builds["slow"])))
        gone.unlink()

    apis = ("near", "slow")
    pids = [stage.server.tell(api)["pid"] for api in apis]
    stage.strike(inject, statuses=(), apis=apis)
    stage.check("both are refused", said, len(said) == 2 and all(said))
    same = [stage.server.tell(api)["pid"] for api in apis] == pids
    stage.check("the processes before answer", "yes" if same else "no", same)
    shutil.rmtree(folder)


def _watched(stage: Stage) -> None:
    """Builds take the place of the one that is served, as compiling again does it."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    served = folder / "near"
    shutil.copytree(stage.builds["near"], served)
    taken: list[str | None] = []

    def inject(server: Server) -> None:
        for build in ("next", "near") * 2:
            pid = server.tell("near")["pid"]
            new = folder / "new"
            shutil.copytree(stage.builds[build], new)
            os.replace(served, folder / "old")
            os.replace(new, served)
            shutil.rmtree(folder / "old")
            done = _wait_until(lambda: server.tell("near")["pid"] != pid)  # noqa: B023  # it is called at once
            taken.append(None if done else "it was not")

    with stage.own_server(Server([served], ["--watch", "--workers", "2"])) as server:
        stage.strike(inject, server=server, statuses=(), apis=["near"])
    _check_all(stage, "builds are taken over", taken)
    shutil.rmtree(folder)


def _wait_until(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.1)
    return False


def _check_all(stage: Stage, what: str, said: Sequence[str | None]) -> None:
    problems = [each for each in said if each is not None]
    stage.check(f"{len(said)} {what}", problems[:2] or "all", not problems)


_NONE_FAILS = "no request fails"
FAULTS = [
    Fault("updates", "20 updates of a predictor, one after the other", _NONE_FAILS, _updates),
    Fault("rollbacks", "an update, and four times back to the build before", _NONE_FAILS, _rollbacks),
    Fault("builds that are refused", "updates to a build that is damaged, and to one that does not load",
          f"{_NONE_FAILS}; the old processes never notice", _refused),
    Fault("builds that are watched", "serve --watch, and four times another build in the place of the one that is "
          "served", _NONE_FAILS, _watched),
]  # fmt: skip
