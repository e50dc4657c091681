"""Methods, paths, limits and what is no HTTP at all."""

from __future__ import annotations

from .scenarios import background_task_runs_after_the_answer, more_requests_than_allowed, nothing_internal_is_told
from .table import Answer, Ask, Row

__all__ = ["ALLOWED_ORIGIN", "ROWS"]

# What the running server is told with --cors-origin.
ALLOWED_ORIGIN = "https://app.example.com"

_AREA = "Paths, methods and limits"
_JSON = {"content-type": "application/json"}
_READABLE = {"access-control-allow-origin": ALLOWED_ORIGIN}
_NOT_READABLE = {"access-control-allow-origin": None}


def _preflight(origin: str) -> tuple[tuple[str, str], ...]:
    """What a browser asks before a page may send JSON and a header of its own."""
    asked = ("access-control-request-headers", "content-type, x-mine")
    return (("origin", origin), ("access-control-request-method", "POST"), asked)


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
        "pages of other sites may read answers if `serve --cors-origin` names them; `'*'` names all, as Cortex did",
        (
            Ask("echo", Answer(200, headers=_NOT_READABLE), b"0", headers=(("origin", "https://other.example.com"),)),
            Ask("echo", Answer(200, headers=_NOT_READABLE), b"0"),
            Ask("echo", Answer(200, headers=_READABLE), b"0", headers=(("origin", ALLOWED_ORIGIN),)),
            Ask("echo", Answer(400, headers=_READABLE), b"{", headers=(("origin", ALLOWED_ORIGIN),)),
            Ask("echo", Answer(404, headers=_READABLE), path="/tolt", headers=(("origin", ALLOWED_ORIGIN),)),
            Ask(
                "generator",
                Answer(200, body=b"one two", headers=_READABLE),
                b"{}",
                headers=(("origin", ALLOWED_ORIGIN),),
            ),
            Ask(
                "echo",
                Answer(200, headers={**_READABLE, "access-control-allow-headers": "content-type, x-mine"}),
                method="OPTIONS",
                headers=_preflight(ALLOWED_ORIGIN),
            ),
            Ask(
                "echo",
                Answer(400, headers=_NOT_READABLE),
                method="OPTIONS",
                headers=_preflight("https://other.example.com"),
            ),
            Ask("echo", Answer(405, headers=_NOT_READABLE), method="OPTIONS"),
        ),
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
