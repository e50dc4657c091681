"""Which content type a sample file has. The one table: the compiler, `predict` and the curl line of `serve` read it."""

from __future__ import annotations

from pathlib import PurePath

__all__ = ["content_type_of", "split_query"]

_DEFAULT = "application/octet-stream"

_BY_SUFFIX = {
    ".bin": _DEFAULT,
    ".csv": "text/csv",
    ".gif": "image/gif",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".png": "image/png",
    ".txt": "text/plain",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}


def content_type_of(path: str | PurePath) -> str:
    """The content type that a file's extension stands for; bytes of no known kind where it stands for none."""
    return _BY_SUFFIX.get(PurePath(path).suffix.lower(), _DEFAULT)


def split_query(sample: str) -> tuple[str, str]:
    """``"sample.json?model=sentiment"`` to the path and the raw query string (empty where there is no ``?``)."""
    path, _, query = sample.partition("?")
    return path, query
