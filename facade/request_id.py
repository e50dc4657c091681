"""Every answer carries an ``x-request-id``, also the one for a fault of ours."""

from __future__ import annotations

import logging
import random
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .headers import RawHeaders
from .routes import json_answer, send_answer
from .triton_client import PredictorAnswer

__all__ = ["RequestIdMiddleware", "failed", "identified"]

_log = logging.getLogger(__name__)
_SANE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")


class RequestIdMiddleware:
    """Keep the client's request id or make one, show it to the application, and put it on the answer.

    An exception that nobody expected becomes a 500 that says nothing more; the log has the traceback under the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, headers = identified(scope["headers"])
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            scope["headers"] = headers
            await self._app(scope, receive, send_with_id)
        except Exception:
            answer = failed(request_id)
            if started:
                raise
            await send_answer(send_with_id, answer)


def failed(request_id: bytes) -> PredictorAnswer:
    """What to answer where an exception that nobody expected was just raised."""
    _log.exception("request %s failed", request_id.decode("latin-1"))
    return json_answer(500, {"error": "internal server error"})


def identified(headers: RawHeaders) -> tuple[bytes, RawHeaders]:
    """The id of a request, and its headers with that alone."""
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _SANE.fullmatch(given[0]):
        return given[0], headers
    # Not for secrets, and so without a call to the system for each request.
    made = b"%032x" % random.getrandbits(128)
    return made, [pair for pair in headers if pair[0] != b"x-request-id"] + [(b"x-request-id", made)]
