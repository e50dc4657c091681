"""What uvicorn leaves without a limit: the size of a request's head, and the time that it may take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from .connection import put_connection
from .settings import FacadeSettings

__all__ = ["limited_protocol"]

# Closed at once, the connection would be reset under a client that still sends, and its answer lost.
_LINGER_S = 1.0
# When the server stops: a request may be on its way on a connection that looks idle.
_LAST_REQUEST_S = 0.5


class _TooMuch(Exception):
    """Ends the parser, which then has the answer sent."""


class _LimitedProtocol(HttpToolsProtocol):
    """One connection. What is over a limit is answered, and the connection closed."""

    limits: FacadeSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._chunk_bytes = 0
        self._head_bytes = 0  # at most: what follows the head in its last chunk counts, too
        self._refusal: tuple[int, str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered_now: RequestResponseCycle | None = None
        self._tell_of_leaving: Callable[[], None] | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # As long as between two requests: some clients connect before they have one.
        self._timer = self.loop.call_later(self.timeout_keep_alive, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        # uvicorn tells the last request of the connection, and this may be an earlier one.
        if self._answered_now is not None and not self._answered_now.response_complete:
            self._answered_now.disconnected = True
            self._answered_now.message_event.set()
        self._is_lost = True
        if self._tell_of_leaving is not None:
            self._tell_of_leaving()

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._chunk_bytes = len(data)
        self._head_bytes += self._chunk_bytes
        super().data_received(data)
        if self._in_head:
            if self._head_bytes > self.limits.max_header_bytes + self.limits.max_target_bytes:
                self._refuse(*self._too_large())
            elif self._timer is None:
                self._timer = self.loop.call_later(self.limits.head_timeout_s, self._head_is_late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stop_timer()
        self._in_head, self._head_bytes = True, self._chunk_bytes

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        refusal = self._refusal_of_head()
        if refusal is not None:
            self._refusal = refusal
            raise _TooMuch
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Answered before all of it came: the rest may not take for ever.
        if self.cycle.response_complete and self.cycle.more_body and self._timer is None:
            self._timer = self.loop.call_later(self.limits.head_timeout_s, self.transport.close)

    def on_message_complete(self) -> None:
        self._stop_timer()
        super().on_message_complete()
        if self.cycle.response_complete:  # uvicorn's own timer ended when the rest came
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def shutdown(self) -> None:
        """The server stops. A request that comes in the next moment is answered, and its connection closed then."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered_now = cycle
        put_connection(cycle.scope, self)  # type: ignore[arg-type]  # uvicorn's own type of a scope
        super()._start_asgi_task(cycle, app)

    @property
    def has_whole_body(self) -> bool:
        return self._answered_now is not None and not self._answered_now.more_body

    def when_client_leaves(self, tell: Callable[[], None] | None) -> bool:
        self._tell_of_leaving = tell
        return not self._is_lost

    def send_400_response(self, msg: str) -> None:
        self._refuse(*(self._refusal or (400, "this is not HTTP/1.1")))

    def _refusal_of_head(self) -> tuple[int, str] | None:
        if len(self.url) > self.limits.max_target_bytes:
            return 414, f"the path and the query are longer than {self.limits.max_target_bytes} bytes"
        if len(self.headers) > self.limits.max_header_count:
            return 431, f"there are more than {self.limits.max_header_count} headers"
        if self._head_bytes > self.limits.max_header_bytes:
            size = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.max_header_bytes:
                return self._too_large()
        return None

    def _too_large(self) -> tuple[int, str]:
        return 431, f"the headers are larger than {self.limits.max_header_bytes} bytes"

    def _head_is_late(self) -> None:
        self._refuse(408, f"the request's headers did not arrive within {self.limits.head_timeout_s:g} s")

    def _refuse(self, status_code: int, message: str) -> None:
        self._refusal = (status_code, message)
        self._stop_timer()
        # A request before this one may be in the middle of its answer.
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            body = json.dumps({"error": message}).encode()
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status_code] + head + body)
            self._timer = self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def limited_protocol(settings: FacadeSettings) -> type[asyncio.Protocol]:
    """uvicorn's protocol within the limits of ``settings``."""
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": settings})
