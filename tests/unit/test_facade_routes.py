"""Names, endpoints and what the documentation page is told of them."""

from __future__ import annotations

import contextlib

import pytest

from cortex_compile.errors import LaunchError, UsageError
from cortex_compile.facade.api_route import ApiRoute, Example, check_routes, paths_by_api
from cortex_compile.facade.headers import end_to_end, is_sendable
from cortex_compile.facade.listener import listen
from cortex_compile.facade.openapi import describe_apis

ONE = ApiRoute("one", "/one", 1)
TWO = ApiRoute("two", "/deep/two", 1)


def test_a_single_api_answers_on_the_root_too() -> None:
    assert list(paths_by_api([ONE])) == ["/", "/one"]
    assert list(paths_by_api([ONE, TWO])) == ["/one", "/deep/two"]


@pytest.mark.parametrize(
    ("apis", "words"),
    [
        ([ONE, ApiRoute("one", "/other", 1)], "two APIs are called 'one'"),
        ([ONE, ApiRoute("other", "/one", 1)], "'one' and 'other' both answer on '/one'"),
        ([ApiRoute("docs", "/docs", 1)], "'docs' wants to answer on '/docs'"),
        ([ApiRoute("x", "/docs/x", 1)], "which is the server's own"),
    ],
)
def test_apis_that_exclude_each_other(apis: list[ApiRoute], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_routes(apis)


def test_apis_that_only_look_alike() -> None:
    check_routes([ONE, TWO, ApiRoute("docs", "/docsearch", 1)])


def test_end_to_end_headers() -> None:
    headers = [(b"Connection", b"close, X-Mine"), (b"x-mine", b"1"), (b"TE", b"trailers"), (b"X-Other", b"2")]
    assert end_to_end(headers) == [(b"x-other", b"2")]


@pytest.mark.parametrize(
    ("name", "value", "sendable"),
    [
        (b"x-a", b"\xe4 b\t", True),
        (b"x-a", b"", True),
        (b"x-a", b"1\n", False),
        (b"x-a", b"1\r\nx: 2", False),
        (b"x-a", b"\x00", False),
        (b"x a", b"1", False),
        (b"x:", b"1", False),
        (b"", b"1", False),
    ],
)
def test_what_is_a_header(name: bytes, value: bytes, sendable: bool) -> None:
    assert is_sendable(name, value) is sendable


def _content(example: Example | None) -> dict[str, object]:
    api = ApiRoute("one", "/one", 1, example)
    document = describe_apis({"paths": {}}, paths_by_api([api]))
    assert list(document["paths"]) == ["/", "/one"]
    content: dict[str, object] = document["paths"]["/one"]["post"]["requestBody"]["content"]
    return content


def test_the_example_is_shown_first() -> None:
    content = _content(Example("text/plain", "hello"))
    assert next(iter(content.items())) == ("text/plain", {"schema": {"type": "string"}, "example": "hello"})
    assert "application/json" in content


def test_a_json_example_is_shown_as_json() -> None:
    assert _content(Example("application/json", '{"a": 1}'))["application/json"] == {"schema": {}, "example": {"a": 1}}


@pytest.mark.parametrize("example", [None, Example("application/json", "{")])
def test_no_usable_example(example: Example | None) -> None:
    assert _content(example)["application/json"] == {"schema": {}}


@pytest.mark.parametrize("streaming", [True, False])
def test_what_streams_is_described_so(streaming: bool) -> None:
    api = ApiRoute("one", "/one", 1, streaming=streaming)
    document = describe_apis({"paths": {}}, paths_by_api([api]))
    answer = document["paths"]["/one"]["post"]["responses"]["200"]
    assert ("In chunks" in answer["description"]) is streaming
    assert ("application/x-ndjson" in answer["content"]) is streaming
    assert {"application/json", "text/plain", "*/*"} <= answer["content"].keys()


def test_a_port_that_is_taken_is_named_with_its_flag() -> None:
    (taken,) = listen("127.0.0.1", 0)
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port} of 127.0.0.1 .*address already in use.*--port"):
            listen("127.0.0.1", port)


def test_a_port_that_workers_share_is_nobody_elses() -> None:
    with contextlib.ExitStack() as opened:
        listeners = [opened.enter_context(listener) for listener in listen("127.0.0.1", 0, 3)]
        (port,) = {listener.getsockname()[1] for listener in listeners}
        for count in (1, 2):
            with pytest.raises(LaunchError, match=f"port {port} .*address already in use"):
                listen("127.0.0.1", port, count)


def test_a_host_that_is_none_of_this_machine() -> None:
    with pytest.raises(LaunchError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    with pytest.raises(LaunchError, match="--host 'no host'"):
        listen("no host", 0)
