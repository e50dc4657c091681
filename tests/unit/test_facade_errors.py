"""What a client is told when Triton does not answer; the client of Triton is a fake, or there is no Triton."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI

from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.facade.app import create_app
from cortex_compile.facade.errors import error_of_triton
from cortex_compile.facade.settings import FacadeSettings
from cortex_compile.facade.triton_client import PredictorAnswer, TritonCallError, TritonPredictorClient

API = ApiRoute("api", "/api", 10)


class FakeTritonClient(TritonPredictorClient):
    """Fails as it is told to, without a Triton."""

    def __init__(self, failure: Exception | None = None, ready: bool = True) -> None:
        self._failure = failure
        self._is_all_ready = ready

    async def predict(
        self, model: str, payload: bytes, context: bytes, timeout_s: float, cancel_after_s: float | None = None
    ) -> PredictorAnswer:
        if self._failure is not None:
            raise self._failure
        return PredictorAnswer(200, [], payload)

    async def is_server_ready(self, timeout_s: float) -> bool:
        return True

    async def is_model_ready(self, model: str, timeout_s: float) -> bool:
        return self._is_all_ready


def _ask(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facade") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("code", "details", "status"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect", 503),
        (grpc.StatusCode.NOT_FOUND, "unknown model", 503),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", 503),
        (grpc.StatusCode.CANCELLED, "", 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", 504),
        (grpc.StatusCode.INTERNAL, "Stub process 'api_0_0' is not healthy.", 503),
        (grpc.StatusCode.INTERNAL, "Failed to increase the shared memory pool size for key 'x': No space left", 503),
        (grpc.StatusCode.INTERNAL, "anything else", 500),
        (grpc.StatusCode.INVALID_ARGUMENT, "", 500),
        (grpc.StatusCode.UNKNOWN, "", 500),
    ],
)
def test_status_by_grpc_code(code: grpc.StatusCode, details: str, status: int) -> None:
    error = error_of_triton(code, details)
    assert error.status_code == status
    assert (error.retry_after_s is not None) == (status == 503)
    assert not details or details not in error.message


def test_a_failed_call_is_logged_under_its_request_id(caplog: pytest.LogCaptureFixture) -> None:
    failure = TritonCallError(grpc.StatusCode.INTERNAL, "/secret/path")
    app = create_app([API], FakeTritonClient(failure), FacadeSettings())
    answer = _ask(app, "POST", "/api", headers={"x-request-id": "id-1"})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal server error"})
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "id-1" in record.getMessage()
    assert "/secret/path" in record.getMessage()


def test_an_unexpected_exception_is_a_500_without_details(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app([API], FakeTritonClient(ZeroDivisionError("secret")), FacadeSettings())
    answer = _ask(app, "POST", "/", headers={"x-request-id": "id-2"})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal server error"})
    assert answer.headers["x-request-id"] == "id-2"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "id-2" in record.getMessage()


def test_a_failed_request_gives_its_slot_back() -> None:
    api = ApiRoute("api", "/api", 1)
    app = create_app([api], FakeTritonClient(TritonCallError(grpc.StatusCode.INTERNAL, "")), FacadeSettings())
    assert [_ask(app, "POST", "/").status_code for _ in range(3)] == [500, 500, 500]


def test_readiness_names_the_model_that_is_not_ready() -> None:
    answer = _ask(create_app([API], FakeTritonClient(ready=False), FacadeSettings()), "GET", "/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "triton": True, "models": {"api": False}, "drift": None}


def test_readiness_does_not_wait_for_a_triton_that_is_found_to_be_gone(caplog: pytest.LogCaptureFixture) -> None:
    class Stopped(FakeTritonClient):
        async def is_server_ready(self, timeout_s: float) -> bool:
            faults[""] = "it is stopped"  # while it is asked
            await asyncio.sleep(3600)
            return True

    faults: dict[str, str] = {}
    answer = _ask(create_app([API], Stopped(), FacadeSettings(), faults=lambda: faults), "GET", "/readyz")
    gc.collect()
    assert (answer.status_code, answer.json()["faults"]) == (503, {"": "it is stopped"})
    assert caplog.messages == []


def test_readiness_turned_off_stays_off_for_the_first_reason() -> None:
    app = create_app([API], FakeTritonClient(), FacadeSettings())
    app.state.readiness.turn_off("the server is stopping")
    app.state.readiness.turn_off("Triton has ended")
    answer = _ask(app, "GET", "/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reason": "the server is stopping"})
    assert _ask(app, "GET", "/healthz").status_code == 200


def _without_triton(use: Callable[[TritonPredictorClient], Awaitable[Any]]) -> Any:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

        async def run() -> Any:
            client = TritonPredictorClient(f"127.0.0.1:{port}", 1000)
            try:
                return await use(client)
            finally:
                await client.close()

        return asyncio.run(run())


def test_no_triton_is_unavailable() -> None:
    with pytest.raises(TritonCallError) as failure:
        _without_triton(lambda client: client.predict("api", b"", b"{}", 10))
    assert failure.value.code == grpc.StatusCode.UNAVAILABLE


def test_no_triton_is_not_ready() -> None:
    assert _without_triton(lambda client: client.is_server_ready(10)) is False
    assert _without_triton(lambda client: client.is_model_ready("api", 10)) is False
