"""Which predictors answer nobody, and which are only asked for much: by a stand-in for Triton that hangs when told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cortex_compile.launchers import silent_predictors
from cortex_compile.launchers.ports import LOOPBACK, Ports
from cortex_compile.launchers.silent_predictors import SilentPredictors

LONG_S = 20.0


class Triton(ThreadingHTTPServer):
    """``near`` hangs once ``hangs``; ``ended`` is its own count of requests."""

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.hangs, self.goes_on = False, threading.Event()
        self.ended = 0


class _Handler(BaseHTTPRequestHandler):
    server: Triton

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if self.server.hangs and "/near/" in self.path:
            self.server.goes_on.wait(LONG_S)
        status = list(json.dumps({"status_code": 200}).encode())
        self._answer(json.dumps({"outputs": [{"name": "status", "data": status}]}))

    def do_GET(self) -> None:
        labels = '{model="near",version="1"}'
        cancelled = f'nv_inference_request_failure{{model="near",reason="CANCELED",version="1"}} {time.monotonic()}'
        self._answer(f"# HELP\nnv_inference_request_success{labels} {self.server.ended}\n{cancelled}\n")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def triton() -> Iterator[Triton]:
    server = Triton()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.goes_on.set()
    server.shutdown()
    thread.join(LONG_S)
    server.server_close()


@pytest.fixture
def predictors(triton: Triton, monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentPredictors]:
    monkeypatch.setattr(silent_predictors, "_OVERDUE_S", 0.3)
    monkeypatch.setattr("cortex_compile.launchers.model_probes._ASK_EVERY_S", 0.05)
    port = triton.server_address[1]
    asked = SilentPredictors(Ports(port, 0, port), {"near": 0.1, "far": 0.1})
    yield asked
    asked.forget()


def look_until(predictors: SilentPredictors, wanted: set[str]) -> None:
    end = time.monotonic() + LONG_S
    while predictors.look() != wanted:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_that_hangs_is_told_and_then_stuck(triton: Triton, predictors: SilentPredictors) -> None:
    look_until(predictors, set())
    triton.hangs = True
    look_until(predictors, {"near"})
    end = time.monotonic() + LONG_S
    while (said := predictors.stuck()) is None:
        assert time.monotonic() < end
        predictors.look()
        time.sleep(0.01)
    assert said.startswith("'near' is stuck: it has answered nobody for ")
    predictors.forget()
    assert predictors.stuck() is None


def test_one_that_goes_on_is_well_again(triton: Triton, predictors: SilentPredictors) -> None:
    triton.hangs = True
    look_until(predictors, {"near"})
    triton.hangs = False
    triton.goes_on.set()
    look_until(predictors, set())
    assert predictors.stuck() is None


def test_one_whose_requests_end_is_only_asked_for_much(triton: Triton, predictors: SilentPredictors) -> None:
    triton.hangs = True
    until = time.monotonic() + 1.5  # many times what one that hangs gets
    while time.monotonic() < until:
        triton.ended += 1
        predictors.look()
        assert predictors.stuck() is None
        time.sleep(0.01)
    assert predictors.look() == set()
