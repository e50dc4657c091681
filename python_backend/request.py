"""A request as it came over the wire, and what Cortex's predictors are given of it."""

from __future__ import annotations

import json
from email.message import Message
from typing import TYPE_CHECKING, Any, NamedTuple

from .coroutines import wait_here

if TYPE_CHECKING:
    from starlette.datastructures import FormData, Headers, QueryParams

__all__ = [
    "LONGEST_TIMEOUT_S",
    "BadRequest",
    "Request",
    "parse_headers",
    "parse_payload",
    "parse_query_params",
    "request_from_context",
]


class Request(NamedTuple):
    """``content_type`` is None where the client gave none. ``headers`` need not hold the content type."""

    body: bytes
    content_type: str | None = "application/json"
    query_string: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float | None = None
    """How long from its arrival somebody waits for the answer."""
    method: str = "POST"
    """A GET asks which models ``python_client`` has."""

    def header(self, name: str) -> str | None:
        """The first header of this name, which is given in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


# Timers and gRPC take no more than some centuries.
LONGEST_TIMEOUT_S = 10**9


class BadRequest(Exception):
    """The client's fault, already worded as its answer. Control flow between parsing and answering only."""

    def __init__(self, status_code: int, body: bytes, media_type: str) -> None:
        super().__init__(body.decode())
        self.status_code = status_code
        self.body = body
        self.media_type = media_type


def request_from_context(body: bytes, context: bytes | None) -> Request:
    """Put together what Triton carries apart: the body, and JSON with content_type, query_string, headers, timeout_s.

    Raises:
        BadRequest: the context is not such JSON.
    """
    if not context:
        return Request(body)
    try:
        value = json.loads(context)
        content_type = value.get("content_type", "application/json")
        query_string = value.get("query_string", "")
        headers = tuple([(key, text) for key, text in value.get("headers", ())])
        are_strings = all([isinstance(key, str) and isinstance(text, str) for key, text in headers])
        if not (are_strings and isinstance(query_string, str) and isinstance(content_type, str | None)):
            raise TypeError("a value is not a string")
        method = value.get("method", "POST")
        if method not in ("POST", "GET"):
            raise TypeError("method is neither POST nor GET")
        timeout_s = value.get("timeout_s")
        # Written so that NaN fits no more than true, or a number that no float holds.
        if timeout_s is not None and (isinstance(timeout_s, bool) or not 0 <= timeout_s <= LONGEST_TIMEOUT_S):
            raise TypeError(f"timeout_s is not a number from 0 to {LONGEST_TIMEOUT_S}")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        expected = '{"content_type": "...", "query_string": "...", "headers": [["name", "value"]], "timeout_s": 60}'
        raise _bad_json(f"context: {error}; expected JSON {expected}") from error
    return Request(body, content_type, query_string, headers, timeout_s, method)


def parse_query_params(request: Request) -> QueryParams:
    from starlette.datastructures import QueryParams

    return QueryParams(request.query_string)


def parse_headers(request: Request) -> Headers:
    """
    Raises:
        BadRequest: a header that no HTTP client can have sent.
    """
    from starlette.datastructures import Headers

    try:
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    except UnicodeEncodeError as error:
        raise _bad_json(f"headers: {error}") from error
    return Headers(raw=raw)


def parse_payload(request: Request) -> Any:
    """JSON, a form, text or bytes, by the content type as Cortex 0.31 read it.

    Raises:
        BadRequest: the body is not what its content type says.
    """
    content_type = (request.content_type or "").lower()
    if content_type.startswith("application/json"):
        try:
            return json.loads(request.body)
        except (ValueError, RecursionError) as error:
            raise _bad_json(str(error)) from error
    if content_type.startswith(("multipart/form", "application/x-www-form-urlencoded")):
        return _parse_form(request)
    if content_type.startswith("text/plain"):
        return _parse_text(request)
    return request.body


def _parse_text(request: Request) -> str:
    header = Message()
    header["content-type"] = request.content_type or ""
    charset = header.get_content_charset() or "utf-8"
    try:
        return request.body.decode(charset)
    except (LookupError, ValueError) as error:
        raise BadRequest(400, str(error).encode(), "text/plain; charset=utf-8") from error


def _parse_form(request: Request) -> FormData:
    from starlette.formparsers import MultiPartException, MultiPartParser
    from starlette.requests import Request as StarletteRequest

    assert request.content_type is not None
    scope = {"type": "http", "headers": [(b"content-type", request.content_type.encode("latin-1", "replace"))]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def read_form() -> FormData:
        whole, size = StarletteRequest(scope, receive), len(request.body)
        # The size of the whole body is already bounded, and Cortex had no limit of its own for a field.
        if _media_type_of(request) != "multipart/form-data":
            return await whole.form(max_part_size=size)
        parser = MultiPartParser(whole.headers, whole.stream(), max_part_size=size)
        # What is in memory anyway need not go to disk, which starlette has a new thread do for each part.
        parser.spool_max_size = size + 1
        return await parser.parse()

    try:
        return wait_here(read_form())  # type: ignore[no-any-return]
    except (MultiPartException, ValueError) as error:
        text = getattr(error, "message", None) or str(error)
        raise BadRequest(400, text.encode(), "text/plain; charset=utf-8") from error


def _media_type_of(request: Request) -> str:
    return (request.content_type or "").partition(";")[0].strip().lower()


def _bad_json(message: str) -> BadRequest:
    body = json.dumps({"error": message}, separators=(",", ":")).encode()
    return BadRequest(400, body, "application/json")
