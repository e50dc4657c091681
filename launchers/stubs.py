"""The stubs of a tritonserver: the processes that run its Python models, one for each instance of each model."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# The name that Triton gives an instance stands on the stub's command line: MODEL_GROUP_NUMBER.
_INSTANCE = re.compile(r"(?P<model>.+)_\d+_\d+")
STUB = "triton_python_backend_stub"
STOPPED, ZOMBIE = "T", "Z"
"""States of a process, as the system writes them."""


@dataclass(frozen=True)
class ProcessState:
    """What the system says of a process. ``exit_code`` is that of ``wait``, of one that ended and was not taken."""

    parent: int
    group: int
    state: str
    exit_code: int

    @property
    def is_stopped(self) -> bool:
        return self.state == STOPPED

    @property
    def has_ended(self) -> bool:
        return self.state == ZOMBIE


@dataclass(frozen=True)
class Stub:
    pid: int
    model: str


def read_process(pid: int) -> ProcessState | None:
    """None: there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None
    return ProcessState(parent=int(fields[1]), group=int(fields[2]), state=fields[0], exit_code=int(fields[-1]))


def how_it_ended(exit_code: int) -> str:
    """In words, from what ``wait`` says: "was killed (SIGKILL …)", "exited with status 3"."""
    code = os.waitstatus_to_exitcode(exit_code)
    if code >= 0:
        return f"exited with status {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name == "SIGKILL":
        return "was killed (SIGKILL: by somebody, or by the system because the machine had no memory left)"
    return f"crashed ({name})"


def model_of_command(arguments: Sequence[str]) -> str | None:
    """The model of a stub with this command line."""
    return next((found["model"] for each in reversed(arguments) if (found := _INSTANCE.fullmatch(each))), None)


class StubList:
    """Finds the stubs of one server. Looks at a process of the machine only once, since there may be thousands."""

    def __init__(self) -> None:
        self.known: dict[int, Stub] = {}
        self._server_pid: int | None = None
        self._others: set[int] = set()

    def follow(self, server_pid: int | None) -> None:
        """Find those of this server from now on."""
        if server_pid != self._server_pid:
            self._server_pid = server_pid
            self.known = {}
            self._others = set()

    def look_for_new(self) -> None:
        """Add those that were started since, and forget those that are gone."""
        pids = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
        self._others &= pids
        for pid in self.known.keys() - pids:
            del self.known[pid]
        for pid in pids - self._others - self.known.keys():
            model = self._model_of(pid)
            if model is None:
                self._others.add(pid)
            elif model:
                self.known[pid] = Stub(pid, model)

    def of_model(self, model: str) -> list[Stub]:
        """Those that run, and those that ended and that Triton has not taken yet. May be called from any thread."""
        return [stub for stub in list(self.known.values()) if stub.model == model]

    def states(self) -> list[ProcessState]:
        """Of those that are not gone."""
        return [state for pid in list(self.known) if (state := read_process(pid)) is not None]

    def _model_of(self, pid: int) -> str | None:
        """The model; "" where that cannot be told yet; None of a process that is no stub of this server's."""
        process = read_process(pid)
        # A process that a predictor forked has the same command line and the same group, and another parent.
        if process is None or process.parent != self._server_pid or process.has_ended:
            return None
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return None
        if Path(arguments[0]).name != STUB:
            return ""  # it is about to become one: tritonserver starts a stub by a shell
        return model_of_command(arguments)
