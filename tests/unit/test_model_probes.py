"""Models are asked whether they answer, and nobody waits for that; a test answers in the place of Triton."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from cortex_compile.launchers import model_probes
from cortex_compile.launchers.model_probes import ModelProbes

from ..triton.processes import wait_until


class Triton:
    """Takes questions, and answers when a test says so."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.connections = [self.listener]
        self.port: int = self.listener.getsockname()[1]

    def take(self) -> tuple[socket.socket, str, dict[str, bytes]]:
        """A question: its connection, its first line, and its inputs."""
        connection, _ = self.listener.accept()
        self.connections.append(connection)
        connection.settimeout(10)
        received = b""
        while not received.endswith(b"}]}"):
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        inputs = {each["name"]: bytes(each["data"]) for each in json.loads(body)["inputs"]}
        return connection, head.partition(b"\r\n")[0].decode(), inputs


def answer_of(status_code: int) -> bytes:
    status = json.dumps({"status_code": status_code, "headers": []}).encode()
    body = json.dumps({"outputs": [{"name": "status", "data": list(status)}]}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
def triton() -> Iterator[Triton]:
    triton = Triton()
    yield triton
    for connection in triton.connections:
        connection.close()


@pytest.fixture
def probes(triton: Triton) -> Iterator[ModelProbes]:
    probes = ModelProbes(triton.port)
    yield probes
    probes.look([])


@pytest.fixture(autouse=True)
def _ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_probes, "_ASK_EVERY_S", 3600.0)


def _answers(probes: ModelProbes) -> Callable[[], bool]:
    def look() -> bool:
        probes.look(["api"])
        return probes.unanswered_s("api") == 0

    return look


def test_a_model_that_answers_is_asked_again(triton: Triton, probes: ModelProbes) -> None:
    probes.look(["api"])
    connection, line, inputs = triton.take()
    assert line == "POST /v2/models/api/infer HTTP/1.1"
    assert json.loads(inputs["context"]) == {"method": "GET"}
    assert probes.unanswered_s("api") > 0
    answer = answer_of(200)
    connection.sendall(answer[:-5])
    probes.look(["api"])
    assert probes.unanswered_s("api") > 0  # not all of it has come
    connection.sendall(answer[-5:])
    assert wait_until(_answers(probes), timeout_s=10)
    probes._asked["api"].next_s = 0.0
    probes.look(["api"])
    triton.take()


def test_a_model_that_is_full_has_not_answered(triton: Triton, probes: ModelProbes) -> None:
    probes.look(["api"])
    triton.take()[0].sendall(answer_of(503))
    since_s = probes._asked["api"].since_s
    wait_until(lambda: _answers(probes)() or probes._asked["api"].connection is None, timeout_s=10)
    assert probes._asked["api"].since_s == since_s
    probes._asked["api"].next_s = 0.0
    probes.look(["api"])
    assert probes._asked["api"].since_s == since_s
    # Whatever else comes is an answer: of a model that is not there, others tell.
    triton.take()[0].sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")
    assert wait_until(_answers(probes), timeout_s=10)


def test_models_that_are_not_asked_any_more_are_forgotten(triton: Triton, probes: ModelProbes) -> None:
    probes.look(["api", "other"])
    first, _, _ = triton.take()
    second, _, _ = triton.take()
    probes.look(["other"])
    assert probes.unanswered_s("api") == 0
    assert probes.unanswered_s("other") > 0
    probes.look([])
    assert (first.recv(1), second.recv(1)) == (b"", b"")


def test_a_question_of_a_triton_that_was_silent_has_not_waited(triton: Triton, probes: ModelProbes) -> None:
    probes.look(["api"])
    connection, _, _ = triton.take()
    probes._asked["api"].since_s = time.monotonic() - 100
    probes.excuse()
    assert 0 < probes.unanswered_s("api") < 100
    connection.sendall(answer_of(200))  # it was not closed
    assert wait_until(_answers(probes), timeout_s=10)
    probes.excuse()
    assert probes.unanswered_s("api") == 0


def test_a_triton_that_is_gone_is_no_fault_of_its_models(triton: Triton, probes: ModelProbes) -> None:
    probes.look(["api"])
    triton.take()[0].close()
    triton.listener.close()
    assert wait_until(_answers(probes), timeout_s=10)
    for asked in probes._asked.values():
        asked.next_s = 0.0
    probes.look(["api"])
    assert probes.unanswered_s("api") == 0
