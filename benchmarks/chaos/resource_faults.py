"""Machines that run out of something: shared memory, disk, handles, ports."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .builds import PROJECT
from .process_faults import TRITON_S
from .server import FREE_PORTS, Server
from .stage import Fault, Skipped, Stage

__all__ = ["FAULTS"]

_MIB = 2**20
_KIB = 1024
_NEXT_TRY_S = 2.0  # the pause that comes after those in 3 s: docs/reliability.md


def _mounting(folder: Path, kib: int) -> list[str]:
    """Words before a command that gives it a small file system at ``folder``, which nobody else sees.

    Raises:
        Skipped: this user may not.
    """
    script = f'mount -t tmpfs -o size={kib}k tmpfs {folder} && exec "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        raise Skipped("mounting a small file system takes root")
    return words


@contextlib.contextmanager
def _filled(file: Path) -> Iterator[None]:
    """All that is left of a file system, taken."""
    with file.open("wb", buffering=0) as fill:
        try:
            for size in (_MIB, 4096, 1):
                with contextlib.suppress(OSError):
                    while fill.write(b"x" * size) == size:
                        pass
            yield
        finally:
            file.unlink()


def _seen_by(server: Server, path: str) -> Path:
    return Path(f"/proc/{server.process.pid}/root{path}")


def _shared_memory_full(stage: Stage) -> None:
    prefix = _mounting(Path("/dev/shm"), 64 * _KIB)
    large: list[int] = []

    def inject(server: Server) -> None:
        with _filled(_seen_by(server, "/dev/shm/fill")):
            for _ in range(3):
                # More than a region holds, so that it has to grow.
                large.append(server.ask("far", id=0, row=[0.0] * 4, more="x" * 48 * _MIB)[0])

    with stage.own_server(Server([stage.builds["near"], stage.builds["far"]], prefix=prefix)) as server:
        stage.strike(inject, server=server, healthy_within_s=0.5)
        later = server.ask("far", id=0, row=[0.0] * 4)[0]
    stage.check("requests too large for what is left get 503", large, set(large) == {503})
    stage.check("later ones are answered", later, later == 200)


def _disk_full_while_serving(stage: Stage) -> None:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    prefix = _mounting(folder, 32 * _KIB)

    def inject(server: Server) -> None:
        with _filled(_seen_by(server, f"{folder}/fill")):
            for _ in range(20):
                server.ask("near", do="raise_an_error", id=0)  # each is told in the log

    builds = [stage.builds["near"], stage.builds["far"]]
    with stage.own_server(Server(builds, prefix=prefix, folder=folder)) as server:
        stage.strike(inject, server=server, healthy_within_s=0.5)


def _disk_full_while_compiling(stage: Stage) -> None:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    words = [sys.executable, "-m", "cortex_compile", str(PROJECT / "cortex.yaml"), "--name", "near", "--fresh"]
    # What is there when the command is over: the file system is gone with it.
    told = f'"$@" 2>{folder}.said; code=$?; ls {folder}/builds >{folder}.left 2>/dev/null; exit $code'
    command = ["sh", "-c", told, "sh", *words, "--output", f"{folder}/builds/near"]
    environment = {**os.environ, "TMPDIR": str(folder), "CORTEX_COMPILE_CACHE": str(folder / "cache")}
    ended = subprocess.run([*_mounting(folder, 300), *command], env=environment, capture_output=True, timeout=240)
    said = Path(f"{folder}.said").read_text().strip().splitlines()
    left = Path(f"{folder}.left").read_text().split()
    last = said[-1] if said else ""
    stage.check("it ends with an error", f"exit status {ended.returncode}", ended.returncode == 1)
    named = last.startswith("error: ") and "No space left" in last and "fault of cortex-compile" not in last
    stage.check("which names the disk, in one line", last[:200], named)
    stage.check("no half build is left", left, not left)


def _no_handles(stage: Stage) -> None:
    server = stage.server
    doors = _doors(server)
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in doors}

    clients: list[socket.socket] = []

    def inject(server: Server) -> None:
        for pid in doors:
            used = len(os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 5, limits[pid][1]))
        clients.extend(socket.create_connection(("127.0.0.1", server.port)) for _ in range(50))

    def undo(server: Server) -> None:
        while clients:
            clients.pop().close()
        for pid in doors:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits[pid])

    try:
        stage.strike(inject, server=server, last_s=3.0, undo=undo, healthy_within_s=1.0)
    finally:
        undo(server)


def _doors(server: Server) -> list[int]:
    """The processes that accept connections of clients."""
    return [server.process.pid, *server.workers()]


def _port_taken(stage: Stage) -> None:
    build = stage.builds["slow"]
    for option in ("--port", "--triton-grpc-port"):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            words = [sys.executable, "-m", "cortex_compile", "serve", str(build), *FREE_PORTS, option, port]
            ended = subprocess.run(words, capture_output=True, text=True, timeout=60)
        last = ended.stderr.strip().splitlines()[-1]
        stage.check(f"{option} taken: one line names it", last[:200], ended.returncode == 1 and port in last)


def _port_stolen(stage: Stage) -> None:
    """Another program takes the port of tritonserver in the moment when it is gone, and has it for 3 s."""
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def inject(server: Server) -> None:
        triton = server.triton()
        port = _grpc_port_of(triton)
        os.kill(triton, signal.SIGKILL)
        while True:
            with contextlib.suppress(OSError):
                thief.bind(("127.0.0.1", port))
                thief.listen()
                return

    server = stage.server
    with contextlib.closing(thief):
        stage.strike(
            inject,
            server=server,
            last_s=3.0,
            undo=lambda _: thief.close(),
            healthy_within_s=_NEXT_TRY_S + TRITON_S + stage.load_s,
        )


def _grpc_port_of(triton: int) -> int:
    words = Path(f"/proc/{triton}/cmdline").read_bytes().split(b"\0")
    return next(int(word.partition(b"=")[2]) for word in words if word.startswith(b"--grpc-port="))


_SAME = "all other requests are answered right"
FAULTS: list[Fault] = [
    Fault("shared memory full", "/dev/shm, of 64 MiB, is filled up while requests of 48 MiB come",
          f"those get 503; {_SAME}", _shared_memory_full),
    Fault("disk full while serving", "the folder of temporary files is filled up", _SAME, _disk_full_while_serving),
    Fault("disk full while compiling", "temporary files, cache and output have 300 KiB", "an error in one line, and no "
          "half build", _disk_full_while_compiling),
    Fault("no handles", "the facade may open 5 more files, and 50 clients connect, for 3 s", "who is connected is "
          "answered right; healthy when there are handles again", _no_handles),
    Fault("port taken", "the ports are another program's at start", "an error in one line", _port_taken),
    Fault("port stolen", "tritonserver is killed, and another program has its port for 3 s",
          "requests get 503 meanwhile; it is tried again with pauses, and healthy as after a kill", _port_stolen),
]  # fmt: skip
