"""What uvicorn leaves without a limit: the size of a request's head, and the time that it may take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from .connection import put_connection
from .settings import FacadeSettings

__all__ = ["LimitedProtocol"]

# Closed at once, the connection would be reset under a client that still sends, and its answer lost.
_LINGER_S = 1.0
# When the server stops: a request may be on its way on a connection that looks idle.
_LAST_REQUEST_S = 0.5

Exchange = TypeVar("Exchange", bound=RequestResponseCycle)


class _TooMuch(Exception):
    """Ends the parser, which then has the answer sent."""


class LimitedProtocol(HttpToolsProtocol):
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
        self._head_to_read_again: bytes | None = None

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
        self._feed(data)
        if self._in_head:
            if self._head_bytes > self.limits.max_header_bytes + self.limits.max_target_bytes:
                self._refuse(*self._too_large())
            elif self._timer is None:
                self._timer = self.loop.call_later(self.limits.head_timeout_s, self._head_is_late)

    def _feed(self, data: bytes) -> None:
        """As uvicorn's ``data_received``, but for requests that ask for another protocol.

        Java's client and curl --http2 do so with each. The parser gives up at the end of such a head, and the body
        would be lost; who does not speak the other protocol answers as if nobody had asked (RFC 9110, 7.8).
        """
        self._unset_keepalive_if_required()
        pieces: list[bytes | memoryview] = [data]
        while pieces:
            piece = pieces.pop()
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as stopped:
                if self._head_to_read_again is not None:
                    self.parser = httptools.HttpRequestParser(self)
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                    pieces += [memoryview(piece)[stopped.args[0] :], self._head_to_read_again]
            except httptools.HttpParserError:
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("")
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stop_timer()
        self._head_to_read_again = None
        self._in_head, self._head_bytes = True, self._chunk_bytes

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        refusal = self._refusal_of_head()
        if refusal is not None:
            self._refusal = refusal
            raise _TooMuch
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._head_to_read_again = self._head_without_upgrade()
        else:
            self.begin_request()

    def begin_request(self) -> None:
        """Its head is there, and within the limits."""
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Answered before all of it came: the rest may not take for ever.
        if self.cycle.response_complete and self.cycle.more_body and self._timer is None:
            self._timer = self.loop.call_later(self.limits.head_timeout_s, self.transport.close)

    def on_message_complete(self) -> None:
        self._stop_timer()
        if self._head_to_read_again is not None:
            return
        super().on_message_complete()
        if self.cycle.response_complete:  # uvicorn's own timer ended when the rest came
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def shutdown(self) -> None:
        """The server stops. A request that comes in the next moment is answered, and its connection closed then."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def begin_exchange(self, cycle: Exchange) -> Exchange:
        """Answer this request from now on, where uvicorn does not."""
        self._stop_timer()
        self.cycle = self._answered_now = cycle
        return cycle

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered_now = cycle
        put_connection(cycle.scope, self)  # type: ignore[arg-type]  # uvicorn's own type of a scope
        super()._start_asgi_task(cycle, app)

    @property
    def is_refused(self) -> bool:
        """Whether what came on the connection ended it."""
        return self._refusal is not None

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
