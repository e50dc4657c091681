"""The facade's certificate, read again when its files change, so that renewing one takes no restart."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from pathlib import Path

from cortex_compile.errors import UsageError

__all__ = ["keep_renewed", "tls_context"]

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context for TLS 1.2 and later, with this certificate (its chain in the same file) and its key, both PEM.

    Raises:
        UsageError: a file cannot be read, is none, needs a password, or the key is another certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, certificate, key)
    return context


async def keep_renewed(
    context: ssl.SSLContext, certificate: Path, key: Path, look_every_s: float = _LOOK_EVERY_S
) -> None:
    """Put changed files into ``context``, for connections from then on; a pair that is wrong changes nothing."""
    before = _state_of(certificate, key)
    while True:
        await asyncio.sleep(look_every_s)
        state = _state_of(certificate, key)
        if state == before:
            continue
        before = state
        try:
            # First into another one: a wrong pair would leave this one with half of it.
            tls_context(certificate, key)
            _load(context, certificate, key)
        except UsageError as error:
            _log.error("%s; the certificate before it stays in use", error)
        else:
            _log.warning("%s has changed and is in use", certificate)


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _check_readable("--tls-cert", certificate)
    _check_readable("--tls-key", key)

    def refuse_password() -> str:
        raise UsageError(f"--tls-key {str(key)!r} is encrypted; expected one without a password")

    try:
        context.load_cert_chain(certificate, key, refuse_password)
    except ssl.SSLError as error:
        if "MISMATCH" in str(error):
            problem = f"the key in {str(key)!r} is not that of the certificate in {str(certificate)!r}"
        else:
            problem = f"{str(certificate)!r} and {str(key)!r} are not a certificate and its key in PEM"
        raise UsageError(f"--tls-cert and --tls-key: {problem}; give the two files of one pair") from None


def _check_readable(option: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{option} {str(path)!r} cannot be read: {reason}") from None


def _state_of(*paths: Path) -> list[tuple[int, int, int] | None]:
    return [_state_of_one(path) for path in paths]


def _state_of_one(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
