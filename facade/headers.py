"""Which headers cross the facade."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["RawHeaders", "end_to_end", "is_sendable"]

RawHeaders = list[tuple[bytes, bytes]]

# RFC 9110 7.6.1: these are about one connection, not about the message.
_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """The headers without those about one connection, which a ``connection`` header may add to."""
    headers = [(name.lower(), value) for name, value in headers]
    dropped = set(_HOP_BY_HOP)
    for name, value in headers:
        if name == b"connection":
            dropped.update(token.strip().lower() for token in value.split(b","))
    return [(name, value) for name, value in headers if name not in dropped]


def is_sendable(name: bytes, value: bytes) -> bool:
    """Whether it is a header at all: a line break in a value would let a predictor's input write headers."""
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None
