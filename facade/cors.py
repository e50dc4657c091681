"""Which web pages of other sites may read the answers: none, unless they are named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cortex_compile.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["allow_origins", "check_origin"]

_ORIGIN = re.compile(r"(?P<origin>\*|(?P<scheme>https?://)([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]*)?)/?")
# What a script may read besides the body and the type of an answer.
_READABLE = ("x-request-id", "server-timing", "retry-after")


def check_origin(origin: str) -> str:
    """The origin as browsers write it, or ``*``.

    Raises:
        UsageError: it is none, so that no browser would ever send it.
    """
    found = _ORIGIN.fullmatch(origin.lower())
    if found is None:
        raise UsageError(
            f"--cors-origin {origin!r} is no origin: expected '*', or a scheme and a host, with its port if it has one,"
            " as in https://app.example.com or http://localhost:3000"
        )
    default_port = {"http://": ":80", "https://": ":443"}.get(found["scheme"], ":")
    return found["origin"].removesuffix(default_port)


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """``app``, from which pages of these origins may ask with any header and read the answers; itself without any."""
    if not origins:
        return app
    # Here, since the launcher, which only checks origins, serves nothing itself.
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=_READABLE,
    )
