"""`cortex-compile serve` as a child process, on free ports."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from cortex_compile.errors import LaunchError

__all__ = ["serving"]

_FREE_PORTS = ("--port", "0", "--triton-http-port", "0", "--triton-grpc-port", "0", "--triton-metrics-port", "0")
_READY_TIMEOUT_S = 600.0
_STOP_TIMEOUT_S = 20.0


@contextlib.contextmanager
def serving(build: Path, name: str, log: Path | None = None) -> Iterator[str]:
    """The URL of the API ``name`` while the build is served; what the server says goes to stderr, or into ``log``.

    Raises:
        LaunchError: it ended before it was ready, and has said why; or is not ready after ten minutes.
    """
    words = [sys.executable, "-m", "cortex_compile", "serve", str(build), *_FREE_PORTS]
    with open(log or os.devnull, "w") as file:
        stderr = file if log is not None else None
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True)
    watchdog = threading.Timer(_READY_TIMEOUT_S, process.terminate)
    watchdog.start()
    try:
        yield _url_of(process, name, log)
    finally:
        watchdog.cancel()
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _url_of(process: subprocess.Popen[str], name: str, log: Path | None) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        found = re.match(rf"{re.escape(name)}: (http://\S+)", line)
        if found:
            return found[1]
    said = "its message is above"
    if log is not None:
        process.wait()
        said = f"it said: {log.read_text(errors='replace').strip().rpartition(chr(10))[2]}"
    raise LaunchError(f"`cortex-compile serve` ended before {name!r} was ready; {said}")
