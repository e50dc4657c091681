"""How many requests of one client may be under way, so that one alone cannot take what all share."""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import too_many_of_client
from .require_key import CLIENT, OPEN_PATHS
from .routes import send_error

__all__ = ["ClientLimit"]

# What one customer of a network provider has at least; within it a client may choose its address.
_IPV6_PREFIX_BITS = 64


class ClientLimit:
    """An ASGI application. A client is the name of its API key, or where there are none, its address."""

    def __init__(self, app: ASGIApp, max_concurrency: int) -> None:
        self._app = app
        self._max_concurrency = max_concurrency
        self._under_way: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        client = scope.get(CLIENT) or _network_of(scope.get("client"))
        count = self._under_way.get(client, 0)
        if count >= self._max_concurrency:
            await send_error(send, too_many_of_client(self._max_concurrency))
            return
        self._under_way[client] = count + 1
        try:
            await self._app(scope, receive, send)
        finally:
            # Those that have nothing under way are forgotten: there may be any number of them.
            if self._under_way[client] == 1:
                del self._under_way[client]
            else:
                self._under_way[client] -= 1


def _network_of(address: tuple[str, int] | None) -> str:
    host = address[0] if address else ""
    if ":" not in host:
        return host
    found = ipaddress.IPv6Address(host.partition("%")[0])
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), _IPV6_PREFIX_BITS), strict=False))
