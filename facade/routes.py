"""The paths of the APIs: one small ASGI application each, since this is the hot path."""

from __future__ import annotations

import asyncio
import json

from starlette.types import Receive, Scope, Send

from .errors import HttpError
from .headers import RawHeaders, end_to_end
from .metrics import ApiMetrics, Outcome
from .read_body import ClientLeft, discard_rest, read_body, wait_until_client_left
from .service import PredictionService
from .settings import FacadeSettings
from .triton_client import PredictorAnswer

__all__ = ["PredictionRoute", "json_answer", "send_answer"]

# Cortex's own words.
_HOW_TO_ASK = "make a prediction by sending a post request to this endpoint with a json payload"

# Ours to say, or to say once: the HTTP server and the request-id middleware set them.
_SET_BY_US = {b"content-length", b"date", b"x-request-id"}


class PredictionRoute:
    """``POST`` predicts, ``GET`` says how."""

    def __init__(self, service: PredictionService, metrics: ApiMetrics, settings: FacadeSettings) -> None:
        self._service = service
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            with self._metrics.prediction() as outcome:
                ended = await self._predict(scope, receive, send, outcome)
            if not ended:
                await discard_rest(receive, self._settings.max_body_bytes)
                await send({"type": "http.response.body", "body": b""})
        elif scope["method"] == "GET":
            await send_answer(send, json_answer(200, {"message": _HOW_TO_ASK}))
        else:
            refusal = json_answer(405, {"error": f"{scope['method']} is not a method of this path; POST is"})
            await send_answer(send, _with_headers(refusal, [(b"allow", b"GET, POST")]))

    async def _predict(self, scope: Scope, receive: Receive, send: Send, outcome: Outcome) -> bool:
        """Answer; False where the client has the answer but may still be sending, and the response must be ended."""
        headers = end_to_end(scope["headers"])
        try:
            with self._service.slot():
                limits = self._settings.max_body_bytes, self._settings.request_timeout_s
                body = await read_body(receive, headers, *limits)
                answer = await self._ask(body, scope["query_string"], headers, receive)
        except ClientLeft:
            return True
        except HttpError as error:
            outcome.sent(error.status_code)
            await send_answer(send, _answer_of(error), more_body=error.close)
            return not error.close
        outcome.sent(answer.status_code)
        own = [(name, value) for name, value in end_to_end(answer.headers) if name not in _SET_BY_US]
        await send_answer(send, PredictorAnswer(answer.status_code, own, answer.body))
        return True

    async def _ask(self, body: bytes, query: bytes, headers: RawHeaders, receive: Receive) -> PredictorAnswer:
        answer = asyncio.ensure_future(self._service.predict(body, query, headers))
        left = asyncio.ensure_future(wait_until_client_left(receive))
        try:
            await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientLeft
            return answer.result()
        finally:
            left.cancel()
            answer.cancel()


def json_answer(status_code: int, value: object) -> PredictorAnswer:
    return PredictorAnswer(status_code, [(b"content-type", b"application/json")], json.dumps(value).encode())


def _answer_of(error: HttpError) -> PredictorAnswer:
    extra: RawHeaders = []
    if error.retry_after_s is not None:
        extra.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.close:
        extra.append((b"connection", b"close"))
    return _with_headers(json_answer(error.status_code, {"error": error.message}), extra)


def _with_headers(answer: PredictorAnswer, extra: RawHeaders) -> PredictorAnswer:
    return PredictorAnswer(answer.status_code, answer.headers + extra, answer.body)


async def send_answer(send: Send, answer: PredictorAnswer, more_body: bool = False) -> None:
    """Send an answer whole; with ``more_body`` the caller ends it."""
    headers, body = answer.headers, answer.body
    if answer.status_code in (204, 304):  # RFC 9110: these have no body and no length
        body = b""
    else:
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more_body})
