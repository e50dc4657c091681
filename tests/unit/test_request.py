from __future__ import annotations

import json
from typing import Any

import pytest

from cortex_compile.python_backend.request import (
    BadRequest,
    Request,
    parse_headers,
    parse_payload,
    parse_query_params,
    request_from_context,
)

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
MULTIPART = "multipart/form-data; boundary=AaB03x"


@pytest.mark.parametrize(
    ("content_type", "body", "payload"),
    [
        (JSON, b'{"a": [1, null]}', {"a": [1, None]}),
        ("Application/JSON; charset=utf-8", b"3", 3),
        ("application/json-patch", b'"x"', "x"),
        (JSON, '"gr\u00fcn"'.encode("utf-16"), "gr\u00fcn"),
        (JSON, b"[Infinity]", [float("inf")]),
        ("text/plain", b"gr\xc3\xbcn", "gr\u00fcn"),
        ("TEXT/PLAIN; Charset=ISO-8859-1", b"gr\xfcn", "gr\u00fcn"),
        ('text/plain; charset="utf-16-le"', b"a\x00", "a"),
        ("text/plain", b"", ""),
        ("text/html", b"<p>", b"<p>"),
        ("application/vnd.api+json", b"{}", b"{}"),
        ("image/png", b"\x89PNG\xff", b"\x89PNG\xff"),
        (None, b"", b""),
        ("", b"{}", b"{}"),
    ],
)
def test_payload_by_content_type(content_type: str | None, body: bytes, payload: Any) -> None:
    found = parse_payload(Request(body, content_type))
    assert found == payload
    assert type(found) is type(payload)


@pytest.mark.parametrize(
    ("content_type", "body", "answer", "media_type"),
    [
        (
            JSON,
            b"{x",
            b'{"error":"Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"}',
            JSON,
        ),
        (JSON, b"", b'{"error":"Expecting value: line 1 column 1 (char 0)"}', JSON),
        (
            JSON,
            b'"\xff"',
            b'{"error":"\'utf-8\' codec can\'t decode byte 0xff in position 1: invalid start byte"}',
            JSON,
        ),
        (JSON, b"[" * 100_000, b'{"error":"', JSON),
        ("text/plain", b"\xff", b"'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", TEXT),
        ("text/plain; charset=bogus", b"x", b"unknown encoding: bogus", TEXT),
        ("text/plain; charset=hex", b"x", b"'hex' is not a text encoding", TEXT),
        (MULTIPART, b"no such boundary", b"Invalid multipart data", TEXT),
        ("multipart/form-data", b"x", b"Missing boundary", TEXT),
    ],
)
def test_client_fault_is_400(content_type: str, body: bytes, answer: bytes, media_type: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_payload(Request(body, content_type))
    assert caught.value.status_code == 400
    assert caught.value.body.startswith(answer)
    assert caught.value.media_type == media_type


def test_url_encoded_form() -> None:
    form = parse_payload(Request(b"a=1&a=2&b=%C3%BC+x", "application/x-www-form-urlencoded"))
    assert form["a"] == "2"
    assert form.getlist("a") == ["1", "2"]
    assert form["b"] == "\u00fc x"


def test_multipart_form_with_a_file_read_synchronously() -> None:
    long_text = b"x" * (2 * 1024 * 1024)
    body = (
        b'--AaB03x\r\nContent-Disposition: form-data; name="word"\r\n\r\n' + long_text + b"\r\n"
        b'--AaB03x\r\nContent-Disposition: form-data; name="image"; filename="cat.png"\r\n'
        b"Content-Type: image/png\r\n\r\n\x89PNG\x00\r\n--AaB03x--\r\n"
    )
    form = parse_payload(Request(body, MULTIPART))
    assert form["word"] == long_text.decode()
    assert form["image"].filename == "cat.png"
    assert form["image"].content_type == "image/png"
    assert form["image"].file.read() == b"\x89PNG\x00"
    form["image"].file.close()


def test_query_params_and_headers_are_starlettes() -> None:
    request = Request(b"", None, "model=a&model=b&empty=", (("X-Word", "gr\u00fcn"), ("x-word", "second")))
    params, headers = parse_query_params(request), parse_headers(request)
    assert params["model"] == "b"
    assert params.getlist("model") == ["a", "b"]
    assert params.get("empty") == ""
    assert params.get("nothing") is None
    assert headers["x-WORD"] == "gr\u00fcn"
    assert headers.getlist("X-Word") == ["gr\u00fcn", "second"]
    assert request.header("x-word") == "gr\u00fcn"
    assert request.header("accept") is None


def test_header_that_no_http_client_can_send_is_400() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_headers(Request(b"", headers=(("x", "\u20ac"),)))
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (None, Request(b"1")),
        (b"", Request(b"1")),
        (b"{}", Request(b"1")),
        (b'{"content_type": null}', Request(b"1", None)),
        (
            b'{"content_type": "text/plain", "query_string": "a=1", "headers": [["X-A", "b"]], "later": 1}',
            Request(b"1", "text/plain", "a=1", (("X-A", "b"),)),
        ),
    ],
)
def test_context(context: bytes | None, expected: Request) -> None:
    assert request_from_context(b"1", context) == expected


@pytest.mark.parametrize(
    "context",
    [
        b"{",
        b"\xff",
        b"[]",
        b'{"content_type": 3}',
        b'{"query_string": null}',
        b'{"headers": {"a": "b"}}',
        b'{"headers": [["a", 1]]}',
        b'{"headers": 3}',
    ],
)
def test_wrong_context_is_400(context: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        request_from_context(b"1", context)
    assert caught.value.status_code == 400
    assert json.loads(caught.value.body)["error"].startswith("context: ")
