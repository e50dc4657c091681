"""Predictions whose request came in one piece go straight to their API, and the answer straight to the connection.

What ASGI has between the two (messages for a body and an answer that are there whole, a layer for each thing that
every answer carries) is a good part of a prediction without a model (docs/benchmarks.md, "What gave how much"). All
other requests take that way, and are answered alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from .headers import RawHeaders
from .http_protocol import LimitedProtocol
from .request_id import failed, identified
from .routes import WITHOUT_BODY, PredictionRoute, sendable_headers
from .server_timing import timing_header
from .settings import FacadeSettings
from .triton_client import PredictorAnswer

__all__ = ["direct_protocol"]

FindRoute = Callable[[bytes], PredictionRoute | None]


class _Exchange(RequestResponseCycle):
    """What uvicorn's protocol knows of a request and its answer. The request has come."""

    message_event = asyncio.Event()  # of one that waits for more of the request
    more_body = False

    def __init__(self) -> None:
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True


class _DirectProtocol(LimitedProtocol):
    find_route: FindRoute

    _route: PredictionRoute | None = None
    """Of a request that may go straight to it, as long as that is coming."""
    _body: list[bytes]
    """In pieces."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_refused:
            self._route = None
        if self._route is not None:  # the rest may be slow, too large, or not come at all
            self._leave_to_asgi()

    def begin_request(self) -> None:
        self._route, self._body = self._route_of_request(), []
        if self._route is None:
            super().begin_request()

    def _route_of_request(self) -> PredictionRoute | None:
        parser = self.parser
        is_plain = parser.get_method() == b"POST" and parser.get_http_version() == "1.1" and parser.should_keep_alive()
        is_next = self.cycle is None or self.cycle.response_complete
        return self.find_route(self.url) if is_plain and is_next else None

    def _leave_to_asgi(self) -> None:
        self._route = None
        super().begin_request()
        for piece in self._body:
            super().on_body(piece)

    def on_body(self, body: bytes) -> None:
        if self._route is None:
            super().on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._route is not None and sum(map(len, self._body)) > self._route.max_body_bytes:
            self._leave_to_asgi()
        route, self._route = self._route, None
        if route is None:
            super().on_message_complete()
            return
        exchange = self.begin_exchange(_Exchange())
        task = self.loop.create_task(self._answer(exchange, route, b"".join(self._body), self.headers))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, exchange: _Exchange, route: PredictionRoute, body: bytes, headers: RawHeaders) -> None:
        began_s = time.perf_counter()
        self.flow.resume_reading()  # paused where another request came behind this one; a client that leaves is read of
        request_id, headers = identified(headers)
        try:
            answer = await route.answer(body, headers, self)
        except Exception:
            answer = failed(request_id)
        if self.flow.write_paused and not exchange.disconnected:
            await self.flow.drain()
        if answer is None or exchange.disconnected or self.transport.is_closing():
            return
        own = [(b"x-request-id", request_id), (b"server-timing", timing_header(answer.timing_ms, began_s))]
        self.transport.write(self._encode(answer, own, exchange.keep_alive))
        exchange.response_complete = True
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _encode(self, answer: PredictorAnswer, own: RawHeaders, keep_alive: bool) -> bytes:
        lines = [STATUS_LINE[answer.status_code]]
        for name, value in (*self.server_state.default_headers, *sendable_headers(answer), *own):
            lines += (name, b": ", value, b"\r\n")
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        if answer.status_code in WITHOUT_BODY:
            lines.append(b"\r\n")
        else:
            lines += (b"content-length: %d\r\n\r\n" % len(answer.body), answer.body)
        return b"".join(lines)


def direct_protocol(settings: FacadeSettings, find_route: FindRoute) -> type[asyncio.Protocol]:
    """uvicorn's protocol within the limits of ``settings``.

    Args:
        find_route: what answers a plain POST to a target, if that need not pass the application.
    """
    members = {"limits": settings, "find_route": staticmethod(find_route)}
    return type("DirectProtocol", (_DirectProtocol,), members)
