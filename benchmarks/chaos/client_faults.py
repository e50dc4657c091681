"""What clients do: bodies that are too large, half, slow or given up, and connections that nobody uses."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

from .processes import open_files_of, resident_bytes
from .server import Server
from .stage import Fault, Skipped, Stage
from .traffic import payload_of

__all__ = ["FAULTS"]

_MIB = 2**20
_LARGEST = _MIB  # compile.max_body_bytes of near
_TIMEOUT_S = 3.0
_IDLE = 2000


@contextlib.contextmanager
def _connections(server: Server, count: int) -> Iterator[list[socket.socket]]:
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            clients.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        yield clients
    except OSError as error:
        if len(clients) < count and error.errno == 24:
            raise Skipped(f"this process may not have {count} files open (ulimit -n)") from None
        raise
    finally:
        for client in clients:
            client.close()


def _head(api: str, length: int | None) -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"POST /{api} HTTP/1.1\r\nhost: chaos\r\ncontent-type: application/json\r\n{size}\r\n\r\n".encode()


def _status(client: socket.socket) -> int:
    """Of the answer that comes; 0 if the connection is closed without one."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n" not in answer:
            chunk = client.recv(65536)
            if not chunk:
                break
            answer += chunk
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def _body(size: int) -> bytes:
    return json.dumps(payload_of(1)).encode().ljust(size)


def _sizes(stage: Stage) -> None:
    found: dict[str, int] = {}

    def inject(server: Server) -> None:
        for name, size in (("below", _LARGEST - 1), ("at", _LARGEST), ("over", _LARGEST + 1), ("far over", 64 * _MIB)):
            for chunked in (False, True):
                with _connections(server, 1) as (client,):
                    body = _body(size)
                    with contextlib.suppress(ConnectionError):
                        client.sendall(_head("near", None if chunked else size))
                        client.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if chunked else body)
                    found[f"{name}{', chunked' * chunked}"] = _status(client)

    stage.strike(inject, healthy_within_s=0.5)
    for name, status in found.items():
        expected = 413 if "over" in name else 200
        stage.check(f"a body {name} the limit gets {expected}", status, status == expected)


def _half_sent(stage: Stage) -> None:
    server = stage.server
    found: list[int] = []

    def inject(server: Server) -> None:
        with _connections(server, 20) as clients:
            for number, client in enumerate(clients):
                client.sendall(_head("near", 1000) + b"x" * 500)
                if number < 10:
                    client.close()
            found.extend(_status(client) for client in clients[10:])

    before = server.metric("cortex_compile_requests_total", api="near", status_class="disconnected")
    stage.strike(inject, server=server, healthy_within_s=0.5)
    after = server.metric("cortex_compile_requests_total", api="near", status_class="disconnected")
    stage.check("10 that wait get 408 in the time-out of 3 s", sorted(set(found)), found == [408] * 10)
    stage.check("10 that leave are counted", after - before, after - before == 10)


def _slowloris(stage: Stage) -> None:
    """Half of them send a header byte by byte, half a body."""
    server = stage.server
    limit_s = 15.0
    left: list[int] = []

    def inject(server: Server) -> None:
        with _connections(server, 300) as clients:
            for number, client in enumerate(clients):
                client.settimeout(0)
                client.send(b"POST /near HTTP/1.1\r\nx: " if number % 2 else _head("near", 1000))
            end = time.monotonic() + limit_s
            open_ = clients
            while open_ and time.monotonic() < end:
                time.sleep(0.3)
                open_ = [client for client in open_ if _goes_on(client)]
            left.append(len(open_))

    stage.strike(inject, server=server, healthy_within_s=0.5)
    stage.check(f"none of 300 slow connections is kept for {limit_s:g} s", f"{left[0]} left", left == [0])


def _goes_on(client: socket.socket) -> bool:
    """Send one byte more; False if the server has closed it."""
    try:
        client.send(b"x")
        return bool(client.recv(1000)) and False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _disconnects(stage: Stage) -> None:
    server = stage.server
    clients_count = 60
    begun_before = server.tell("slow")["begun"]
    counted_before = server.metric("cortex_compile_requests_total", api="slow", status_class="disconnected")

    def inject(server: Server) -> None:
        # With what the predictor takes anyway, 100 ms each.
        body = json.dumps({**payload_of(1), "do": "pause", "seconds": 0.08}).encode()
        with _connections(server, clients_count) as clients:
            for client in clients:
                client.sendall(_head("slow", len(body)) + body)
            time.sleep(0.1)

    stage.strike(inject, server=server, healthy_within_s=0.5)
    begun = server.tell("slow")["begun"] - begun_before - 1
    counted = server.metric("cortex_compile_requests_total", api="slow", status_class="disconnected") - counted_before
    # Triton is told a second after a request was sent, at the earliest: docs/reliability.md.
    stage.check("of 60 requests given up after 0.1 s, most are not begun", f"{begun} begun", begun <= 20)
    answered = clients_count - counted
    stage.check("those that left are counted", f"{counted:g} of 60", counted >= 40 and answered <= begun)


def _idle(stage: Stage) -> None:
    server = stage.server
    growth: list[float] = []

    def inject(server: Server) -> None:
        before = _memory(server)
        with _connections(server, _IDLE):
            time.sleep(1.0)
            growth.append((_memory(server) - before) / _MIB)
            if server.readiness() is not True:
                stage.check("a further client is answered", "no", False)

    stage.strike(inject, server=server, healthy_within_s=0.5)
    stage.check("memory for them is bounded", f"{growth[0]:.1f} MiB", growth[0] < 100)
    files = max(open_files_of(pid) for pid in (server.process.pid, *server.workers()))
    stage.check("their handles are given back", f"{files} open files", files < _IDLE)


def _memory(server: Server) -> int:
    return sum(map(resident_bytes, (server.process.pid, *server.workers())))


FAULTS = [
    Fault("bodies at the limit", "bodies below, at and over compile.max_body_bytes, and far over; chunked, too",
          "200 or 413, whatever is still being sent", _sizes),
    Fault("half-sent bodies", "clients send half a body and leave, or wait", "408 in time, or counted as disconnected",
          _half_sent),
    Fault("slowloris", "300 clients that send a byte every 0.3 s, of a header or of a body",
          "all others are answered right; the slow ones are closed", _slowloris),
    Fault("disconnects", "60 clients that leave while their requests wait", "work that was not begun is dropped, and "
          "counted", _disconnects),
    Fault("idle connections", f"{_IDLE} connections on which nothing is sent", "all others are answered right", _idle),
]  # fmt: skip
