"""Whether predictors answer at all, asked of Triton about once a second, by what runs none of the user's code."""

from __future__ import annotations

import contextlib
import json
import math
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from cortex_compile.launchers.ports import LOOPBACK
from cortex_compile.launchers.served_models import ServedModel

# Less than the time from one look to the next, so that one look hears an answer and asks again.
_ASK_EVERY_S = 0.7
# On the loopback address: it connects at once, or nobody listens.
_CONNECT_TIMEOUT_S = 0.2
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FULL = 503


@dataclass
class _Asked:
    """One model: since when it has not answered, when it is asked again, and what came of the answer so far."""

    since_s: float | None = None
    next_s: float = 0.0
    connection: socket.socket | None = None
    received: bytes = b""

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection, self.received = None, b""


class ModelProbes:
    """Nothing here waits: ``look`` is to be called every fraction of a second, from one thread.

    The question is the one for the models that a predictor can load (GET): it has its turn among the predictions, and
    so it is not answered where they are not.

    Args:
        http_port: Triton's, on the loopback address.
    """

    def __init__(self, http_port: int) -> None:
        self._http_port = http_port
        self._asked: dict[str, _Asked] = {}
        self.answered_s = -math.inf
        """When an answer was heard last, on the monotonic clock. May be read from any thread."""

    def look(self, models: Sequence[str]) -> None:
        """Ask these models what is due, hear what they answered, and forget what others were asked."""
        for name in self._asked.keys() - set(models):
            self._asked.pop(name).close()
        now_s = time.monotonic()
        for name in models:
            asked = self._asked.setdefault(name, _Asked())
            try:
                self._look_at(name, asked, now_s)
            except OSError:  # Triton itself is gone, or does not listen: that is found elsewhere
                asked.close()
                self._asked[name] = _Asked(next_s=now_s + _ASK_EVERY_S)

    def excuse(self) -> None:
        """What waits for an answer has not waited until now: Triton itself did not answer.

        The questions stay: Triton 2.51 takes a connection that closes for a cancellation, of which it may lose a model.
        """
        for asked in self._asked.values():
            if asked.since_s is not None:
                asked.since_s = time.monotonic()

    def unanswered_s(self, model: str) -> float:
        """For how long a question has waited for its answer; 0 where none waits."""
        asked = self._asked.get(model)
        return 0.0 if asked is None or asked.since_s is None else time.monotonic() - asked.since_s

    def _look_at(self, name: str, asked: _Asked, now_s: float) -> None:
        answer = None if asked.connection is None else _hear(asked, asked.connection)
        if answer is not None:
            self.answered_s = now_s
            asked.close()
            if not _is_full(answer):
                asked.since_s = None
        if asked.connection is None and now_s >= asked.next_s:
            asked.connection = self._ask(name)
            asked.next_s = now_s + _ASK_EVERY_S
            # A predictor that was full, and is asked again, has not answered since.
            asked.since_s = asked.since_s or now_s

    def _ask(self, model: str) -> socket.socket:
        """
        Raises:
            OSError: nobody listens.
        """
        connection = socket.create_connection((LOOPBACK, self._http_port), _CONNECT_TIMEOUT_S)
        head = f"POST /v2/models/{quote(model)}/infer HTTP/1.1\r\nhost: {LOOPBACK}\r\nconnection: close\r\n"
        connection.sendall(f"{head}content-length: {len(_BODY)}\r\n\r\n".encode() + _BODY)
        connection.setblocking(False)
        return connection


def can_be_asked(model: ServedModel) -> bool:
    """Whether it is a predictor, and not a compiled module, and answers in one piece."""
    return model.backend == "python" and not model.streams


def _body() -> bytes:
    context = json.dumps({"method": "GET"}).encode()
    inputs = [
        {"name": name, "datatype": "UINT8", "shape": [len(data)], "data": list(data)}
        for name, data in (("payload", b"x"), ("context", context))
    ]
    return json.dumps({"inputs": inputs, "outputs": [{"name": "status"}]}).encode()


_BODY = _body()


def _hear(asked: _Asked, connection: socket.socket) -> bytes | None:
    """The body of the answer; None until all of it has come.

    Raises:
        OSError: there will be none.
    """
    try:
        while chunk := connection.recv(65536):
            asked.received += chunk
    except BlockingIOError:
        head, _, body = asked.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return body if length is not None and len(body) >= int(length[1]) else None
    head, end, body = asked.received.partition(b"\r\n\r\n")
    if not end:
        raise ConnectionResetError
    return body


def _is_full(body: bytes) -> bool:
    """Whether the answer only says that too many others wait. An error of Triton's is an answer."""
    with contextlib.suppress(ValueError, LookupError, TypeError):
        (status,) = json.loads(body)["outputs"]
        return bool(json.loads(bytes(status["data"]))["status_code"] == _FULL)
    return False
