"""`cortex-compile api-key FILE NAME`: one more key for `serve --api-keys FILE`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cortex_compile.errors import UsageError

__all__ = ["api_key"]


@click.command("api-key", short_help="Make an API key for `serve --api-keys`.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("name", metavar="NAME")
def api_key(file: Path, name: str) -> None:
    """Make an API key, print it, and add its hash to FILE under the NAME of who will use it.

    The key is shown this once. A server that reads FILE takes it within a second; to end a key, remove its line.
    """
    from cortex_compile.facade.api_keys import line_for_key, new_key, read_api_keys

    key = new_key()
    line = line_for_key(name, key)
    try:
        # For its owner alone, if it is made now: a hash is no key, but names are nobody else's business.
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(descriptor, "r+b", buffering=0) as lines:
            before = lines.read()
            # Somebody's editor may have left the last line without its end.
            lines.write((b"" if before.endswith(b"\n") or not before else b"\n") + line.encode() + b"\n")
    except OSError as error:
        raise UsageError(
            f"the key cannot be added to {str(file)!r}: {(error.strerror or str(error)).lower()}"
        ) from None
    read_api_keys(file)
    click.echo(key)
