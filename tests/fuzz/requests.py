"""Requests that hypothesis makes, and what must be true of every answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from hypothesis import strategies as st

from ..contract.live import Live, Received
from .examples import examples

SETTINGS = examples(0.1)

__all__ = ["REQUESTS", "SETTINGS", "FuzzedRequest", "check_answer", "multipart_requests", "send"]

# Every status that a request alone can lead to.
EXPECTED = {200, 400, 413}

_INTERNAL = re.compile(rb"Traceback|\.py\b|site-packages|model_repository|/tmp/|_runtime|triton", re.IGNORECASE)
_TOKEN = st.text(st.sampled_from("abcXYZ019!#$%&'*+-.^_`|~"), min_size=1, max_size=12)
_FIELD = st.binary(max_size=40).map(
    lambda value: bytes(byte for byte in value if byte == 9 or 31 < byte != 127).strip()
)
_CHARSETS = st.sampled_from(
    ["utf-8", "latin-1", "utf-16", "ascii", "idna", "punycode", "rot13", "hex", "undefined", ""]
)
_CONTENT_TYPES = st.one_of(
    st.none(),
    st.sampled_from(
        [
            b"application/json",
            b"Application/JSON; charset=latin-1",
            b"text/plain",
            b"application/x-www-form-urlencoded",
            b"multipart/form-data; boundary=abc",
            b"multipart/form-data",
            b"multipart/form-data; boundary=",
            b'multipart/form-data; boundary="a b"',
            b"multipart/form",
            b"application/octet-stream",
        ]
    ),
    _CHARSETS.map(lambda charset: f"text/plain; charset={charset}".encode()),
    _FIELD.map(lambda value: b"text/plain; charset=" + value),
    _FIELD.map(lambda value: b"multipart/form-data; boundary=" + value),
    _FIELD,
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
_BODIES = st.one_of(
    st.binary(max_size=300),
    _JSON.map(lambda value: json.dumps(value).encode("utf-8")),
    st.text(max_size=60).map(lambda text: text.encode("utf-16")),
    st.text(st.sampled_from("ab=&+%;é2F"), max_size=40).map(str.encode),
    st.text(st.sampled_from('[]{}",:0.eE-NaInfity'), max_size=40).map(str.encode),
)
_QUERIES = st.one_of(
    st.just(b""),
    st.text(st.sampled_from("ab=&+%;2F?/"), max_size=30).map(str.encode),
    st.binary(max_size=20).map(lambda value: b"q=" + bytes(byte for byte in value if 32 < byte < 127)),
)


@dataclass(frozen=True)
class FuzzedRequest:
    body: bytes
    content_type: bytes | None = b"application/json"
    query: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = field(default=())


REQUESTS = st.builds(
    FuzzedRequest,
    _BODIES,
    _CONTENT_TYPES,
    _QUERIES,
    st.lists(st.tuples(_TOKEN.map(lambda name: f"x-{name}"), _FIELD), max_size=4).map(tuple),
)


@st.composite
def multipart_requests(draw: st.DrawFn) -> FuzzedRequest:
    """Bodies put together of the pieces of which multipart bodies are made, in any order."""
    boundary = draw(st.sampled_from([b"abc", b"a", b"--", b"a'b", b"x" * 70, b"x" * 200]))
    pieces = st.sampled_from(
        [
            b"--" + boundary,
            b"--" + boundary + b"\r\n",
            b"\r\n--" + boundary + b"--\r\n",
            b'content-disposition: form-data; name="a"',
            b'content-disposition: form-data; name="f"; filename="a.png"',
            b"content-disposition: form-data; name*=utf-8''%c3%a9; filename*=utf-8''%zz",
            b"content-disposition: attachment",
            b"content-type: image/png",
            b"content-transfer-encoding: base64",
            b"_charset_",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b":",
            b"\xff\x00",
            b"x" * 5000,
        ]
    )
    body = b"".join(draw(st.lists(pieces | st.binary(max_size=10), max_size=25)))
    return FuzzedRequest(body, b"multipart/form-data; boundary=" + boundary)


def send(live: Live, request: FuzzedRequest) -> Received:
    """Over a socket of its own, byte for byte; whoever does not answer in time fails the test."""
    target = b"/fuzz" + (b"?" + request.query if request.query else b"")
    lines = [b"POST " + target + b" HTTP/1.1", b"host: x", b"connection: close"]
    lines.append(b"content-length: %d" % len(request.body))
    if request.content_type is not None:
        lines.append(b"content-type: " + request.content_type)
    lines += [name.encode() + b": " + value for name, value in request.headers]
    return live.send(b"\r\n".join(lines) + b"\r\n\r\n" + request.body)


def check_answer(answer: Received) -> None:
    assert answer.status in EXPECTED, answer
    assert not _INTERNAL.search(answer.body), answer
    if answer.status == 200:
        assert answer.header("content-type") == "application/json"
        json.loads(answer.body)
