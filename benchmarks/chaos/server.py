"""`cortex-compile serve` as a child process, and each of the processes that it consists of."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .processes import Process, descendants_of, regions_of

__all__ = ["Server", "StartFailed"]

FREE_PORTS = ("--port", "0", "--triton-http-port", "0", "--triton-grpc-port", "0", "--triton-metrics-port", "0")


class StartFailed(Exception):
    """It ended before it was ready; the message is what it said."""


class Server:
    """A running one, to be ended. ``prefix`` are words in front of the command, ``folder`` its temporary folder."""

    def __init__(
        self,
        builds: Sequence[Path],
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
        self.said = self.folder.parent / f"{self.folder.name}.log"
        words = [*prefix, sys.executable, "-m", "cortex_compile", "serve", *map(str, builds), *FREE_PORTS, *options]
        environment = {**os.environ, "TMPDIR": str(self.folder)}
        with self.said.open("a") as log:
            self.process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True, env=environment
            )
        try:
            self.url = self._wait_for_url()
        except BaseException:
            self.end()
            raise
        self.port = int(self.url.rpartition(":")[2])

    def _wait_for_url(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"http://[^/\s]+:\d+", line)
            if found:
                return found[0]
        self.process.wait()
        raise StartFailed(self.log().strip())

    def log(self) -> str:
        return self.said.read_text(errors="replace")

    def readiness(self) -> bool | None:
        """What /readyz says; None where nobody answers."""
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return None

    def get(self, path: str, timeout_s: float = 5.0) -> tuple[int, bytes]:
        """
        Raises:
            OSError: no answer.
        """
        return _ask(self.url + path, None, timeout_s)

    def ask(self, api: str, timeout_s: float = 30.0, **payload: Any) -> tuple[int, bytes]:
        """
        Raises:
            OSError: no answer.
        """
        return _ask(f"{self.url}/{api}", json.dumps(payload).encode(), timeout_s)

    def tell(self, api: str) -> dict[str, Any]:
        """What the predictor tells of itself."""
        told: dict[str, Any] = json.loads(self.ask(api, do="tell")[1])
        return told

    def metric(self, name: str, **labels: str) -> float:
        """A figure of /metrics; 0 where there is none."""
        for line in self.get("/metrics")[1].decode().splitlines():
            if re.match(rf"{name}[ {{]", line) and all(f'{key}="{value}"' in line for key, value in labels.items()):
                return float(line.rpartition(" ")[2])
        return 0.0

    def processes(self) -> list[Process]:
        """All of them, without the launcher."""
        return descendants_of(self.process.pid)

    def find(self, *words: str) -> int:
        """The process whose command line has these words.

        Raises:
            LookupError: none is there.
        """
        for process in self.processes():
            if all(word in process.command for word in words):
                return process.pid
        raise LookupError(f"no process with {' '.join(words)!r}")

    def triton(self) -> int:
        return self.find("/tritonserver ", "--model")

    def stub(self, model: str) -> int:
        """The Python process of a predictor, or of a core."""
        return self.find("triton_python_backend_stub", f"/{model}/")

    def core_stub(self, api: str) -> int:
        return self.find("triton_python_backend_stub", f"/{api}--")

    def workers(self) -> list[int]:
        """The processes of the facade, where it has several."""
        return [process.pid for process in self.processes() if "cortex_compile.facade.worker" in process.command]

    def worker(self) -> int:
        """
        Raises:
            LookupError: the facade is one process.
        """
        workers = self.workers()
        if not workers:
            raise LookupError("the facade has no worker")
        return workers[0]

    def remains(self) -> list[str]:
        """What is left of one that has ended, in words."""
        regions, files = regions_of(self.process.pid), list(self.folder.glob("cortex-compile*"))
        return [f"{len(found)} {what}" for what, found in (("regions", regions), ("files", files)) if found]

    def is_running(self) -> bool:
        return self.process.poll() is None

    def end(self) -> int:
        """End it in order; its exit status."""
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for process in self.processes():
                os.kill(process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.returncode


def _ask(url: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
