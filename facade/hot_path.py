"""Predictions go straight to their API; FastAPI has all the rest: the page, the documentation, health and metrics.

What FastAPI puts before every route (its own limits, telemetry, error pages and routing) took a fifth of the facade's
time for a prediction, which has its own limits, metrics and errors.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HotPath"]


class HotPath:
    """An ASGI application: ``routes`` by their exact path, and ``others`` for any other."""

    def __init__(self, routes: Mapping[str, ASGIApp], others: ASGIApp) -> None:
        self._routes = routes
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._routes.get(scope.get("path", ""), self._others)(scope, receive, send)
