"""The running server that the rows are asked of: the facade and Triton, as ``cortex-compile serve`` starts them."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from cortex_compile.compiler.pipeline import compile_predictor
from cortex_compile.compiler.read_project import read_projects

__all__ = ["Live", "Received", "build_project", "serve"]

TIMEOUT_S = 30.0
_FREE_PORTS = ["--port", "0", "--triton-http-port", "0", "--triton-grpc-port", "0", "--triton-metrics-port", "0"]


@dataclass(frozen=True)
class Received:
    """An answer as it came; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True)
class Live:
    """``folder`` is empty and may be used by predictors and tests to meet; ``log`` is what the server wrote so far."""

    http: httpx.Client
    port: int
    folder: Path
    log: Path

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str | None = "application/json",
        headers: Sequence[tuple[str, str]] = (),
    ) -> Received:
        sent = [*headers, *([("content-type", content_type)] if content_type is not None else [])]
        answer = self.http.request(method, path, content=body, headers=sent)
        found = tuple((name.lower(), value) for name, value in answer.headers.multi_items())
        return Received(answer.status_code, found, answer.content)

    def send(self, raw: bytes, method: str = "POST") -> Received:
        """What is no request of any client library."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as client:
            client.sendall(raw)
            answer = http.client.HTTPResponse(client, method=method)
            answer.begin()
            return Received(
                answer.status, tuple((name.lower(), value) for name, value in answer.getheaders()), answer.read()
            )


def build_project(project: Path, target: Path) -> list[Path]:
    """A build of each API of the folder's cortex.yaml, compiled where it names samples."""
    builds = []
    for predictor in sorted(project.glob("*.py")):
        if "class PythonPredictor" not in predictor.read_text():
            continue
        for api in read_projects(predictor, config=None, samples=(), name=None, settings_overrides={"compile": False}):
            build = target / api.name
            compile_predictor(
                replace(api, settings=replace(api.settings, compile=bool(api.samples))),
                build,
                command="",
                only=None,
                fresh=False,
                dry_run=False,
                tell=lambda _: None,
            )
            builds.append(build)
    return builds


@contextlib.contextmanager
def serve(builds: Sequence[Path], folder: Path, *options: str, trusted: ssl.SSLContext | None = None) -> Iterator[Live]:
    """``cortex-compile serve`` as a process, ready; it must end in order when it is told to.

    ``trusted`` knows the certificate of one that serves HTTPS.
    """
    log = folder / "serve.log"
    meeting = folder / "meeting"
    meeting.mkdir()
    temporary = folder / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "cortex_compile", "serve", *map(str, builds), *_FREE_PORTS, *options]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary)},
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        found = re.search(r"https?://[^/]+:(\d+)", process.stdout.readline())
        assert found is not None, log.read_text()
        with httpx.Client(base_url=found[0], timeout=TIMEOUT_S, trust_env=False, verify=trusted or True) as client:
            yield Live(client, int(found[1]), meeting, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
