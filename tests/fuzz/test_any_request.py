"""Whatever is asked: no 5xx that the predictor did not raise, no waiting without end, nothing internal in an answer."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ..contract import later_table, requests_table, server_table
from ..contract.live import TIMEOUT_S, Live
from ..contract.table import Ask
from .requests import REQUESTS, SETTINGS, FuzzedRequest, check_answer, multipart_requests, send

pytestmark = pytest.mark.triton

_ASKED = [
    proof
    for table in (requests_table, server_table, later_table)
    for row in table.ROWS
    for proof in row.proofs
    if isinstance(proof, Ask)
]
FROM_THE_TABLE = [
    FuzzedRequest(
        ask.body,
        None if ask.content_type is None else ask.content_type.encode(),
        ask.query.encode(),
        tuple((name, value.encode()) for name, value in ask.headers),
    )
    for ask in _ASKED
    if ask.raw is None and ask.method == "POST"
]
# To a path that there is here.
RAW_FROM_THE_TABLE = [re.sub(rb"^POST /[a-z-]+", b"POST /fuzz", ask.raw) for ask in _ASKED if ask.raw is not None]


@pytest.mark.parametrize("request_", FROM_THE_TABLE)
def test_every_boundary_of_the_contract(live: Live, request_: FuzzedRequest) -> None:
    check_answer(send(live, request_))


@SETTINGS
@given(REQUESTS)
@example(FuzzedRequest(b"x", b"text/plain; charset=undefined"))
@example(FuzzedRequest(b"x", b"text/plain; charset=hex"))
@example(FuzzedRequest(b"x", b"text/plain; charset=\xe9"))
@example(FuzzedRequest(b"a", b"multipart/form-data; boundary=\xe9"))
@example(FuzzedRequest(b'"\\ud800"'))
@example(FuzzedRequest(b'{"\\ud800": 1}'))
@example(FuzzedRequest(b"1" * 5000))
@example(FuzzedRequest(b"%ff=%fe", b"application/x-www-form-urlencoded"))
@example(FuzzedRequest(b"0", query=b"%ff=%fe&=&&"))
def test_bodies_content_types_queries_and_headers(live: Live, request_: FuzzedRequest) -> None:
    check_answer(send(live, request_))


@SETTINGS
@given(multipart_requests())
def test_multipart_boundaries(live: Live, request_: FuzzedRequest) -> None:
    check_answer(send(live, request_))


def _with_examples(test):  # type: ignore[no-untyped-def]
    for raw in RAW_FROM_THE_TABLE:
        test = example(raw)(test)
    return test


@contextlib.contextmanager
def _may_be_closed() -> Iterator[None]:
    """Who is refused may find the connection closed while he still sends, and who shuts it down, that nothing is left
    to shut down."""
    try:
        yield
    except (ConnectionResetError, BrokenPipeError):
        pass
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise


@SETTINGS
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                b"POST /fuzz HTTP/1.1\r\n",
                b"POST /fuzz HTTP/1.0\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"host: x\r\n",
                b"content-length: 3\r\n",
                b"content-length: 99999999999999999999\r\n",
                b"content-length: 3, 3\r\n",
                b"transfer-encoding: chunked\r\n",
                b"transfer-encoding: gzip\r\n",
                b"expect: 100-continue\r\n",
                b"upgrade: websocket\r\nconnection: upgrade\r\n",
                b"\r\n",
                b"abc",
                b"3\r\nabc\r\n",
                b"0\r\n\r\n",
                b"fffffffffffffffff\r\n",
                b"3;name=value\r\nabc\r\n0\r\ntrailer: x\r\n\r\n",
                b"-1\r\n",
                b"GET http://x/fuzz HTTP/1.1\r\n",
                b"OPTIONS * HTTP/1.1\r\n",
                b"CONNECT x:1 HTTP/1.1\r\n",
                b"POST /%66uzz?%00&%zz HTTP/1.1\r\n",
                b"POST /..%2f..%2ffuzz#x HTTP/1.1\r\n",
                b"POST /" + b"q" * 20_000 + b" HTTP/1.1\r\n",
                b"post /fuzz HTTP/1.1\r\n",
                b"POST /fuzz\r\n",
                b"a: " + b"b" * 70_000 + b"\r\n",
                b"".join(b"a%d: b\r\n" % number for number in range(120)),
                b"content-type: " + b"\xff" * 5_000 + b"\r\n",
                b"x-request-id: a\rb\r\n",
                b"no colon\r\n",
                b" folded\r\n",
                b"a\0: b\0\r\n",
                b"content-length: -1\r\n",
                b"connection: keep-alive, content-type, x\r\n",
                b"\n",
            ]
        ),
        max_size=12,
    ).map(b"".join)
)
@_with_examples
def test_bytes_that_need_not_be_http(live: Live, raw: bytes) -> None:
    # In two pieces, so that what is split may be split anywhere.
    middle = len(raw) // 3
    answer = b""
    with socket.create_connection(("127.0.0.1", live.port), timeout=TIMEOUT_S) as client:
        with _may_be_closed():
            client.sendall(raw[:middle])
            client.sendall(raw[middle:])
            client.shutdown(socket.SHUT_WR)
        with _may_be_closed():
            while chunk := client.recv(65536):
                answer += chunk
    assert b"HTTP/1.1 5" not in answer, answer
    assert b"Traceback" not in answer, answer
    assert live.ask("POST", "/fuzz", b"0").status == 200
