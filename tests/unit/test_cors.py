"""Pages of other sites: off unless they are named, and only by names that browsers send."""

from __future__ import annotations

import pytest
from starlette.middleware.cors import CORSMiddleware

from cortex_compile.errors import UsageError
from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.facade.app import create_app
from cortex_compile.facade.cors import check_origin
from cortex_compile.facade.settings import FacadeSettings

from .test_facade_errors import FakeTritonClient


def _middleware_of(settings: FacadeSettings) -> list[object]:
    app = create_app([ApiRoute("api", "/api", 10)], FakeTritonClient(), settings)
    return [middleware.cls for middleware in app.user_middleware]


def test_nothing_stands_in_the_way_of_a_request_where_it_is_off() -> None:
    assert CORSMiddleware not in _middleware_of(FacadeSettings())
    # Last: what sets the request's id and time is around it.
    assert _middleware_of(FacadeSettings(cors_origins=("*",)))[-1] is CORSMiddleware


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
