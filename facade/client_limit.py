"""How many requests of one client may be under way, so that one alone cannot take what all share."""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from .client_counts import ClientCounts
from .errors import too_many_of_client
from .require_key import CLIENT, OPEN_PATHS
from .routes import send_error

__all__ = ["ClientLimit"]

# What one customer of a network provider has at least; within it a client may choose its address.
_IPV6_PREFIX_BITS = 64


class ClientLimit:
    """Who may go on. A client is the name of its API key, or where there are none, its address.

    Args:
        counts: those that the facade's workers share, where it has several.
    """

    def __init__(self, max_concurrency: int, counts: ClientCounts | None = None) -> None:
        self._max_concurrency = max_concurrency
        self._counts = counts
        self._under_way: dict[str, int] = {}

    def around(self, app: ASGIApp) -> ASGIApp:
        """``app`` for clients that have not too much under way, be it in this application or in another."""

        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
                await app(scope, receive, send)
                return
            client = scope.get(CLIENT) or _network_of(scope.get("client"))
            if not self._begin(client):
                await send_error(send, too_many_of_client(self._max_concurrency))
                return
            try:
                await app(scope, receive, send)
            finally:
                self._end(client)

        return limited

    def _begin(self, client: str) -> bool:
        """Count a request of a client, unless it has too many."""
        here = self._under_way.get(client, 0)
        elsewhere = self._counts.elsewhere(client) if self._counts is not None else 0
        if here + elsewhere >= self._max_concurrency:
            return False
        self._under_way[client] = here + 1
        if self._counts is not None:
            self._counts.add(client, 1)
        return True

    def _end(self, client: str) -> None:
        if self._counts is not None:
            self._counts.add(client, -1)
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
