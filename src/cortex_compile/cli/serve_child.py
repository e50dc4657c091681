"""`cortex-compile serve` as a child process, on free ports."""

from __future__ import annotations

import contextlib
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
def serving(build: Path, name: str) -> Iterator[str]:
    """The URL of the API ``name`` while the build is served; what the server says goes to stderr.

    Raises:
        LaunchError: it ended before it was ready, and has said why; or is not ready after ten minutes.
    """
    words = [sys.executable, "-m", "cortex_compile", "serve", str(build), *_FREE_PORTS]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    watchdog = threading.Timer(_READY_TIMEOUT_S, process.terminate)
    watchdog.start()
    try:
        yield _url_of(process, name)
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


def _url_of(process: subprocess.Popen[str], name: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        found = re.match(rf"{re.escape(name)}: (http://\S+)", line)
        if found:
            return found[1]
    raise LaunchError(f"`cortex-compile serve` ended before {name!r} was ready; its message is above")
