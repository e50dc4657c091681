"""Bodies, queries and headers: what predict is given of a request, and which requests are refused."""

from __future__ import annotations

from .table import Answer, Ask, Row

__all__ = ["ROWS"]

_BODY, _HEADERS = "Request body", "Query and headers"
_JSON, _TEXT = {"content-type": "application/json"}, {"content-type": "text/plain; charset=utf-8"}
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data; boundary=abc"


def _echo(body: bytes, content_type: str | None, expected: object) -> Ask:
    return Ask("echo", Answer(200, json=expected, headers=_JSON), body, content_type)


def _bad_json(body: bytes, message: str) -> Ask:
    return Ask("echo", Answer(400, json={"error": message}, headers=_JSON), body)


def _bad_text(body: bytes, content_type: str, matches: str) -> Ask:
    return Ask("echo", Answer(400, matches=matches, headers=_TEXT), body, content_type)


def _multipart(*parts: bytes) -> bytes:
    return b"".join(b"--abc\r\ncontent-disposition: form-data; " + part + b"\r\n" for part in parts) + b"--abc--\r\n"


ROWS = (
    Row(
        _BODY,
        "`application/json` is any JSON value",
        "`json.loads` of the body",
        "",
        (
            _echo(b'{"a": [1, 2.5, "x", null, true]}', "application/json", {"dict": {"a": [1, 2.5, "x", None, True]}}),
            _echo(b"[]", "application/json", {"list": []}),
            _echo(b" 3 ", "application/json", {"int": 3}),
            _echo(b'"caf\xc3\xa9"', "application/json", {"str": "café"}),
            _echo(b"null", "application/json", {"NoneType": None}),
        ),
    ),
    Row(
        _BODY,
        "the content type is matched by its beginning, in any case",
        "`application/json; charset=utf-8`, `Application/JSON`, `application/json-seq` are JSON",
        "",
        tuple(
            _echo(b"[1]", name, {"list": [1]})
            for name in ("application/json; charset=utf-8", "Application/JSON", "application/json-seq")
        ),
    ),
    Row(_BODY, "`NaN` and `Infinity` in JSON", "accepted", "", (_echo(b"NaN", "application/json", {"float": "NaN"}),)),
    Row(
        _BODY,
        "malformed JSON",
        '400 `{"error": …}` with the parser\'s words',
        "",
        (
            _bad_json(b"{a: 1}", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
            _bad_json(b"[1,", "Expecting value: line 1 column 4 (char 3)"),
            _bad_json(b"{} x", "Extra data: line 1 column 4 (char 3)"),
        ),
    ),
    Row(
        _BODY,
        "an empty body that says it is JSON",
        "400",
        "",
        (_bad_json(b"", "Expecting value: line 1 column 1 (char 0)"),),
    ),
    Row(
        _BODY,
        "JSON that is not UTF-8",
        "500: the error of decoding was not caught",
        "400",
        (Ask("echo", Answer(400, matches=r'\{"error":"\'utf-8\' codec can\'t decode byte 0xff .*"\}'), b'"\xff"'),),
        "better",
    ),
    Row(
        _BODY,
        "JSON nested deeper than Python's stack",
        "500: the error was not caught",
        "400",
        (Ask("echo", Answer(400, matches=r'\{"error":"maximum recursion depth .*"\}'), b"[" * 200_000),),
        "better",
    ),
    Row(
        _BODY,
        "`application/x-www-form-urlencoded` is a starlette `FormData`; of a key given twice `[key]` is the last",
        "so, with starlette 0.13",
        "",
        (
            _echo(
                b"a=1&b=x+y%21&a=2&c=",
                _FORM,
                {
                    "FormData": [["a", {"str": "1"}], ["b", {"str": "x y!"}], ["a", {"str": "2"}], ["c", {"str": ""}]],
                    "last": {"a": {"str": "2"}, "b": {"str": "x y!"}, "c": {"str": ""}},
                },
            ),
            _echo(b"", _FORM, {"FormData": [], "last": {}}),
        ),
    ),
    Row(
        _BODY,
        "`multipart/form-data`: fields are text, files are `UploadFile` with `filename`, `content_type` and a `file` "
        "that can be read at once",
        "so",
        "",
        (
            _echo(
                _multipart(
                    b'name="a"\r\n\r\none',
                    b'name="f"; filename="caf\xc3\xa9.png"\r\ncontent-type: image/png\r\n\r\n\x89PNG\r\n\xff',
                ),
                _MULTIPART,
                {
                    "FormData": [
                        ["a", {"str": "one"}],
                        ["f", {"UploadFile": ["café.png", "image/png", "\x89PNG\r\n\xff"]}],
                    ],
                    # Told a second time, the file is at its end.
                    "last": {"a": {"str": "one"}, "f": {"UploadFile": ["café.png", "image/png", ""]}},
                },
            ),
            _echo(_multipart(), _MULTIPART, {"FormData": [], "last": {}}),
        ),
    ),
    Row(
        _BODY,
        "a form field of more than a megabyte",
        "accepted",
        "",
        (
            Ask(
                "echo",
                Answer(200, matches=r'\{"FormData": \[\["a", \{"str": "x{1200000}"\}\]\], .*'),
                _multipart(b'name="a"\r\n\r\n' + b"x" * 1_200_000),
                _MULTIPART,
            ),
        ),
    ),
    Row(
        _BODY,
        "a multipart body that is not what it says: another boundary, a missing one",
        "400 `text/plain` with the parser's words",
        "",
        (
            _bad_text(b"--xyz\r\n\r\n", _MULTIPART, ".+"),
            _bad_text(_multipart(b'name="a"\r\n\r\n1'), "multipart/form-data", ".+"),
        ),
    ),
    Row(
        _BODY,
        "`text/plain` is text; `charset=` is honoured, without it UTF-8",
        "so, since v0.25",
        "",
        (
            _echo(b"caf\xc3\xa9", "text/plain", {"str": "café"}),
            _echo(b"caf\xe9", "text/plain; charset=latin-1", {"str": "café"}),
            _echo(b"", "text/plain", {"str": ""}),
        ),
    ),
    Row(
        _BODY,
        "text that its charset cannot decode, and a charset that there is not",
        "400 `text/plain` with Python's words",
        "",
        (
            _bad_text(b"\xff", "text/plain", r"'utf-8' codec can't decode byte 0xff .*"),
            _bad_text(b"x", "text/plain; charset=bogus", r"unknown encoding: bogus"),
        ),
    ),
    Row(
        _BODY,
        "all else is `bytes`, a missing content type too; an empty body is `b''`",
        "so",
        "",
        (
            _echo(b"\x89PNG\x00", "image/png", {"bytes": "\x89PNG\x00"}),
            _echo(b"{}", "application/vnd.api+json", {"bytes": "{}"}),
            _echo(b"<p>", "text/html", {"bytes": "<p>"}),
            _echo(b"x", None, {"bytes": "x"}),
            _echo(b"", None, {"bytes": ""}),
        ),
    ),
    Row(
        _BODY,
        "a predict that does not ask for payload answers any body, malformed JSON too",
        "so",
        "",
        (
            Ask("nothing", Answer(200, body=b"answered"), b"{a"),
            Ask("nothing", Answer(200, body=b"answered"), b"\xff", "text/plain"),
        ),
    ),
    Row(
        _BODY,
        "a chunked body, and one in pieces",
        "so",
        "",
        (
            Ask(
                "echo",
                Answer(200, json={"bytes": "one,two"}),
                raw=b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
                b"4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n",
            ),
        ),
    ),
    Row(
        _HEADERS,
        "`query_params` is starlette's `QueryParams`: decoded, `[key]` is the last of several",
        "so",
        "",
        (
            Ask(
                "echo",
                Answer(
                    json={
                        "each": {"tell": "query", "a": "2", "b": "x y?", "c": ""},
                        "all": [["tell", "query"], ["a", "1"], ["b", "x y?"], ["a", "2"], ["c", ""]],
                    }
                ),
                b"0",
                query="tell=query&a=1&b=x+y%3F&a=2&c=",
            ),
        ),
    ),
    Row(
        _HEADERS,
        "`headers` is starlette's `Headers`: names in any case, `[name]` is the first of several",
        "so",
        "",
        (
            Ask(
                "echo",
                Answer(json={"X-One": "1", "x-one": "1", "all": ["1", "caf\xe9"]}),
                raw=b"POST /echo?tell=headers HTTP/1.1\r\nhost: x\r\nX-One: 1\r\nx-oNE: caf\xe9\r\n"
                b"content-length: 0\r\nconnection: close\r\n\r\n",
            ),
        ),
    ),
    Row(
        _HEADERS,
        "`x-request-id`",
        "used for its own bookkeeping; no answer had one",
        "every answer carries it: the client's own, else a new one, which predict sees too",
        (
            Ask("echo", Answer(200, headers={"x-request-id": "mine-7"}), b"0", headers=(("X-Request-Id", "mine-7"),)),
            Ask("echo", Answer(200, matches="[0-9a-f]{32}"), b"0", query="tell=request-id"),
            Ask(
                "echo",
                Answer(404, headers={"x-request-id": "mine-8"}),
                path="/no",
                headers=(("x-request-id", "mine-8"),),
            ),
            Ask("echo", Answer(400, headers={"x-request-id": "mine-9"}), b"{", headers=(("x-request-id", "mine-9"),)),
        ),
        "better",
    ),
)
