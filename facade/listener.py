"""The facade's port: a listening socket for each worker, all of them on the one port."""

from __future__ import annotations

import contextlib
import socket

from cortex_compile.errors import LaunchError

__all__ = ["accept_waiting", "listen"]

_BACKLOG = 2048


def listen(host: str, port: int, count: int = 1) -> tuple[socket.socket, ...]:
    """Take the facade's port; 0 takes a free one. Nobody is answered until the facade runs.

    With a socket each, the kernel deals connections out among the workers; from one that all of them accept from, the
    worker that looks first takes all that is there. As they stay open here, what was dealt to a worker that died waits
    for the one after it.

    Raises:
        LaunchError: the port is taken, may not be used, or the host is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise LaunchError(f"--host {host!r} is no address of this machine ({error}); try 127.0.0.1") from None
    with contextlib.ExitStack() as opened:
        listeners: list[socket.socket] = []
        try:
            for _ in range(count):
                listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if listeners:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind(listeners[0].getsockname() if listeners else address)
                # Before the port may be shared: two facades that start at a time could both take it.
                listener.listen(_BACKLOG)
                if count > 1:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listeners.append(listener)
        except (OSError, OverflowError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise LaunchError(
                f"port {port} of {host} cannot be used ({reason}); choose another with --port PORT"
            ) from None
        opened.pop_all()
    return tuple(listeners)


def accept_waiting(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait to be accepted. ``listener`` is closed: who comes later is refused, not reset."""
    accepted: list[socket.socket] = []
    listener.setblocking(False)
    with contextlib.suppress(OSError):  # there are no more, or this process may open no more
        while True:
            accepted.append(listener.accept()[0])
    listener.close()
    return accepted
