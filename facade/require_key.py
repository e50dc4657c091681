"""Requests without a valid API key go no further, but for those that ask whether the server is alive and ready."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from .api_keys import ApiKeys
from .errors import HttpError, no_valid_key
from .headers import RawHeaders
from .routes import send_error

__all__ = ["CLIENT", "OPEN_PATHS", "RequireKey"]

# Who asks, in the scope of a request that had a valid key.
CLIENT = "cortex_compile.client"
# For load balancers and orchestrators, which have no keys.
OPEN_PATHS = frozenset(("/healthz", "/readyz"))

_BEARER = b"bearer "


class RequireKey:
    """An ASGI application that hands on what has a key, as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.

    The header that held it goes no further: neither predictors nor their logs need it.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            try:
                name, headers = self._client_of(scope["headers"])
            except HttpError as error:
                await send_error(send, error)
                return
            scope = {**scope, "headers": headers, CLIENT: name}
        await self._app(scope, receive, send)

    def _client_of(self, headers: RawHeaders) -> tuple[str, RawHeaders]:
        name, others, some_key = None, [], False
        for header in headers:
            key = _key_in(*header)
            found = None if key is None else self._keys.name_of(key)
            some_key = some_key or key is not None
            # Another header may hold a key of the predictor's own.
            if found is None:
                others.append(header)
            else:
                name = name or found
        if name is None:
            raise no_valid_key(some_key)
        return name, others


def _key_in(name: bytes, value: bytes) -> bytes | None:
    if name == b"x-api-key":
        return value.strip()
    if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
        return value[len(_BEARER) :].strip()
    return None
