"""The API keys of a file. It holds hashes, so whoever reads it cannot ask; it may change while the facade runs."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cortex_compile.errors import UsageError

__all__ = ["ApiKey", "ApiKeys", "KeyFile", "line_for_key", "new_key", "read_api_keys"]

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class ApiKey:
    """One line of the file. Several keys may have one name: the old and the new one of a client that changes them."""

    name: str
    sha256: bytes


def new_key() -> str:
    """A key that nobody guesses, which is why one round of SHA-256 hides it."""
    return secrets.token_urlsafe(32)


def line_for_key(name: str, key: str) -> str:
    """The line of the file for a key.

    Raises:
        UsageError: the name is none.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} cannot name a key: expected up to 63 letters, digits, '.', '_' and '-'")
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


def read_api_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read a file of lines ``NAME:SHA256``; empty ones and those that begin with # say nothing.

    Raises:
        UsageError: it cannot be read, a line is none, or it has no key. What a line holds is not repeated: people put
            keys themselves there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "it is not UTF-8 text").lower()
        raise UsageError(f"the API keys in {str(path)!r} cannot be read: {reason}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        name, _, digest = line.strip().partition(":")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if _NAME.fullmatch(name) is None or _SHA256.fullmatch(digest) is None:
            raise UsageError(
                f"{path}:{number}: is no API key: expected a name, ':' and the SHA-256 of the key in hex; "
                "`cortex-compile api-key FILE NAME` makes a key and adds its line"
            )
        keys.append(ApiKey(name, bytes.fromhex(digest)))
    if not keys:
        raise UsageError(f"{str(path)!r} has no API key, so nobody could ask; `cortex-compile api-key` adds one")
    return tuple(keys)


class KeyFile:
    """The keys of a file as it is now. One that became unreadable changes nothing: the keys before it stay valid.

    Raises:
        UsageError: the file is wrong to begin with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _state_of(path)
        self._keys = read_api_keys(path)
        self._next_look_at = time.monotonic() + _LOOK_EVERY_S

    def read(self) -> tuple[ApiKey, ...]:
        """Looks at the file once a second at most."""
        now = time.monotonic()
        if now >= self._next_look_at:
            self._next_look_at = now + _LOOK_EVERY_S
            self._read_again_if_changed()
        return self._keys

    def _read_again_if_changed(self) -> None:
        state = _state_of(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            self._keys = read_api_keys(self._path)
        except UsageError as error:
            _log.error("%s; the keys that were read before stay valid", error)
        else:
            _log.warning("%s has changed: %d API keys are valid now", self._path, len(self._keys))


class ApiKeys:
    """The keys that are valid. ``keys`` may be exchanged."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self.keys = keys

    def name_of(self, key: bytes) -> str | None:
        """Whose key it is; None if it is nobody's. The time that it takes tells nothing of the keys."""
        digest, name = hashlib.sha256(key).digest(), None
        for known in self.keys:
            if hmac.compare_digest(known.sha256, digest):
                name = known.name
        return name


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
