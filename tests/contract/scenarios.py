"""What one request and one answer cannot show. Each raises AssertionError where it is otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from .live import TIMEOUT_S, Live

__all__ = [
    "background_task_runs_after_the_answer",
    "failing_post_predict_fails_nothing",
    "more_requests_than_allowed",
    "nothing_internal_is_told",
    "post_predict_alone_asks_for_payload",
    "post_predict_runs_after_the_answer",
    "wait_until",
]


def more_requests_than_allowed(live: Live) -> None:
    arrived, wait_for = (live.folder / uuid4().hex for _ in range(2))
    body = json.dumps({"arrived": str(arrived), "wait_for": str(wait_for)}).encode()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(live.ask, "POST", "/v1/one", body)
        try:
            wait_until(arrived.exists)
            refused = live.ask("POST", "/v1/one", b"0")
        finally:
            wait_for.touch()
        assert first.result().status == 200
    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert json.loads(refused.body) == {"error": "too many requests are in flight: this API's limit is 1; try again"}
    assert live.ask("POST", "/v1/one", b"0").status == 200


def background_task_runs_after_the_answer(live: Live) -> None:
    touched = live.folder / uuid4().hex
    answer = live.ask("POST", "/answers", json.dumps({"touch": str(touched)}).encode())
    assert answer.body == b"later"
    wait_until(touched.exists)


def nothing_internal_is_told(live: Live) -> None:
    """The log, not the client, has the exception, its place and the request's id."""
    headers = [("x-request-id", f"contract-{uuid4().hex}")]
    answer = live.ask("POST", "/answers", b'"exception"', headers=headers)
    told = answer.body + repr(answer.headers).encode()
    assert not any(word in told for word in (b"secret", b"KeyError", b"answers.py", b"Traceback", b"project/"))
    wait_until(lambda: headers[0][1] in live.log.read_text())
    line = next(line for line in live.log.read_text().splitlines() if headers[0][1] in line)
    assert "answers.py:" in line
    assert "KeyError: 'secret-label'" in line


def post_predict_runs_after_the_answer(live: Live) -> None:
    """Two answers are there while post_predict still waits; then it is given what predict returned, and the request."""
    wait_for, write = (live.folder / uuid4().hex for _ in range(2))
    body = json.dumps({"say": "hello", "wait_for": str(wait_for), "write": str(write)}).encode()
    try:
        answer = live.ask("POST", "/after?q=7", body, headers=[("x-one", "1")])
        assert json.loads(answer.body) == {"answered": "hello"}
        assert live.ask("POST", "/after", b'{"say": "fail"}').status == 200
        assert not write.exists()
    finally:
        wait_for.touch()
    wait_until(write.exists)
    assert json.loads(write.read_text()) == [{"answered": "hello"}, "hello", "7", "1"]


def failing_post_predict_fails_nothing(live: Live) -> None:
    for _ in range(2):
        answer = live.ask("POST", "/after", b'{"say": "fail"}')
        assert (answer.status, json.loads(answer.body)) == (200, {"answered": "fail"})
    wait_until(lambda: "RuntimeError: after the answer" in live.log.read_text())


def post_predict_alone_asks_for_payload(live: Live) -> None:
    made: Path = live.folder / uuid4().hex
    answer = live.ask("POST", "/after-payload", json.dumps({"make": str(made)}).encode())
    assert (answer.status, answer.body) == (200, b"answered")
    wait_until(made.exists)


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
