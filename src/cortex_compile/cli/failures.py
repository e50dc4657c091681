"""What a person is told when a command fails, and the exit code."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

import click

from cortex_compile.errors import CortexCompileError, disk_full

__all__ = ["exit_code_for"]

_INTERRUPTED = 128 + 2  # as a shell reports a program that SIGINT ended


def exit_code_for(error: BaseException) -> int:
    """Say on stderr what went wrong, in one line, and return the exit code. Nothing is said of an interruption."""
    if isinstance(error, SystemExit):
        return _code_of_exit(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return _INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return 1  # as click's own
    if isinstance(error, click.ClickException):
        _say_usage_error(error)
        return error.exit_code
    error = disk_full(error) or error
    if isinstance(error, CortexCompileError):
        if _debug():
            traceback.print_exception(error)
        _say(str(error))
        return error.exit_code
    _apologize(error)
    return 1


def _code_of_exit(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    _say(str(error.code))
    return 1


def _say_usage_error(error: click.ClickException) -> None:
    _say(error.format_message())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help'.", err=True)


def _apologize(error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    if _debug():
        click.echo(text, err=True, nl=False)
    try:
        where = f"the traceback is in {_write_traceback(text)}"
    except OSError as problem:
        where = f"the traceback could not be written ({problem}); CORTEX_COMPILE_DEBUG=1 shows it"
    _say(f"sorry, this is a fault of cortex-compile ({type(error).__name__}); {where}")


def _write_traceback(text: str) -> Path:
    from cortex_compile.cache_folder import cache_folder

    folder = cache_folder() / "crashes"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    path.write_text(f"{' '.join(sys.argv)}\n\n{text}")
    return path


def _debug() -> bool:
    return os.environ.get("CORTEX_COMPILE_DEBUG", "") not in ("", "0")


def _say(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble(("error:", "bold red"), f" {message}"), soft_wrap=True)
