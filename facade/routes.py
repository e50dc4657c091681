"""The paths of the APIs: one small ASGI application each, since this is the hot path."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from starlette.types import Receive, Scope, Send

from .connection import ClientLeft, Connection, connection_of, while_client_waits
from .errors import HttpError, ending
from .headers import RawHeaders, end_to_end
from .metrics import ApiMetrics, Outcome
from .read_body import discard_rest, read_body
from .server_timing import tell_timing
from .service import BrokenStream, PredictionService
from .triton_client import PredictorAnswer, PredictorStream

__all__ = ["WITHOUT_BODY", "PredictionRoute", "json_answer", "send_answer", "send_error", "sendable_headers"]

# Cortex's own words.
_HOW_TO_ASK = "make a prediction by sending a post request to this endpoint with a json payload"

# RFC 9110: these have no body and no length.
WITHOUT_BODY = (204, 304)

# Ours to say, or to say once: the HTTP server and the request-id middleware set them.
_SET_BY_US = {b"content-length", b"date", b"x-request-id"}


class PredictionRoute:
    """``POST`` predicts, ``GET`` says how."""

    def __init__(self, service: PredictionService, metrics: ApiMetrics) -> None:
        self._service = service
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            with self._metrics.prediction() as outcome:
                ended = await self._predict(scope, receive, send, outcome)
            if not ended:
                await discard_rest(receive, self._service.api.max_body_bytes)
                await send({"type": "http.response.body", "body": b""})
        elif scope["method"] == "GET":
            await send_answer(send, await self._describe(end_to_end(scope["headers"])))
        else:
            refusal = json_answer(405, {"error": f"{scope['method']} is not a method of this path; POST is"})
            await send_answer(send, _with_headers(refusal, [(b"allow", b"GET, POST")]))

    @property
    def answers_whole(self) -> bool:
        """Whether ``answer`` may be asked: no answer comes in chunks."""
        return not self._service.api.streaming

    @property
    def max_body_bytes(self) -> int:
        return self._service.api.max_body_bytes

    async def answer(self, body: bytes, headers: RawHeaders, connection: Connection) -> PredictorAnswer | None:
        """The answer to a POST without a query, of which all has come; None where its client has left."""
        headers = end_to_end(headers)
        with self._metrics.prediction() as outcome:
            try:
                with self._service.slots:
                    answer = await while_client_waits(self._service.predict(body, b"", headers), connection)
            except ClientLeft:
                return None
            except (HttpError, asyncio.CancelledError) as problem:
                answer = _answer_of(_error_of(problem))
            outcome.sent(answer.status_code)
            return answer

    async def _describe(self, headers: RawHeaders) -> PredictorAnswer:
        message = json_answer(200, {"message": _HOW_TO_ASK})
        if not self._service.api.has_models:
            return message
        try:
            models = await self._service.describe_models(headers)
        except HttpError as error:
            return _answer_of(error)
        if models.status_code != 200:
            return models
        # Put in as it came: no JSON is parsed here.
        return replace(message, body=message.body[:-1] + b', "model_metadata": ' + models.body + b"}")

    async def _predict(self, scope: Scope, receive: Receive, send: Send, outcome: Outcome) -> bool:
        """Answer; False where the client has the answer but may still be sending, and the response must be ended."""
        headers, api, connection = end_to_end(scope["headers"]), self._service.api, connection_of(scope)
        try:
            with self._service.slots:
                body = await read_body(receive, headers, connection, api.max_body_bytes, api.request_timeout_s)
                asked = self._service.predict(body, scope["query_string"], headers)
                answer = await while_client_waits(asked, connection)
                tell_timing(scope, answer.timing_ms)
                if answer.rest is not None:
                    outcome.sent(answer.status_code)
                    try:
                        sent = self._send_stream(answer, answer.rest, headers, send, outcome)
                        await while_client_waits(sent, connection)
                    finally:
                        answer.rest.cancel()
                    return True
        except ClientLeft:
            outcome.client_left()
            return True
        except (HttpError, asyncio.CancelledError) as problem:
            error = _error_of(problem)
            if outcome.is_told:
                raise
            outcome.sent(error.status_code)
            await send_error(send, error, more_body=error.close)
            return not error.close
        outcome.sent(answer.status_code)
        await send_answer(send, PredictorAnswer(answer.status_code, sendable_headers(answer), answer.body))
        return True

    async def _send_stream(
        self, answer: PredictorAnswer, rest: PredictorStream, headers: RawHeaders, send: Send, outcome: Outcome
    ) -> None:
        """Send an answer as it comes. One that breaks off is left without its end, which a client notices."""
        start = {"status": answer.status_code, "headers": sendable_headers(answer)}
        await send({"type": "http.response.start", **start})
        chunk: bytes | None = answer.body
        try:
            while chunk is not None:
                # Where there may be no body, the predictor still goes on to the end of what it does.
                if answer.status_code not in WITHOUT_BODY:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await self._service.next_chunk(rest, headers)
        except BrokenStream:
            outcome.broke_off()
        else:
            await send({"type": "http.response.body", "body": b""})


def sendable_headers(answer: PredictorAnswer) -> RawHeaders:
    return [(name, value) for name, value in end_to_end(answer.headers) if name not in _SET_BY_US]


def json_answer(status_code: int, value: object) -> PredictorAnswer:
    return PredictorAnswer(status_code, [(b"content-type", b"application/json")], json.dumps(value).encode())


def _error_of(problem: HttpError | asyncio.CancelledError) -> HttpError:
    # uvicorn cancels what is not answered in the time that the server has to end, and would tell of a 500.
    return problem if isinstance(problem, HttpError) else ending()


def _answer_of(error: HttpError) -> PredictorAnswer:
    extra: RawHeaders = []
    if error.retry_after_s is not None:
        extra.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.challenge is not None:
        extra.append((b"www-authenticate", error.challenge.encode()))
    if error.close:
        extra.append((b"connection", b"close"))
    return _with_headers(json_answer(error.status_code, {"error": error.message}), extra)


def _with_headers(answer: PredictorAnswer, extra: RawHeaders) -> PredictorAnswer:
    return PredictorAnswer(answer.status_code, answer.headers + extra, answer.body)


async def send_error(send: Send, error: HttpError, more_body: bool = False) -> None:
    """Send an error; with ``more_body`` the caller ends it."""
    await send_answer(send, _answer_of(error), more_body)


async def send_answer(send: Send, answer: PredictorAnswer, more_body: bool = False) -> None:
    """Send an answer whole; with ``more_body`` the caller ends it."""
    headers, body = answer.headers, answer.body
    if answer.status_code in WITHOUT_BODY:
        body = b""
    else:
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more_body})
