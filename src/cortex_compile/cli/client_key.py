"""The API key that commands ask a server with: from a file or the environment, where no other user can read it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from cortex_compile.errors import UsageError

__all__ = ["VARIABLE", "api_key_option", "key_headers"]

VARIABLE = "CORTEX_COMPILE_API_KEY"

# What a header may hold, without blanks.
_KEY = re.compile(r"[!-~]+")

api_key_option = click.option(
    "--api-key-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"With a URL: a file that holds the API key to ask with.  [default: the key in ${VARIABLE}, if any]",
)


def key_headers(file: Path | None) -> dict[str, str]:
    """The header that shows the key, where there is one.

    Raises:
        UsageError: the file cannot be read, or what it or the variable holds is none. It is not repeated.
    """
    if file is None:
        where, key = f"${VARIABLE}", os.environ.get(VARIABLE, "").strip()
        if not key:
            return {}
    else:
        where = str(file)
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = (getattr(error, "strerror", None) or "it is not UTF-8 text").lower()
            raise UsageError(f"the API key in {where!r} cannot be read: {reason}") from None
    if _KEY.fullmatch(key) is None:
        raise UsageError(
            f"{where} holds no API key: expected one as `cortex-compile api-key` prints it, and nothing else"
        )
    return {"authorization": f"Bearer {key}"}
