"""Predictions go straight to their API; FastAPI has all the rest: the page, the documentation, health and metrics.

What FastAPI puts before every route (its own limits, telemetry, error pages and routing) took a fifth of the facade's
time for a prediction, which has its own limits, metrics and errors.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HotPath"]


class HotPath:
    """An ASGI application: ``routes`` by their exact path, and for any other ``app``, by ``stack``, its middleware."""

    def __init__(self, routes: Mapping[str, ASGIApp], app: Starlette, stack: ASGIApp) -> None:
        self._routes = routes
        self._app = app
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope.get("path", ""))
        if route is None:
            scope["app"] = self._app
            route = self._stack
        await route(scope, receive, send)
