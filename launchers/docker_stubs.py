"""The Python processes of models in a container, as the Docker engine tells of them.

The launcher may have no right to see them, and the engine may be in a virtual machine. Triton before 25.12 says that it
is ready when one of them has died, and never answers for it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cortex_compile.launchers.stubs import STOPPED, STUB, ZOMBIE, model_of_command

_PS = "-eo pid,ppid,stat,args"
_SERVER = "tritonserver"


@dataclass(frozen=True)
class _Process:
    parent: str
    state: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return PurePosixPath(self.words[0]).name if self.words else ""


class ContainerStubs:
    """``look`` is to be called about once a second, while the container runs."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._known: dict[str, str] = {}
        self._stopped: set[str] = set()

    def forget(self) -> None:
        """The container was started again."""
        self._known = {}
        self._stopped = set()

    def look(self) -> str | None:
        """What became of one since, in words; None where all are well.

        Raises:
            docker.errors.APIError: the container has ended, or the engine does not tell.
        """
        processes = _read_processes(self._container)
        stubs = {pid: model for pid, each in processes.items() if (model := _model_of(each, processes)) is not None}
        for pid in self._known.keys() - stubs.keys():
            return f"the process of {self._known[pid]!r} ended"
        self._known = stubs
        # Seen twice: a moment's stop is a debugger's.
        stopped = {pid for pid in stubs if processes[pid].state.startswith(STOPPED)}
        for pid in stopped & self._stopped:
            return f"the process of {stubs[pid]!r} was stopped (SIGSTOP)"
        self._stopped = stopped
        return None


def _read_processes(container: Any) -> dict[str, _Process]:
    rows = container.top(ps_args=_PS)["Processes"] or []
    return {pid: _Process(parent, state, tuple(command.split())) for pid, parent, state, command in rows}


def _model_of(process: _Process, processes: dict[str, _Process]) -> str | None:
    # A process that a predictor forked has the same command line, and another parent.
    parent = processes.get(process.parent)
    if process.program != STUB or process.state.startswith(ZOMBIE) or parent is None or parent.program != _SERVER:
        return None
    return model_of_command(process.words)
