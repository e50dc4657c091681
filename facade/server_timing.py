"""Every answer carries a ``server-timing`` header, which browsers and curl -i show: where its time went."""

from __future__ import annotations

import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ServerTimingMiddleware", "tell_timing", "timing_header"]

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
                message["headers"] = [*message.get("headers", ()), (b"server-timing", timing_header(parts, started_s))]
            await send(message)

        # In place: nothing stands before this that would see it, and a copy for each request costs.
        scope[_IN_SCOPE] = parts
        await self._app(scope, receive, send_with_timing)


def timing_header(parts_ms: Mapping[str, float], began_s: float) -> bytes:
    """The header's value: the parts of a request's time, by name, and all of it since ``began_s`` by perf_counter."""
    total_ms = 1000 * (time.perf_counter() - began_s)
    return ", ".join([f"{name};dur={ms:.3f}" for name, ms in (*parts_ms.items(), ("total", total_ms))]).encode()


def tell_timing(scope: Scope, milliseconds: Mapping[str, float]) -> None:
    """Put the parts of a request's time, by name, into the header of its answer, which was not begun yet."""
    scope[_IN_SCOPE].update(milliseconds)
