"""Pages of other sites: off unless they are named, and only by names that browsers send."""

from __future__ import annotations

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from cortex_compile.errors import UsageError
from cortex_compile.facade.cors import allow_origins, check_origin


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Any application."""


def test_nothing_stands_in_the_way_of_a_request_where_it_is_off() -> None:
    assert allow_origins(app, ()) is app
    assert isinstance(allow_origins(app, ["*"]), CORSMiddleware)


@pytest.mark.parametrize(
    ("origin", "as_sent"),
    [
        ("*", "*"),
        ("https://app.example.com", "https://app.example.com"),
        ("https://App.Example.com/", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_origins_as_browsers_send_them(origin: str, as_sent: str) -> None:
    assert check_origin(origin) == as_sent


@pytest.mark.parametrize(
    "origin",
    ["", "app.example.com", "localhost:3000", "https://a.example/page", "https://a?b", "https://u@a", "ftp://a",
     "null", "https://*.example.com", "https://a b", "https://", "http://a:port", "http://a:0"],
)  # fmt: skip
def test_what_no_browser_sends(origin: str) -> None:
    with pytest.raises(UsageError, match=r"--cors-origin .* is no origin: expected"):
        check_origin(origin)
