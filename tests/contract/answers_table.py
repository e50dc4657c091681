"""What predict returns or raises, and what the client gets."""

from __future__ import annotations

import json
from typing import Any

from .table import Answer, Ask, Kind, Row

__all__ = ["ROWS"]

_AREA = "Answer"
_JSON, _TEXT = {"content-type": "application/json"}, {"content-type": "text/plain; charset=utf-8"}
_BYTES = {"content-type": "application/octet-stream"}
_FAILED = Answer(500, body=b"internal server error", headers=_TEXT)


def _of(returned: str, answer: Answer) -> Ask:
    return Ask("answers", answer, json.dumps(returned).encode())


def _row(behaviour: str, cortex: str, here: str, *proofs: Ask, kind: Kind = "same") -> Row:
    return Row(_AREA, behaviour, cortex, here, proofs, kind)


def _json(body: bytes, **more: Any) -> Answer:
    return Answer(200, body=body, headers=_JSON, **more)


ROWS = (
    _row(
        "`bytes`",
        "`application/octet-stream`",
        "",
        _of("bytes", Answer(200, body=b"\x00\xff", headers=_BYTES)),
        _of("no bytes", Answer(200, body=b"", headers=_BYTES)),
    ),
    _row(
        "`bytearray`",
        "500",
        "as `bytes`",
        _of("bytearray", Answer(200, body=b"\x00\xff", headers=_BYTES)),
        kind="better",
    ),
    _row(
        "`str`, `np.str_` too",
        "`text/plain; charset=utf-8`, without quotes",
        "",
        _of("str", Answer(200, body='café "quoted"'.encode(), headers=_TEXT)),
        _of("np.str_", Answer(200, body=b"setosa", headers=_TEXT)),
    ),
    _row(
        "what JSON has",
        "`json.dumps` with its defaults: `, ` and `: `, tuples as lists, `\\uXXXX`, keys as text",
        "",
        _of("plain", _json(b'{"a": [1, 2.5, true, null], "\\u00e9": ["x", "y"]}')),
        _of("keys", _json(b'{"1": "a", "2.5": "b", "null": "c", "false": "d"}')),
        _of("none", _json(b"null")),
        _of("np.float64", _json(b"0.5")),
    ),
    _row(
        "`np.float32`, `np.int64`, `np.bool_`, `np.ndarray`",
        "500",
        "numbers, booleans and lists of JSON",
        _of("numpy scalars", _json(b"[0.5, 3, true]")),
        _of("ndarray", _json(b'{"a": [[1.5, 2.0]]}')),
        kind="better",
    ),
    _row(
        "a torch tensor",
        "500",
        "a number or lists of JSON",
        _of("tensor", _json(b'{"a": [[1.5, 2.0]], "b": 3}')),
        kind="better",
    ),
    _row("a type that JSON has not (`set`)", "500 `internal server error`", "", _of("set", _FAILED)),
    _row(
        "NaN or infinity inside",
        "`NaN`, which is no JSON",
        "500, and the log names the place in the value",
        _of("nan", _FAILED),
        _of("np nan", _FAILED),
        kind="better",
    ),
    _row(
        "a starlette `Response`: status, headers, media type, cookies",
        "sent as it is",
        "",
        _of(
            "json response",
            Answer(400, body=b'{"error":"no such model"}', headers={**_JSON, "x-model": "none"}),
        ),
        _of("html", Answer(200, body=b"<p>", headers={"content-type": "text/html; charset=utf-8"})),
        _of("redirect", Answer(307, body=b"", headers={"location": "/elsewhere"})),
        _of("file", Answer(200, body=b'["setosa"]\n', headers={"content-type": "application/x-labels"})),
        _of("no content", Answer(204, body=b"", headers={"content-length": None})),
        _of("cookies", Answer(200, body=b"two", headers={"x-one": "1", "set-cookie": "a=1; Path=/; SameSite=lax"})),
    ),
    _row(
        "headers of a response that are about one connection",
        "sent",
        "left out: a proxy could take two messages for one",
        _of("cookies", Answer(200, headers={"x-hop": None})),
        kind="better",
    ),
    _row(
        "an exception",
        "500 `internal server error` without a content type; the traceback in the log",
        "the same with `text/plain`; the log has the line under the request's id",
        _of("exception", _FAILED),
        kind="better",
    ),
    _row(
        "`sys.exit` in predict",
        "not tried",
        "500, and the predictor goes on",
        _of("exit", _FAILED),
        _of("none", _json(b"null")),
        kind="better",
    ),
    _row(
        "`HTTPException(status, detail)`",
        "the status, `str(detail)` as the body, no content type",
        "the same with `text/plain`, and with its headers",
        _of("http exception", Answer(418, body=b"short and stout", headers=_TEXT)),
        _of(
            "http exception with a header",
            Answer(401, body=b"{'who': 'are you'}", headers={**_TEXT, "www-authenticate": "Basic"}),
        ),
        kind="better",
    ),
)
