"""A `serve` that runs, and how its answers are compared."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

COMMAND = [sys.executable, "-m", "cortex_compile", "serve"]
FREE_PORTS = ["--port", "0", "--triton-http-port", "0", "--triton-grpc-port", "0", "--triton-metrics-port", "0"]
# The compiler's own tolerance for float32.
ABSOLUTE, RELATIVE = 1e-4, 1e-3


@dataclass(frozen=True)
class Serving:
    """The process, the facade's URL, and the file that its stderr goes to."""

    process: subprocess.Popen[str]
    url: str
    errors: Path


@contextlib.contextmanager
def serving(*words: str | Path, apis: int) -> Iterator[Serving]:
    with tempfile.NamedTemporaryFile("w", prefix="cortex-compile-stderr-") as errors:
        command = [*COMMAND, *map(str, words), *FREE_PORTS]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(2 * apis)]
            found = re.search(r"http://[^/]+", lines[0])
            assert found is not None, Path(errors.name).read_text()
            yield Serving(process, found[0], Path(errors.name))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait()


def ask(url: str, sample: Path, query: str = "") -> Any:
    """The answer to a sample file: what its JSON says, or its text."""
    answer = httpx.post(
        f"{url}{query}", content=sample.read_bytes(), headers={"content-type": "application/json"}, timeout=120
    )
    assert answer.status_code == 200, answer.text
    return answer.json() if "json" in answer.headers["content-type"] else answer.text


def is_close(found: Any, expected: Any) -> bool:
    """Equal but for rounding in numbers that are no integers."""
    if isinstance(expected, float) and isinstance(found, float):
        return abs(found - expected) <= ABSOLUTE + RELATIVE * abs(expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(is_close, found, expected))
    if isinstance(expected, dict) and isinstance(found, dict):
        return found.keys() == expected.keys() and all(is_close(found[key], expected[key]) for key in expected)
    return bool(found == expected)
