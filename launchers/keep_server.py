"""A small process between the launcher and tritonserver, so that nothing outlives a launcher that is killed.

It ends the server, the server's Python processes and their shared memory when it is told to (SIGTERM) and when its
launcher is gone. A death signal set on the server by the launcher itself would not do: Linux sends that when the
*thread* that started the process ends, and a killed server leaves its shared memory. Should this process be killed,
the death signal ends the server; this process has one thread.

Run as ``python -m cortex_compile.launchers.keep_server`` with an ``Order`` as one line of JSON on stdin, so that
nothing of it stands on a command line. Answers with the server's process id on stdout; exits as the server did.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cortex_compile.launchers.hide_secret import has_read_arguments, hide_secret
from cortex_compile.launchers.shared_memory import close_regions, remove_regions

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
# What is waited for comes as a signal; only new shared memory has to be looked for, and at the start the log.
_LOOK_EVERY_S, _LOOK_AT_START_S = 1.0, 0.2


@dataclass(frozen=True)
class Order:
    """What to run, for whom, and what to remove afterwards. ``folders`` are removed only if the launcher is gone.

    ``secret`` stands in the command, and in the server's command line no longer than the server takes to read it.
    """

    launcher_pid: int
    command: list[str]
    secret: str
    environment: dict[str, str]
    log_file: str
    region_prefix: str
    folders: list[str]
    orphan_grace_s: float

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def main() -> int:
    order = Order(**json.loads(sys.stdin.readline()))
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP | {signal.SIGCHLD})
    libc = ctypes.CDLL(None)
    # The launcher's end is one more thing to look at: see ``_is_orphan``.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGCHLD, 0, 0, 0)
    # Python processes whose server died become children of this one, which can then see them end.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    log_file = Path(order.log_file)
    log_begin = log_file.stat().st_size if log_file.exists() else 0
    server = _Server(_start(order, libc))
    with contextlib.suppress(BrokenPipeError):  # a launcher that was interrupted does not listen, and ends us next
        os.write(1, f"{server.pid}\n".encode())
    told = looked = False
    while server.status is None and not told and not _is_orphan(order):
        told = server.wait_for_signal(_LOOK_EVERY_S if looked else _LOOK_AT_START_S)
        close_regions(order.region_prefix)
        if not looked and has_read_arguments(log_file, log_begin):
            looked = True
            hide_secret(server.pid, order.secret)
    server.ask_to_end()
    told, deadline = False, None
    # A launcher that will not wait longer sends a second signal; where it is gone, there is a limit.
    while server.status is None and not told and (deadline is None or time.monotonic() < deadline):
        told = server.wait_for_signal(_LOOK_AT_START_S)
        if deadline is None and _is_orphan(order):
            deadline = time.monotonic() + order.orphan_grace_s
    server.kill_with_all_it_started()
    remove_regions(order.region_prefix)
    if _is_orphan(order):
        for folder in order.folders:
            shutil.rmtree(folder, ignore_errors=True)
    code = os.waitstatus_to_exitcode(server.status or 0)
    return code if code >= 0 else 128 - code


def _is_orphan(order: Order) -> bool:
    return os.getppid() != order.launcher_pid


def _start(order: Order, libc: ctypes.CDLL) -> int:
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP | {signal.SIGCHLD})
        log = os.open(order.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.execve(order.command[0], order.command, order.environment)  # noqa: S606  # no shell is wanted
    except OSError as error:
        os.write(2, f"{order.command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


class _Server:
    """The server's process and, once it is gone, those that it left."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None

    def wait_for_signal(self, timeout_s: float) -> bool:
        """Wait for something to happen; True if this process was told to stop."""
        found = signal.sigtimedwait(_STOP | {signal.SIGCHLD}, timeout_s)
        self._reap()
        return found is not None and found.si_signo in _STOP

    def ask_to_end(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill_with_all_it_started(self) -> None:
        while self._kill_group() and self._reap():
            time.sleep(0.01)

    def _kill_group(self) -> bool:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _reap(self) -> bool:
        """Take the status of each child that ended; False when no child is left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.pid:
                    self.status = status
        except ChildProcessError:
            return False


if __name__ == "__main__":
    sys.exit(main())
