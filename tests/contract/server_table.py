"""Methods, paths, limits and what is no HTTP at all."""

from __future__ import annotations

from .scenarios import background_task_runs_after_the_answer, more_requests_than_allowed, nothing_internal_is_told
from .table import Answer, Ask, Row

__all__ = ["ROWS"]

_AREA = "Paths, methods and limits"
_JSON = {"content-type": "application/json"}

ROWS = (
    Row(
        _AREA,
        "`GET` on an API",
        '200 `{"message": "make a prediction by sending a post request to this endpoint with a json payload"}`',
        "",
        (
            Ask(
                "echo",
                Answer(
                    200,
                    json={
                        "message": "make a prediction by sending a post request to this endpoint with a json payload"
                    },
                    headers=_JSON,
                ),
                method="GET",
            ),
        ),
    ),
    Row(
        _AREA,
        "`PUT`, `DELETE`, `PATCH`, `HEAD`",
        "405 `Method Not Allowed`",
        "405 with `Allow` and a JSON error",
        tuple(
            Ask("echo", Answer(405, headers={"allow": "GET, POST", **_JSON}), method=method)
            for method in ("PUT", "DELETE", "PATCH", "HEAD")
        ),
        "better",
    ),
    Row(
        _AREA,
        "another path",
        "404 `Not Found` (403 behind nginx)",
        "404, and the paths that there are",
        (Ask("echo", Answer(404, matches=r'\{"error":"no such path; there are POST .*/echo.*"\}'), path="/tolt"),),
        "better",
    ),
    Row(
        _AREA,
        "`networking.endpoint` is the path",
        "so",
        "",
        (
            Ask("one-at-a-time", Answer(200, body=b"answered"), b"0", path="/v1/one"),
            Ask("one-at-a-time", Answer(404), b"0", path="/one-at-a-time"),
        ),
    ),
    Row(
        _AREA,
        "cross-origin requests (CORS)",
        "`Access-Control-Allow-Origin: *` on every answer, `OPTIONS` 204",
        "no such headers, `OPTIONS` is 405: pages of other sites may not read answers unless a proxy allows it",
        (Ask("echo", Answer(405, headers={"access-control-allow-origin": None}), method="OPTIONS"),),
        "different",
    ),
    Row(
        _AREA,
        "more than `max_replica_concurrency` requests in flight",
        "503",
        "503 with `Retry-After` and the limit",
        (more_requests_than_allowed,),
        "better",
    ),
    Row(
        _AREA,
        "a body over 64 MiB",
        "no limit of its own: the process grew until it was ended",
        "413 as soon as its length is known, before it is read",
        (
            Ask(
                "echo",
                Answer(413, json={"error": "the request body is larger than 67108864 bytes"}),
                raw=b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 67108865\r\n\r\n",
            ),
        ),
        "better",
    ),
    Row(
        _AREA,
        "what is no HTTP",
        "400 by the HTTP server",
        "",
        (
            Ask("echo", Answer(400), raw=b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"),
            Ask("echo", Answer(400), raw=b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n"),
            Ask("echo", Answer(400), raw=b"POST /echo HTTP/1.1\r\nhost: x\r\nbad header: 1\r\n\r\n"),
        ),
    ),
    Row(
        _AREA,
        "`background=` of a response",
        "runs after the answer is sent",
        "",
        (background_task_runs_after_the_answer,),
    ),
    Row(
        _AREA,
        "what an error tells the client",
        "a malformed request's own words; nothing of the predictor's files",
        "",
        (nothing_internal_is_told,),
    ),
)
