"""Ports on the loopback address: which are free, and whether Triton is ready on one."""

from __future__ import annotations

import http.client
import random
import socket
from dataclasses import dataclass

from cortex_compile.errors import LaunchError

LOOPBACK = "127.0.0.1"

# Triton opens its ports only after every model is loaded. Below what Linux hands out to clients (32768 and up), so
# that no connection made meanwhile takes a port that was chosen.
_CHOSEN_FROM = range(20000, 32768)


@dataclass(frozen=True)
class Ports:
    """Triton's three ports."""

    http: int
    grpc: int
    metrics: int


def choose_ports(wanted: Ports) -> Ports:
    """``wanted`` with each 0 replaced by a free port.

    Raises:
        LaunchError: a port is taken, may not be used or is asked for twice; it is named with its flag.
    """
    taken: dict[int, str] = {}
    for port, flag in (
        (wanted.http, "--triton-http-port"),
        (wanted.grpc, "--triton-grpc-port"),
        (wanted.metrics, "--triton-metrics-port"),
    ):
        if port:
            if port in taken:
                raise LaunchError(f"Port {port} is asked for twice: {taken[port]} and {flag}. Give each its own.")
            check_port(port, flag)
            taken[port] = flag
    chosen = [port or _free_port(taken) for port in (wanted.http, wanted.grpc, wanted.metrics)]
    return Ports(*chosen)


def check_port(port: int, flag: str) -> None:
    """
    Raises:
        LaunchError: nothing can listen on this port of the loopback address.
    """
    reason = why_unusable(port)
    if reason is not None:
        raise LaunchError(f"Port {port} of {LOOPBACK} cannot be used ({reason}). Choose another with {flag} PORT.")


def why_unusable(port: int) -> str | None:
    """Why nothing can listen on this port of the loopback address; None when something can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: connections that ended a moment ago do not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except (OSError, OverflowError) as error:
            return (getattr(error, "strerror", None) or str(error)).lower()
    return None


def _free_port(taken: dict[int, str]) -> int:
    for port in random.sample(_CHOSEN_FROM, 200):
        if port not in taken and why_unusable(port) is None:
            taken[port] = "a free port"
            return port
    raise LaunchError(f"No free port of {LOOPBACK} was found between {_CHOSEN_FROM.start} and {_CHOSEN_FROM.stop - 1}.")


def is_ready(http_port: int) -> bool:
    """Whether the Triton on this port says that it and every model in it are ready."""
    return _status_of(http_port, "/v2/health/ready") == 200


def is_answering(http_port: int) -> bool:
    """Whether there is a Triton on this port that answers at all."""
    return _status_of(http_port, "/v2/health/live") is not None


def is_listening(port: int) -> bool:
    """Whether something takes connections on this port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=2.0).close()
    except OSError:
        return False
    return True


def _status_of(http_port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection(LOOPBACK, http_port, timeout=2.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
