"""How commands of the same user reach a launcher that runs: a socket without a file, found by the facade's port.

It is in Linux' abstract namespace, which is the network namespace's as the port is: no file to protect or to be left
behind. Each side has the kernel say who the other is.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cortex_compile import errors
from cortex_compile.errors import CortexCompileError, ServiceError

__all__ = ["answering_commands", "ask_launcher"]

Tell = Callable[[str], None]
Handle = Callable[[dict[str, str], Tell], None]
"""Does what a command says, and tells of each step. Raises CortexCompileError."""

_LARGEST_COMMAND = 65536


@contextlib.contextmanager
def answering_commands(port: int, handle: Handle) -> Iterator[None]:
    """Hand what commands ask of the launcher whose facade listens on ``port`` to ``handle``, each in a thread.

    Raises:
        OSError: another launcher of this machine has that port, on another address.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(_address_of(port))
        listener.listen(16)
        accepting = threading.Thread(target=_accept, args=(listener, handle), daemon=True)
        accepting.start()
        try:
            yield
        finally:
            # The address is free when nobody waits there any more; closing alone would leave the thread waiting.
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def ask_launcher(port: int, command: dict[str, str], tell: Tell) -> None:
    """Have the launcher whose facade listens on ``port`` do something; ``tell`` is given its steps.

    Raises:
        CortexCompileError: what it answered.
        ServiceError: none of this user's is there, or it ended meanwhile.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(_address_of(port))
        except OSError:
            raise ServiceError(
                f"no `cortex-compile serve` of port {port} on this machine takes commands; it must be one that started"
                " its own embedded server, and this the machine or container that it runs in"
            ) from None
        if os.geteuid() not in (0, _user_of(connection)):
            raise ServiceError(f"the server of port {port} is another user's; ask as the user who started it")
        with contextlib.suppress(ConnectionError), connection.makefile("rwb") as channel:
            channel.write(json.dumps(command).encode() + b"\n")
            channel.flush()
            for line in channel:
                answer = json.loads(line)
                if "step" in answer:
                    tell(answer["step"])
                elif "error" in answer:
                    kind: Any = getattr(errors, answer["error"], ServiceError)
                    raise kind(answer["because"])
                else:
                    return
    raise ServiceError(f"the server of port {port} ended before it had answered")


def _address_of(port: int) -> str:
    return f"\0cortex-compile-serve-{port}"


def _user_of(connection: socket.socket) -> int:
    """The user id of the process on the other side."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", credentials)[1]
    return user


def _accept(listener: socket.socket, handle: Handle) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # it was shut down
            return
        threading.Thread(target=_answer, args=(connection, handle), daemon=True).start()


def _answer(connection: socket.socket, handle: Handle) -> None:
    with connection, contextlib.suppress(OSError, ValueError):  # who asked has left, or speaks another language
        if _user_of(connection) not in (0, os.geteuid()):
            return
        with connection.makefile("rb") as lines:
            command = json.loads(lines.readline(_LARGEST_COMMAND))

        def send(answer: dict[str, Any]) -> None:
            # What was begun goes on without who asked for it.
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(answer).encode() + b"\n")

        try:
            handle(command, lambda step: send({"step": step}))
        except CortexCompileError as error:
            send({"error": type(error).__name__, "because": str(error)})
        else:
            send({"done": True})
