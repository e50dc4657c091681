"""What predict returned, as the body, status and headers of an HTTP response: Cortex's rules, and numpy and torch."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from .coroutines import wait_for
from .run_response import run_response

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["EncodedResponse", "Headers", "encode", "encode_json", "headers_of", "is_starlette_response", "task_of"]

Headers = tuple[tuple[str, str], ...]


class EncodedResponse(NamedTuple):
    """``background`` is what the user's response wants done after it was sent."""

    body: bytes
    status_code: int
    headers: Headers
    background: Callable[[], None] | None = None


def encode(result: object, *, nan_as_null: bool = False) -> EncodedResponse:
    """
    Raises:
        TypeError: a value inside is of a type that JSON has not.
        ValueError: NaN or infinity inside, unless they become null; the message names where, as ``$.scores[3]``.
    """
    if isinstance(result, bytes | bytearray | memoryview):
        return EncodedResponse(bytes(result), 200, (("content-type", "application/octet-stream"),))
    if isinstance(result, str):
        return EncodedResponse(result.encode(), 200, (("content-type", "text/plain; charset=utf-8"),))
    if is_starlette_response(result):
        return _encode_starlette(result)
    return EncodedResponse(encode_json(result, nan_as_null=nan_as_null), 200, (("content-type", "application/json"),))


def is_starlette_response(result: object) -> TypeGuard[Response]:
    # Only who imported starlette can hold one of its responses.
    responses = sys.modules.get("starlette.responses")
    return responses is not None and isinstance(result, responses.Response)


def _encode_starlette(response: Response) -> EncodedResponse:
    from starlette.responses import Response

    background = task_of(response)
    if type(response).__call__ is Response.__call__:
        return EncodedResponse(bytes(response.body), response.status_code, headers_of(response.raw_headers), background)
    start, *rest = run_response(response)
    body = b"".join(bytes(message.get("body", b"")) for message in rest)
    return EncodedResponse(body, start["status"], headers_of(start["headers"]), background)


def task_of(response: Response) -> Callable[[], None] | None:
    """What the response wants done after it was sent."""
    task = response.background
    return None if task is None else lambda: wait_for(task())


def headers_of(raw_headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    # The length belongs to the transport, which knows it; a second one beside it would break the response.
    headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw_headers)
    return tuple(pair for pair in headers if pair[0].lower() != "content-length")


def encode_json(result: object, *, nan_as_null: bool) -> bytes:
    try:
        return _ENCODER.encode(result).encode()
    except ValueError as error:
        for place, value in _find_not_finite(result, "$", ()):
            if nan_as_null and not place.startswith("the key"):
                return encode_json(_with_null(result), nan_as_null=False)
            raise ValueError(f"{value!r} at {place} is not JSON; replace it, by None for example") from error
        raise


def _to_plain(value: Any) -> Any:
    """numpy scalars and arrays and torch tensors, told by what they can do, so that neither need be imported."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is not a type that JSON has")


# With Python's own defaults, as Cortex had, but for NaN and infinity: what they become is not JSON.
_ENCODER = json.JSONEncoder(allow_nan=False, default=_to_plain)


def _with_null(value: Any) -> Any:
    """The same with None for NaN and infinity. A key stays: null is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _with_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(item) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _with_null(value.tolist())
    return value


def _find_not_finite(value: Any, place: str, parents: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    if id(value) in parents:
        return
    inside = (*parents, id(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            yield place, float(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _find_not_finite(key, f"the key {key!r} of {place}", inside)
            yield from _find_not_finite(item, f"{place}.{key}", inside)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _find_not_finite(item, f"{place}[{index}]", inside)
    elif hasattr(value, "dtype") and hasattr(value, "tolist"):
        yield from _find_not_finite(value.tolist(), place, inside)
