"""Every answer carries a ``server-timing`` header, which browsers and curl -i show: where its time went."""

from __future__ import annotations

import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ServerTimingMiddleware", "tell_timing"]

_IN_SCOPE = "cortex_compile.timing"


class ServerTimingMiddleware:
    """Times each request, and adds what the application tells of the predictor's part in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        parts: dict[str, float] = {}

        async def send_with_timing(message: Message) -> None:
            if message["type"] == "http.response.start":
                total_ms = 1000 * (time.perf_counter() - started_s)
                header = ", ".join(f"{name};dur={ms:.3f}" for name, ms in (*parts.items(), ("total", total_ms)))
                message["headers"] = [*message.get("headers", ()), (b"server-timing", header.encode())]
            await send(message)

        # In place: nothing stands before this that would see it, and a copy for each request costs.
        scope[_IN_SCOPE] = parts
        await self._app(scope, receive, send_with_timing)


def tell_timing(scope: Scope, milliseconds: Mapping[str, float]) -> None:
    """Put the parts of a request's time, by name, into the header of its answer, which was not begun yet."""
    scope[_IN_SCOPE].update(milliseconds)
